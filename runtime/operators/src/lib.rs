//! The operators, one per file or folder. Each implements the engine's traits.

pub mod aggregate;
pub mod calc;
pub mod chain;
mod change_rows;
pub mod enforce;
pub mod expand;
pub mod failed_rows;
pub mod first_row;
pub mod join;
pub mod late_rows;
pub mod lookup;
pub mod match_recognize;
pub mod normalize;
pub mod over;
pub mod over_values;
pub mod rank;
mod row_numbers;
pub mod sort;
pub mod timed_source;
pub mod unnest;
pub mod values;
pub mod windows;
