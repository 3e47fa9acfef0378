//! Syntax tree nodes of Flink's dialect that the parser's tree does not have.
//!
//! They are kept separately, and the parser's tree has a numbered placeholder for each. A script cannot contain such a placeholder: its own
//! placeholders begin with a sign.

use sqlparser::ast::{Expr, Ident, OrderByExpr, Query, Value, ValueWithSpan};
use sqlparser::tokenizer::Span;
use std::cell::RefCell;
use std::rc::Rc;
use weir_core::SqlType;

/// A node.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "they live for the length of a compilation")]
pub enum Form {
    /// `CAST(… AS type)`, and `TRY_CAST`, for which `safe` is true.
    Cast { expr: Expr, ty: SqlType, safe: bool },
    /// `JSON_VALUE(json, path [RETURNING type] [… ON EMPTY] [… ON ERROR])`
    JsonValue {
        json: Expr,
        path: Expr,
        returning: Option<SqlType>,
        on_empty: Option<ValueElse>,
        on_error: Option<ValueElse>,
    },
    /// `JSON_QUERY(json, path [RETURNING type] [… WRAPPER] [… ON EMPTY] [… ON ERROR])`
    JsonQuery {
        json: Expr,
        path: Expr,
        returning: Option<SqlType>,
        wrapper: Option<Wrapper>,
        on_empty: Option<QueryElse>,
        on_error: Option<QueryElse>,
    },
    /// `JSON_EXISTS(json, path [… ON ERROR])`
    JsonExists { json: Expr, path: Expr, on_error: Option<ExistsElse> },
    /// `JSON_OBJECT(key VALUE value, … [… ON NULL])`
    JsonObject { members: Vec<(Expr, Expr)>, on_null: OnNull },
    /// `JSON_ARRAY(value, … [… ON NULL])`
    JsonArray { items: Vec<Expr>, on_null: OnNull },
    /// `JSON_OBJECTAGG(key VALUE value [… ON NULL])` and `JSON_ARRAYAGG(value [… ON NULL])`
    JsonAggregate { of: Aggregated, on_null: OnNull, filter: Option<Expr> },
    /// `text IS JSON [VALUE | OBJECT | ARRAY | SCALAR]`
    IsJson { text: Expr, kind: JsonKind },
    /// `MAP[key, value, …]`
    Map(Vec<Expr>),
    /// `ROW(value, …)`
    Row(Vec<Expr>),
    /// `TIMESTAMPADD(unit, count, time)`
    TimestampAdd { unit: String, count: Expr, time: Expr },
    /// `TIMESTAMPDIFF(unit, from, to)`
    TimestampDiff { unit: String, from: Expr, to: Expr },
    /// `(a - b) unit`, an interval.
    TimeDifference { left: Expr, right: Expr, unit: String },
    /// `TIMESTAMP WITH LOCAL TIME ZONE '…'`
    TimestampLtz(String),
    /// `POSITION(what IN text [FROM place])`
    Position { what: Expr, text: Expr, from: Option<Expr> },
    /// `TRIM([side] [what] [FROM] text)`
    Trim { side: Side, what: Option<Expr>, text: Expr },
    /// `TABLE t [PARTITION BY …] [ORDER BY …]`
    Table { table: TableArgument, partition_by: Vec<Expr>, order_by: Vec<OrderByExpr> },
}

/// The table argument of a table function.
#[derive(Debug)]
pub enum TableArgument {
    /// By its name, in parts.
    Named(Vec<Ident>),
    Query(Box<Query>),
}

/// The result of JSON_VALUE if there is no value.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "they live for the length of a compilation")]
pub enum ValueElse {
    Null,
    Error,
    Default(Expr),
}

/// The result of JSON_QUERY if there is nothing.
#[derive(Debug, Clone, Copy)]
pub enum QueryElse {
    Null,
    Error,
    EmptyArray,
    EmptyObject,
}

/// The result of JSON_EXISTS if it fails.
#[derive(Debug, Clone, Copy)]
pub enum ExistsElse {
    True,
    False,
    Unknown,
    Error,
}

/// When JSON_QUERY wraps its result in an array.
#[derive(Debug, Clone, Copy)]
pub enum Wrapper {
    Without,
    Conditional,
    Unconditional,
}

/// The handling of NULLs when JSON is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNull {
    Null,
    Absent,
}

