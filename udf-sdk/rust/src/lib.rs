//! Functions for Weir in Rust.
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
//! A panic ends the call with an error that names the row; it does not end the engine.

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

/// A read-only file that was handed to the function, already unpacked.
///
/// # Errors
/// When there is none of that name.
pub fn asset(name: &str) -> Result<Vec<u8>, String> {
    bindings::weir::udf::assets::read(name)
}

/// A line for the host's log, under the function's name.
pub fn log(message: &str) {
    bindings::weir::udf::log::write(bindings::weir::udf::log::Level::Info, message);
}

/// Offers functions that were marked with `#[udf]`: `export!(a, b)`, or `export!(open = load; a, b)` with a function that
/// is called once before the first row and may fail.
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
