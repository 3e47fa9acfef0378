//! Declares tables and views, also those that are created from queries. The declaration is kept, and the table is derived from it.

use crate::binder::renamed;
use crate::catalog::{View, error_policy, option_map, place_of};
use crate::names::{Binder, Scope};
use crate::places::{Range, excerpt, place};
use crate::script::Compiler;
use crate::syntax::{Column, ColumnKind, CreateTable};
use sqlparser::ast::{Ident, Query};
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_core::descriptor::{CONNECTOR, Given, PrimaryKey};
use weir_core::error::Place;
use weir_core::{Error, Field, Result, Schema};
use weir_expr::OnError;
use weir_plan::Table;

impl Compiler<'_> {
    pub(crate) fn create_table(&mut self, mut t: CreateTable) -> Result<()> {
        let full = self.free(&t.name, t.if_not_exists)?;
        if let (Some(like), Some(_)) = (t.like.take(), &full) {
            t = self.like(t, &like)?;
        }
        let Some(query) = t.query.take() else {
            return full.map_or(Ok(()), |full| self.declare(full, t));
        };
        let at = place_of(&t.name);
        let plan = Binder::new(&mut self.catalog, self.loader).query(&query)?;
        let name = t.name.clone();
        if let Some(full) = full {
            columns_of(&mut t, plan.schema(), at)?;
            self.declare(full, t)?;
        }
        let table = self.catalog.table(&name)?.clone();
        let columns: Vec<Ident> = plan.schema().fields.iter().map(|f| Ident::new(f.name.clone())).collect();
        let plan = self.fitted(plan, &table, &columns).map_err(|e| e.at(at))?;
        self.finish(table, plan, None)
    }

    /// Derives a table from its declaration, and replaces a table of the same name.
    #[expect(clippy::too_many_lines, reason = "each check reads what those before it have found")]
    pub(crate) fn declare(&mut self, full: String, t: CreateTable) -> Result<()> {
        let at = place_of(&t.name);
        let shown = self.catalog.short(&full);
        let (mut options, places) = option_map(&t.options, self.catalog.registry)?;
        if !options.contains_key(CONNECTOR.key()) {
            let e = Error::script(format!("table '{shown}' has no connector")).at(at);
            return Err(e.hint(self.catalog.registry.hint_of_connectors()));
        }
        let on_error = error_policy(&mut options, OnError::Fail).map_err(|e| e.at(at))?;
        let mut fields: Vec<Field> = vec![];
        // Metadata columns: the index, the metadata key, and whether the column is virtual.
        let mut beside: Vec<(usize, String, bool)> = vec![];
        let mut names: BTreeSet<String> = BTreeSet::new();
        for c in &t.columns {
            if !names.insert(c.name.value.clone()) {
                let e = Error::script(format!("column '{}' is declared twice", c.name.value));
                return Err(e.at(place(c.name.span.start).or(at)));
            }
            match &c.kind {
                ColumnKind::Physical(ty) => fields.push(Field::new(c.name.value.clone(), ty.clone())),
                ColumnKind::Metadata { ty, key, is_virtual } => {
                    let key = key.clone().unwrap_or_else(|| c.name.value.clone());
                    beside.push((fields.len(), key, *is_virtual));
                    fields.push(Field::new(c.name.value.clone(), ty.clone()));
                }
                ColumnKind::Computed(..) => {}
            }
        }
        let find = |i: &Ident| {
            fields.iter().position(|f| f.name == i.value).ok_or_else(|| {
                Error::script(format!("there is no column '{}' in the table", i.value)).at(place(i.span.start).or(at))
            })
        };
        let primary_key = t.primary_key.iter().map(find).collect::<Result<Vec<_>>>()?;
        let partitioned_by = t.partitioned_by.iter().map(find).collect::<Result<Vec<_>>>()?;
        primary_key.iter().for_each(|k| fields[*k].ty.nullable = false);
        let mut metadata = vec![None; fields.len()];
        beside.iter().for_each(|(i, key, _)| metadata[*i] = Some(key.clone()));
        let written = (0..fields.len()).filter(|i| !beside.iter().any(|(b, _, v)| b == i && *v)).collect();
        let described =
            self.catalog.registry.named(&Given { name: &shown, options: &options, places: &places, place: at });
        let needs_key = described.as_ref().ok().map(|d| d.connector).filter(|c| c.key == PrimaryKey::Required);
        if let Some(connector) = needs_key.filter(|_| primary_key.is_empty()) {
            let e = format!("table '{shown}' is {}, and has no primary key", connector.name);
            return Err(Error::script(e)
                .at(at)
                .hint("declare it: PRIMARY KEY (…) NOT ENFORCED; it is the key of the records"));
        }
        let scope = Scope::new(fields.iter().map(|f| (None, f.clone())).collect());
        let mut columns = vec![];
        let mut physical = fields.iter();
        for c in &t.columns {
            columns.push(match (&c.kind, physical.as_slice().first()) {
                (ColumnKind::Computed(ast, _), _) => {
                    let e = Binder::new(&mut self.catalog, self.loader).expr(ast, &scope, &mut None)?;
                    (Field::new(c.name.value.clone(), e.ty()), Some(e))
                }
                (_, Some(f)) => {
                    physical.next();
                    (f.clone(), None)
                }
                (_, None) => return Err(Error::internal("a column without a field")),
            });
        }
        let watermark = t.watermark.as_ref();
        let event_time = watermark.map(|w| self.event_time(w, &columns)).transpose()?;
        let described = match described {
            Ok(described) => described,
            Err(e) => {
                self.catalog.remove_table(&full);
                self.catalog.unusable.insert(full.clone(), e);
                self.catalog.declared.insert(full, t);
                return Ok(());
            }
        };
        let table = Arc::new(Table {
            name: full.clone(),
            physical: Schema::new(fields),
            metadata,
            written,
            columns,
            primary_key,
            partitioned_by,
            options,
            places,
            place: at,
            on_error,
            described,
            event_time,
        });
        self.catalog.unusable.remove(&full);
        self.catalog.tables.insert(full.clone(), table);
        self.catalog.declared.insert(full, t);
        Ok(())
    }

    pub(crate) fn create_view(
        &mut self,
        full: String,
        columns: Vec<Ident>,
        query: Box<Query>,
        text: Range,
    ) -> Result<()> {
        let plan = Binder::new(&mut self.catalog, self.loader).query(&query)?;
        renamed(plan, &columns)?;
        let text = excerpt(self.sql, text).to_string();
        let names_in = self.catalog.current.clone();
        self.catalog.views.insert(full, Arc::new(View { columns, query, text, names_in }));
        Ok(())
    }
}

