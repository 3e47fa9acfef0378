//! The MATCH_RECOGNIZE whose expressions are bound: its variables, and what the expressions read of rows.

use weir_core::error::nearest;
use weir_core::{Error, Result, Schema, SqlType};
use weir_expr::Expr;
use weir_expr::match_recognize::{Look, RowsOf, What};

/// Columns from this index on are what is read of rows by functions such as FIRST. Those before it are columns of variables.
pub(crate) const LOOKS: usize = 1 << 27;

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
    /// The column of a variable, if the first part of a name is one. The other parts name the column and fields within it.
    ///
    /// # Errors
    /// If the variable has no such column.
    pub fn column(&self, variable: &str, column: &str) -> Result<Option<Expr>> {
        let Some(n) = self.names.iter().position(|(name, _)| name == variable) else { return Ok(None) };
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

    /// The columns of variables in an expression become what is read of the first or the last of their rows.
    pub fn rows(&mut self, e: Expr, first: bool, offset: usize) -> Expr {
        e.rewrite(&mut |e| match e {
            Expr::Column { index, name, ty } if index < LOOKS => {
                let (of, column) = self.rows_of(index);
                let name = match (first, offset) {
                    (false, 0) => name,
                    (true, 0) => format!("FIRST({name})"),
                    (true, n) => format!("FIRST({name}, {n})"),
                    (false, n) => format!("LAST({name}, {n})"),
                };
                self.look(What::Row { of, first, offset, column }, ty.nullable(true), name)
            }
            e => e,
        })
    }
}
