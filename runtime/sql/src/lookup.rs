//! Binds lookup joins: `JOIN dim FOR SYSTEM_TIME AS OF o.proctime AS d ON o.id = d.id`.

use crate::catalog::place_of;
use crate::expressions::truth;
use crate::names::{Binder, Scope};
use crate::places::place;
use sqlparser::ast::{Join, JoinConstraint, JoinOperator, ObjectName, Spanned, TableAlias, TableFactor, TableVersion};
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_core::option_spec::Role;
use weir_core::{Error, Field, Result, Schema, SqlType, TypeKind, Value};
use weir_expr::cast::allowed;
use weir_expr::injective::injective;
use weir_expr::{CompareOp, Expr};
use weir_plan::Plan;
use weir_plan::Table;

/// The parts of a lookup join.
pub(crate) struct Parts<'a> {
    pub name: &'a ObjectName,
    pub alias: Option<&'a TableAlias>,
    pub time: &'a sqlparser::ast::Expr,
    pub on: &'a sqlparser::ast::Expr,
    pub left: bool,
}

/// The parts of a lookup join, if it is a join with a table as of a time.
///
/// # Errors
/// If it is such a join, but of an unsupported kind.
pub(crate) fn parts(join: &Join) -> Result<Option<Parts<'_>>> {
    let TableFactor::Table { name, alias, version: Some(TableVersion::ForSystemTimeAsOf(time)), .. } = &join.relation
    else {
        return Ok(None);
    };
    let at = place(join.relation.span().start);
    let (constraint, left) = match &join.join_operator {
        JoinOperator::Join(c) | JoinOperator::Inner(c) => (c, false),
        JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (c, true),
        _ => {
            let e = Error::script("FOR SYSTEM_TIME AS OF goes with JOIN and LEFT JOIN").at(at);
            return Err(e.hint("what is looked up follows the rows on the left; turn the join around"));
        }
    };
    let JoinConstraint::On(on) = constraint else {
        return Err(Error::script("a lookup join needs ON with the columns to look up by").at(at));
    };
    Ok(Some(Parts { name, alias: alias.as_ref(), time, on, left }))
}

/// The column of the table to which an expression refers, directly or through an injective cast. An equality with such an expression holds
/// for at most one value of the column.
fn column(e: &Expr) -> Option<usize> {
    match e {
        Expr::Column { index, .. } => Some(*index),
        Expr::Cast { expr, ty, .. } if injective(&expr.ty(), ty) => column(expr),
        _ => None,
    }
}

/// The value of a table's column for which `there`, an expression over that column only, equals `here`, or NULL if there is none. The value
/// is computed by a cast back, and is only used if the original equality holds for it. None if the types cannot be cast back.
fn value_for(there: &Expr, here: Expr, ty: &SqlType) -> Option<Expr> {
    let kinds = (here.ty(), ty);
    // The declared length of texts and bytes does not matter.
    if kinds.0.kind == ty.kind || kinds.0.is_text() && ty.is_text() || kinds.0.is_bytes() && ty.is_bytes() {
        return Some(here);
    }
    if !allowed(&here.ty(), ty) {
        return None;
    }
    let ty = ty.clone().nullable(true);
    let back = Expr::Cast { expr: Box::new(here.clone()), ty: ty.clone(), safe: true };
    let again = there.clone().rewrite(&mut |e| if matches!(e, Expr::Column { .. }) { back.clone() } else { e });
    let holds = Expr::Compare { op: CompareOp::Eq, left: Box::new(again), right: Box::new(here) };
    let otherwise = Box::new(Expr::literal(Value::Null, ty.clone()));
    Some(Expr::Case { branches: vec![(holds, back)], otherwise, ty })
}

/// Equalities between a column of the table and an expression over the input: the column side, the input side, and the index of the column.
type Equalities = Vec<(Expr, Expr, usize)>;

