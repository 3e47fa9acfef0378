use crate::expr::Expr;
use crate::functions::bind;
use weir_core::{SqlType, Value};

/// The result of a function for text arguments, as text; none for NULL.
fn call(name: &str, args: &[&str]) -> Option<String> {
    let args = args.iter().map(|a| Expr::Literal { value: Value::string((*a).to_string()), ty: SqlType::STRING });
    let call = bind(name, args.collect()).unwrap_or_else(|e| panic!("{e}")).unwrap_or_else(|| panic!("no {name}"));
    let value = crate::eval::constant(&call, &Default::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    (!value.is_null()).then(|| crate::text::cast_text(&value, &call.ty(), &crate::time::Zone::UTC))
}

const DOCUMENT: &str =
    r#"{"a":1,"b":{"c":[1,2,{"d":"x"}]},"a-b":3,"@type":4,"1":6,"a b":7,"n":null,"s":"te\"xt","e":1e3,"a.b":12}"#;

/// Paths, and the results of Flink 2.3.
#[test]
fn values_of_paths() {
    for (path, expected) in [
        ("$.a-b", Some("3")),
        ("$.@type", Some("4")),
        ("$.1", Some("6")),
        ("$.a b", None),
        ("$.['a b']", Some("7")),
        ("$[\"a.b\"]", Some("12")),
        ("$.e", Some("1E+3")),
        ("$.s", Some("te\"xt")),
        ("$.n", None),
        ("a", Some("1")),
        ("@.a", Some("1")),
        (" $.a", None),
        ("$.a ", Some("1")),
        ("", None),
        ("$", None),
        ("LAX $.a", Some("1")),
        (" lax   $.a", Some("1")),
        ("lax$.a", None),
        ("$.b.c[-1].d", Some("x")),
        ("$.b.c.length()", Some("3")),
        ("$.b.c.sum()", Some("3.0")),
        ("$.concat($.s, \"-\", $.a)", Some("te\"xt-1")),
        ("$..c.length()", Some("3")),
        ("$.foo()", None),
    ] {
        assert_eq!(call("JSON_VALUE", &[DOCUMENT, path]).as_deref(), expected, "{path}");
    }
}

#[test]
fn nodes_of_paths() {
    for (path, expected) in [
        ("$..d", Some("[\"x\"]")),
        ("$.b.c[*]", Some("[1,2,{\"d\":\"x\"}]")),
        ("$.b.c[1:]", Some("[2,{\"d\":\"x\"}]")),
        ("$.b.c[:]", None),
        ("$.b.c[0,9]", Some("[1]")),
        ("$[\"a\",\"zz\"]", Some("{\"a\":1}")),
        ("$.b.c[?(@.d == \"x\")]", Some("[{\"d\":\"x\"}]")),
        ("$.b.c[?(@.d =~ /X/i)]", Some("[{\"d\":\"x\"}]")),
        ("$.b.c[*].zz", Some("[]")),
        ("$.zz[*].y", None),
        ("$...d", None),
    ] {
        assert_eq!(call("JSON_QUERY", &[DOCUMENT, path]).as_deref(), expected, "{path}");
    }
    let deep = format!("$[?({}1==1{})]", "(".repeat(20_000), ")".repeat(20_000));
    assert_eq!(call("JSON_QUERY", &[DOCUMENT, &deep]), None);
}

#[test]
fn quotes() {
    for (text, expected) in
        [("\"a\\u0041\"", "aA"), ("\"a\\qb\"", "\"a\\qb\""), ("\"a\"b\"", "a\"b"), ("\"", "\""), ("x\"", "x\"")]
    {
        assert_eq!(call("JSON_UNQUOTE", &[text]).as_deref(), Some(expected));
    }
    assert_eq!(call("JSON_QUOTE", &["a/b\u{e9}"]).as_deref(), Some("\"a\\/b\\u00e9\""));
}
