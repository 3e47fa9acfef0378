//! Deals batches out to the subtasks of the next nodes.

use arrow::array::UInt32Array;
use weir_core::graph::{Collector, Partitioning, Port};
use weir_core::key::{Keys, key_group, owner};
use weir_core::{Batch, Result};

/// One edge's targets, as places in the subtask's list of all its targets.
pub(crate) struct Route {
    pub port: Port,
    pub partitioning: Partitioning,
    pub first: usize,
    pub count: usize,
    /// The subtask's own number, for forwarding; and the next in turn, for rebalancing.
    pub subtask: usize,
    pub next: usize,
}

/// Sends what a subtask gave out to its targets.
pub(crate) fn route(routes: &mut [Route], collected: Collector, out: &mut Vec<(usize, Batch)>) -> Result<()> {
    for (port, batch) in collected.outputs {
        for r in routes.iter_mut().filter(|r| r.port == port) {
            match &r.partitioning {
                Partitioning::Forward => out.push((r.first + r.subtask.min(r.count - 1), batch.clone())),
                Partitioning::Single => out.push((r.first, batch.clone())),
                Partitioning::Rebalance => {
                    out.push((r.first + r.next, batch.clone()));
                    r.next = (r.next + 1) % r.count;
                }
                Partitioning::Hash(_) if r.count == 1 => out.push((r.first, batch.clone())),
                Partitioning::Hash(columns) => {
                    let keys: Vec<_> = columns.iter().map(|c| batch.data.column(*c).clone()).collect();
                    let keys = Keys::encode(&keys, batch.rows());
                    let mut rows: Vec<Vec<u32>> = vec![vec![]; r.count];
                    for row in 0..batch.rows() {
                        rows[owner(key_group(keys.get(row)), r.count)].push(row as u32);
                    }
                    for (i, rows) in rows.into_iter().enumerate() {
                        if rows.len() == batch.rows() {
                            out.push((r.first + i, batch.clone()));
                        } else if !rows.is_empty() {
                            out.push((r.first + i, batch.take(&UInt32Array::from(rows))?));
                        }
                    }
                }
            }
        }
    }
    Ok(())
}
