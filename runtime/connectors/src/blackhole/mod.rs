//! A sink that discards all rows.

use crate::registered::Connector;
use std::sync::Arc;
use weir_core::descriptor::{Changelog, Descriptor};
use weir_core::graph::{Sink, SinkCheckpoint, SinkFactory, SubtaskContext};
use weir_core::state::Epoch;
use weir_core::{Batch, Result};

pub(crate) const CONNECTOR: Connector = Connector {
    sink: Some(|_| Ok(Arc::new(Blackhole))),
    ..Connector::new(&Descriptor {
        name: "blackhole",
        help: "discards all rows",
        writes: Some(Changelog::Upsert),
        rows_fail: false,
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH ('connector' = 'blackhole')",
        ..Descriptor::CONNECTOR
    })
};

/// The blackhole.
struct Blackhole;

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
