//! What is known of relations, derived once from the sources up.

use crate::logical::Plan;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use weir_expr::Expr;
use weir_expr::injective::injective;

/// When results are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// After each row, and again when they change.
    Streaming,
    /// Once, when the sources have ended.
    Batch,
}

/// The kinds of rows that a relation brings, as in Flink's `ChangelogMode`. Inserts are always among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangelogMode {
    /// Rows as they were before an update.
    pub update_before: bool,
    /// Rows as they are after an update.
    pub update_after: bool,
    /// Rows that are deleted.
    pub delete: bool,
}

impl ChangelogMode {
    /// Rows are only ever added.
    pub const INSERT_ONLY: Self = Self { update_before: false, update_after: false, delete: false };
    /// Every change takes back what was there.
    pub const RETRACT: Self = Self { update_before: true, update_after: true, delete: true };
    /// A row replaces the one before of the same key.
    pub const UPSERT: Self = Self { update_before: false, ..Self::RETRACT };

    /// Whether rows are only ever added.
    pub fn is_insert_only(self) -> bool {
        self == Self::INSERT_ONLY
    }
    /// The kinds of both.
    pub fn union(self, other: Self) -> Self {
        Self {
            update_before: self.update_before || other.update_before,
            update_after: self.update_after || other.update_after,
            delete: self.delete || other.delete,
        }
    }
}

/// As Flink's EXPLAIN writes it: `[I,UB,UA,D]`.
impl fmt::Display for ChangelogMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(true, "I"), (self.update_before, "UB"), (self.update_after, "UA"), (self.delete, "D")];
        let kinds: Vec<&str> = all.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect();
        write!(f, "[{}]", kinds.join(","))
    }
}

/// What is known of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traits {
    /// The kinds of rows that it brings.
    pub changelog: ChangelogMode,
    /// Whether every row that it takes back is one that it brought before. Changes of a table may begin in the middle, and a lookup
    /// may find something else the second time.
    pub balanced: bool,
    /// The columns that a row is unique by, as far as they come through.
    pub upsert_key: Option<Vec<usize>>,
}

/// A relation with its traits, over its inputs with theirs. One with several readers is derived once, and stands under each of them.
#[derive(Debug)]
pub struct Derived<'a> {
    /// The relation.
    pub plan: &'a Plan,
    /// What is known of it.
    pub traits: Traits,
    /// The relations that it reads.
    pub inputs: Vec<Rc<Derived<'a>>>,
}

/// Derives the traits of a relation and of all below.
pub fn derive(plan: &Plan, mode: Mode) -> Rc<Derived<'_>> {
    fn walk<'a>(plan: &'a Plan, mode: Mode, shared: &mut HashMap<usize, Rc<Derived<'a>>>) -> Rc<Derived<'a>> {
        let number = match plan {
            Plan::Shared(one) => Some(one.id),
            Plan::Scan { .. }
            | Plan::Values { .. }
            | Plan::Calc { .. }
            | Plan::Expand { .. }
            | Plan::Aggregate { .. }
            | Plan::Normalize { .. }
            | Plan::Lookup { .. }
            | Plan::Union { .. } => None,
        };
        if let Some(known) = number.and_then(|n| shared.get(&n)) {
            return known.clone();
        }
        let inputs: Vec<Rc<Derived<'a>>> = plan.inputs().into_iter().map(|i| walk(i, mode, shared)).collect();
        let derived = Rc::new(Derived { plan, traits: traits(plan, &inputs, mode), inputs });
        if let Some(n) = number {
            shared.insert(n, derived.clone());
        }
        derived
    }
    walk(plan, mode, &mut HashMap::new())
}

/// The traits of a relation, by those of its inputs. What each operator accepts and emits is Flink's table of changelog modes.
fn traits(plan: &Plan, inputs: &[Rc<Derived<'_>>], mode: Mode) -> Traits {
    let all = || inputs.iter().map(|i| i.traits.changelog).fold(ChangelogMode::INSERT_ONLY, ChangelogMode::union);
    let insert_only = all().is_insert_only();
    let balanced = inputs.iter().all(|i| i.traits.balanced);
    let key = || inputs.first().and_then(|i| i.traits.upsert_key.clone());
    match plan {
        Plan::Scan { table, columns, .. } => {
            let changelog = match (table.is_upsert(), table.brings_changes()) {
                (true, _) => ChangelogMode::UPSERT,
                (false, true) => ChangelogMode::RETRACT,
                (false, false) => ChangelogMode::INSERT_ONLY,
            };
            let place = |k: &usize| columns.iter().position(|c| c == k);
            let keyed = !table.primary_key.is_empty();
            let upsert_key = if keyed { table.primary_key.iter().map(place).collect() } else { None };
            Traits { changelog, balanced: changelog.is_insert_only(), upsert_key }
        }
        Plan::Values { .. } => Traits { changelog: ChangelogMode::INSERT_ONLY, balanced: true, upsert_key: None },
        Plan::Calc { exprs, .. } => {
            let at = |k: &usize| exprs.iter().position(|e| column_kept_apart(e) == Some(*k));
            let upsert_key = key().and_then(|key| key.iter().map(at).collect());
            Traits { changelog: all(), balanced, upsert_key }
        }
        Plan::Expand { .. } | Plan::Union { .. } => Traits { changelog: all(), balanced, upsert_key: None },
        Plan::Aggregate { keys, calls, .. } => {
            let changelog = if calls.is_empty() && !keys.is_empty() {
                // DISTINCT has no result that changes: a row comes, and may go.
                ChangelogMode { delete: !insert_only, ..ChangelogMode::INSERT_ONLY }
            } else {
                match mode {
                    Mode::Batch => ChangelogMode::INSERT_ONLY,
                    Mode::Streaming => ChangelogMode { delete: !insert_only, ..ChangelogMode::RETRACT },
                }
            };
            let upsert_key = (!keys.is_empty()).then(|| (0..keys.len()).collect());
            Traits { changelog, balanced: true, upsert_key }
        }
        Plan::Normalize { keys, .. } => {
            let changelog = if insert_only { ChangelogMode::INSERT_ONLY } else { ChangelogMode::RETRACT };
            Traits { changelog, balanced: true, upsert_key: Some(keys.clone()) }
        }
        Plan::Lookup { table, on, keep, .. } => {
            // One row at most for each that comes.
            let one = !table.primary_key.is_empty()
                && table.primary_key.iter().all(|k| on.iter().any(|(_, there)| there == k));
            let at = |k: &usize| keep.iter().position(|c| c == k);
            let upsert_key = key().filter(|_| one).and_then(|key| key.iter().map(at).collect());
            Traits { changelog: all(), balanced: insert_only, upsert_key }
        }
        Plan::Shared(_) => Traits { changelog: all(), balanced, upsert_key: key() },
    }
}

/// The column that an expression has a value of its own for each value of.
fn column_kept_apart(e: &Expr) -> Option<usize> {
    match e {
        Expr::Column { index, .. } => Some(*index),
        Expr::Cast { expr, ty, .. } if injective(&expr.ty(), ty) => column_kept_apart(expr),
        _ => None,
    }
}
