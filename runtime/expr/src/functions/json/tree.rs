//! Parsed JSON paths: their steps and filters.

use crate::functions::pattern::Pattern;
use serde_json::Value as Json;

/// One step of a path.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a few of them live as long as a path")]
pub(super) enum PathStep {
    /// `.name`, `['name']`, `['one', 'two']`
    Names(Vec<String>),
    /// `[0]`, `[0, -1]`
    Indices(Vec<i64>),
    /// `[from:to]`
    Slice(Option<i64>, Option<i64>),
    /// `*`
    All,
    /// `..`
    Scan,
    /// `[?(…)]`
    Filter(PathFilter),
    /// `.length()`
    Call(String, Vec<Argument>),
}

/// An argument of a function within a path.
#[derive(Debug)]
pub(super) enum Argument {
    /// A value.
    Json(Json),
    /// The result of a path.
    Path(Path),
}

/// A path.
#[derive(Debug)]
pub(super) struct Path {
    /// Whether it begins at the document, not at the node of a filter.
    pub root: bool,
    pub steps: Vec<PathStep>,
}

impl Path {
    /// Whether a step leads to a single node. Several names in the last step give a single object.
    pub(super) fn single(&self, step: usize) -> bool {
        match &self.steps[step] {
            PathStep::Names(names) => names.len() == 1 || step + 1 == self.steps.len(),
            PathStep::Indices(indices) => indices.len() == 1,
            PathStep::Call(..) => true,
            _ => false,
        }
    }
    /// Whether the whole path leads to a single node.
    pub(super) fn definite(&self) -> bool {
        (0..self.steps.len()).all(|s| self.single(s))
    }
}

/// A condition on a node.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a few of them live as long as a path")]
pub(super) enum PathFilter {
    And(Box<PathFilter>, Box<PathFilter>),
    Or(Box<PathFilter>, Box<PathFilter>),
    Not(Box<PathFilter>),
    /// Whether a path leads anywhere.
    Exists(Path),
    Relation(Operand, FilterOperator, Operand),
}

#[derive(Debug)]
pub(super) enum Operand {
    Path(Path),
    Json(Json),
    Pattern(Pattern),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FilterOperator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    In,
    NotIn,
    Contains,
    Size,
    Empty,
    SubsetOf,
    AnyOf,
    NoneOf,
    All,
}
