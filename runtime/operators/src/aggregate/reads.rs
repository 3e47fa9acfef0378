//! What aggregates read of a batch of rows.

use super::functions::Rows;
use super::groups::Groups;
use arrow::array::{ArrayRef, AsArray, BooleanArray};
use weir_core::{Error, Result};
use weir_expr::aggregate::AggregateCall;

/// Of each aggregate, its arguments, and which rows count.
#[derive(Default)]
pub(crate) struct Reads(Vec<(Vec<ArrayRef>, Option<BooleanArray>)>);

impl Reads {
    /// What these calls read of some columns.
    ///
    /// # Errors
    /// An internal one when a condition is no column of BOOLEAN.
    pub fn of(calls: &[AggregateCall], columns: &[ArrayRef]) -> Result<Reads> {
        let read = |call: &AggregateCall| {
            let condition = |f: usize| columns[f].as_boolean_opt().cloned();
            let missing = || Error::internal("the condition of an aggregate is not a column of BOOLEAN");
            let filter = call.filter.map(|f| condition(f).ok_or_else(missing)).transpose()?;
            Ok((call.args.iter().map(|c| columns[*c].clone()).collect(), filter))
        };
        calls.iter().map(read).collect::<Result<_>>().map(Reads)
    }

    /// Takes rows into their groups, or out of them where their sign is negative: all, or `only` these. `places` has the place of each
    /// row's group; without `signs` all rows come.
    ///
    /// # Errors
    /// When an aggregate fails.
    pub fn take(&self, groups: &mut Groups, places: &[u32], only: Option<&[u32]>, signs: Option<&[i64]>) -> Result<()> {
        let rows = |args, filter| Rows { args, places, only, signs, filter };
        rows(&[], None).count(&mut groups.rows);
        let mut each = groups.aggregates.iter_mut().zip(&self.0);
        each.try_for_each(|(aggregate, (args, filter))| aggregate.update(&rows(args, filter.as_ref())))
    }
}
