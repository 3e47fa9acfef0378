//! Parallelisms that were changed while the job ran. They are stored, and later runs of the job use them.

use crate::scale::TargetParallelism;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_core::graph::JobGraph;
use weir_core::state::{Changes, Epoch, StateBackend, StateHandle};
use weir_core::stored::{self, Reader, Stored};
use weir_core::{Error, Result, failpoint};

/// The uid of the state with parallelisms that were changed while the job ran, by uid of the operator. They override the script's.
pub(crate) const SIZES: &str = "#parallelism";

/// A stored parallelism.
struct Size(u32);

impl Stored for Size {
    const LAYOUT: u8 = 1;
    const NAME: &'static str = "a parallelism";
    fn write(&self, out: &mut Vec<u8>) {
        stored::put(out, u64::from(self.0));
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.number()?.try_into().ok().map(Size)
    }
}

/// The stored parallelisms.
pub(crate) fn sizes_of(state: &StateHandle) -> Result<BTreeMap<String, usize>> {
    let entry = |(k, v): (Vec<u8>, Vec<u8>)| {
        let Size(n) = stored::decode(&v)?;
        Ok((String::from_utf8_lossy(&k).into_owned(), n as usize))
    };
    state.scan(&[])?.into_iter().map(entry).collect()
}

/// Stores changed parallelisms, in an epoch of their own.
pub(crate) fn resize(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    state: &StateHandle,
    sizes: &mut BTreeMap<String, usize>,
    changed: TargetParallelism,
) -> Result<()> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut changes = Changes::default();
    let mut fresh = sizes.clone();
    for node in &graph.nodes {
        match changed.get(&node.name) {
            Some(Some(n)) => {
                changes.set(node.uid.as_bytes(), &stored::encode(&Size(*n as u32)));
                fresh.insert(node.uid.clone(), *n);
            }
            Some(None) => {
                changes.remove(&[node.uid.as_bytes()]);
                fresh.remove(&node.uid);
            }
            None => {}
        }
    }
    let epoch = Epoch(backend.last_epoch().0 + 1);
    failpoint::pass("rescale").map_err(|e| Error::io(e.to_string()).with_source(e))?;
    backend.stage(state.operator, epoch, changes);
    backend.commit(epoch, &vec![], false)?;
    *sizes = fresh;
    failpoint::pass("rescaled").map_err(|e| Error::io(e.to_string()).with_source(e))?;
    backend.delivered(epoch)
}