/// Splits a condition into the equalities for the lookup and the rest, which is checked afterwards. `width`: the number of input columns.
fn keys_of(condition: Expr, table: &Table, width: usize) -> (Equalities, Vec<Expr>) {
    let of = |e: &Expr| {
        let mut used = BTreeSet::new();
        e.columns(&mut used);
        used
    };
    let (mut on, mut rest): (Equalities, Vec<Expr>) = (vec![], vec![]);
    for e in condition.conjuncts() {
        let equal = match &e {
            Expr::Compare { op: CompareOp::Eq, left, right } => {
                [(left, right), (right, left)].into_iter().find_map(|(there, here)| {
                    let column = column(there).filter(|c| *c >= width)? - width;
                    let ty = &table.physical.fields[column].ty;
                    let fits = of(here).iter().all(|c| *c < width) && value_for(there, (**here).clone(), ty).is_some();
                    fits.then(|| (there.as_ref().clone(), here.as_ref().clone(), column))
                })
            }
            _ => None,
        };
        match equal {
            Some(equal) if !on.iter().any(|(_, _, c)| *c == equal.2) => on.push(equal),
            _ => rest.push(e),
        }
    }
    (on, rest)
}

/// Filters the rows that were found by a condition. If all rows of the left side are kept, the columns of rejected matches become NULL.
fn only_where(plan: Plan, condition: Expr, left: bool, width: usize) -> Plan {
    let mut columns = plan.columns();
    if !left {
        return Plan::calc(plan, Some(condition), columns);
    }
    for (_, e) in columns.iter_mut().skip(width) {
        let ty = e.ty();
        let otherwise = Box::new(Expr::literal(Value::Null, ty.clone()));
        let kept = std::mem::replace(e, Expr::literal(Value::Null, ty.clone()));
        *e = Expr::Case { branches: vec![(condition.clone(), kept)], otherwise, ty };
    }
    Plan::calc(plan, None, columns)
}

