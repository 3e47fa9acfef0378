//! A job as the engine sees it: nodes, edges, and the traits behind the nodes.

use crate::clock::Clock;
use crate::event_time::{EventTime, Watermark};
use crate::metrics::SubtaskMetrics;
use crate::state::{Changes, Epoch, StateHandle};
use crate::watermarks::{SplitId, WatermarkStrategy};
use crate::{Batch, Result};
use std::sync::Arc;
use std::time::Duration;

/// An output of a node. Most nodes have one. Failed rows, late rows and timed-out matches are emitted on others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(pub u8);

/// The output for results.
pub const MAIN: Port = Port(0);
/// The output for dead letters.
pub const DEAD_LETTERS: Port = Port(1);
/// The output for late rows.
pub const LATE_ROWS: Port = Port(2);
/// The output for matches that were not complete in time.
pub const TIMED_OUT: Port = Port(3);

/// How an edge distributes rows over the subtasks of the next node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitioning {
    /// Forward: from subtask i to subtask i. Both nodes have the same parallelism.
    Forward,
    /// Hash: by the key group of these columns.
    Hash(Vec<usize>),
    /// Rebalance: whole batches, round robin.
    Rebalance,
    /// Single: all rows to the first subtask.
    Single,
}

/// An edge, from the view of the node that it leads to.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The node it comes from.
    pub from: usize,
    /// The output of that node.
    pub port: Port,
    /// The input of the node that it feeds, from 0. Several edges may feed one: the relations of a UNION ALL do.
    pub input: usize,
    /// How rows are distributed.
    pub partitioning: Partitioning,
    /// Whether rows have to stay in the order in which their subtask emits them, as changes do. Then only a forward edge will do.
    pub ordered: bool,
}

/// A node of the job: an operator, a source or a sink, with `parallelism` subtasks.
#[derive(Clone)]
pub struct Node {
    /// Its name, for people and metrics; unique in the job.
    pub name: String,
    /// The uid by which its state is found. It stays the same as long as the node computes the same.
    pub uid: String,
    /// The number of subtasks, 1 to 64.
    pub parallelism: usize,
    /// What it does.
    pub role: Role,
    /// Where its rows come from; empty for sources.
    pub inputs: Vec<Edge>,
    /// For a source: how it generates watermarks. None: its rows have no event time.
    pub watermarks: Option<WatermarkStrategy>,
}

/// What a node does.
#[derive(Clone)]
pub enum Role {
    /// Reads rows from outside.
    Source(Arc<dyn SourceFactory>),
    /// Turns rows into other rows.
    Operator(Arc<dyn OperatorFactory>),
    /// Writes rows to the outside.
    Sink(Arc<dyn SinkFactory>),
}

/// A job: its nodes, in topological order.
#[derive(Clone)]
pub struct JobGraph {
    /// The job's name.
    pub name: String,
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// The identity of a job towards outside systems, across restarts and machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobIdentity {
    /// A random id that is stored with the state. A process that runs with this state fences off the processes that ran with it before.
    pub id: String,
    /// The id of the run, the timeline of epochs: a new one is drawn when the job starts from nothing or from a savepoint.
    pub run: String,
}

/// The half of a sink's mark that is stored in its state: the last durable epoch in which the sink was given something to deliver, and
/// the one before (0: none). It exists once the run has a durable epoch, even if the sink was given nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitMarker {
    /// The last.
    pub epoch: Epoch,
    /// The one before.
    pub previous: Epoch,
}

/// What a subtask knows of its surroundings.
#[derive(Clone)]
pub struct SubtaskContext {
    /// The node's name.
    pub node: String,
    /// Which subtask this is, from 0.
    pub subtask: usize,
    /// The number of subtasks of the node.
    pub parallelism: usize,
    /// The job that this is part of.
    pub job: JobIdentity,
    /// The node's state.
    pub state: StateHandle,
    /// The event time when the state was last stored, or [`Watermark::NONE`] if that is not known.
    pub resumes_at: Watermark,
    /// Bytes that decoded state may take in memory. Beyond that, unchanged keys are evicted.
    pub cache_bytes: usize,
    /// The greatest number of rows in a batch of a source.
    pub batch_rows: usize,
    /// The subtask's counters.
    pub metrics: SubtaskMetrics,
    /// The processing-time clock, which tests can set. Use it wherever results depend on the time of day.
    pub clock: Arc<dyn Clock>,
}

/// An element that a subtask emits.
#[derive(Debug, Clone)]
pub enum Output {
    /// Rows, on one of its outputs.
    Rows(Port, Batch),
    /// A watermark. It goes through every output to every subtask downstream.
    Watermark(Watermark),
    /// The subtask is idle: nobody has to wait for its watermark.
    Idle,
    /// The end: nothing follows.
    End,
    /// A source begins to read a split. This comes before the split's first row. The name is the same in each run.
    SplitAdded(SplitId, String),
    /// A source has read a split to its end. This comes after the split's last row.
    SplitEnded(SplitId),
}

