//! The check of a table's rowtime column. A row whose rowtime is NULL cannot be processed in event time.

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
                // There is no value that could replace the NULL.
                let policy = if self.policy == OnError::Null { OnError::Skip } else { self.policy };
                let failed = context.fail_by(policy, row, why);
                failed.map_err(|e| e.hint("'on-error' = 'skip' or 'dead-letter' of the table lets the job go on"))?;
            }
        }
        Ok(times.clone())
    }
}

/// Wraps the expression of a table's rowtime column, so that rows in which it is NULL fail by the policy of the table.
pub fn checked_row_time(time: Expr, policy: OnError, table: &str) -> Expr {
    let (ty, column) = (time.ty(), time.to_string());
    let function = Arc::new(CheckedRowTime { policy, table: table.to_string(), column });
    Expr::Call { function, args: vec![time], ty }
}
