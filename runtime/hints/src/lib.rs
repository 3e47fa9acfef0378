//! Advises which operator to scale, to which parallelism, and why, from a window of metrics. It has no threads and reads no clocks.
//!
//! The arithmetic follows DS2 (Kalavri et al., OSDI '18) and Flink's autoscaler. The capacity of an operator follows from its *useful*
//! time. The required rate follows from the input of the sources, propagated through the graph by the number of output rows per input row.
//! Other rules cover what users otherwise find out by hand: sources without further partitions, skewed keys, slow systems behind sinks,
//! expensive functions, and a lack of cores.

mod advise;
mod model;
mod observation;
mod window;

pub use advise::{Hint, RULES, Rule};
pub use model::{Demand, JobModel, OperatorModel, OperatorRole};
pub use observation::{AdviceSettings, FunctionCounters, Observation, OperatorCounters, SubtaskCounters};
pub use window::Adviser;