/// Collects what a subtask emits.
#[derive(Default)]
pub struct Collector {
    /// The emitted elements, in order.
    pub outputs: Vec<Output>,
}

impl Collector {
    /// Emits result rows.
    pub fn emit(&mut self, batch: Batch) {
        if batch.rows() > 0 {
            self.outputs.push(Output::Rows(MAIN, batch));
        }
    }
    /// Emits dead letters.
    pub fn dead_letters(&mut self, batch: Batch) {
        if batch.rows() > 0 {
            self.outputs.push(Output::Rows(DEAD_LETTERS, batch));
        }
    }
    /// Emits late rows.
    pub fn late_rows(&mut self, batch: Batch) {
        if batch.rows() > 0 {
            self.outputs.push(Output::Rows(LATE_ROWS, batch));
        }
    }
    /// Emits matches that were not complete in time.
    pub fn timed_out(&mut self, batch: Batch) {
        if batch.rows() > 0 {
            self.outputs.push(Output::Rows(TIMED_OUT, batch));
        }
    }
    /// Announces a split, before its first row. For sources that have splits, see [`Source::has_splits`].
    pub fn add_split(&mut self, split: SplitId, name: String) {
        self.outputs.push(Output::SplitAdded(split, name));
    }
    /// Ends a split, after its last row.
    pub fn end_split(&mut self, split: SplitId) {
        self.outputs.push(Output::SplitEnded(split));
    }
    /// Emits a watermark. For sources; for operators see [`Operator::output_watermark`].
    pub fn watermark(&mut self, to: Watermark) {
        self.outputs.push(Output::Watermark(to));
    }
    /// Declares the source idle until its next watermark.
    pub fn idle(&mut self) {
        self.outputs.push(Output::Idle);
    }
    /// The emitted rows of all outputs.
    pub fn rows(&self) -> impl Iterator<Item = &Batch> {
        self.outputs.iter().filter_map(|o| match o {
            Output::Rows(_, batch) => Some(batch),
            _ => None,
        })
    }
}

/// The result of polling a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// There may be more rows: poll again at once.
    More,
    /// There are no rows now: poll again after this time.
    Wait(Duration),
    /// The source has come to its end.
    End,
}

/// One subtask of a source. All calls come from the subtask's thread.
pub trait Source: Send {
    /// Emits some rows, about a batch. It must not block for more than some milliseconds; return [`Polled::Wait`] instead.
    ///
    /// # Errors
    /// What ends the job.
    fn poll(&mut self, out: &mut Collector) -> Result<Polled>;
    /// Called at a barrier. Returns the changes of the position since the last one: everything emitted so far belongs to this epoch.
    ///
    /// # Errors
    /// What ends the job.
    fn checkpoint(&mut self, epoch: Epoch) -> Result<Changes>;
    /// Whether the source announces its splits and their ends, and its batches say which split each row is from
    /// ([`Origin::split`](crate::origin::Origin::split)). Otherwise everything that a subtask reads is one split.
    fn has_splits(&self) -> bool {
        false
    }
    /// Pauses exactly these splits, because their event time is ahead of others, and resumes all others. Rows that were already
    /// fetched may still be emitted.
    ///
    /// # Errors
    /// What ends the job.
    fn pause_splits(&mut self, _splits: &[SplitId]) -> Result<()> {
        Ok(())
    }
}

/// Makes the subtasks of a source.
pub trait SourceFactory: Send + Sync {
    /// Called once in each generation, before the subtasks are opened, with the positions of the last epoch.
    ///
    /// # Errors
    /// When the source cannot continue from there.
    fn start(&self, state: &StateHandle, parallelism: usize) -> Result<()>;
    /// Opens a subtask.
    ///
    /// # Errors
    /// What ends the job.
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>>;
    /// Whether the source can go back to an earlier position. If not, a job that failed or was stopped starts anew.
    fn replayable(&self) -> bool {
        true
    }
    /// The greatest number of subtasks that can have something to read, if that is known: the number of partitions of its topics.
    fn partitions(&self) -> Option<usize> {
        None
    }
    /// The rate in rows per second, if the source has a fixed one.
    fn rate(&self) -> Option<f64> {
        None
    }
    /// The number of bytes that it will read, if that is known, for the progress display.
    fn total_bytes(&self) -> Option<u64> {
        None
    }
}

