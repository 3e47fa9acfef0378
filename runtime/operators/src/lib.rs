//! The operators: one a file, each behind the engine's traits.

pub mod aggregate;
pub mod calc;
pub mod chain;
mod change_rows;
pub mod enforce;
pub mod expand;
pub mod lookup;
pub mod normalize;
pub mod rank;
pub mod values;
