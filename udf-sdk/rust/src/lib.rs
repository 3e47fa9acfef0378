//! User-defined functions for Weir's SQL, written in Rust.
//!
//! ```
//! use weir_udf::udf;
//!
//! #[udf]
//! fn initials(name: &str) -> String {
//!     name.split(' ').filter_map(|w| w.chars().next()).collect()
//! }
//!
//! weir_udf::export!(initials);
//! # fn main() {}
//! ```
//!
//! A panic ends the call with an error that names the row. The job's process goes on.

mod values;

pub use values::{Answer, Argument, Date, Decimal, Instant, Reader, Time, Timestamp, Writer};
pub use weir_udf_macros::udf;

#[doc(hidden)]
pub mod bindings {
    #![allow(missing_docs)]
    wit_bindgen::generate!({
        path: "../wit",
        world: "udf",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "weir_udf::bindings",
    });
}

pub use bindings::weir::udf::types::{Column, DataType, DecimalType, Field, Output, RowError, Signature};

/// The contents of an asset: a read-only file that was given to the function by name. Files that end in `.gz` are decompressed, and have
/// their name without `.gz`.
///
/// # Errors
/// If there is no asset with this name.
pub fn asset(name: &str) -> Result<Vec<u8>, String> {
    bindings::weir::udf::assets::read(name)
}

/// Writes a line to Weir's log, under the function's name, with the level INFO.
pub fn log(message: &str) {
    bindings::weir::udf::log::write(bindings::weir::udf::log::Level::Info, message);
}

/// Exports functions that are marked with `#[udf]` from the component.
///
/// `export!(a, b)` exports the functions `a` and `b`. `export!(open = load; a, b)` also calls `load` once in each instance, before its
/// first row. `load` has no arguments and returns a `Result`; its error ends the job.
#[macro_export]
macro_rules! export {
    (open = $open:path; $($function:ident),+ $(,)?) => {
        struct WeirComponent;
        impl $crate::bindings::exports::weir::udf::functions::Guest for WeirComponent {
            fn describe() -> Vec<$crate::Signature> {
                vec![$($function::signature()),+]
            }
            fn open() -> Result<(), String> {
                $open().map_err(|e| e.to_string())
            }
            fn eval(function: u32, rows: u32, args: Vec<$crate::Column>) -> Result<$crate::Output, String> {
                let all: &[fn(u32, &[$crate::Column]) -> Result<$crate::Output, String>] = &[$($function::eval),+];
                match all.get(function as usize) {
                    Some(f) => f(rows, &args),
                    None => Err(format!("there is no function {function}")),
                }
            }
        }
        $crate::bindings::export_component!(WeirComponent with_types_in $crate::bindings);
    };
    ($($function:ident),+ $(,)?) => {
        fn weir_open() -> Result<(), String> {
            Ok(())
        }
        $crate::export!(open = weir_open; $($function),+);
    };
}
