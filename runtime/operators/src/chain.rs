//! Several operators without an exchange between them, run as one: what one gives out goes straight into the next.

use std::sync::Arc;
use weir_core::graph::{Collector, MAIN, Operator, OperatorFactory, SubtaskContext};
use weir_core::state::{Changes, Epoch};
use weir_core::{Batch, Result};

/// Makes chains. Only one link may keep state.
pub struct ChainFactory {
    /// The links, first to last.
    pub links: Vec<Arc<dyn OperatorFactory>>,
}

impl OperatorFactory for ChainFactory {
    fn functions(&self) -> Vec<String> {
        self.links.iter().flat_map(|l| l.functions()).collect()
    }
    fn keeps_state(&self) -> bool {
        self.links.iter().any(|l| l.keeps_state())
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let links = self.links.iter().map(|l| l.open(context.clone())).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Chain { links }))
    }
}

struct Chain {
    links: Vec<Box<dyn Operator>>,
}

impl Chain {
    fn from(&mut self, at: usize, input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let mut given = Collector::default();
        self.links[at].process(input, batch, &mut given)?;
        self.pass_on(at, given, out)
    }

    fn pass_on(&mut self, at: usize, given: Collector, out: &mut Collector) -> Result<()> {
        for (port, batch) in given.outputs {
            if port == MAIN && at + 1 < self.links.len() {
                self.from(at + 1, 0, batch, out)?;
            } else {
                out.outputs.push((port, batch));
            }
        }
        Ok(())
    }
}

impl Operator for Chain {
    fn process(&mut self, input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        self.from(0, input, batch, out)
    }
    fn end(&mut self, out: &mut Collector) -> Result<()> {
        for at in 0..self.links.len() {
            let mut given = Collector::default();
            self.links[at].end(&mut given)?;
            self.pass_on(at, given, out)?;
        }
        Ok(())
    }
    fn checkpoint(&mut self, epoch: Epoch) -> Result<Changes> {
        let mut all = Changes::default();
        for l in &mut self.links {
            all.extend(&l.checkpoint(epoch)?);
        }
        Ok(all)
    }
    fn gathers(&self) -> usize {
        self.links.first().map_or(0, |l| l.gathers())
    }
    fn wants_epoch(&self) -> bool {
        self.links.iter().any(|l| l.wants_epoch())
    }
}
