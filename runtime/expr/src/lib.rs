//! Bound expressions, their evaluation over columns, Flink's casts, and the built-in functions.

pub mod aggregate;
pub mod arith;
pub mod cast;
pub mod context;
mod equality;
pub mod eval;
pub mod expr;
pub mod functions;
pub mod injective;
mod java_map;
pub mod json;
pub mod match_recognize;
pub mod patterns;
mod random;
pub mod structure;
pub mod text;
pub mod time;

pub use arith::ArithOp;
pub use context::{EvalContext, RowError, Session};
pub use expr::{CompareOp, Expr, Function};
pub use weir_core::descriptor::OnError;
