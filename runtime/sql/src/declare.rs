//! Tables and views: declared, made like others or of queries, altered. How a table was declared is kept, and what it is
//! follows from that.

use crate::binder::renamed;
use crate::catalog::{Table, View, error_policy, idents, option_map, place_of};
use crate::names::{Binder, Scope};
use crate::places::{Range, excerpt, place};
use crate::plan::Plan;
use crate::script::{Compiler, exists};
use crate::syntax::{Change, Column, ColumnKind, CreateTable, Like, Merging, Part, Position};
use sqlparser::ast::{Expr as Ast, Ident, ObjectName, Query};
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_core::error::Place;
use weir_core::{Error, Field, Result, Schema, SqlType};
use weir_expr::functions::cast_to;
use weir_expr::{OnError, cast};

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
        self.finish(table, plan)
    }

    /// Makes a table of its declaration, in the place of one of the same name.
    fn declare(&mut self, full: String, t: CreateTable) -> Result<()> {
        let at = place_of(&t.name);
        let shown = self.catalog.short(&full);
        let (mut options, places) = option_map(&t.options)?;
        if !options.contains_key("connector") {
            let e = Error::script(format!("table '{shown}' has no connector")).at(at);
            return Err(e.hint(
                "add WITH ('connector' = 'filesystem', …); there are filesystem, kafka, upsert-kafka, jdbc, datagen, stdin, print, blackhole",
            ));
        }
        let on_error = error_policy(&mut options, OnError::Fail).map_err(|e| e.at(at))?;
        let mut fields: Vec<Field> = vec![];
        // Metadata: the column, what it stands for, whether it is only read.
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
        if let Some((column, _)) = &t.watermark {
            if !names.contains(&column.value) {
                let e = Error::script(format!("WATERMARK FOR '{}', which is no column", column.value));
                return Err(e.at(place(column.span.start)));
            }
            return Err(Error::script("WATERMARK is not yet supported").at(place(column.span.start)));
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
        if primary_key.is_empty() && options.get("connector").is_some_and(|c| c == "upsert-kafka") {
            let e = Error::script(format!("table '{shown}' is upsert-kafka, and has no primary key")).at(at);
            return Err(e.hint("declare it: PRIMARY KEY (…) NOT ENFORCED; it is the key of the topic's records"));
        }
        let scope = Scope { columns: fields.iter().map(|f| (None, f.clone())).collect() };
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
        });
        self.catalog.tables.insert(full.clone(), table);
        self.catalog.declared.insert(full, t);
        Ok(())
    }

    /// Puts together a declaration and that of the table that it is to be like.
    fn like(&mut self, t: CreateTable, like: &Like) -> Result<CreateTable> {
        let at = place_of(&like.table);
        let full = self.catalog.full(&like.table)?;
        if self.catalog.views.contains_key(&full) {
            let e = Error::script(format!("'{}' is a view, and LIKE takes a table", self.catalog.short(&full)));
            return Err(e.at(at));
        }
        self.catalog.table(&like.table)?;
        let base = self.catalog.declared.get(&full).cloned().ok_or_else(|| Error::internal("an undeclared table"))?;
        let how = Strategies::of(like)?;
        let name = self.catalog.short(&full);
        let both = |what: &str, part: &str| {
            let e = Error::script(format!("'{name}' has {what} as well")).at(at);
            e.hint(format!("say which one holds: LIKE {name} (EXCLUDING {part})"))
        };
        let mut out = CreateTable { columns: vec![], ..t.clone() };
        for c in base.columns {
            let taken = match &c.kind {
                ColumnKind::Physical(_) => true,
                ColumnKind::Computed(..) => how.generated != Merging::Excluding,
                ColumnKind::Metadata { .. } => how.metadata != Merging::Excluding,
            };
            if taken {
                out.columns.push(c);
            }
        }
        for c in t.columns {
            let Some(there) = out.columns.iter_mut().find(|b| b.name.value == c.name.value) else {
                out.columns.push(c);
                continue;
            };
            let overwritten = match (&there.kind, &c.kind) {
                (ColumnKind::Computed(..), ColumnKind::Computed(..)) => how.generated == Merging::Overwriting,
                (ColumnKind::Metadata { .. }, ColumnKind::Metadata { .. }) => how.metadata == Merging::Overwriting,
                _ => false,
            };
            if !overwritten {
                let e = Error::script(format!("'{name}' has a column '{}' already", c.name.value));
                let e = e.at(place(c.name.span.start));
                return Err(match c.kind {
                    ColumnKind::Computed(..) => e.hint("OVERWRITING GENERATED lets a computed column replace another"),
                    ColumnKind::Metadata { .. } => {
                        e.hint("OVERWRITING METADATA lets a metadata column replace another")
                    }
                    ColumnKind::Physical(_) => e.hint("columns of the other table stay as they are; leave it out here"),
                });
            }
            *there = c;
        }
        if how.constraints == Merging::Including && !base.primary_key.is_empty() {
            if !out.primary_key.is_empty() {
                return Err(both("a primary key", "CONSTRAINTS"));
            }
            out.primary_key = base.primary_key;
        }
        if how.partitions == Merging::Including && !base.partitioned_by.is_empty() {
            if !out.partitioned_by.is_empty() {
                return Err(both("partitions", "PARTITIONS"));
            }
            out.partitioned_by = base.partitioned_by;
        }
        if how.options != Merging::Excluding {
            let given = std::mem::take(&mut out.options);
            for o in base.options {
                match given.iter().find(|g| g.key == o.key) {
                    None => out.options.push(o),
                    Some(_) if how.options == Merging::Overwriting => {}
                    Some(g) => {
                        let e = Error::script(format!("'{name}' has an option '{}' already", o.key)).at(g.place);
                        return Err(e.hint("OVERWRITING OPTIONS lets an option replace the other table's"));
                    }
                }
            }
            out.options.extend(given);
        }
        Ok(out)
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
        self.catalog.views.insert(full, Arc::new(View { columns, query, text }));
        Ok(())
    }

    pub(crate) fn alter(&mut self, view: bool, name: &ObjectName, if_exists: bool, change: Change) -> Result<()> {
        let full = self.catalog.full(name)?;
        let (tables, views) = (&self.catalog.tables, &self.catalog.views);
        if !tables.contains_key(&full) && !views.contains_key(&full) {
            return if if_exists { Ok(()) } else { Err(self.catalog.unknown(name, &full)) };
        }
        if views.contains_key(&full) != view {
            let is = if view { "table" } else { "view" };
            let e = Error::script(format!("'{}' is a {is}", self.catalog.short(&full))).at(place_of(name));
            return Err(e.hint(format!("ALTER {} changes it", is.to_uppercase())));
        }
        let mut t = match change {
            Change::RenameTo(to) => return self.rename(&full, &to),
            Change::AsQuery(query, text) => {
                let columns = self.catalog.views.get(&full).map(|v| v.columns.clone()).unwrap_or_default();
                return self.create_view(full, columns, query, text);
            }
            _ => self.catalog.declared.get(&full).cloned().ok_or_else(|| Error::internal("an undeclared table"))?,
        };
        let short = self.catalog.short(&full);
        let at = |i: &Ident| place(i.span.start);
        let position = |t: &CreateTable, i: &Ident| {
            let e = || Error::script(format!("table '{short}' has no column '{}'", i.value)).at(at(i));
            t.columns.iter().position(|c| c.name.value == i.value).ok_or_else(e)
        };
        match change {
            Change::Set(options) => {
                for o in options {
                    t.options.retain(|t| t.key != o.key);
                    t.options.push(o);
                }
            }
            Change::Reset(keys) => {
                for (key, at) in keys {
                    if !t.options.iter().any(|o| o.key == key) {
                        return Err(Error::script(format!("table '{short}' has no option '{key}'")).at(at));
                    }
                    t.options.retain(|o| o.key != key);
                }
            }
            Change::Rename(from, to) => {
                let i = position(&t, &from)?;
                if t.columns.iter().any(|c| c.name.value == to.value) {
                    return Err(
                        Error::script(format!("table '{short}' has a column '{}' already", to.value)).at(at(&to))
                    );
                }
                for k in t.primary_key.iter_mut().chain(&mut t.partitioned_by).filter(|k| k.value == from.value) {
                    *k = to.clone();
                }
                t.columns[i].name = to;
            }
            Change::Drop(columns) => {
                for c in &columns {
                    let i = position(&t, c)?;
                    if t.primary_key.iter().chain(&t.partitioned_by).any(|k| k.value == c.value) {
                        let e = Error::script(format!("column '{}' is part of the table's key or partitions", c.value));
                        return Err(e.at(at(c)));
                    }
                    t.columns.remove(i);
                }
            }
            Change::DropPrimaryKey => {
                if t.primary_key.is_empty() {
                    return Err(Error::script(format!("table '{short}' has no primary key")).at(place_of(name)));
                }
                t.primary_key.clear();
            }
            Change::Add(columns, key) => {
                for (c, p) in columns {
                    if t.columns.iter().any(|o| o.name.value == c.name.value) {
                        let e = Error::script(format!("table '{short}' has a column '{}' already", c.name.value));
                        return Err(e.at(at(&c.name)).hint("MODIFY changes it"));
                    }
                    put(&mut t.columns, c, &p, None)
                        .map_err(|i| position(&t, &i).err().unwrap_or_else(|| Error::internal("a lost column")))?;
                }
                if !key.is_empty() {
                    if !t.primary_key.is_empty() {
                        let e = Error::script(format!("table '{short}' has a primary key already")).at(at(&key[0]));
                        return Err(e.hint("MODIFY changes it"));
                    }
                    t.primary_key = key;
                }
            }
            Change::Modify(columns, key) => {
                for (c, p) in columns {
                    let i = position(&t, &c.name)?;
                    t.columns.remove(i);
                    put(&mut t.columns, c, &p, Some(i))
                        .map_err(|i| position(&t, &i).err().unwrap_or_else(|| Error::internal("a lost column")))?;
                }
                if !key.is_empty() {
                    if t.primary_key.is_empty() {
                        let e = Error::script(format!("table '{short}' has no primary key")).at(at(&key[0]));
                        return Err(e.hint("ADD declares it"));
                    }
                    t.primary_key = key;
                }
            }
            Change::RenameTo(_) | Change::AsQuery(..) => {}
        }
        self.declare(full, t)
    }

    fn rename(&mut self, full: &str, to: &ObjectName) -> Result<()> {
        // A name without its database stays in the old one.
        let new = match idents(to).as_slice() {
            [one] => format!("{}.{}", full.rsplit_once('.').map_or("", |(d, _)| d), one.value),
            _ => self.catalog.full(to)?,
        };
        let database = new.rsplit_once('.').map_or("", |(d, _)| d);
        if !self.catalog.databases.iter().any(|d| d == database) {
            return Err(Error::script(format!("there is no database '{database}'")).at(place_of(to)));
        }
        if self.catalog.tables.contains_key(&new) || self.catalog.views.contains_key(&new) {
            return Err(exists("table or view", to));
        }
        if let Some(v) = self.catalog.views.remove(full) {
            self.catalog.views.insert(new, v);
            return Ok(());
        }
        self.catalog.tables.remove(full);
        let Some(t) = self.catalog.declared.remove(full) else { return Err(Error::internal("an undeclared table")) };
        self.declare(new, CreateTable { name: to.clone(), ..t })
    }

    /// Adds PARTITION's values to a query's columns. Gives the columns that they all go into.
    pub(crate) fn partitioned(
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

    /// Refuses options behind names of what is no table.
    pub(crate) fn all_hints_used(&self, hints: &[Place]) -> Result<()> {
        match hints.iter().find(|h| !self.catalog.hints_taken.contains(h)) {
            Some(h) => Err(crate::hints::misplaced().at(self.catalog.hints.get(h).and_then(|h| h.place))),
            None => Ok(()),
        }
    }
}

