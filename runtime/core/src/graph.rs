//! A job as the engine sees it: nodes, edges, and the traits behind the nodes.

use crate::clock::Clock;
use crate::event_time::{EventTime, Watermark};
use crate::metrics::SubtaskMetrics;
use crate::state::{Changes, Epoch, StateHandle};
use crate::watermarks::{SplitId, WatermarkStrategy};
use crate::{Batch, Result};
use std::sync::Arc;
use std::time::Duration;

/// An output of a node. Most have one; rows that failed leave by the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(pub u8);

/// The output for results.
pub const MAIN: Port = Port(0);
/// The output for dead letters.
pub const DEAD_LETTERS: Port = Port(1);

/// How an edge deals rows out to the subtasks of the next node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitioning {
    /// Subtask i to subtask i; only between equal parallelisms.
    Forward,
    /// By key group of these columns.
    Hash(Vec<usize>),
    /// Whole batches, in turn.
    Rebalance,
    /// All to the first subtask.
    Single,
}

/// An edge that ends at a node's input.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The node it comes from.
    pub from: usize,
    /// The output that it takes.
    pub port: Port,
    /// The input of the node that it feeds, from 0. Several edges may feed one: the relations of a UNION ALL do.
    pub input: usize,
    /// How rows are dealt out.
    pub partitioning: Partitioning,
    /// Whether rows have to stay in the order of their subtask, as changes have to: then forwarding is all that will do.
    pub ordered: bool,
}

/// A node of the job: one operator, source or sink, in `parallelism` subtasks.
#[derive(Clone)]
pub struct Node {
    /// Its name, for people and metrics; unique in the job.
    pub name: String,
    /// What its state is known by; the same as long as what it computes is the same.
    pub uid: String,
    /// The number of subtasks, 1 to 64.
    pub parallelism: usize,
    /// What it does.
    pub role: Role,
    /// Where its rows come from; empty for sources.
    pub inputs: Vec<Edge>,
    /// Of a source, how it makes watermarks; none: its rows have no event time.
    pub watermarks: Option<WatermarkStrategy>,
}

/// What a node does.
#[derive(Clone)]
pub enum Role {
    /// Brings rows in.
    Source(Arc<dyn SourceFactory>),
    /// Makes rows of rows.
    Operator(Arc<dyn OperatorFactory>),
    /// Takes rows out.
    Sink(Arc<dyn SinkFactory>),
}

/// A job: nodes in an order in which every edge points forward.
#[derive(Clone)]
pub struct JobGraph {
    /// The job's name.
    pub name: String,
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// The job as systems outside know it, across restarts and machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobIdentity {
    /// Drawn once, and kept with the state. A process that runs with the state fences off those that ran with it before.
    pub id: String,
    /// The run, which is the timeline of its epochs: drawn when the job starts anew.
    pub run: String,
}

/// The epochs in which a sink was given something to deliver: the last durable one, and the one before it (0: none). There is a mark
/// once the run has a durable epoch, whether or not the sink was given anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitMarker {
    /// The last.
    pub epoch: Epoch,
    /// The one before.
    pub previous: Epoch,
}

