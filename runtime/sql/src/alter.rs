//! ALTER TABLE and ALTER VIEW: changes a declaration, and declares the table again.

use crate::catalog::{idents, place_of};
use crate::places::place;
use crate::script::{Compiler, exists};
use crate::syntax::{Added, Change, Column, CreateTable, Position};
use sqlparser::ast::{Ident, ObjectName};
use weir_core::{Error, Result};

impl Compiler<'_> {
    pub(crate) fn alter(&mut self, view: bool, name: &ObjectName, if_exists: bool, change: Change) -> Result<()> {
        let full = self.catalog.full(name)?;
        let (tables, views) = (&self.catalog.declared, &self.catalog.views);
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
                let columns = self.catalog.views.get(&full).map(|v| v.columns.clone());
                let columns = columns.ok_or_else(|| Error::internal("an undeclared view"))?;
                return self.create_view(full, columns, query, text);
            }
            _ => self.catalog.declared.get(&full).cloned().ok_or_else(|| Error::internal("an undeclared table"))?,
        };
        changed(&mut t, &self.catalog.short(&full), name, change)?;
        self.declare(full, t)
    }

    fn rename(&mut self, full: &str, to: &ObjectName) -> Result<()> {
        // A name without a database stays in the old database.
        let new = match idents(to).as_slice() {
            [one] => format!("{}.{}", full.rsplit_once('.').map_or("", |(d, _)| d), one.value),
            _ => self.catalog.full(to)?,
        };
        let database = new.rsplit_once('.').map_or("", |(d, _)| d);
        if !self.catalog.databases.iter().any(|d| d == database) {
            return Err(Error::script(format!("there is no database '{database}'")).at(place_of(to)));
        }
        if self.catalog.has(&new) {
            return Err(exists("table or view", to));
        }
        if let Some(v) = self.catalog.views.remove(full) {
            self.catalog.views.insert(new, v);
            return Ok(());
        }
        let Some(t) = self.catalog.remove_table(full) else { return Err(Error::internal("an undeclared table")) };
        self.declare(new, CreateTable { name: to.clone(), ..t })
    }
}

/// Applies a change to a declaration.
#[expect(clippy::too_many_lines, reason = "one flat match, an arm a change")]
fn changed(t: &mut CreateTable, short: &str, name: &ObjectName, change: Change) -> Result<()> {
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
            let i = position(t, &from)?;
            if t.columns.iter().any(|c| c.name.value == to.value) {
                return Err(Error::script(format!("table '{short}' has a column '{}' already", to.value)).at(at(&to)));
            }
            if let Some(w) = t.watermark.as_ref().filter(|w| w.column.value == from.value) {
                let e = Error::script(format!("the table's WATERMARK is for column '{}'", w.column.value));
                return Err(e.at(at(&from)).hint("ALTER TABLE … DROP WATERMARK goes before"));
            }
            for k in t.primary_key.iter_mut().chain(&mut t.partitioned_by).filter(|k| k.value == from.value) {
                *k = to.clone();
            }
            t.columns[i].name = to;
        }
        Change::Drop(columns) => {
            for c in &columns {
                let i = position(t, c)?;
                if t.watermark.as_ref().is_some_and(|w| w.column.value == c.value) {
                    let e = Error::script(format!("the table's WATERMARK is for column '{}'", c.value)).at(at(c));
                    return Err(e.hint("ALTER TABLE … DROP WATERMARK goes before"));
                }
                if t.primary_key.iter().chain(&t.partitioned_by).any(|k| k.value == c.value) {
                    let e = Error::script(format!("column '{}' is part of the table's key or partitions", c.value));
                    return Err(e.at(at(c)));
                }
                t.columns.remove(i);
            }
        }
        Change::DropWatermark => {
            if t.watermark.take().is_none() {
                return Err(Error::script(format!("table '{short}' has no watermark")).at(place_of(name)));
            }
        }
        Change::DropPrimaryKey => {
            if t.primary_key.is_empty() {
                return Err(Error::script(format!("table '{short}' has no primary key")).at(place_of(name)));
            }
            t.primary_key.clear();
        }
        Change::Add(Added { columns, primary_key: key, watermark }) => {
            for (c, p) in columns {
                if t.columns.iter().any(|o| o.name.value == c.name.value) {
                    let e = Error::script(format!("table '{short}' has a column '{}' already", c.name.value));
                    return Err(e.at(at(&c.name)).hint("MODIFY changes it"));
                }
                put(&mut t.columns, c, &p, None)
                    .map_err(|i| position(t, &i).err().unwrap_or_else(|| Error::internal("a lost column")))?;
            }
            if !key.is_empty() {
                if !t.primary_key.is_empty() {
                    let e = Error::script(format!("table '{short}' has a primary key already")).at(at(&key[0]));
                    return Err(e.hint("MODIFY changes it"));
                }
                t.primary_key = key;
            }
            if let Some(new) = watermark {
                if t.watermark.is_some() {
                    let e = Error::script(format!("table '{short}' has a watermark already")).at(at(&new.column));
                    return Err(e.hint("MODIFY changes it"));
                }
                t.watermark = Some(new);
            }
        }
        Change::Modify(Added { columns, primary_key: key, watermark }) => {
            for (c, p) in columns {
                let i = position(t, &c.name)?;
                t.columns.remove(i);
                put(&mut t.columns, c, &p, Some(i))
                    .map_err(|i| position(t, &i).err().unwrap_or_else(|| Error::internal("a lost column")))?;
            }
            if !key.is_empty() {
                if t.primary_key.is_empty() {
                    let e = Error::script(format!("table '{short}' has no primary key")).at(at(&key[0]));
                    return Err(e.hint("ADD declares it"));
                }
                t.primary_key = key;
            }
            if let Some(new) = watermark {
                if t.watermark.is_none() {
                    let e = Error::script(format!("table '{short}' has no watermark")).at(at(&new.column));
                    return Err(e.hint("ADD declares it"));
                }
                t.watermark = Some(new);
            }
        }
        Change::RenameTo(_) | Change::AsQuery(..) => {}
    }
    Ok(())
}

/// Inserts a column at the wanted position, otherwise at `place` or at the end.
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
