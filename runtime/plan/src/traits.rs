//! What is known of relations, derived once from the sources up.

use crate::logical::{Plan, Ranks, RowOrder};
use crate::settings::Mode;
use crate::times::{TimeAttribute, once, times};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use weir_expr::Expr;
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_expr::injective::injective;

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

/// How a column changes when its row is updated, as in Flink's `ModifiedMonotonicity`: it decides how a Top-N over updates is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Monotonicity {
    /// It stays as it is.
    Constant,
    /// It never falls.
    Increasing,
    /// It never rises.
    Decreasing,
    /// It may go either way, or the row be deleted.
    None,
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
    /// How each column changes when its row is updated.
    pub monotonicity: Vec<Monotonicity>,
    /// What each column has to do with time.
    pub times: Vec<Option<TimeAttribute>>,
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
        let number = if let Plan::Shared(one) = plan { Some(one.id) } else { None };
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
    let (changelog, balanced, upsert_key) = match plan {
        Plan::Scan { table, columns, .. } => {
            let changelog = match (table.is_upsert(), table.brings_changes()) {
                (true, _) => ChangelogMode::UPSERT,
                (false, true) => ChangelogMode::RETRACT,
                (false, false) => ChangelogMode::INSERT_ONLY,
            };
            let place = |k: &usize| columns.iter().position(|c| c == k);
            let keyed = !table.primary_key.is_empty();
            let upsert_key = if keyed { table.primary_key.iter().map(place).collect() } else { None };
            (changelog, changelog.is_insert_only(), upsert_key)
        }
        Plan::Values { .. } => (ChangelogMode::INSERT_ONLY, true, None),
        Plan::Calc { exprs, .. } => {
            let at = |k: &usize| exprs.iter().position(|e| column_kept_apart(e) == Some(*k));
            let upsert_key = key().and_then(|key| key.iter().map(at).collect());
            (all(), balanced, upsert_key)
        }
        Plan::Expand { .. } | Plan::Union { .. } | Plan::Unnest { .. } => (all(), balanced, None),
        Plan::Aggregate { keys, window: Some(w), .. } => {
            let changelog = match w.emit {
                Some(_) => ChangelogMode { delete: !insert_only, ..ChangelogMode::RETRACT },
                None => ChangelogMode::INSERT_ONLY,
            };
            (changelog, true, Some((0..keys.len()).collect()))
        }
        Plan::Aggregate { keys, calls, window: None, .. } => {
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
            (changelog, true, upsert_key)
        }
        Plan::Normalize { keys, .. } => {
            let changelog = if insert_only { ChangelogMode::INSERT_ONLY } else { ChangelogMode::RETRACT };
            (changelog, true, Some(keys.clone()))
        }
        Plan::Lookup { table, on, keep, .. } => {
            // One row at most for each that comes.
            let one = !table.primary_key.is_empty()
                && table.primary_key.iter().all(|k| on.iter().any(|(_, there)| there == k));
            let at = |k: &usize| keep.iter().position(|c| c == k);
            let upsert_key = key().filter(|_| one).and_then(|key| key.iter().map(at).collect());
            (all(), insert_only, upsert_key)
        }
        Plan::Rank { .. } => {
            let (changelog, upsert_key) = ranked(plan, inputs, mode);
            (changelog, true, upsert_key)
        }
        Plan::Window { schema, .. } => {
            // A row is in several windows, and in each of them once.
            let (start, end) = (schema.len() - 3, schema.len() - 2);
            let upsert_key = key().map(|key| key.into_iter().chain([start, end]).collect());
            (all(), balanced, upsert_key)
        }
        Plan::Over { order: RowOrder::Values(_), partition, .. } => {
            let changelog = match mode {
                Mode::Batch => ChangelogMode::INSERT_ONLY,
                Mode::Streaming => ChangelogMode { delete: !insert_only, ..ChangelogMode::RETRACT },
            };
            (changelog, true, key_within(key(), partition, insert_only))
        }
        // Only rows that are added go into it: with others it is refused.
        Plan::Over { order: RowOrder::Time(_), .. } | Plan::Sort { .. } => (ChangelogMode::INSERT_ONLY, true, key()),
        Plan::Shared(_) => (all(), balanced, key()),
    };
    let monotonicity = monotonicity(plan, inputs, changelog);
    let below: Vec<&[Option<TimeAttribute>]> = inputs.iter().map(|i| i.traits.times.as_slice()).collect();
    Traits { changelog, balanced, upsert_key, monotonicity, times: times(plan, &below) }
}

