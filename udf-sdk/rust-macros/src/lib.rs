//! The attribute `#[udf]`, which turns a function into one that SQL can call.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::{FnArg, ItemFn, ReturnType, Type, parse_macro_input};

/// Marks a function for `weir_udf::export!`. The function itself is unchanged.
///
/// An argument may be `bool`, `i8`, `i16`, `i32`, `i64`, `f32`, `f64`, `&str`, `&[u8]`, `Date`, `Time`, `Timestamp`, `Instant`
/// (TIMESTAMP_LTZ), `Decimal<P, S>`, or an `Option` of one of them. If an argument without `Option` is NULL, the function is not called,
/// and the result is NULL.
///
/// The result may be one of these types except `&[u8]`, or `String` or `Vec<u8>`. A `&str` must be `&'static str`. The result may also be
/// an `Option` of such a type, or a `Result` of either, whose error fails the row.
///
/// `#[udf(deterministic = false)]` declares that equal arguments may give different results. The function is then called for every row.
#[proc_macro_attribute]
pub fn udf(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let text = attribute.to_string().replace(' ', "");
    let deterministic = match text.as_str() {
        "" | "deterministic=true" => true,
        "deterministic=false" => false,
        other => {
            let message = format!("udf knows `deterministic = true|false`, not `{other}`");
            return quote!(compile_error!(#message);).into();
        }
    };
    let function = parse_macro_input!(item as ItemFn);
    let name = &function.sig.ident;
    let text = name.to_string();
    let module = format_ident!("{}", name);
    let mut types: Vec<Type> = vec![];
    for a in &function.sig.inputs {
        match a {
            FnArg::Typed(t) => types.push(*t.ty.clone()),
            FnArg::Receiver(r) => return syn::Error::new_spanned(r, "a function for SQL has no self").to_compile_error().into(),
        }
    }
    let output = match &function.sig.output {
        ReturnType::Type(_, t) => t.clone(),
        ReturnType::Default => {
            return syn::Error::new_spanned(&function.sig, "a function for SQL gives something back").to_compile_error().into();
        }
    };
    let names: Vec<String> = function
        .sig
        .inputs
        .iter()
        .map(|a| match a {
            FnArg::Typed(t) => {
                let p = &t.pat;
                quote!(#p).to_string()
            }
            FnArg::Receiver(_) => String::new(),
        })
        .collect();
    let places: Vec<usize> = (0..types.len()).collect();
    let readers: Vec<_> = places.iter().map(|i| format_ident!("r{i}")).collect();
    let values: Vec<_> = places.iter().map(|i| format_ident!("v{i}")).collect();
    quote! {
        #function
        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        pub mod #module {
            use super::*;
            pub fn signature() -> ::weir_udf::Signature {
                ::weir_udf::Signature {
                    name: #text.to_string(),
                    args: Some(vec![#(::weir_udf::Field {
                        name: #names.to_string(),
                        dtype: <#types as ::weir_udf::Argument>::dtype(),
                    }),*]),
                    dtype: <#output as ::weir_udf::Answer>::dtype(),
                    deterministic: #deterministic,
                }
            }
            pub fn eval(rows: u32, args: &[::weir_udf::Column]) -> ::std::result::Result<::weir_udf::Output, String> {
                let [#(#readers),*] = args else {
                    return Err(format!("{} takes {} arguments, not {}", #text, [#(#names),*].len() as usize, args.len()));
                };
                #(let #readers = ::weir_udf::Reader::new(#readers);)*
                let mut out = ::weir_udf::Writer::new(<#output as ::weir_udf::Answer>::dtype(), rows as usize);
                for row in 0..rows as usize {
                    #(let Some(#values) = <#types as ::weir_udf::Argument>::read(&#readers, row) else {
                        out.null();
                        continue;
                    };)*
                    ::weir_udf::Answer::write(super::#name(#(#values),*), row as u32, &mut out);
                }
                Ok(out.finish())
            }
        }
    }
    .into()
}
