//! The worker thread of a subtask's actor. It does one task at a time, and measures its time.

use crate::control::Control;
use crate::gate::Gate;
use crate::messages::{Barrier, Element, WorkResult};
use crate::routing::{Route, route};
use crate::source_time::SourceTime;
use crate::stored_watermarks::StoredWatermarks;
use crate::subtask::machine::{Done, Work};
use actix::{Message, Recipient};
use crossbeam_channel::Receiver;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::clock::{Clock, thread_cpu, thread_queued};
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, Output, Polled, Sink, Source};
use weir_core::metrics::SubtaskMetrics;
use weir_core::state::{Changes, OperatorId, StateBackend};
use weir_core::thread::{guarded, locked};
use weir_core::{Batch, Error, Result, failpoint};

/// A task of a worker.
pub(crate) enum Task {
    Source(Box<dyn Source>),
    Operator(Box<dyn Operator>),
    Sink(Box<dyn Sink>),
}

/// The result of a task, which the thread sends to its actor.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Report {
    pub done: Done<Batch>,
    pub cpu: Duration,
    /// The time that it took, without the time that the thread waited for a core.
    pub useful: Duration,
}

pub(crate) struct Worker {
    pub task: Task,
    pub routes: Vec<Route>,
    pub operator: OperatorId,
    pub backend: Arc<dyn StateBackend>,
    pub metrics: SubtaskMetrics,
    /// Open as long as the generation is the current one.
    pub gate: Arc<Gate>,
    pub control: Arc<Control>,
    pub clock: Arc<dyn Clock>,
    pub time: OperatorTime,
    /// The watermarks of a source whose rows have event time.
    pub source_time: Option<SourceTime>,
    /// The stored watermarks of an operator with state.
    pub stored_watermarks: Option<StoredWatermarks>,
    /// The event time from which it resumes.
    pub resumes: Option<EventTime>,
}

/// The watermarks of an operator's input and output.
pub(crate) struct OperatorTime {
    /// The watermarks of its inputs.
    input: Option<EventTime>,
    /// The watermark of its output.
    output: Watermark,
    /// Whether it is idle, and whether that was emitted.
    ended: bool,
    end: bool,
}

impl OperatorTime {
    pub fn nothing() -> Self {
        OperatorTime { input: None, output: Watermark::NONE, ended: false, end: false }
    }

    /// Emits the watermark of the output if it has advanced, or if `again` is set.
    fn watermark(&mut self, operator: &dyn Operator, again: bool, out: &mut Collector) {
        let all = self.input.as_ref().map_or(Watermark::NONE, |t| t.all);
        let output = operator.output_watermark(all).max(self.output);
        if output > self.output || again && output > Watermark::NONE {
            out.watermark(output);
        }
        self.output = output;
    }

    /// Notes the watermarks that an operator has emitted itself.
    fn given(&mut self, out: &Collector) {
        for output in &out.outputs {
            if let Output::Watermark(watermark) = output {
                self.output = self.output.max(*watermark);
            }
        }
    }

    /// Emits idleness once the operator has become idle.
    fn end(&mut self, operator: &dyn Operator, last: bool, out: &mut Collector) {
        if self.ended && !self.end && (last || !operator.results_at_end()) {
            self.end = true;
            out.outputs.push(Output::End);
        }
    }
}

impl Worker {
    /// Runs tasks until there are no more. A source or sink gives its connection back before it reports its last task, so that the next
    /// generation can take it. An operator is dropped afterwards, since that may take a while.
    pub fn run(mut self, work: &Receiver<Work<Batch>>, report: &Recipient<Report>) {
        while let Ok(w) = work.recv() {
            let (before, queued, began) = (thread_cpu(), thread_queued(), Instant::now());
            let mut outputs = vec![];
            let outcome = guarded("a subtask", || self.work(w, &mut outputs)).unwrap_or_else(WorkResult::Failed);
            let wants_epoch = match &self.task {
                Task::Operator(o) => o.wants_epoch(),
                Task::Sink(s) => s.wants_epoch(),
                Task::Source(_) => false,
            };
            let preferred_rows = match &self.task {
                Task::Operator(o) => o.preferred_rows(),
                _ => 0,
            };
            let tick = match &self.task {
                Task::Operator(o) => o.next_tick(),
                _ => None,
            };
            let failed = matches!(outcome, WorkResult::Failed(_));
            let cpu = thread_cpu().saturating_sub(before);
            // If the kernel does not tell the queueing time, only CPU time counts as useful.
            let useful = match (queued, thread_queued()) {
                (Some(before), Some(now)) => began.elapsed().saturating_sub(now.saturating_sub(before)),
                _ => cpu,
            };
            let last = matches!(&outcome, WorkResult::Checkpointed { barrier, .. } if barrier.last);
            let done = Done { outcome, outputs, took: began.elapsed(), preferred_rows, wants_epoch, tick };
            let told = Report { done, cpu, useful };
            if last {
                match self.task {
                    Task::Operator(_) => report.do_send(told),
                    task => {
                        drop(task);
                        report.do_send(told);
                    }
                }
                return;
            }
            report.do_send(told);
            if failed {
                return;
            }
        }
    }

