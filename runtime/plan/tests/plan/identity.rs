//! What statements are known by that their authors gave a uid.

use crate::{compiled, try_compile};
use weir_plan::Identity;

const TABLES: &str = "CREATE TABLE src (g STRING, n INT) WITH ('connector' = 'datagen');
    CREATE TABLE dst (g STRING, v STRING) WITH ('connector' = 'print');";

#[test]
fn a_uid_is_what_a_statement_is_known_by() {
    let given = |query: &str| {
        let script = format!("{TABLES} INSERT INTO dst /*+ OPTIONS('uid' = 'per-g') */ {query};");
        let insert = compiled(&script).inserts.remove(0);
        assert!(!insert.table.options.contains_key("uid"), "the connector is not asked");
        insert.identity
    };
    let one = given("SELECT g, g FROM src");
    assert_eq!((one.to_string().as_str(), one.uid()), ("per-g#uid", Some("per-g")));
    assert_eq!(given("SELECT g, CAST(COUNT(*) AS STRING) FROM src WHERE n > 1 GROUP BY g"), one);
    assert_eq!(Identity::of("per-g#uid/aggregate-1"), Some(one));
    assert_eq!(Identity::of("per g#uid/aggregate-1"), None);
}

#[test]
fn uids_that_are_none_or_there_twice_are_refused() {
    let refused = |script: &str| {
        let compiled = try_compile(&format!("{TABLES} {script}"));
        compiled.err().map_or_else(|| panic!("taken: {script}"), |e| e.to_string())
    };
    let insert = |uid: &str| format!("INSERT INTO dst /*+ OPTIONS('uid' = '{uid}') */ SELECT g, g FROM src;");
    for bad in ["", "a b", "a/b", "a#b", "ä", &"x".repeat(101)] {
        assert!(refused(&insert(bad)).contains(&format!("'{bad}' is no uid")), "{bad}");
    }
    let twice = refused(&format!("{} {}", insert("a"), insert("a")));
    assert!(twice.contains("two statements have the uid 'a'"), "{twice}");
    assert_eq!(compiled(&format!("{TABLES} {} {}", insert("a"), insert("b"))).inserts.len(), 2);
}
