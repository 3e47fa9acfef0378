//! The sink that takes everything and keeps nothing.

use weir_core::graph::{Sink, SinkCheckpoint, SinkFactory, SubtaskContext};
use weir_core::state::Epoch;
use weir_core::{Batch, Result};

/// The blackhole.
pub(crate) struct Blackhole;

impl SinkFactory for Blackhole {
    fn open(&self, _context: SubtaskContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Blackhole))
    }
}

impl Sink for Blackhole {
    fn write(&mut self, _batch: Batch) -> Result<()> {
        Ok(())
    }
    fn checkpoint(&mut self, _epoch: Epoch, _last: bool) -> Result<SinkCheckpoint> {
        Ok(SinkCheckpoint::default())
    }
}
