//! Traits: known properties of relations, derived once from the sources up.

use crate::logical::{Plan, Ranks, RowOrder};
use crate::settings::Mode;
use crate::times::{TimeAttribute, interval_of_join, once, times, window_of_join};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use weir_core::join::{JoinKind, LEFT, RIGHT};
use weir_expr::Expr;
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_expr::injective::injective;

/// The kinds of rows that a relation emits, as in Flink's `ChangelogMode`. Insertions are always included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangelogMode {
    /// Former rows of updates.
    pub update_before: bool,
    /// New rows of updates.
    pub update_after: bool,
    /// Deleted rows.
    pub delete: bool,
}

impl ChangelogMode {
    /// Only insertions.
    pub const INSERT_ONLY: Self = Self { update_before: false, update_after: false, delete: false };
    /// Every change retracts the former row.
    pub const RETRACT: Self = Self { update_before: true, update_after: true, delete: true };
    /// A row replaces the previous one of the same key.
    pub const UPSERT: Self = Self { update_before: false, ..Self::RETRACT };

    /// Whether there are only insertions.
    pub fn is_insert_only(self) -> bool {
        self == Self::INSERT_ONLY
    }
    /// The union of both modes.
    pub fn union(self, other: Self) -> Self {
        Self {
            update_before: self.update_before || other.update_before,
            update_after: self.update_after || other.update_after,
            delete: self.delete || other.delete,
        }
    }
}

/// Formats the mode as Flink's EXPLAIN does: `[I,UB,UA,D]`.
impl fmt::Display for ChangelogMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(true, "I"), (self.update_before, "UB"), (self.update_after, "UA"), (self.delete, "D")];
        let kinds: Vec<&str> = all.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect();
        write!(f, "[{}]", kinds.join(","))
    }
}

/// How a column changes when its row is updated, as in Flink's `ModifiedMonotonicity`. It decides how the state of a Top-N over updates is
/// kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Monotonicity {
    /// It does not change.
    Constant,
    /// It never decreases.
    Increasing,
    /// It never increases.
    Decreasing,
    /// It may change either way, or the row may be deleted.
    None,
}

/// The known properties of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traits {
    /// The changelog mode.
    pub changelog: ChangelogMode,
    /// Whether every retracted row was inserted before. This is not so for the changelog of a table that begins in the middle, or for a
    /// lookup that may find other rows the second time.
    pub balanced: bool,
    /// The columns by which rows are unique, if all of these are in the output.
    pub upsert_key: Option<Vec<usize>>,
    /// How each column changes when its row is updated.
    pub monotonicity: Vec<Monotonicity>,
    /// The time attribute of each column.
    pub times: Vec<Option<TimeAttribute>>,
}

/// A relation with its traits, over its inputs with theirs. A shared relation is derived once and used for each of its readers.
#[derive(Debug)]
pub struct Derived<'a> {
    /// The relation.
    pub plan: &'a Plan,
    /// Its traits.
    pub traits: Traits,
    /// Its inputs.
    pub inputs: Vec<Rc<Derived<'a>>>,
}

/// Derives the traits of a relation and all relations below it.
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

/// The traits of a relation, given those of its inputs. The changelog modes that each operator accepts and emits are those of Flink.
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
                // DISTINCT never updates a row: rows are only inserted and perhaps deleted.
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
            // At most one row for each input row.
            let one = !table.primary_key.is_empty()
                && table.primary_key.iter().all(|k| on.iter().any(|(_, there)| there == k));
            let at = |k: &usize| keep.iter().position(|c| c == k);
            let upsert_key = key().filter(|_| one).and_then(|key| key.iter().map(at).collect());
            (all(), insert_only, upsert_key)
        }
        Plan::Join { .. } => {
            let (changelog, upsert_key) = joined(plan, inputs, mode);
            (changelog, true, upsert_key)
        }
        Plan::Rank { .. } => {
            let (changelog, upsert_key) = ranked(plan, inputs, mode);
            (changelog, true, upsert_key)
        }
        Plan::Window { schema, .. } => {
            // A row is in several windows, and once in each of them.
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
        // They only accept insertions; other inputs are rejected.
        Plan::Over { order: RowOrder::Time(_), .. } | Plan::Sort { .. } => (ChangelogMode::INSERT_ONLY, true, key()),
        Plan::Match { .. } => (ChangelogMode::INSERT_ONLY, true, None),
        Plan::Shared(_) => (all(), balanced, key()),
    };
    let monotonicity = monotonicity(plan, inputs, changelog);
    let below: Vec<&[Option<TimeAttribute>]> = inputs.iter().map(|i| i.traits.times.as_slice()).collect();
    Traits { changelog, balanced, upsert_key, monotonicity, times: times(plan, &below) }
}

