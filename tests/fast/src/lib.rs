//! Whole small jobs in one process: SQL through the binder, the assembly and the engine, with sources that follow a script, sinks that
//! collect, a clock that is turned, and state in memory: nothing outside.
//!
//! # Examples
//! ```
//! use weir_core::Value;
//! use weir_fast_tests::{Job, Step, insert};
//!
//! let job = Job::new(
//!     "CREATE TABLE orders (item STRING, n INT) WITH ('connector' = 'datagen');
//!      CREATE TABLE sums (item STRING, n INT) WITH ('connector' = 'print');
//!      INSERT INTO sums SELECT item, SUM(n) FROM orders GROUP BY item;",
//! );
//! let row = |n| insert([Value::string("a".to_string()), Value::Int(n)]);
//! let ran = job.source("orders", vec![Step::Rows(vec![row(1), row(2)])]).run();
//! assert!(ran.result.as_ref().expect("an end"));
//! assert_eq!(ran.rows("sums"), ["+I[a, 3]"]);
//! ```

mod changes;
mod job;
mod sink;
mod source;

pub use changes::added_up;
pub use job::{Job, Ran, compiled};
pub use source::{Row, Step, delete, insert, update};

use std::sync::Arc;
use weir_core::{Result, SqlType};
use weir_expr::expr::Function;
use weir_sql::{FunctionLoader, FunctionSpec, UserFunction};

/// Gives every function of a script one that takes texts and gives NULL: enough for plans.
pub struct Stubs;

struct Stub(String);

impl FunctionLoader for Stubs {
    fn load(&self, spec: &FunctionSpec) -> Result<Arc<dyn UserFunction>> {
        Ok(Arc::new(Stub(spec.name.clone())))
    }
}

impl UserFunction for Stub {
    fn bind(&self, args: &[SqlType]) -> Result<(Vec<SqlType>, SqlType, Arc<dyn Function>)> {
        Ok((vec![SqlType::STRING; args.len()], SqlType::STRING, Arc::new(Stub(self.0.clone()))))
    }
    fn signature(&self) -> String {
        format!("{}(STRING, …) → STRING", self.0)
    }
}

impl Function for Stub {
    fn name(&self) -> &str {
        &self.0
    }
    fn is_user_defined(&self) -> bool {
        true
    }
    fn version(&self) -> Option<String> {
        Some(format!("version of {}", self.0))
    }
    fn eval(
        &self,
        _: &[arrow::array::ArrayRef],
        rows: usize,
        ty: &SqlType,
        _: &mut weir_expr::context::EvalContext,
    ) -> Result<arrow::array::ArrayRef> {
        Ok(arrow::array::new_null_array(&ty.arrow(), rows))
    }
}