impl Binder<'_> {
    /// Whether rows of a table are looked up by key, rather than joined with its versions.
    pub(crate) fn can_look_up(&mut self, name: &ObjectName) -> Result<bool> {
        let full = self.catalog.full(name)?;
        let looks_up = |table: &Arc<Table>| {
            let connector = table.described.connector;
            connector.is(Role::Lookup) && (!connector.versions_by_key || table.primary_key.is_empty())
        };
        Ok(self.catalog.tables.get(&full).is_some_and(looks_up))
    }

    /// Binds a lookup join to the relation on its left.
    pub(crate) fn lookup(&mut self, input: Plan, scope: Scope, parts: &Parts<'_>) -> Result<(Plan, Scope)> {
        let at = place_of(parts.name);
        let time = self.expr(parts.time, &scope, &mut None)?;
        if !matches!(time.ty().kind, TypeKind::TimestampLtz(_)) {
            let e = Error::script(format!("{time} is {}, and no processing time", time.ty().kind));
            let e = e.at(place(parts.time.span().start));
            return Err(e.hint("declare a column `proctime AS PROCTIME()` in the table on the left, and name it here"));
        }
        let table: Arc<Table> = self.catalog.table(parts.name)?.clone();
        let table = self.catalog.hinted(parts.name, table)?;
        if table.columns.iter().any(|(_, computed)| computed.is_some()) {
            let e = Error::script(format!("'{}' has computed columns, and cannot be looked up in as yet", parts.name));
            return Err(e.at(at));
        }
        if let Some(a) = parts.alias {
            crate::words::check_name(&a.name)?;
        }
        let qualifier = parts.alias.map_or_else(|| table.name.clone(), |a| a.name.value.clone());
        let width = input.schema().len();
        let mut both = scope.clone();
        for f in &table.physical.fields {
            let ty = f.ty.clone().nullable(f.ty.nullable || parts.left);
            both.columns.push((Some(qualifier.clone()), Field::new(f.name.clone(), ty)));
        }
        let condition = truth(self.expr(parts.on, &both, &mut None)?, "ON")?;
        let (on, rest) = keys_of(condition, &table, width);
        let on_at = place(parts.on.span().start);
        if on.is_empty() {
            let e = Error::script(format!("ON has no equality by which '{}' could be asked", parts.name)).at(on_at);
            let hint = "a lookup join needs column = value for a column of the table; where their types differ, cast the value, not \
                        the column";
            return Err(e.hint(hint));
        }
        // A whole primary key finds at most one row. If the row fails another condition, the left row is kept without a match.
        let one = !table.primary_key.is_empty() && table.primary_key.iter().all(|k| on.iter().any(|(_, _, c)| c == k));
        if parts.left && !rest.is_empty() && !one {
            let e = Error::script(
                "a LEFT lookup join takes more than equalities in ON only with the table's whole primary key",
            );
            return Err(e
                .at(on_at)
                .hint("declare the key of the table that is looked up, and compare all of its columns"));
        }
        let keys: Vec<(usize, usize)> = on.iter().enumerate().map(|(i, (_, _, there))| (width + i, *there)).collect();
        let mut named = input.columns();
        let mut values = named.clone();
        for (i, (there, here, column)) in on.into_iter().enumerate() {
            // The expression is computed once, and then converted to a value of the column.
            let computed = Expr::column(width + i, format!("value${i}"), here.ty());
            named.push((format!("value${i}"), here));
            let ty = &table.physical.fields[column].ty;
            let value = value_for(&there, computed, ty)
                .ok_or_else(|| Error::internal("a value that fitted a column does no longer"))?;
            values.push((format!("key${i}"), value));
        }
        let input = Plan::calc(Plan::calc(input, None, named), None, values);
        let schema = Schema::new(both.columns.iter().map(|(_, f)| f.clone()).collect());
        let columns = (0..table.physical.len()).collect();
        let (keep, left) = ((0..width).collect(), parts.left);
        let retry = self.lookup_hints.take(&qualifier);
        let mut plan = Plan::Lookup { input: Box::new(input), table, on: keys, left, retry, keep, columns, schema };
        if let Some(rest) = Expr::all_of(rest) {
            plan = only_where(plan, rest, parts.left, width);
        }
        Ok((plan, both))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{compiled, try_compile};
    use std::sync::Arc;
    use weir_core::{Batch, Value};
    use weir_expr::eval::eval;
    use weir_expr::{EvalContext, Session};
    use weir_plan::Plan;

    /// A job that looks rows with a value of a type up in a table with a column of a type.
    fn script(value: &str, ty: &str, column: &str, on: &str) -> String {
        format!(
            "CREATE TABLE dim (id {column}, name STRING) WITH ('connector' = 'jdbc', 'url' = 'jdbc:mysql://x/y', 'table-name' = 'd');
             CREATE VIEW o AS SELECT v AS id, PROCTIME() AS p FROM (VALUES (CAST({value} AS {ty}))) AS t (v);
             SELECT o.id, d.id, d.name FROM o JOIN dim FOR SYSTEM_TIME AS OF o.p AS d ON {on};"
        )
    }

    fn find(plan: &Plan, is: &dyn Fn(&Plan) -> bool) -> Option<Plan> {
        if is(plan) { Some(plan.clone()) } else { plan.inputs().into_iter().find_map(|p| find(p, is)) }
    }

    /// The value that is looked up for a row, as text.
    fn key(script: &str) -> String {
        fn rows(plan: &Plan) -> Batch {
            let mut context = EvalContext::new(Arc::new(Session::default()));
            let (exprs, input, schema) = match plan {
                Plan::Values { rows: all, schema, .. } => {
                    assert_eq!(all.len(), 1);
                    (&all[0], Batch::from_columns(weir_core::Schema::new(vec![]).arrow(), vec![], 1), schema)
                }
                Plan::Calc { input, exprs, schema, condition: None } => (exprs, Ok(rows(input)), schema),
                other => panic!("{other:?}"),
            };
            let input = input.expect("rows");
            let columns = exprs.iter().map(|e| eval(e, &input.data, &mut context).expect("a column")).collect();
            Batch::from_columns(schema.arrow(), columns, 1).expect("a batch")
        }
        let plan = &compiled(script).inserts[0].plan;
        let lookup = find(plan, &|p| matches!(p, Plan::Lookup { .. })).expect("a lookup");
        let Plan::Lookup { input, on, table, .. } = lookup else { panic!("no lookup") };
        let ([(here, 0)], batch) = (on.as_slice(), rows(&input)) else { panic!("{on:?}") };
        let ty = &table.physical.fields[0].ty;
        match Value::read(batch.data.column(*here), 0) {
            Value::Null => "NULL".to_string(),
            v => weir_expr::text::cast_text(&v, ty, &weir_expr::time::Zone::UTC),
        }
    }

    #[test]
    fn what_is_looked_up_equals_what_is_found() {
        // What sqlite says of `CAST(v AS ty) = column` for the one value that a column of that type could have.
        for (value, ty, column, on, wanted) in [
            ("4294967297", "BIGINT", "INT", "o.id = d.id", "NULL"),
            ("7", "BIGINT", "INT", "o.id = d.id", "7"),
            ("-2147483648", "BIGINT", "INT", "o.id = d.id", "-2147483648"),
            ("7", "INT", "BIGINT", "o.id = d.id", "7"),
            ("300", "INT", "TINYINT", "o.id = d.id", "NULL"),
            ("1.7", "DECIMAL(3, 1)", "INT", "o.id = d.id", "NULL"),
            ("2.0", "DECIMAL(3, 1)", "INT", "d.id = o.id", "2"),
            ("1.7", "DOUBLE", "INT", "o.id = d.id", "NULL"),
            ("3.0", "DOUBLE", "INT", "o.id = d.id", "3"),
            ("1e300", "DOUBLE", "INT", "o.id = d.id", "NULL"),
            ("1.501", "DECIMAL(6, 3)", "DECIMAL(10, 2)", "o.id = d.id", "NULL"),
            ("1.500", "DECIMAL(6, 3)", "DECIMAL(10, 2)", "o.id = d.id", "1.50"),
            ("'01'", "STRING", "INT", "CAST(d.id AS STRING) = o.id", "NULL"),
            ("'1'", "STRING", "INT", "CAST(d.id AS STRING) = o.id", "1"),
            ("'one'", "STRING", "INT", "CAST(d.id AS STRING) = o.id", "NULL"),
            ("'abcdef'", "STRING", "VARCHAR(3)", "o.id = d.id", "abcdef"),
            ("'ab'", "STRING", "CHAR(4)", "o.id = d.id", "ab"),
            ("1", "BIGINT", "INT", "o.id + 1 = d.id", "2"),
            ("'2024-02-03 00:00:00.0005'", "TIMESTAMP(6)", "TIMESTAMP(3)", "d.id = o.id", "NULL"),
            ("NULL", "BIGINT", "INT", "o.id = d.id", "NULL"),
        ] {
            assert_eq!(key(&script(value, ty, column, on)), wanted, "CAST({value} AS {ty}), {column}, {on}");
        }
    }

    #[test]
    fn what_cannot_be_looked_up_is_a_condition_or_refused() {
        for (ty, column, on) in [
            ("DOUBLE", "BIGINT", "o.id = d.id"),
            ("INT", "STRING", "CAST(d.id AS INT) = o.id"),
            ("TINYINT", "INT", "CAST(d.id AS TINYINT) = o.id"),
            ("DATE", "TIMESTAMP(3)", "CAST(d.id AS DATE) = o.id"),
            ("INT", "INT", "d.id > o.id"),
            ("INT", "INT", "d.id + 1 = o.id"),
        ] {
            let value = if ty == "DATE" { "'2024-01-01'" } else { "1" };
            match try_compile(&script(value, ty, column, on)) {
                Ok(_) => panic!("{on} was taken"),
                Err(e) => assert!(e.to_string().contains("cast the value, not"), "{e}"),
            }
            let more = script(value, ty, column, &format!("{on} AND d.name = 'x'"));
            let plan = &compiled(&more).inserts[0].plan;
            let lookup = find(plan, &|p| matches!(p, Plan::Lookup { .. }));
            assert!(matches!(lookup, Some(Plan::Lookup { on, .. }) if on.len() == 1 && on[0].1 == 1), "{on}");
            let kept = find(
                plan,
                &|p| matches!(p, Plan::Calc { condition: Some(_), input, .. } if matches!(**input, Plan::Lookup { .. })),
            );
            assert!(kept.is_some(), "{on}");
        }
    }

    #[test]
    fn columns_that_share_a_name_are_told_apart() {
        let plan = &compiled(&script("1", "INT", "INT", "d.id = o.id AND d.name <> CAST(o.id AS STRING) || 'x'"))
            .inserts[0]
            .plan;
        let Plan::Calc { exprs, input, condition: Some(condition), .. } = plan else { panic!("{plan:?}") };
        let Plan::Lookup { keep, columns, table, .. } = &**input else { panic!("{input:?}") };
        let used = |e: &weir_expr::Expr| {
            let mut all = std::collections::BTreeSet::new();
            e.columns(&mut all);
            all.into_iter().collect::<Vec<_>>()
        };
        assert_eq!((keep.len(), columns.len(), table.physical.len()), (1, 2, 2));
        assert_eq!(exprs.iter().map(used).collect::<Vec<_>>(), [[0], [1], [2]]);
        assert_eq!(used(condition), [0, 2]);
    }
}
