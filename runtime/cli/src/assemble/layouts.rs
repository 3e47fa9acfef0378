//! What the state of an operator is made of, item by item, for people and for comparing: a statement that keeps its uid may change
//! as long as this stays. Whoever changes how an operator keeps such things changes its kind's name with it.

use super::Assembly;
use serde_json::{Map, Value as Json};
use weir_core::Schema;
use weir_operators::aggregate::AggregateFactory;
use weir_sql::{Plan, Table, what_table};

/// Items with their values, as JSON.
fn layout(items: &[(&str, String)]) -> String {
    let items: Map<String, Json> = items.iter().map(|(k, v)| ((*k).to_string(), v.as_str().into())).collect();
    Json::Object(items).to_string()
}

/// Types without NOT NULL, which is not kept.
fn types<'a>(columns: impl IntoIterator<Item = &'a usize>, of: &Schema) -> String {
    columns.into_iter().map(|c| of.fields[*c].ty.kind.to_string()).collect::<Vec<_>>().join(", ")
}

fn rows(change: bool) -> String {
    if change { "come and go" } else { "only come" }.to_string()
}

impl Assembly<'_> {
    pub(super) fn note_aggregate(&mut self, uid: &str, a: &AggregateFactory) {
        let calls = a.calls.iter().map(|c| {
            let distinct = if c.distinct { "DISTINCT " } else { "" };
            let args = if c.args.is_empty() { "*".to_string() } else { types(&c.args, &a.input) };
            format!("{}({distinct}{args})", c.function.name())
        });
        let calls = calls.collect::<Vec<_>>().join(", ");
        let results = if a.at_end { "at the end" } else { "as they change" };
        self.note(
            uid,
            &[
                ("kind", "aggregate".to_string()),
                ("keys", types(&a.keys, &a.input)),
                ("aggregates", calls),
                ("rows", rows(a.retracts)),
                ("results", results.to_string()),
            ],
        );
    }

    /// One that keeps rows by key.
    pub(super) fn note_rows(&mut self, kind: &str, uid: &str, keys: &[usize], schema: &Schema) {
        let all: Vec<usize> = (0..schema.len()).collect();
        self.note(uid, &[("kind", kind.to_string()), ("keys", types(keys, schema)), ("columns", types(&all, schema))]);
    }

    /// How far a table is read, or what was written to it: of a statement that has a uid; others are known by it.
    pub(super) fn note_table(&mut self, kind: &str, uid: &str, table: &Table, columns: &Schema) {
        let all: Vec<usize> = (0..columns.len()).collect();
        if self.has_uid {
            self.note(
                uid,
                &[
                    ("kind", kind.to_string()),
                    ("table", what_table(table)),
                    ("columns", types(&all, columns)),
                    ("primary key", types(&table.primary_key, &table.physical)),
                ],
            );
        }
    }

    pub(super) fn note_values(&mut self, uid: &str) {
        if self.has_uid {
            self.note(uid, &[("kind", "values".to_string())]);
        }
    }

    fn note(&mut self, uid: &str, items: &[(&str, String)]) {
        self.layouts.insert(uid.to_string(), layout(items));
    }

    /// The versions of the functions that a statement calls.
    pub(super) fn note_functions(&mut self, plan: &Plan) {
        let mut found = vec![];
        plan.each(&mut |p| {
            if let Plan::Calc { condition, exprs, .. } = p {
                for e in exprs.iter().chain(condition) {
                    e.each_call(&mut |f| found.extend(f.version().map(|v| (f.name().to_string(), v))));
                }
            }
        });
        let statement = &self.statement;
        self.functions.extend(found.into_iter().map(|(name, version)| (format!("{statement}/{name}"), version)));
    }
}
