//! A job as the advice sees it.

use serde::Serialize;

/// What an operator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorRole {
    /// Brings rows in.
    Source,
    /// Makes rows of rows.
    Operator,
    /// Takes rows out.
    Sink,
}

/// What is known of how much a source should bring.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// As many rows as come, with a count of those that wait: a topic.
    Lag,
    /// So many rows a second, which are set.
    Rate(f64),
    /// As much as possible: a file, a table. There is no rate that is enough.
    Unbounded,
}

/// An operator.
#[derive(Debug, Clone, Serialize)]
pub struct OperatorModel {
    /// Its name, unique in the job.
    pub name: String,
    /// What it is.
    pub role: OperatorRole,
    /// Its subtasks.
    pub parallelism: usize,
    /// The operators that it takes rows from, by their places in the graph, which are before its own.
    pub inputs: Vec<usize>,
    /// How many subtasks can have work: of a source, its partitions; otherwise the key groups, or 1 where no key divides the rows.
    pub most: usize,
    /// Of a source, what it should bring.
    pub demand: Demand,
    /// The functions that it calls.
    pub functions: Vec<String>,
    /// Other operators that have the same parallelism by necessity: rows go from subtask to subtask without an exchange.
    pub group: usize,
}

/// A job's operators, in an order in which rows only go forward.
#[derive(Debug, Clone, Default, Serialize)]
pub struct JobModel {
    /// The operators.
    pub operators: Vec<OperatorModel>,
}
