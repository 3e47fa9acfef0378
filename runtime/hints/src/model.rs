//! The model of a job on which the advice is based.

use serde::Serialize;

/// The role of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorRole {
    /// It reads rows from outside.
    Source,
    /// It turns rows into other rows.
    Operator,
    /// It writes rows to the outside.
    Sink,
}

/// The required rate of a source.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// As many rows as arrive, with a known lag: a topic.
    Lag,
    /// A configured rate in rows per second.
    Rate(f64),
    /// As fast as possible: a file or table. No rate is sufficient.
    Unbounded,
}

/// An operator.
#[derive(Debug, Clone, Serialize)]
pub struct OperatorModel {
    /// Its name, unique in the job.
    pub name: String,
    /// Its role.
    pub role: OperatorRole,
    /// Its subtasks.
    pub parallelism: usize,
    /// The indices of its inputs in the graph, which are lower than its own.
    pub inputs: Vec<usize>,
    /// The maximum number of subtasks with work: the partitions of a source, otherwise the key groups, or 1 if there is no key.
    pub most: usize,
    /// For a source, its required rate.
    pub demand: Demand,
    /// The functions that it calls.
    pub functions: Vec<String>,
    /// The number of its group. Operators of a group must have the same parallelism, because rows are forwarded between them without an
    /// exchange.
    pub group: usize,
}

/// The operators of a job, in topological order.
#[derive(Debug, Clone, Default, Serialize)]
pub struct JobModel {
    /// The operators.
    pub operators: Vec<OperatorModel>,
}
