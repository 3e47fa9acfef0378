//! Which operator to scale, to what, and why: advice from a window of metrics, without threads and clocks.
//!
//! The arithmetic follows DS2 (Kalavri et al., OSDI '18) and Flink's autoscaler: how fast an operator could be follows from its
//! *useful* time, how fast it has to be from what the sources get, carried through the graph by what each operator made of
//! its rows. Beside that stands what people otherwise combine by hand: sources that have no more partitions, keys that are not
//! alike, systems behind sinks that are slow, functions that cost most of the time, and cores that are all in use.

mod advise;
mod model;
mod observation;
mod window;

pub use advise::{Hint, RULES, Rule};
pub use model::{Demand, JobModel, OperatorModel, OperatorRole};
pub use observation::{AdviceSettings, FunctionCounters, Observation, OperatorCounters, SubtaskCounters};
pub use window::Adviser;
