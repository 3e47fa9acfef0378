//! The MATCH_RECOGNIZE whose expressions are bound: its variables, and what the expressions read of rows.

use weir_core::error::nearest;
use weir_core::{Error, Result, Schema, SqlType};
use weir_expr::Expr;
use weir_expr::match_recognize::{Look, RowsOf, What};

/// Columns from this index on are what is read of rows by functions such as FIRST. Those before it are columns of variables.
pub(crate) const LOOKS: usize = 1 << 27;

/// A row of a variable.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Navigation {
    /// The first one, or so many behind it.
    First(usize),
    /// The last one, or so many before it.
    Last(usize),
    /// The row that is so many before the last one in the partition, whatever it belongs to.
    Previous(usize),
}

/// The MATCH_RECOGNIZE whose expressions are bound.
#[derive(Clone)]
pub(crate) struct MatchScope {
    /// The columns of the input.
    pub input: Schema,
    /// The variables and the subsets of them. Their columns come behind those of the input, in this order.
    pub names: Vec<(String, RowsOf)>,
    /// The input's column of event time; none with processing time.
    pub row_time: Option<usize>,
    /// Whether measures are bound, rather than conditions.
    pub measures: bool,
    /// What is read so far.
    pub looks: Vec<Look>,
    /// Whether the argument of FIRST or a similar function is bound.
    pub inside: bool,
}

impl MatchScope {
    /// The column of a variable; none if the first part of the name is a column of the input.
    ///
    /// # Errors
    /// If there is no such variable, or it has no such column.
    pub fn column(&self, variable: &str, column: &str) -> Result<Option<Expr>> {
        let Some(n) = self.names.iter().position(|(name, _)| name == variable) else {
            if self.input.position(variable).is_some() {
                return Ok(None);
            }
            let e = Error::script(format!("there is no variable '{variable}' in the PATTERN"));
            let known: Vec<&str> = self.names.iter().map(|(name, _)| name.as_str()).collect();
            return Err(match nearest(variable, known.iter().copied()) {
                Some(near) => e.hint(format!("did you mean '{near}'?")),
                None => e.hint(format!("there are: {}", known.join(", "))),
            });
        };
        let at = self.input.position(column).ok_or_else(|| {
            let known: Vec<&str> = self.input.fields.iter().map(|f| f.name.as_str()).collect();
            let e = Error::script(format!("the rows of '{variable}' have no column '{column}'"));
            match nearest(column, known.iter().copied()) {
                Some(near) => e.hint(format!("did you mean '{variable}.{near}'?")),
                None => e.hint(format!("they have {}", known.join(", "))),
            }
        })?;
        let f = &self.input.fields[at];
        // No row may belong to the variable.
        let ty = f.ty.clone().nullable(true);
        Ok(Some(Expr::column((n + 1) * self.input.len() + at, format!("{variable}.{column}"), ty)))
    }

    /// The rows and the column of the input that a column stands for.
    pub fn rows_of(&self, index: usize) -> (RowsOf, usize) {
        let (block, column) = (index / self.input.len().max(1), index % self.input.len().max(1));
        match block.checked_sub(1).and_then(|n| self.names.get(n)) {
            Some((_, of)) => (of.clone(), column),
            None => (RowsOf::All, column),
        }
    }

    /// Reads something of rows, and returns its column. What is read already is read once.
    pub fn look(&mut self, what: What, ty: SqlType, name: String) -> Expr {
        let look = Look { what, ty: ty.clone() };
        let at = self.looks.iter().position(|known| known.same(&look)).unwrap_or_else(|| {
            self.looks.push(look);
            self.looks.len() - 1
        });
        Expr::column(LOOKS + at, name, ty)
    }

    /// The columns of variables in an expression become what is read of a row of theirs.
    pub fn rows(&mut self, e: Expr, of: Navigation) -> Expr {
        e.rewrite(&mut |e| match e {
            Expr::Column { index, name, ty } if index < LOOKS => {
                let (rows, column) = self.rows_of(index);
                let (first, offset, back, name) = match of {
                    Navigation::First(0) => (true, 0, 0, format!("FIRST({name})")),
                    Navigation::First(n) => (true, n, 0, format!("FIRST({name}, {n})")),
                    Navigation::Last(0) => (false, 0, 0, name),
                    Navigation::Last(n) => (false, n, 0, format!("LAST({name}, {n})")),
                    Navigation::Previous(n) => (false, 0, n, format!("PREV({name}, {n})")),
                };
                self.look(What::Row { of: rows, first, offset, back, column }, ty.nullable(true), name)
            }
            e => e,
        })
    }
}