    fn work(&mut self, w: Work<Batch>, outputs: &mut Vec<(usize, Element)>) -> Result<WorkResult> {
        let mut collected = Collector::default();
        let gate = self.gate.clone();
        // A sink holds the gate while it works, so that it never writes after the next generation has begun.
        let sinks = matches!(self.task, Task::Sink(_));
        let writing = if sinks { gate.enter() } else { None };
        if sinks && writing.is_none() {
            return Err(Error::internal("a sink of a generation that is over"));
        }
        let outcome = match (w, &mut self.task) {
            (Work::Poll { held_up }, Task::Source(s)) => {
                pass("source-poll")?;
                let polled = match &mut self.source_time {
                    Some(time) => time.poll(s.as_mut(), held_up, &mut collected)?,
                    None => s.poll(&mut collected)?,
                };
                if polled == Polled::End {
                    collected.outputs.push(Output::End);
                }
                WorkResult::Polled(polled)
            }
            (Work::Process(input, batches), task) => {
                let batch = Batch::concat(&batches)?;
                self.metrics.rows_in.inc_by(batch.rows() as u64);
                self.metrics.bytes_in.inc_by(batch.bytes() as u64);
                match task {
                    Task::Operator(o) => o.process(input, batch, &mut collected)?,
                    Task::Sink(s) => {
                        let rows = batch.rows() as u64;
                        s.write(batch)?;
                        self.metrics.rows_out.inc_by(rows);
                        self.control.pause.row_out(Instant::now());
                    }
                    Task::Source(_) => return Err(Error::internal("a source with an input")),
                }
                WorkResult::Processed
            }
            (Work::Checkpoint(barrier), _) => {
                let (changes, outbox) = self.checkpoint(barrier, &mut collected)?;
                // The generation cannot end in between.
                if let Some(_inside) = writing.or_else(|| gate.enter()) {
                    self.backend.stage(self.operator, barrier.epoch, changes);
                }
                WorkResult::Checkpointed { barrier, outbox }
            }
            (Work::Advance(time), Task::Operator(o)) => {
                pass("watermark-arrived")?;
                o.on_watermark(&time, &mut collected)?;
                pass("watermark-handled")?;
                self.time.input = Some(time);
                self.time.watermark(o.as_ref(), true, &mut collected);
                WorkResult::Notified
            }
            (Work::InputEnded { input, last }, Task::Operator(o)) => {
                o.on_input_end(input, last, &mut collected)?;
                self.time.ended |= last;
                self.time.end(o.as_ref(), false, &mut collected);
                WorkResult::Notified
            }
            (Work::Tick, Task::Operator(o)) => {
                o.on_tick(self.clock.now(), &mut collected)?;
                WorkResult::Notified
            }
            // Nothing is downstream of a sink.
            (Work::Advance(_) | Work::InputEnded { .. } | Work::Tick, _) => WorkResult::Notified,
            (Work::Poll { .. }, _) => return Err(Error::internal("only sources are polled")),
        };
        for b in collected.rows() {
            self.metrics.rows_out.inc_by(b.rows() as u64);
            self.metrics.bytes_out.inc_by(b.bytes() as u64);
        }
        if matches!(self.task, Task::Operator(_)) {
            self.time.given(&collected);
        }
        if matches!(self.task, Task::Operator(_)) && self.time.input.is_some() {
            locked(&self.metrics.event_time).output = self.time.output;
        }
        route(&mut self.routes, collected, outputs)?;
        Ok(outcome)
    }

    /// The changes since the last epoch, and the outbox of a sink. At the end of the input, operators emit what they have kept until then.
    fn checkpoint(&mut self, barrier: Barrier, collected: &mut Collector) -> Result<(Changes, Vec<Vec<u8>>)> {
        let mut outbox = vec![];
        let changes = match &mut self.task {
            Task::Source(s) => {
                let mut changes = s.checkpoint(barrier.epoch)?;
                self.source_time.iter_mut().for_each(|t| t.checkpoint(&mut changes));
                changes
            }
            Task::Operator(o) => {
                if barrier.end {
                    o.end(collected)?;
                }
                let mut changes = o.checkpoint(barrier.epoch)?;
                if let Some(kept) = &mut self.stored_watermarks {
                    kept.checkpoint(self.time.input.as_ref(), &mut changes);
                }
                self.time.watermark(o.as_ref(), false, collected);
                self.time.end(o.as_ref(), barrier.end, collected);
                changes
            }
            Task::Sink(s) => {
                let c = s.checkpoint(barrier.epoch, barrier.last)?;
                outbox = c.outbox;
                c.changes
            }
        };
        Ok((changes, outbox))
    }
}

/// Passes a failpoint.
fn pass(name: &str) -> Result<()> {
    failpoint::pass(name).map_err(|e| Error::io(e.to_string()).with_source(e))
}