/// The kind of JSON that an aggregate builds.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "they live for the length of a compilation")]
pub enum Aggregated {
    Object { key: Expr, value: Expr },
    Array { item: Expr },
}

/// The kinds of JSON that IS JSON checks for.
#[derive(Debug, Clone, Copy)]
pub enum JsonKind {
    Value,
    Object,
    Array,
    Scalar,
}

/// The side that TRIM trims.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    Both,
    Leading,
    Trailing,
}

/// The nodes of a script.
#[derive(Debug, Default, Clone)]
pub struct Forms(Rc<RefCell<Vec<Rc<Form>>>>);

impl Forms {
    /// Adds a node, and returns its placeholder for the parser's tree.
    pub fn put(&self, form: Form, span: Span) -> Expr {
        let mut all = self.0.borrow_mut();
        all.push(Rc::new(form));
        Expr::Value(ValueWithSpan { value: Value::Placeholder((all.len() - 1).to_string()), span })
    }

    /// The node of a placeholder in the parser's tree.
    pub fn of(&self, value: &Value) -> Option<Rc<Form>> {
        let Value::Placeholder(number) = value else { return None };
        self.0.borrow().get(number.parse::<usize>().ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{compiled, try_compile};

    /// What is wrong with an expression, or the expression as it is bound.
    fn bound(e: &str) -> String {
        let script =
            format!("CREATE TABLE t (j STRING, n INT) WITH ('connector' = 'datagen'); SELECT {e} AS x FROM t;");
        let plan = |c: crate::Compiled| c.inserts[0].plan.expressions().iter().map(ToString::to_string).collect();
        try_compile(&script).map_or_else(|e| e.to_string(), plan)
    }

    #[test]
    fn clauses_are_those_of_the_function() {
        for (e, words) in [
            ("JSON_VALUE(j, '$.a' DEFAULT n ON EMPTY ERROR ON ERROR)", "'DEFAULT', n, 'ERROR', NULL"),
            ("JSON_QUERY(j, '$.a' WITH WRAPPER EMPTY ARRAY ON EMPTY)", "'WITH', 'EMPTY ARRAY', 'NULL'"),
            ("JSON_EXISTS(j, '$.a' UNKNOWN ON ERROR)", "'UNKNOWN'"),
            ("JSON_ARRAY(n, JSON_OBJECT('a' VALUE n), (JSON_ARRAY()) NULL ON NULL)", "'NULL 2 3'"),
            ("TRIM(LEADING 'x' FROM j)", "LTRIM(j, 'x')"),
            ("POSITION('a' IN j FROM n)", "POSITION('a', j, n)"),
            // Of another function.
            ("JSON_VALUE(j, '$.a' EMPTY ARRAY ON EMPTY)", "found: EMPTY"),
            ("JSON_QUERY(j, '$.a' DEFAULT 'x' ON EMPTY)", "found: DEFAULT"),
            ("JSON_EXISTS(j, '$.a' FALSE ON EMPTY)", "expected ERROR"),
            ("JSON_EXISTS(j, '$.a' NULL ON ERROR)", "found: NULL"),
            ("`JSON_VALUE`(j, '$.a')", "there is no function 'JSON_VALUE' in quotes"),
            ("`TRIM`(j)", "TRIM(j)"),
        ] {
            let found = bound(e);
            assert!(found.contains(words), "{e}: {found}");
        }
    }

    #[test]
    fn no_script_writes_a_placeholder() {
        for e in ["?", "?0", ":0", "@0", "$0", "CAST(1 AS STRING) || $0"] {
            let script = format!("SELECT {e} AS x;");
            assert!(try_compile(&script).is_err(), "{e}");
        }
    }

    #[test]
    fn a_view_has_its_nodes_wherever_it_is_read() {
        let c = compiled(
            "CREATE TABLE t (j STRING) WITH ('connector' = 'datagen');
             CREATE VIEW v AS SELECT CAST(JSON_VALUE(j, '$.a') AS INT) AS a FROM t;
             CREATE VIEW w AS SELECT TRIM(j) AS a FROM t;
             SELECT a FROM v; SELECT a FROM w;",
        );
        let of = |at: usize| c.inserts[at].plan.expressions().iter().map(ToString::to_string).collect::<String>();
        assert!(of(0).contains("CAST(JSON_VALUE") && of(1).contains("TRIM(j)"), "{} {}", of(0), of(1));
    }
}
