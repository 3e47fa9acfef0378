//! A sink that collects rows, as the print connector writes them, each once: an epoch that is delivered again is known.

use std::sync::{Arc, Mutex};
use weir_core::graph::{CommitMarker, Sink, SinkCheckpoint, SinkFactory, SubtaskContext};
use weir_core::state::Epoch;
use weir_core::thread::locked;
use weir_core::{Batch, Result, Schema, Value};

/// What was delivered, and the last epoch that was.
pub(crate) type Delivered = Arc<Mutex<(Vec<String>, Epoch)>>;

/// Makes subtasks that collect.
pub(crate) struct Collecting {
    /// The columns that are written.
    pub schema: Schema,
    pub delivered: Delivered,
}

impl SinkFactory for Collecting {
    fn open(&self, _: SubtaskContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Subtask { schema: self.schema.clone(), outbox: vec![] }))
    }
    fn deliver(&self, mark: CommitMarker, outbox: &[Vec<u8>]) -> Result<()> {
        let mut delivered = locked(&self.delivered);
        if delivered.1 < mark.epoch {
            delivered.0.extend(outbox.iter().map(|row| String::from_utf8_lossy(row).into_owned()));
            delivered.1 = mark.epoch;
        }
        Ok(())
    }
}

struct Subtask {
    schema: Schema,
    outbox: Vec<Vec<u8>>,
}

impl Sink for Subtask {
    fn write(&mut self, batch: Batch) -> Result<()> {
        for row in 0..batch.rows() {
            let mut text = format!("{}[", batch.kind(row).mark());
            for (i, (c, f)) in batch.data.columns().iter().zip(&self.schema.fields).enumerate() {
                text.push_str(if i > 0 { ", " } else { "" });
                weir_expr::text::print(&Value::read(c, row), &f.ty, &mut text);
            }
            self.outbox.push((text + "]").into_bytes());
        }
        Ok(())
    }
    fn checkpoint(&mut self, _epoch: Epoch, _last: bool) -> Result<SinkCheckpoint> {
        Ok(SinkCheckpoint { outbox: std::mem::take(&mut self.outbox), ..Default::default() })
    }
}
