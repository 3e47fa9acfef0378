//! The check of the column that has the rows' times: a row without one cannot be placed in time.

use crate::context::EvalContext;
use crate::expr::{Expr, Function};
use arrow::array::{Array, ArrayRef};
use std::sync::Arc;
use weir_core::descriptor::OnError;
use weir_core::{Result, SqlType};

struct CheckedRowTime {
    policy: OnError,
    table: String,
    column: String,
}

impl Function for CheckedRowTime {
    fn name(&self) -> &str {
        "$ROW_TIME"
    }
    fn eval(&self, args: &[ArrayRef], rows: usize, _: &SqlType, context: &mut EvalContext) -> Result<ArrayRef> {
        let times = &args[0];
        if times.null_count() > 0 {
            for row in (0..rows).filter(|row| times.is_null(*row)) {
                let why =
                    format!("column '{}' of table '{}' has the time of the row, and is NULL", self.column, self.table);
                // There is nothing that a NULL could be replaced by.
                let policy = if self.policy == OnError::Null { OnError::Skip } else { self.policy };
                let failed = context.fail_by(policy, row, why);
                failed.map_err(|e| e.hint("'on-error' = 'skip' or 'dead-letter' of the table lets the job go on"))?;
            }
        }
        Ok(times.clone())
    }
}

/// An expression whose NULLs fail their rows, by a table's policy: it is the time of the table's rows.
pub fn checked_row_time(time: Expr, policy: OnError, table: &str) -> Expr {
    let (ty, column) = (time.ty(), time.to_string());
    let function = Arc::new(CheckedRowTime { policy, table: table.to_string(), column });
    Expr::Call { function, args: vec![time], ty }
}
