//! Distributes the output of a subtask to the subtasks of the nodes downstream.

use crate::messages::Element;
use arrow::array::UInt32Array;
use weir_core::graph::{Collector, Output, Partitioning, Port};
use weir_core::key::{Keys, key_group, owner};
use weir_core::{Batch, Result};

/// The targets of an edge, as indexes into the subtask's list of targets.
pub(crate) struct Route {
    pub port: Port,
    pub partitioning: Partitioning,
    pub first: usize,
    pub count: usize,
    /// The subtask's own index, for forwarding; and the next target, for rebalancing.
    pub subtask: usize,
    pub next: usize,
}

/// Assigns the output of a subtask to targets.
pub(crate) fn route(routes: &mut [Route], collected: Collector, out: &mut Vec<(usize, Element)>) -> Result<()> {
    for output in collected.outputs {
        let to_all = match output {
            Output::Rows(port, batch) => {
                routes.iter_mut().filter(|r| r.port == port).try_for_each(|r| r.rows(&batch, out))?;
                continue;
            }
            Output::Watermark(watermark) => Element::Watermark(watermark),
            Output::Idle => Element::Idle,
            Output::End => Element::End,
            // These elements are only for the source's own subtask.
            Output::SplitAdded(..) | Output::SplitEnded(_) => continue,
        };
        for r in routes.iter() {
            out.extend((r.first..r.first + r.count).map(|target| (target, to_all.clone())));
        }
    }
    Ok(())
}

impl Route {
    /// Assigns rows to targets by the partitioning of the edge.
    fn rows(&mut self, batch: &Batch, out: &mut Vec<(usize, Element)>) -> Result<()> {
        let mut send = |to: usize, batch: Batch| out.push((self.first + to, Element::Batch(batch)));
        match &self.partitioning {
            Partitioning::Forward => send(self.subtask, batch.clone()),
            Partitioning::Single => send(0, batch.clone()),
            Partitioning::Rebalance => {
                send(self.next, batch.clone());
                self.next = (self.next + 1) % self.count;
            }
            Partitioning::Hash(_) if self.count == 1 => send(0, batch.clone()),
            Partitioning::Hash(columns) => {
                let keys = Keys::of(batch, columns);
                let mut rows: Vec<Vec<u32>> = vec![vec![]; self.count];
                for row in 0..batch.rows() {
                    rows[owner(key_group(keys.get(row)), self.count)].push(row as u32);
                }
                for (i, rows) in rows.into_iter().enumerate() {
                    if rows.len() == batch.rows() {
                        send(i, batch.clone());
                    } else if !rows.is_empty() {
                        send(i, batch.take(&UInt32Array::from(rows))?);
                    }
                }
            }
        }
        Ok(())
    }
}
