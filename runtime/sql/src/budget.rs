//! Limits of a script: how much is bound, and how deeply it is nested. A few lines can request more than any machine has, for example views
//! that each read the previous one twice.

use crate::names::Binder;
use weir_core::{Error, Result};
use weir_expr::Expr;
use weir_plan::Plan;

/// Maximum depth of an expression after chains of AND, OR and || are balanced. The stack of a worker thread can evaluate it.
const EXPRESSION_DEPTH: usize = 500;

/// Maximum depth of nested queries, including those in views.
const QUERY_DEPTH: usize = 100;

/// Maximum number of expressions in a script, including those in views.
const EXPRESSIONS: usize = 500_000;

/// Maximum number of table scans in a script, including those in views. Each is a source with threads of its own.
const SCANS: usize = 1_000;

/// Maximum length of a chain that is not balanced.
const CHAIN: usize = 32;

impl Binder<'_> {
    /// Counts what was bound, and fails if the script exceeds its limits.
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

    /// Copies an expression, and counts the copy.
    pub(crate) fn again(&mut self, e: &Expr) -> Result<Expr> {
        self.spend(size(e), 0)?;
        Ok(e.clone())
    }

    /// Binds one level deeper within an expression.
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

    /// Binds a nested query.
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

/// The minimum remaining stack before more is allocated, and the size of the allocation.
const RED_ZONE: usize = 256 << 10;
const MORE_STACK: usize = 4 << 20;

/// Runs a recursive function on a stack that is large enough for a tree of this depth.
pub(crate) fn on_stack<T>(depth: usize, work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow((1 << 20) + depth * 1024, (8 << 20) + depth * 1024, work)
}

/// The number of nodes of an expression.
pub(crate) fn size(e: &Expr) -> usize {
    1 + e.children().into_iter().map(size).sum::<usize>()
}

/// Combines operands with an associative operator. A long chain becomes a balanced tree. The order of the operands does not change.
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
