//! INSERT: maps the columns of a query to those of a table, and adds the values of PARTITION.

use crate::binder::cast_columns;
use crate::catalog::place_of;
use crate::names::{Binder, Scope};
use crate::places::place;
use crate::script::Compiler;
use crate::syntax::InsertStatement;
use sqlparser::ast::{Expr as Ast, Ident};
use std::sync::Arc;
use weir_core::error::nearest;
use weir_core::{Error, Result, Schema, SqlType, Value};
use weir_expr::functions::cast_to;
use weir_expr::{Expr, cast};
use weir_plan::{INSERT, Plan, Table, UID};

/// Extracts the options of an INSERT from a hint on its table. Options in the table's declaration belong to the connector.
fn own_uid(declared: &Table, mut hinted: Arc<Table>) -> Result<(Arc<Table>, Option<String>)> {
    let added = |key: &&String| !declared.options.contains_key(*key);
    if let Some(key) = hinted.options.keys().filter(added).find(|k| hinted.option(k).is_none() && *k != UID.key())
        && let Some(meant) = nearest(key, INSERT.iter().map(|o| o.key))
    {
        let e = Error::script(format!("an INSERT has no option '{key}'")).at(hinted.places.get(key).copied());
        return Err(e.hint(format!("did you mean '{meant}'?")));
    }
    if !hinted.options.keys().filter(added).any(|k| k == UID.key()) {
        return Ok((hinted, None));
    }
    let uid = UID.given(&hinted.options).map_err(|e| e.at(hinted.places.get(UID.key()).copied()))?;
    let table = Arc::make_mut(&mut hinted);
    table.options.remove(UID.key());
    table.places.remove(UID.key());
    Ok((hinted, uid))
}