/// One subtask of an operator. All calls come from the subtask's thread.
pub trait Operator: Send {
    /// Processes a batch of an input, and emits what follows from it.
    ///
    /// # Errors
    /// What ends the job.
    fn process(&mut self, input: usize, batch: Batch, out: &mut Collector) -> Result<()>;
    /// Called when the watermark of an input, or the combined one, has advanced, after all rows before it. Event-time timers up to
    /// the combined watermark are due. What is emitted here goes out before the operator's own watermark.
    ///
    /// # Errors
    /// What ends the job.
    fn on_watermark(&mut self, _time: &EventTime, _out: &mut Collector) -> Result<()> {
        Ok(())
    }
    /// The operator's own watermark, given the combined one of its inputs. It is the same unless the operator keeps rows of earlier
    /// times back. Called after [`Operator::on_watermark`] and after each epoch.
    fn output_watermark(&self, all: Watermark) -> Watermark {
        if self.results_at_end() { Watermark::NONE } else { all }
    }
    /// Called when an input has ended; `last` when all inputs have. A generation that begins from an epoch after that is told
    /// again.
    ///
    /// # Errors
    /// What ends the job.
    fn on_input_end(&mut self, _input: usize, _last: bool, _out: &mut Collector) -> Result<()> {
        Ok(())
    }
    /// Whether the operator emits rows in [`Operator::end`] only. Then its output has not ended when its inputs have.
    fn results_at_end(&self) -> bool {
        false
    }
    /// Called when all of the job's sources have ended, in its last epoch.
    ///
    /// # Errors
    /// What ends the job.
    fn end(&mut self, _out: &mut Collector) -> Result<()> {
        Ok(())
    }
    /// The time of the next processing-time timer, in milliseconds since 1970; [`Operator::on_tick`] is called then.
    fn next_tick(&self) -> Option<i64> {
        None
    }
    /// Called when the time of [`Operator::next_tick`] has come.
    ///
    /// # Errors
    /// What ends the job.
    fn on_tick(&mut self, _now: i64, _out: &mut Collector) -> Result<()> {
        Ok(())
    }
    /// Called at a barrier, when it has been aligned. Returns the changes of the state since the last epoch.
    ///
    /// # Errors
    /// What ends the job.
    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        Ok(Changes::default())
    }
    /// The number of rows that it prefers to process at once, if as many are waiting. 0: it takes batches as they come.
    fn preferred_rows(&self) -> usize {
        0
    }
    /// Whether the changes in memory have grown so much that an epoch should begin before the interval ends.
    fn wants_epoch(&self) -> bool {
        false
    }
}

/// Makes the subtasks of an operator.
pub trait OperatorFactory: Send + Sync {
    /// Makes a subtask.
    ///
    /// # Errors
    /// What ends the job.
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>>;
    /// The names of the user-defined functions that it calls, as in their metrics.
    fn functions(&self) -> Vec<String> {
        vec![]
    }
    /// Whether its subtasks keep state, and therefore get a share of the state cache.
    fn keeps_state(&self) -> bool {
        false
    }
}

/// What a sink returns at a barrier.
#[derive(Debug, Default)]
pub struct SinkCheckpoint {
    /// The changes of its own state.
    pub changes: Changes,
    /// The outbox: what [`SinkFactory::deliver`] gets once the epoch is durable.
    pub outbox: Vec<Vec<u8>>,
}

/// One subtask of a sink. All calls come from the subtask's thread.
pub trait Sink: Send {
    /// Takes a batch of rows.
    ///
    /// # Errors
    /// What ends the job.
    fn write(&mut self, batch: Batch) -> Result<()>;
    /// Called at a barrier: every row taken so far belongs to this epoch. `last`: no call follows, so connections may be given
    /// back for the next generation.
    ///
    /// # Errors
    /// What ends the job.
    fn checkpoint(&mut self, epoch: Epoch, last: bool) -> Result<SinkCheckpoint>;
    /// Whether the rows that wait in memory have grown so much that an epoch should begin before the interval ends.
    fn wants_epoch(&self) -> bool {
        false
    }
}

/// Makes the subtasks of a sink, and delivers their outboxes. Outboxes are delivered by the committing thread, whatever the parallelism.
pub trait SinkFactory: Send + Sync {
    /// Makes a subtask.
    ///
    /// # Errors
    /// What ends the job.
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Sink>>;
    /// Called first in each generation. Connects, ends what an earlier process left unfinished, and compares the mark in the outside
    /// system with that of the state (none before the run's first durable epoch).
    ///
    /// # Errors
    /// When the two marks cannot belong to one history, or the system cannot be reached.
    fn begin(&self, _job: &JobIdentity, _mark: Option<CommitMarker>) -> Result<()> {
        Ok(())
    }
    /// Delivers the outbox of a durable epoch. It must be idempotent, since it is called again after a crash.
    ///
    /// # Errors
    /// When it could not be delivered.
    fn deliver(&self, _mark: CommitMarker, _outbox: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }
    /// Called after the last epoch of a job whose sources have ended was delivered. Returns when everybody can read all of it.
    ///
    /// # Errors
    /// When that takes too long. Everything has been delivered nevertheless.
    fn ended(&self) -> Result<()> {
        Ok(())
    }
    /// Called in each generation after all outboxes have been delivered and before the subtasks are opened. Removes from the outside
    /// what no epoch refers to, and returns the changes of the sink's state.
    ///
    /// # Errors
    /// When that is not possible.
    fn recover(&self, _state: &StateHandle) -> Result<Changes> {
        Ok(Changes::default())
    }
}
