//! The MATCH_RECOGNIZE whose expressions are bound: its variables, and what the expressions read of rows.

use weir_core::error::nearest;
use weir_core::{Error, Result, Schema, SqlType};
use weir_expr::Expr;
use weir_expr::match_recognize::{Look, Pattern, RowsOf, What};

/// Columns from this index on are what is read of rows by functions such as FIRST. Those before it are columns of variables.
pub(crate) const LOOKS: usize = 1 << 27;

/// A row of a variable.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Navigation {
    /// The first one, or so many behind it.
    First(usize),
    /// The last one, or so many before it.
    Last(usize),
}

/// The function whose argument is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    /// None.
    None,
    /// PREV or NEXT, in which FIRST and LAST may stand.
    Physical,
    /// FIRST or LAST.
    Logical,
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
    /// The pattern.
    pub pattern: Pattern,
    /// Whether all rows of a match are emitted.
    pub all_rows: bool,
    /// The variable whose condition is bound; none: measures are.
    pub defines: Option<usize>,
    /// Whether what is bound is read of the whole match, if all rows of a match are emitted.
    pub whole: bool,
    /// What is read so far.
    pub looks: Vec<Look>,
    /// The function whose argument is bound.
    pub inside: Inside,
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
        let whole = self.whole && matches!(what, What::Row { .. } | What::Aggregate { .. });
        self.read(Look { what, whole, ty }, name)
    }

    fn read(&mut self, look: Look, name: String) -> Expr {
        let ty = look.ty.clone();
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
                let (first, offset, name) = match of {
                    Navigation::First(0) => (true, 0, format!("FIRST({name})")),
                    Navigation::First(n) => (true, n, format!("FIRST({name}, {n})")),
                    Navigation::Last(0) => (false, 0, name),
                    Navigation::Last(n) => (false, n, format!("LAST({name}, {n})")),
                };
                let name = if self.whole { format!("FINAL {name}") } else { name };
                self.look(What::Row { of: rows, first, offset, shift: 0, column }, ty.nullable(true), name)
            }
            e => e,
        })
    }

    /// The columns of variables in an expression, and what FIRST and LAST read in it, become what is read so many rows further on in the
    /// partition, or back. `before` is how much was read before the expression was bound.
    ///
    /// # Errors
    /// If the row may be one that is still to come.
    pub fn shifted(&mut self, e: Expr, by: i64, before: usize) -> Result<Expr> {
        let (of_argument, mut failed) = (self.looks.split_off(before), None);
        let e = e.rewrite(&mut |e| {
            let Expr::Column { index, name, ty } = e else { return e };
            let name = if by > 0 { format!("NEXT({name}, {by})") } else { format!("PREV({name}, {})", -by) };
            let read = match index.checked_sub(LOOKS) {
                None => {
                    let (of, column) = self.rows_of(index);
                    let what = What::Row { of, first: false, offset: 0, shift: by, column };
                    Some(Look { what, whole: false, ty: ty.clone().nullable(true) })
                }
                Some(at) => {
                    let of_argument = at.checked_sub(before).map(|at| of_argument.get(at));
                    of_argument.unwrap_or_else(|| self.looks.get(at)).cloned().map(|mut look| {
                        if let What::Row { shift, .. } = &mut look.what {
                            *shift = by;
                        }
                        look
                    })
                }
            };
            let Some(look) = read else { return Expr::Column { index, name, ty } };
            if by > 0 && !self.is_there(&look.what) {
                failed.get_or_insert_with(|| name.clone());
            }
            self.read(look, name)
        });
        let Some(name) = failed else { return Ok(e) };
        let (where_to, hint) = match self.defines {
            None => ("behind the match", "give the next row a variable: PATTERN (A B), and read B.column"),
            Some(_) => (
                "behind the row that is tested",
                "test the next row in the condition of its own variable: B AS B.price > PREV(B.price)",
            ),
        };
        let e = format!("{name} may lead {where_to}, to a row that is still to come");
        Err(Error::script(e).hint(hint))
    }

    /// Whether a row behind another one is known, in every match, when it is read.
    fn is_there(&self, what: &What) -> bool {
        let What::Row { of, first, offset, shift, .. } = what else { return true };
        let behind = |pattern: &Pattern| {
            let known = match (first, offset) {
                (true, 0) => pattern.rows_behind_first(of),
                (true, _) => pattern.rows_behind_last(of),
                (false, n) => pattern.rows_behind_last(of).map(|rows| rows + *n as u64),
            };
            known.is_none_or(|rows| rows >= shift.unsigned_abs())
        };
        match self.defines {
            None => behind(&self.pattern),
            Some(variable) => self.pattern.up_to(variable).iter().all(behind),
        }
    }
}
