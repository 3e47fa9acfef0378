//! The types and calls of the contract, generated.
#![allow(missing_docs, reason = "generated from the contract, which has the words")]

wasmtime::component::bindgen!({
    path: "../../udf-sdk/wit",
    world: "udf",
    imports: { default: trappable },
});