/// Determines the columns of a table with AS SELECT: first the columns that only the table has, then those of the query, with the table's
/// types if it declares them, or in the order of the table's names.
fn columns_of(t: &mut CreateTable, query: &Schema, at: Option<Place>) -> Result<()> {
    let physical = |f: &Field| Column { name: Ident::new(f.name.clone()), kind: ColumnKind::Physical(f.ty.clone()) };
    let mut from: Vec<Column> = query.fields.iter().map(physical).collect();
    let order = std::mem::take(&mut t.order);
    if !order.is_empty() {
        for i in &order {
            if !from.iter().any(|c| c.name.value == i.value) {
                let e = Error::script(format!("the query has no column '{}'", i.value)).at(place(i.span.start));
                return Err(e.hint("names without types put the query's columns in another order"));
            }
        }
        if let Some(c) = from.iter().find(|c| !order.iter().any(|i| i.value == c.name.value)) {
            let e = Error::script(format!("the query's column '{}' is not among the table's", c.name.value)).at(at);
            return Err(e.hint("name all columns of the query, or none"));
        }
        from.sort_by_key(|c| order.iter().position(|i| i.value == c.name.value));
        if order.len() != from.len() {
            return Err(Error::script("the table names a column twice").at(at));
        }
    }
    let mut own = vec![];
    for c in std::mem::take(&mut t.columns) {
        match from.iter_mut().find(|f| f.name.value == c.name.value) {
            Some(f) if matches!(c.kind, ColumnKind::Physical(_)) => *f = c,
            Some(_) => {
                let e = Error::script(format!("the query has a column '{}' as well", c.name.value));
                return Err(e.at(place(c.name.span.start)).hint("give one of them another name"));
            }
            None => own.push(c),
        }
    }
    own.extend(from);
    t.columns = own;
    Ok(())
}
