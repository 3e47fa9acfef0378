//! Several operators without an exchange between them, run as one: the output of each is passed directly to the next.

use std::sync::Arc;
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, MAIN, Operator, OperatorFactory, Output, SubtaskContext};
use weir_core::state::{Changes, Epoch};
use weir_core::{Batch, Error, Result};

/// Creates chains. Only one operator of a chain may keep state.
pub struct ChainFactory {
    /// The operators of the chain, first to last.
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
        if self.links.iter().filter(|l| l.keeps_state()).count() > 1 {
            return Err(Error::internal(format!("several operators of {} keep state under one name", context.node)));
        }
        let links = self.links.iter().map(|l| l.open(context.clone())).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Chain { links }))
    }
}

struct Chain {
    links: Vec<Box<dyn Operator>>,
}

impl Chain {
    /// Runs `work` on an operator of the chain, and passes its output on.
    fn with(
        &mut self,
        at: usize,
        out: &mut Collector,
        work: impl FnOnce(&mut dyn Operator, &mut Collector) -> Result<()>,
    ) -> Result<()> {
        let mut given = Collector::default();
        work(self.links[at].as_mut(), &mut given)?;
        self.pass_on(at, given, out)
    }

    /// Passes the output of an operator to the next one.
    fn pass_on(&mut self, at: usize, given: Collector, out: &mut Collector) -> Result<()> {
        for output in given.outputs {
            match output {
                Output::Rows(MAIN, batch) if at + 1 < self.links.len() => {
                    let mut given = Collector::default();
                    self.links[at + 1].process(0, batch, &mut given)?;
                    self.pass_on(at + 1, given, out)?;
                }
                // A watermark of the operator itself, which the following ones obey.
                Output::Watermark(all) if at + 1 < self.links.len() => {
                    let (mut given, time) = (Collector::default(), EventTime { inputs: vec![all], all });
                    self.links[at + 1].on_watermark(&time, &mut given)?;
                    given.watermark(self.links[at + 1].output_watermark(all));
                    self.pass_on(at + 1, given, out)?;
                }
                other => out.outputs.push(other),
            }
        }
        Ok(())
    }

    /// Signals the end of input to the operators from one on, up to the first that emits results only at the end.
    fn ended_in_front_of(&mut self, from: usize, out: &mut Collector) -> Result<()> {
        let time = EventTime { inputs: vec![Watermark::END], all: Watermark::END };
        for at in from..self.links.len() {
            self.with(at, out, |link, out| link.on_watermark(&time, out))?;
            self.with(at, out, |link, out| link.on_input_end(0, true, out))?;
            if self.links[at].results_at_end() {
                break;
            }
        }
        Ok(())
    }
}

impl Operator for Chain {
    fn process(&mut self, input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        self.with(0, out, |link, out| link.process(input, batch, out))
    }
    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        let mut time = time.clone();
        for at in 0..self.links.len() {
            self.with(at, out, |link, out| link.on_watermark(&time, out))?;
            let all = self.links[at].output_watermark(time.all);
            time = EventTime { inputs: vec![all], all };
        }
        Ok(())
    }
    fn output_watermark(&self, all: Watermark) -> Watermark {
        self.links.iter().fold(all, |all, link| link.output_watermark(all))
    }
    fn on_input_end(&mut self, input: usize, last: bool, out: &mut Collector) -> Result<()> {
        self.with(0, out, |link, out| link.on_input_end(input, last, out))?;
        if last && !self.links[0].results_at_end() { self.ended_in_front_of(1, out) } else { Ok(()) }
    }
    fn results_at_end(&self) -> bool {
        self.links.iter().any(|l| l.results_at_end())
    }
    fn end(&mut self, out: &mut Collector) -> Result<()> {
        for at in 0..self.links.len() {
            self.with(at, out, |link, out| link.end(out))?;
            if self.links[at].results_at_end() {
                self.ended_in_front_of(at + 1, out)?;
            }
        }
        Ok(())
    }
    fn next_tick(&self) -> Option<i64> {
        self.links.iter().filter_map(|l| l.next_tick()).min()
    }
    fn on_tick(&mut self, now: i64, out: &mut Collector) -> Result<()> {
        for at in 0..self.links.len() {
            if self.links[at].next_tick().is_some_and(|t| t <= now) {
                self.with(at, out, |link, out| link.on_tick(now, out))?;
            }
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
    fn preferred_rows(&self) -> usize {
        self.links.first().map_or(0, |l| l.preferred_rows())
    }
    fn wants_epoch(&self) -> bool {
        self.links.iter().any(|l| l.wants_epoch())
    }
}