/// Puts a column where it is wanted, otherwise at `place` or the end.
fn put(
    columns: &mut Vec<Column>,
    c: Column,
    wanted: &Position,
    place: Option<usize>,
) -> std::result::Result<(), Ident> {
    let at = match wanted {
        Position::First => 0,
        Position::After(other) => {
            1 + columns.iter().position(|c| c.name.value == other.value).ok_or_else(|| other.clone())?
        }
        Position::AsIs => place.unwrap_or(columns.len()),
    };
    columns.insert(at, c);
    Ok(())
}

/// Gives a table of AS SELECT its columns: those that only the table has, then the query's, with the table's types where
/// it has them, or in the order of its names.
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

/// What LIKE does with each part.
struct Strategies {
    constraints: Merging,
    generated: Merging,
    metadata: Merging,
    options: Merging,
    partitions: Merging,
}

impl Strategies {
    fn of(like: &Like) -> Result<Self> {
        let mut seen: Vec<Part> = vec![];
        for (merging, part, at) in &like.options {
            let fits = matches!(part, Part::Options | Part::Generated | Part::Metadata | Part::Watermarks);
            if *merging == Merging::Overwriting && !fits {
                let e = Error::script("OVERWRITING goes with OPTIONS, GENERATED, METADATA and WATERMARKS").at(*at);
                return Err(e.hint("write INCLUDING or EXCLUDING"));
            }
            if seen.contains(part) {
                return Err(Error::script("a part is named twice in LIKE").at(*at));
            }
            seen.push(*part);
        }
        let find = |part: Part| like.options.iter().find(|(_, p, _)| *p == part).map(|(m, ..)| *m);
        let all = find(Part::All);
        let of = |part: Part| find(part).or(all).unwrap_or(Merging::Including);
        Ok(Strategies {
            constraints: of(Part::Constraints),
            generated: of(Part::Generated),
            metadata: of(Part::Metadata),
            options: find(Part::Options).or(all).unwrap_or(Merging::Overwriting),
            partitions: of(Part::Partitions),
        })
    }
}
