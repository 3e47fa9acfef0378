//! What one script may come to: how much is bound, and how deep it nests. A few lines can ask for more than any machine
//! has, such as views that each read the one before twice.

use crate::names::Binder;
use weir_core::{Error, Result};
use weir_expr::Expr;
use weir_plan::Plan;

/// How deep an expression may nest once chains of AND, OR and || are balanced: what the stack of a worker can evaluate.
const EXPRESSION_DEPTH: usize = 500;

/// How deep queries may nest, views put in.
const QUERY_DEPTH: usize = 100;

/// How many expressions a script may have, views put in.
const EXPRESSIONS: usize = 500_000;

/// How many times a script may read tables, views put in: each is a source with threads of its own.
const SCANS: usize = 1_000;

/// How much a chain may have before it is balanced.
const CHAIN: usize = 32;

impl Binder<'_> {
    /// Counts what was bound.
    pub(crate) fn spend(&mut self, expressions: usize, scans: usize) -> Result<()> {
        let spent = &mut self.catalog.spent;
        spent.expressions += expressions;
        spent.scans += scans;
        if spent.scans > SCANS {
            let e = Error::script(format!("the script is too large: it reads tables more than {SCANS} times"));
            return Err(e.hint("a view or a query of WITH counts every time that it is named"));
        }
        if spent.expressions > EXPRESSIONS {
            let e = Error::script(format!("the script is too large: it has more than {EXPRESSIONS} expressions"));
            return Err(e.hint("a view or a query of WITH counts every time that it is named"));
        }
        Ok(())
    }

    /// The same expression once more.
    pub(crate) fn again(&mut self, e: &Expr) -> Result<Expr> {
        self.spend(size(e), 0)?;
        Ok(e.clone())
    }

    /// Binds one level deeper in an expression.
    pub(crate) fn deeper<T>(&mut self, bind: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.spend(1, 0)?;
        if self.nesting >= EXPRESSION_DEPTH {
            return Err(Error::script(format!("the expression is nested more than {EXPRESSION_DEPTH} deep")));
        }
        self.nesting += 1;
        let out = stacker::maybe_grow(RED_ZONE, MORE_STACK, || bind(self));
        self.nesting -= 1;
        out
    }

    /// Binds a query within another.
    pub(crate) fn within(&mut self, bind: impl FnOnce(&mut Self) -> Result<Plan>) -> Result<Plan> {
        if self.depth >= QUERY_DEPTH {
            let e = Error::script(format!("queries are nested more than {QUERY_DEPTH} deep, with views put in"));
            return Err(e.hint("let one job write a table in between, and another read it"));
        }
        let nesting = std::mem::take(&mut self.nesting);
        self.depth += 1;
        let out = stacker::maybe_grow(RED_ZONE, MORE_STACK, || bind(self));
        self.depth -= 1;
        self.nesting = nesting;
        out
    }
}

/// The stack that must be left before more of it is taken, and how much is.
const RED_ZONE: usize = 256 << 10;
const MORE_STACK: usize = 4 << 20;

/// Does something that follows a script's tree all the way down, on a stack that a tree of this depth fits on.
pub(crate) fn on_stack<T>(depth: usize, work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow((1 << 20) + depth * 1024, (8 << 20) + depth * 1024, work)
}

/// How many expressions an expression is made of.
pub(crate) fn size(e: &Expr) -> usize {
    1 + e.children().into_iter().map(size).sum::<usize>()
}

/// Joins operands by an associative operator, from left to right. A long chain becomes a tree that is no deeper than it
/// must be; the order of the operands stays.
pub(crate) fn joined(mut operands: Vec<Expr>, mut join: impl FnMut(Expr, Expr) -> Result<Expr>) -> Result<Expr> {
    while operands.len() > CHAIN {
        let mut halved = Vec::with_capacity(operands.len() / 2 + 1);
        let mut rest = operands.into_iter();
        while let Some(left) = rest.next() {
            halved.push(match rest.next() {
                Some(right) => join(left, right)?,
                None => left,
            });
        }
        operands = halved;
    }
    let mut rest = operands.into_iter();
    let first = rest.next().ok_or_else(|| Error::internal("a chain of nothing"))?;
    rest.try_fold(first, join)
}