/// What a subtask is told when it is made.
#[derive(Clone)]
pub struct SubtaskContext {
    /// The node's name.
    pub node: String,
    /// Which subtask this is, from 0.
    pub subtask: usize,
    /// How many there are.
    pub parallelism: usize,
    /// The job that this is part of.
    pub job: JobIdentity,
    /// The node's state.
    pub state: StateHandle,
    /// Bytes that decoded state may take before clean keys are dropped.
    pub cache_bytes: usize,
    /// Rows that a batch of a source has at most.
    pub batch_rows: usize,
    /// The subtask's counters.
    pub metrics: SubtaskMetrics,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

/// Something that a subtask gives out.
#[derive(Debug, Clone)]
pub enum Output {
    /// Rows, by one of its outputs.
    Rows(Port, Batch),
    /// How far event time has come; goes by every output to every subtask behind.
    Watermark(Watermark),
    /// Nothing will come for a while, so that nobody has to wait for this subtask's event time.
    Idle,
    /// Nothing will come any more.
    End,
    /// A source reads one more split, in front of the first row of it. Its name is the same in each run.
    SplitAdded(SplitId, String),
    /// A source has read all of a split, behind the last row of it.
    SplitEnded(SplitId),
}

/// Takes what a subtask gives out.
#[derive(Default)]
pub struct Collector {
    /// What was given out, in order.
    pub outputs: Vec<Output>,
}

impl Collector {
    /// Gives out results.
    pub fn emit(&mut self, batch: Batch) {
        if batch.rows() > 0 {
            self.outputs.push(Output::Rows(MAIN, batch));
        }
    }
    /// Gives out rows that failed.
    pub fn dead_letters(&mut self, batch: Batch) {
        if batch.rows() > 0 {
            self.outputs.push(Output::Rows(DEAD_LETTERS, batch));
        }
    }
    /// Says that a split is read from here on. For sources that have splits, see [`Source::has_splits`].
    pub fn add_split(&mut self, split: SplitId, name: String) {
        self.outputs.push(Output::SplitAdded(split, name));
    }
    /// Says that all of a split was read.
    pub fn end_split(&mut self, split: SplitId) {
        self.outputs.push(Output::SplitEnded(split));
    }
    /// Says how far event time has come. For sources; of operators, see [`Operator::output_watermark`].
    pub fn watermark(&mut self, to: Watermark) {
        self.outputs.push(Output::Watermark(to));
    }
    /// Says that nothing will come for a while. For sources; the next watermark ends it.
    pub fn idle(&mut self) {
        self.outputs.push(Output::Idle);
    }
    /// The rows that were given out, by any output.
    pub fn rows(&self) -> impl Iterator<Item = &Batch> {
        self.outputs.iter().filter_map(|o| match o {
            Output::Rows(_, batch) => Some(batch),
            _ => None,
        })
    }
}

/// What came of asking a source for rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// There may be more at once.
    More,
    /// Nothing now; ask again after this time.
    Wait(Duration),
    /// There will be nothing more.
    End,
}

/// One subtask of a source.
pub trait Source: Send {
    /// Gives out some rows, a batch or so.
    ///
    /// # Errors
    /// What ends the job.
    fn poll(&mut self, out: &mut Collector) -> Result<Polled>;
    /// The changes of its position since the last epoch.
    ///
    /// # Errors
    /// What ends the job.
    fn checkpoint(&mut self, epoch: Epoch) -> Result<Changes>;
    /// Whether it says which splits it reads, and where they end, and its batches say which split a row is of
    /// ([`Origin::split`](crate::origin::Origin::split)). Otherwise all that a subtask reads is one split, from its start on.
    fn has_splits(&self) -> bool {
        false
    }
    /// Says which of its splits are not to be read for now, for they are ahead of others; all others are. Rows of them that were
    /// fetched already may still come.
    ///
    /// # Errors
    /// What ends the job.
    fn pause_splits(&mut self, _splits: &[SplitId]) -> Result<()> {
        Ok(())
    }
}

/// Makes the subtasks of a source.
pub trait SourceFactory: Send + Sync {
    /// Called once before the subtasks are made, with the position at the last epoch.
    ///
    /// # Errors
    /// When the source cannot go on from there.
    fn start(&self, state: &StateHandle, parallelism: usize) -> Result<()>;
    /// Makes a subtask.
    ///
    /// # Errors
    /// What ends the job.
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>>;
    /// Whether it can go back to an earlier position.
    fn replayable(&self) -> bool {
        true
    }
    /// How many subtasks can have something to read, where that is known: the partitions of its topics.
    fn partitions(&self) -> Option<usize> {
        None
    }
    /// The rows a second that it brings, where that is set, rather than as many as are taken.
    fn rate(&self) -> Option<f64> {
        None
    }
    /// The number of bytes it will read, where that is known, for a progress bar.
    fn total_bytes(&self) -> Option<u64> {
        None
    }
}

