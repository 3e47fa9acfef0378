//! Which fields of a ROW are read of a source. A connector need not make the others.

use crate::logical::Plan;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use weir_expr::Expr;

/// What is read of some columns.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    /// The columns that are read as they are.
    whole: BTreeSet<usize>,
    /// The fields that are read of columns.
    fields: BTreeMap<usize, BTreeSet<usize>>,
}

impl Read {
    /// Adds what an expression reads.
    pub(crate) fn add(&mut self, e: &Expr) {
        match e {
            Expr::Column { index, .. } => _ = self.whole.insert(*index),
            Expr::Field { expr, index: field, .. } => match expr.as_ref() {
                Expr::Column { index, .. } => _ = self.fields.entry(*index).or_default().insert(*field),
                row => self.add(row),
            },
            e => e.children().into_iter().for_each(|c| self.add(c)),
        }
    }

    /// Adds to a column what is read of a column elsewhere.
    pub(crate) fn add_of(&mut self, column: usize, there: &Read, of: usize) {
        if there.whole.contains(&of) {
            self.whole.insert(column);
        }
        self.fields.entry(column).or_default().extend(there.fields.get(&of).into_iter().flatten());
    }

    /// The fields that are read of a column; none if all of it is read.
    pub(crate) fn of(&self, column: usize) -> Option<BTreeSet<usize>> {
        if self.whole.contains(&column) { None } else { Some(self.fields.get(&column).cloned().unwrap_or_default()) }
    }
}

/// What is read of the columns of each scan, by the scan's uid.
pub(crate) fn read_of_scans<'p>(plans: impl Iterator<Item = &'p Plan>) -> HashMap<String, Read> {
    let mut all: HashMap<String, Read> = HashMap::new();
    let whole = |plan: &Plan, all: &mut HashMap<String, Read>| {
        if let Some((uid, columns)) = scan(plan) {
            all.entry(uid).or_default().whole.extend(0..columns);
        }
    };
    for plan in plans {
        whole(plan, &mut all);
        plan.each(&mut |p| match p {
            Plan::Calc { input, condition, exprs, .. } => {
                if let Some((uid, _)) = scan(input) {
                    let read = all.entry(uid).or_default();
                    exprs.iter().chain(condition).for_each(|e| read.add(e));
                }
            }
            // Its readers say what they read.
            Plan::Shared(_) => {}
            p => p.inputs().into_iter().for_each(|input| whole(input, &mut all)),
        });
    }
    all
}

/// The uid of a scan and the number of its columns, if a relation is one, whether it is shared or not.
fn scan(plan: &Plan) -> Option<(String, usize)> {
    match plan {
        Plan::Scan { columns, uids, .. } => Some((uids.uid.clone(), columns.len())),
        Plan::Shared(shared) => scan(&shared.plan),
        _ => None,
    }
}