/// How each column of a relation changes, by those of its inputs and by what the relation brings.
fn monotonicity(plan: &Plan, inputs: &[Rc<Derived<'_>>], changelog: ChangelogMode) -> Vec<Monotonicity> {
    let width = plan.schema().len();
    if changelog.is_insert_only() {
        return vec![Monotonicity::Constant; width];
    }
    let nothing = || vec![Monotonicity::None; width];
    if changelog.delete {
        return nothing();
    }
    let below = inputs.first().map_or(&[][..], |i| i.traits.monotonicity.as_slice());
    let of = |column: usize| below.get(column).copied().unwrap_or(Monotonicity::None);
    match plan {
        Plan::Calc { exprs, .. } => {
            let of_expr = |e: &Expr| match e {
                Expr::Column { index, .. } => of(*index),
                Expr::Literal { .. } => Monotonicity::Constant,
                _ => Monotonicity::None,
            };
            exprs.iter().map(of_expr).collect()
        }
        // Of rows that are only added: with others there would be deletes.
        Plan::Aggregate { keys, calls, .. } => {
            let of_call = |c: &AggregateCall| match c.function {
                Aggregate::CountStar | Aggregate::Count | Aggregate::Max => Monotonicity::Increasing,
                Aggregate::Min => Monotonicity::Decreasing,
                Aggregate::Sum
                | Aggregate::Avg
                | Aggregate::StddevPop
                | Aggregate::StddevSamp
                | Aggregate::VarPop
                | Aggregate::VarSamp
                | Aggregate::FirstValue
                | Aggregate::LastValue
                | Aggregate::Collect
                | Aggregate::ListAgg { .. }
                | Aggregate::Percentile { .. }
                | Aggregate::ArrayAgg
                | Aggregate::JsonObjectAgg { .. }
                | Aggregate::JsonArrayAgg { .. }
                | Aggregate::Lag { .. }
                | Aggregate::Rank { .. } => Monotonicity::None,
            };
            keys.iter().map(|_| Monotonicity::Constant).chain(calls.iter().map(of_call)).collect()
        }
        Plan::Lookup { keep, columns, .. } => {
            keep.iter().map(|k| of(*k)).chain(columns.iter().map(|_| Monotonicity::None)).collect()
        }
        Plan::Shared(_) => below.to_vec(),
        Plan::Window { .. } => below.iter().copied().chain([Monotonicity::Constant; 3]).collect(),
        // A row of one input has nothing to do with those of another.
        Plan::Scan { .. }
        | Plan::Values { .. }
        | Plan::Expand { .. }
        | Plan::Unnest { .. }
        | Plan::Normalize { .. }
        | Plan::Rank { .. }
        | Plan::Over { .. }
        | Plan::Sort { .. }
        | Plan::Union { .. } => nothing(),
    }
}

/// What a Top-N, or a relation that numbers all rows, brings, and the key of that.
fn ranked(plan: &Plan, inputs: &[Rc<Derived<'_>>], mode: Mode) -> (ChangelogMode, Option<Vec<usize>>) {
    let (Plan::Rank { partition, ranks, number, .. }, [input]) = (plan, inputs) else {
        return (ChangelogMode::RETRACT, None);
    };
    let insert_only = input.traits.changelog.is_insert_only();
    let once = insert_only && once(plan, &input.traits.times);
    let changelog = match mode {
        Mode::Streaming if once => ChangelogMode::INSERT_ONLY,
        Mode::Batch => ChangelogMode::INSERT_ONLY,
        // A rank that was given to a row of what is only added to is never without a row again.
        Mode::Streaming => ChangelogMode { delete: !(insert_only && *number), ..ChangelogMode::RETRACT },
    };
    let rest = || key_within(input.traits.upsert_key.clone(), partition, insert_only);
    let upsert_key = match (*number, ranks) {
        // A row that gets another number does so by itself, not in the place of the row that had it.
        (true, Ranks { last: None, .. }) if !once => rest(),
        (true, _) => Some(partition.iter().copied().chain([plan.schema().len() - 1]).collect()),
        (false, Ranks { first: 1, last: Some(1), .. }) if !partition.is_empty() => Some(partition.clone()),
        (false, _) => rest(),
    };
    (changelog, upsert_key)
}

/// The key of rows that are partitioned anew. Changes of one key stay in order only if they are in one partition.
fn key_within(key: Option<Vec<usize>>, partition: &[usize], insert_only: bool) -> Option<Vec<usize>> {
    key.filter(|key| insert_only || partition.iter().all(|column| key.contains(column)))
}

/// The column that an expression has a value of its own for each value of.
fn column_kept_apart(e: &Expr) -> Option<usize> {
    match e {
        Expr::Column { index, .. } => Some(*index),
        Expr::Cast { expr, ty, .. } if injective(&expr.ty(), ty) => column_kept_apart(expr),
        _ => None,
    }
}
