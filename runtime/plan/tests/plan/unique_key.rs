//! The columns that a relation is unique by.

use crate::compiled;

#[test]
fn a_key_comes_through_what_keeps_its_values_apart() {
    let key = |query: &str| {
        let script = format!(
            "CREATE TABLE src (k BIGINT, p DECIMAL(10, 2), v INT) WITH ('connector' = 'datagen');
             CREATE VIEW counts AS SELECT k, p, COUNT(*) AS n FROM src GROUP BY k, p;
             {query};"
        );
        compiled(&script).inserts[0].plan.unique_key()
    };
    assert_eq!(key("SELECT n, p, k FROM counts"), Some(vec![2, 1]));
    assert_eq!(key("SELECT CAST(k AS STRING), CAST(p AS DECIMAL(12, 3)), n FROM counts"), Some(vec![0, 1]));
    assert_eq!(key("SELECT CAST(CAST(k AS DECIMAL(19, 0)) AS STRING), p FROM counts"), Some(vec![0, 1]));
    for lossy in [
        "SELECT CAST(k AS INT), p, n FROM counts",
        "SELECT k, CAST(p AS DECIMAL(10, 1)), n FROM counts",
        "SELECT CAST(k AS DOUBLE), p, n FROM counts",
        "SELECT CAST(CAST(k AS INT) AS BIGINT), p, n FROM counts",
        "SELECT CAST(k AS VARCHAR(3)), p, n FROM counts",
        "SELECT k / 2, p, n FROM counts",
        "SELECT k, n FROM counts",
    ] {
        assert_eq!(key(lossy), None, "{lossy}");
    }
}