/// One subtask of an operator.
pub trait Operator: Send {
    /// Takes a batch from an input and gives out what follows from it.
    ///
    /// # Errors
    /// What ends the job.
    fn process(&mut self, input: usize, batch: Batch, out: &mut Collector) -> Result<()>;
    /// Called when the event time of an input or of all together has come further, behind the rows in front of the watermark: timers
    /// of event time are due. What was given out goes before the operator's own watermark.
    ///
    /// # Errors
    /// What ends the job.
    fn on_watermark(&mut self, _time: &EventTime, _out: &mut Collector) -> Result<()> {
        Ok(())
    }
    /// How far event time has come behind this operator, when it has come so far in front of it: as far, unless rows of earlier times
    /// are kept back. It is asked after [`Operator::on_watermark`] and after each epoch.
    fn output_watermark(&self, all: Watermark) -> Watermark {
        if self.results_at_end() { Watermark::NONE } else { all }
    }
    /// Called when nothing will come on an input any more, `last` when that is so on all of them; in a generation that begins after
    /// an epoch behind that, once more.
    ///
    /// # Errors
    /// What ends the job.
    fn on_input_end(&mut self, _input: usize, _last: bool, _out: &mut Collector) -> Result<()> {
        Ok(())
    }
    /// Whether rows are kept back that go out in [`Operator::end`] only, so that what is behind has not ended when the inputs have.
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
    /// The time of day at which it is to be called next, in milliseconds since 1970: its first timer of processing time.
    fn next_tick(&self) -> Option<i64> {
        None
    }
    /// Called when that time has come, or is past.
    ///
    /// # Errors
    /// What ends the job.
    fn on_tick(&mut self, _now: i64, _out: &mut Collector) -> Result<()> {
        Ok(())
    }
    /// The changes of its state since the last epoch.
    ///
    /// # Errors
    /// What ends the job.
    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        Ok(Changes::default())
    }
    /// The rows that it would rather take at once, if so many are waiting; 0 when it takes batches as they come.
    fn preferred_rows(&self) -> usize {
        0
    }
    /// Whether changes in memory ask for an epoch before its time.
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
    /// The sandboxed functions that it calls, by the names that their metrics have.
    fn functions(&self) -> Vec<String> {
        vec![]
    }
    /// Whether its subtasks keep state, and so share the cache.
    fn keeps_state(&self) -> bool {
        false
    }
}

/// What a sink hands over at a barrier.
#[derive(Debug, Default)]
pub struct SinkCheckpoint {
    /// Changes of its own state.
    pub changes: Changes,
    /// What is to be delivered once the epoch is durable.
    pub outbox: Vec<Vec<u8>>,
}

/// One subtask of a sink.
pub trait Sink: Send {
    /// Takes rows.
    ///
    /// # Errors
    /// What ends the job.
    fn write(&mut self, batch: Batch) -> Result<()>;
    /// Everything taken so far belongs to this epoch; `last` when no call follows: what it is connected to may go to others.
    ///
    /// # Errors
    /// What ends the job.
    fn checkpoint(&mut self, epoch: Epoch, last: bool) -> Result<SinkCheckpoint>;
    /// Whether what waits in memory asks for an epoch before its time.
    fn wants_epoch(&self) -> bool {
        false
    }
}

/// Makes the subtasks of a sink, and delivers what they handed over.
pub trait SinkFactory: Send + Sync {
    /// Makes a subtask.
    ///
    /// # Errors
    /// What ends the job.
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Sink>>;
    /// Called first in every generation: connects, ends what an earlier process left half done, and compares what the
    /// system outside knows with the state's mark; there is none before the run's first durable epoch.
    ///
    /// # Errors
    /// When the two cannot be of one history, or the system cannot be reached.
    fn begin(&self, _job: &JobIdentity, _mark: Option<CommitMarker>) -> Result<()> {
        Ok(())
    }
    /// Delivers a durable epoch's outbox. Called again after a crash: doing it twice does no harm.
    ///
    /// # Errors
    /// When it could not be delivered.
    fn deliver(&self, _mark: CommitMarker, _outbox: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }
    /// Called after the last epoch of a job whose sources have ended was delivered: returns when others can read all of it.
    ///
    /// # Errors
    /// When that takes too long. Everything is delivered all the same.
    fn ended(&self) -> Result<()> {
        Ok(())
    }
    /// Called before the subtasks are made, after all outboxes were delivered: brings what lies outside in line with
    /// the sink's state, and returns how that state changes.
    ///
    /// # Errors
    /// When that is not possible.
    fn recover(&self, _state: &StateHandle) -> Result<Changes> {
        Ok(Changes::default())
    }
}
