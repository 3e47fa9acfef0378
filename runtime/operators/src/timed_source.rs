//! A source whose rows pass through stateless operators on the thread of the source, so that their times are computed before watermarks are
//! derived from them.

use std::sync::Arc;
use weir_core::Result;
use weir_core::graph::{
    Collector, MAIN, Operator, OperatorFactory, Output, Polled, Source, SourceFactory, SubtaskContext,
};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::watermarks::SplitId;

/// Creates such sources.
pub struct TimedSourceFactory {
    /// The source that reads the rows.
    pub source: Arc<dyn SourceFactory>,
    /// The operator that the rows pass through. It keeps no state.
    pub operator: Arc<dyn OperatorFactory>,
}

impl SourceFactory for TimedSourceFactory {
    fn start(&self, state: &StateHandle, parallelism: usize) -> Result<()> {
        self.source.start(state, parallelism)
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        let operator = self.operator.open(context.clone())?;
        Ok(Box::new(TimedSource { source: self.source.open(context)?, operator }))
    }
    fn replayable(&self) -> bool {
        self.source.replayable()
    }
    fn partitions(&self) -> Option<usize> {
        self.source.partitions()
    }
    fn rate(&self) -> Option<f64> {
        self.source.rate()
    }
    fn total_bytes(&self) -> Option<u64> {
        self.source.total_bytes()
    }
}

struct TimedSource {
    source: Box<dyn Source>,
    operator: Box<dyn Operator>,
}

impl Source for TimedSource {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        let mut given = Collector::default();
        let polled = self.source.poll(&mut given)?;
        for output in given.outputs {
            match output {
                Output::Rows(MAIN, batch) => self.operator.process(0, batch, out)?,
                other => out.outputs.push(other),
            }
        }
        Ok(polled)
    }
    fn checkpoint(&mut self, epoch: Epoch) -> Result<Changes> {
        self.source.checkpoint(epoch)
    }
    fn has_splits(&self) -> bool {
        self.source.has_splits()
    }
    fn pause_splits(&mut self, splits: &[SplitId]) -> Result<()> {
        self.source.pause_splits(splits)
    }
}