impl Compiler<'_> {
    pub(crate) fn insert(&mut self, i: InsertStatement) -> Result<()> {
        let at = place_of(&i.table);
        if i.overwrite {
            return Err(Error::script("INSERT OVERWRITE is not yet supported").at(at));
        }
        let table = self.catalog.table(&i.table)?.clone();
        let (table, uid) = own_uid(&table, self.catalog.hinted(&i.table, table.clone())?)?;
        self.check_twice(uid.as_deref()).map_err(|e| e.at(at))?;
        let mut plan = Binder::new(&mut self.catalog, self.loader).query(&i.query)?;
        let mut columns = i.columns;
        if !i.partition.is_empty() {
            (plan, columns) = self.partitioned(plan, columns, &table, &i.partition)?;
        }
        let plan = self.fitted(plan, &table, &columns).map_err(|e| e.at(at))?;
        self.finish(table, plan, uid)
    }

    /// Rejects a second statement with the same uid, since both would have the same state.
    fn check_twice(&self, uid: Option<&str>) -> Result<()> {
        match uid.filter(|uid| self.inserts.iter().any(|i| i.identity.uid() == Some(uid))) {
            Some(uid) => Err(Error::script(format!("two statements have the uid '{uid}'"))
                .hint("a statement's state is known by its uid: give each its own")),
            None => Ok(()),
        }
    }

    /// Adds the values of PARTITION to the columns of a query. Returns the table's columns for all of them.
    fn partitioned(
        &mut self,
        plan: Plan,
        columns: Vec<Ident>,
        table: &Table,
        partition: &[(Ident, Option<Ast>)],
    ) -> Result<(Plan, Vec<Ident>)> {
        let target = table.sink_schema();
        let short = self.catalog.short(&table.name);
        let mut fixed = vec![];
        for (column, value) in partition {
            let at = place(column.span.start);
            let known = |i: &usize| table.physical.fields[*i].name == column.value;
            if !table.partitioned_by.iter().any(known) {
                let e =
                    Error::script(format!("'{}' is no column that '{short}' is partitioned by", column.value)).at(at);
                return Err(e.hint(format!("CREATE TABLE {short} (…) PARTITIONED BY ({})", column.value)));
            }
            if fixed.iter().any(|(c, _): &(Ident, _)| c.value == column.value) {
                return Err(Error::script(format!("'{}' is given twice", column.value)).at(at));
            }
            let Some(value) = value else { continue };
            if columns.iter().any(|c| c.value == column.value) {
                let e =
                    Error::script(format!("'{}' has a value in PARTITION, and is a column of the query", column.value));
                return Err(e.at(at));
            }
            let ty = target.position(&column.value).map(|i| target.fields[i].ty.clone()).unwrap_or(SqlType::STRING);
            let value = Binder::new(&mut self.catalog, self.loader).expr(value, &Scope::default(), &mut None)?;
            if !value.constant() {
                return Err(Error::script("a value of PARTITION is a constant").at(at));
            }
            if !cast::allowed(&value.ty(), &ty) {
                let e = Error::script(format!("'{}' is {}, and its value {}", column.value, ty.kind, value.ty().kind));
                return Err(e.at(at));
            }
            fixed.push((column.clone(), cast_to(value, &ty)));
        }
        let mut into: Vec<Ident> = match columns.is_empty() {
            false => columns,
            true => {
                let free = target.fields.iter().filter(|f| !fixed.iter().any(|(c, _)| c.value == f.name));
                free.map(|f| Ident::new(f.name.clone())).collect()
            }
        };
        let mut named = plan.columns();
        if named.len() != into.len() {
            let names = into.iter().map(|i| i.value.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::script(format!(
                "the query gives {} columns, and '{short}' takes {} beside its PARTITION: {names}",
                named.len(),
                into.len()
            ))
            .at(place(partition[0].0.span.start)));
        }
        for (column, value) in fixed {
            named.push((column.value.clone(), value));
            into.push(column);
        }
        Ok((Plan::calc(plan, None, named), into))
    }

    /// Maps the columns of a query to those of a table, and casts them to their types.
    pub(crate) fn fitted(&self, plan: Plan, table: &Table, columns: &[Ident]) -> Result<Plan> {
        let target = &table.sink_schema();
        let places: Vec<usize> = if columns.is_empty() {
            (0..target.len()).collect()
        } else {
            columns
                .iter()
                .map(|c| {
                    target.position(&c.value).ok_or_else(|| {
                        Error::script(format!("table '{}' has no column '{}'", table.name, c.value))
                            .at(place(c.span.start))
                    })
                })
                .collect::<Result<_>>()?
        };
        if let Some((_, c)) = columns.iter().enumerate().find(|(n, _)| places[..*n].contains(&places[*n])) {
            let e = Error::script(format!("column '{}' is named twice", c.value));
            return Err(e.at(place(c.span.start)));
        }
        let short = self.catalog.short(&table.name);
        let shape = |s: &Schema, only: Option<&[usize]>| {
            let fields = s.fields.iter().enumerate().filter(|(i, _)| only.is_none_or(|o| o.contains(i)));
            fields.map(|(_, f)| format!("{}: {}", f.name, f.ty.kind)).collect::<Vec<_>>().join(", ")
        };
        let mismatch = |why: String| {
            Error::script(format!("the query's columns do not fit the sink '{short}': {why}")).hint(format!(
                "the query gives [{}], the table takes [{}]",
                shape(plan.schema(), None),
                shape(target, Some(&places))
            ))
        };
        if plan.schema().len() != places.len() {
            return Err(mismatch(format!("{} columns into {}", plan.schema().len(), places.len())));
        }
        for (f, p) in plan.schema().fields.iter().zip(&places) {
            let to = &target.fields[*p];
            if !cast::implicit(&f.ty, &to.ty) {
                return Err(mismatch(format!("'{}' is {}, '{}' is {}", f.name, f.ty.kind, to.name, to.ty.kind)));
            }
        }
        if columns.is_empty() {
            return Ok(cast_columns(plan, target));
        }
        let given = plan.columns();
        let mut out = vec![];
        for (i, f) in target.fields.iter().enumerate() {
            let expr = match places.iter().position(|p| *p == i) {
                Some(at) => cast_to(given[at].1.clone(), &f.ty),
                None if f.ty.nullable => Expr::literal(Value::Null, f.ty.clone()),
                None => {
                    return Err(mismatch(format!("'{}' is NOT NULL and gets no value", f.name)));
                }
            };
            out.push((f.name.clone(), expr));
        }
        Ok(Plan::calc(plan, None, out))
    }
}
