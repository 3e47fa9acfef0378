//! What was observed: counters at points in time, of which the advice takes the differences; and by what it is given.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a subtask has done since it began; times in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SubtaskCounters {
    /// Rows that it took in; of a source, gave out.
    pub rows_in: f64,
    /// Rows that it gave out.
    pub rows_out: f64,
    /// Time at work, waiting for a core included.
    pub busy: f64,
    /// Time without room downstream.
    pub back_pressured: f64,
    /// Time at work without waiting for a core.
    pub useful: f64,
    /// Processor time.
    pub cpu: f64,
    /// How full its input is now, 0 to 1.
    pub queue: f64,
}

/// What an operator has done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OperatorCounters {
    /// Its subtasks.
    pub subtasks: Vec<SubtaskCounters>,
    /// Of a source that knows it: the records that wait now.
    pub lag: Option<f64>,
    /// Of a sink: the time in which it took over epochs.
    pub delivering: f64,
}

/// What a function has done.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FunctionCounters {
    /// Rows.
    pub rows: f64,
    /// Seconds.
    pub time: f64,
}

/// All counters at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// When, from any fixed moment.
    pub at: Duration,
    /// The operators, in the graph's order.
    pub work: Vec<OperatorCounters>,
    /// The functions.
    pub functions: BTreeMap<String, FunctionCounters>,
}

/// By what the advice is given. The defaults are for a job of one process, whose rescales cost well under a second: where
/// Flink's autoscaler looks back for minutes, because its restarts take minutes, seconds do here.
#[derive(Debug, Clone)]
pub struct AdviceSettings {
    /// The utilisation to aim at.
    pub target: f64,
    /// How far from it nothing is done.
    pub boundary: f64,
    /// How far back to look.
    pub window: Duration,
    /// For how long nothing is advised after the start or a rescale: caches are cold.
    pub stabilization: Duration,
    /// For how long less must have been enough before less is advised.
    pub scale_down_delay: Duration,
    /// Within which time what waits should be worked off.
    pub catch_up: Duration,
    /// What waits for longer than this, at the present rate, is a backlog, during which nothing is scaled down.
    pub backlog: Duration,
    /// Cores that the process may use.
    pub cores: f64,
    /// Subtasks of an operator at most.
    pub most: usize,
}

impl Default for AdviceSettings {
    fn default() -> Self {
        AdviceSettings {
            target: 0.7,
            boundary: 0.3,
            window: Duration::from_secs(60),
            stabilization: Duration::from_secs(10),
            scale_down_delay: Duration::from_secs(300),
            catch_up: Duration::from_secs(600),
            backlog: Duration::from_secs(300),
            cores: 1.0,
            most: 64,
        }
    }
}
