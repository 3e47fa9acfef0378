//! CREATE TABLE … LIKE: which parts of the other table's declaration are copied, and how conflicts are resolved.

use crate::catalog::place_of;
use crate::places::place;
use crate::script::Compiler;
use crate::syntax::{Column, ColumnKind, CreateTable, Like, Merging, Part, WithOption};
use weir_core::{Error, Result};

impl Compiler<'_> {
    /// Merges a declaration with that of the table in LIKE.
    pub(crate) fn like(&mut self, t: CreateTable, like: &Like) -> Result<CreateTable> {
        let at = place_of(&like.table);
        let full = self.catalog.full(&like.table)?;
        if self.catalog.views.contains_key(&full) {
            let e = Error::script(format!("'{}' is a view, and LIKE takes a table", self.catalog.short(&full)));
            return Err(e.at(at));
        }
        let base = self.catalog.declared.get(&full).cloned();
        let base = base.ok_or_else(|| self.catalog.unknown(&like.table, &full))?;
        let how = Strategies::of(like)?;
        let name = self.catalog.short(&full);
        let both = |what: &str, part: &str| {
            let e = Error::script(format!("'{name}' has {what} as well")).at(at);
            e.hint(format!("say which one holds: LIKE {name} (EXCLUDING {part})"))
        };
        let columns = columns(&name, base.columns, t.columns, &how)?;
        let mut out = CreateTable { columns, ..t };
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
        if how.watermarks != Merging::Excluding
            && let Some(watermark) = base.watermark
        {
            if out.watermark.is_none() {
                out.watermark = Some(watermark);
            } else if how.watermarks == Merging::Including {
                return Err(both("a watermark", "WATERMARKS"));
            }
        }
        out.options = options(&name, base.options, out.options, how.options)?;
        Ok(out)
    }
}

/// Merges the columns of both tables. Own columns replace those of the same name, or follow the others.
fn columns(other: &str, base: Vec<Column>, own: Vec<Column>, how: &Strategies) -> Result<Vec<Column>> {
    let taken = |c: &Column| match &c.kind {
        ColumnKind::Physical(_) => true,
        ColumnKind::Computed(..) => how.generated != Merging::Excluding,
        ColumnKind::Metadata { .. } => how.metadata != Merging::Excluding,
    };
    let mut out: Vec<Column> = base.into_iter().filter(taken).collect();
    for c in own {
        let Some(there) = out.iter_mut().find(|b| b.name.value == c.name.value) else {
            out.push(c);
            continue;
        };
        let overwritten = match (&there.kind, &c.kind) {
            (ColumnKind::Computed(..), ColumnKind::Computed(..)) => how.generated == Merging::Overwriting,
            (ColumnKind::Metadata { .. }, ColumnKind::Metadata { .. }) => how.metadata == Merging::Overwriting,
            _ => false,
        };
        if !overwritten {
            let e = Error::script(format!("'{other}' has a column '{}' already", c.name.value));
            let e = e.at(place(c.name.span.start));
            return Err(match c.kind {
                ColumnKind::Computed(..) => e.hint("OVERWRITING GENERATED lets a computed column replace another"),
                ColumnKind::Metadata { .. } => e.hint("OVERWRITING METADATA lets a metadata column replace another"),
                ColumnKind::Physical(_) => e.hint("columns of the other table stay as they are; leave it out here"),
            });
        }
        *there = c;
    }
    Ok(out)
}

/// Merges the options of both tables.
fn options(other: &str, base: Vec<WithOption>, own: Vec<WithOption>, how: Merging) -> Result<Vec<WithOption>> {
    let mut out = vec![];
    if how != Merging::Excluding {
        for o in base {
            match own.iter().find(|g| g.key == o.key) {
                None => out.push(o),
                Some(_) if how == Merging::Overwriting => {}
                Some(g) => {
                    let e = Error::script(format!("'{other}' has an option '{}' already", o.key)).at(g.place);
                    return Err(e.hint("OVERWRITING OPTIONS lets an option replace the other table's"));
                }
            }
        }
    }
    out.extend(own);
    Ok(out)
}

/// The merging strategy for each part.
struct Strategies {
    constraints: Merging,
    generated: Merging,
    metadata: Merging,
    options: Merging,
    partitions: Merging,
    watermarks: Merging,
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
            watermarks: of(Part::Watermarks),
        })
    }
}