/// How each column of a relation changes, given its inputs and its changelog mode.
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
        // This holds for append-only inputs. Other inputs would lead to deletions.
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
        // Rows of different inputs are unrelated.
        Plan::Scan { .. }
        | Plan::Values { .. }
        | Plan::Expand { .. }
        | Plan::Join { .. }
        | Plan::Unnest { .. }
        | Plan::Normalize { .. }
        | Plan::Rank { .. }
        | Plan::Over { .. }
        | Plan::Match { .. }
        | Plan::Sort { .. }
        | Plan::Union { .. } => nothing(),
    }
}

/// The changelog mode and the key of a join.
fn joined(plan: &Plan, inputs: &[Rc<Derived<'_>>], mode: Mode) -> (ChangelogMode, Option<Vec<usize>>) {
    let (Plan::Join { kind, on, as_of, .. }, [left, right]) = (plan, inputs) else {
        return (ChangelogMode::RETRACT, None);
    };
    let modes = [left.traits.changelog, right.traits.changelog];
    let insert_only = modes.iter().all(|m| m.is_insert_only());
    let of = [left.traits.times.as_slice(), &right.traits.times];
    let changelog = match kind {
        _ if as_of.is_some() => modes[0],
        _ if insert_only
            && (window_of_join(on, of[0], of[1]).is_some() || interval_of_join(plan, of[0], of[1]).is_some()) =>
        {
            ChangelogMode::INSERT_ONLY
        }
        JoinKind::Inner => modes[0].union(modes[1]),
        JoinKind::Semi if modes[1].is_insert_only() => modes[0],
        _ if insert_only && mode == Mode::Batch => ChangelogMode::INSERT_ONLY,
        JoinKind::Left | JoinKind::Right | JoinKind::Full | JoinKind::Semi | JoinKind::Anti => ChangelogMode::RETRACT,
    };
    let (of_left, of_right): (Vec<usize>, Vec<usize>) = on.iter().map(|k| (k.left, k.right)).unzip();
    let within = |of: &Derived<'_>, on: &[usize]| {
        key_within(of.traits.upsert_key.clone(), on, of.traits.changelog.is_insert_only())
    };
    let (left_key, right_key) = (within(left, &of_left), within(right, &of_right));
    if kind.left_only() || as_of.is_some() {
        // As of a time, the right side has one row for a key.
        return (changelog, left_key);
    }
    let width = left.plan.schema().len();
    let right_key = right_key.map(|key| key.into_iter().map(|c| width + c).collect::<Vec<_>>());
    // Whether each row of the other side has at most one partner on this one.
    let one = |of: &Derived<'_>, on: &[usize]| {
        of.traits.upsert_key.as_ref().is_some_and(|key| key.iter().all(|c| on.contains(c)))
    };
    let upsert_key = match (left_key, right_key) {
        (Some(key), _) if one(right, &of_right) && !kind.pads(RIGHT) => Some(key),
        (_, Some(key)) if one(left, &of_left) && !kind.pads(LEFT) => Some(key),
        (Some(l), Some(r)) => Some(l.into_iter().chain(r).collect()),
        _ => None,
    };
    (changelog, upsert_key)
}

/// The changelog mode and the key of a Top-N, or of a relation that numbers all rows.
fn ranked(plan: &Plan, inputs: &[Rc<Derived<'_>>], mode: Mode) -> (ChangelogMode, Option<Vec<usize>>) {
    let (Plan::Rank { partition, ranks, number, .. }, [input]) = (plan, inputs) else {
        return (ChangelogMode::RETRACT, None);
    };
    let insert_only = input.traits.changelog.is_insert_only();
    let once = insert_only && once(plan, &input.traits.times);
    let changelog = match mode {
        Mode::Streaming if once => ChangelogMode::INSERT_ONLY,
        Mode::Batch => ChangelogMode::INSERT_ONLY,
        // With an append-only input, a rank that has a row always keeps one.
        Mode::Streaming => ChangelogMode { delete: !(insert_only && *number), ..ChangelogMode::RETRACT },
    };
    let rest = || key_within(input.traits.upsert_key.clone(), partition, insert_only);
    let upsert_key = match (*number, ranks) {
        // When the number of a row changes, the row itself is updated, not the row that had the number before.
        (true, Ranks { last: None, .. }) if !once => rest(),
        (true, _) => Some(partition.iter().copied().chain([plan.schema().len() - 1]).collect()),
        (false, Ranks { first: 1, last: Some(1), .. }) if !partition.is_empty() => Some(partition.clone()),
        (false, _) => rest(),
    };
    (changelog, upsert_key)
}

/// The key of rows that are partitioned anew. Changes of a key only stay in order if they are in one partition.
fn key_within(key: Option<Vec<usize>>, partition: &[usize], insert_only: bool) -> Option<Vec<usize>> {
    key.filter(|key| insert_only || partition.iter().all(|column| key.contains(column)))
}

/// The column of an expression that has a different value for each value of the column.
fn column_kept_apart(e: &Expr) -> Option<usize> {
    match e {
        Expr::Column { index, .. } => Some(*index),
        Expr::Cast { expr, ty, .. } if injective(&expr.ty(), ty) => column_kept_apart(expr),
        _ => None,
    }
}
