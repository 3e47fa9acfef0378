//! The columns of a batch that aggregates read.

use super::functions::Rows;
use super::groups::Groups;
use arrow::array::{ArrayRef, AsArray, BooleanArray};
use weir_core::{Error, Result};
use weir_expr::aggregate::AggregateCall;

/// The arguments and the FILTER condition of each aggregate.
#[derive(Default)]
pub(crate) struct Reads(Vec<(Vec<ArrayRef>, Option<BooleanArray>)>);

impl Reads {
    /// Selects the columns that these calls read.
    ///
    /// # Errors
    /// An internal error if a condition is not a BOOLEAN column.
    pub fn of(calls: &[AggregateCall], columns: &[ArrayRef]) -> Result<Reads> {
        let read = |call: &AggregateCall| {
            let condition = |f: usize| columns[f].as_boolean_opt().cloned();
            let missing = || Error::internal("the condition of an aggregate is not a column of BOOLEAN");
            let filter = call.filter.map(|f| condition(f).ok_or_else(missing)).transpose()?;
            Ok((call.args.iter().map(|c| columns[*c].clone()).collect(), filter))
        };
        calls.iter().map(read).collect::<Result<_>>().map(Reads)
    }

    /// Adds rows to their groups, or retracts those with a negative sign: all rows, or `only` these. `places` has the place of each row's
    /// group. Without `signs` all rows are insertions.
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
