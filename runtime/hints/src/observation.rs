//! Observations, which are counters at points in time, and the settings of the advice.

use std::collections::BTreeMap;
use std::time::Duration;

/// The counters of a subtask since its start. Times are in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SubtaskCounters {
    /// The number of input rows; for a source, of output rows.
    pub rows_in: f64,
    /// The number of output rows.
    pub rows_out: f64,
    /// The busy time, which includes waiting for a core.
    pub busy: f64,
    /// The time without room downstream.
    pub back_pressured: f64,
    /// The useful time: the busy time without waiting for a core.
    pub useful: f64,
    /// Processor time.
    pub cpu: f64,
    /// How full its input queue is now, from 0 to 1.
    pub queue: f64,
}

/// The counters of an operator.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OperatorCounters {
    /// Its subtasks.
    pub subtasks: Vec<SubtaskCounters>,
    /// For a source, the current lag in records, if it is known.
    pub lag: Option<f64>,
    /// For a sink, the time in which it has delivered epochs.
    pub delivering: f64,
}

/// The counters of a function.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FunctionCounters {
    /// The number of rows.
    pub rows: f64,
    /// The time in seconds.
    pub time: f64,
}

/// All counters at a point in time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// The time since a fixed point.
    pub at: Duration,
    /// The operators, in the order of the graph.
    pub work: Vec<OperatorCounters>,
    /// The functions.
    pub functions: BTreeMap<String, FunctionCounters>,
}

/// The settings of the advice. The defaults are for a job in one process, in which a change of parallelism takes well under a second.
/// Flink's autoscaler uses windows of minutes, because its restarts take minutes.
#[derive(Debug, Clone)]
pub struct AdviceSettings {
    /// The target utilization.
    pub target: f64,
    /// The distance from the target within which nothing is advised.
    pub boundary: f64,
    /// The length of the window.
    pub window: Duration,
    /// How long nothing is advised after the start or a change of parallelism, while caches are cold.
    pub stabilization: Duration,
    /// How long a lower parallelism must have been sufficient before it is advised.
    pub scale_down_delay: Duration,
    /// The time in which a backlog should be processed.
    pub catch_up: Duration,
    /// A lag of more than this time at the current rate is a backlog. Nothing is scaled down until it has been processed.
    pub backlog: Duration,
    /// The number of cores that the process may use.
    pub cores: f64,
    /// The maximum parallelism of an operator.
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
