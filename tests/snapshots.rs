//! What the command prints, as people see it. `TRYCMD=overwrite cargo test --release --test snapshots` takes over what is
//! printed now; look at the difference before it is committed.

#[test]
fn sessions_print_what_they_did() {
    trycmd::TestCases::new()
        .register_bin("weir", weir_tests::weir())
        .env("COLUMNS", "100")
        .case("snapshots/*.trycmd")
        .run();
}
