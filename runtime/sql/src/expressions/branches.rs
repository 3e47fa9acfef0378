//! Binds expressions that choose among others: CASE and COALESCE.

use super::conditions::{compare, truth};
use super::literals::null;
use crate::aggregates::Collector;
use crate::names::{Binder, Scope};
use sqlparser::ast::{CaseWhen, Expr as Ast};
use weir_core::{Error, Result, SqlType};
use weir_expr::functions::{self, argument_type, branch_type, cast_to};
use weir_expr::{CompareOp, Expr};

/// Builds a CASE whose branches have a common type.
pub(super) fn choose(branches: Vec<(Expr, Expr)>, otherwise: Expr, of: &str) -> Result<Expr> {
    let types: Vec<SqlType> = branches.iter().map(|(_, v)| v.ty()).chain([otherwise.ty()]).collect();
    let ty = branch_type(&types).ok_or_else(|| {
        let names: Vec<String> = types.iter().map(|t| t.kind.to_string()).collect();
        Error::script(format!("the branches of {of} have types that do not go together: {}", names.join(", ")))
    })?;
    let branches = branches.into_iter().map(|(c, v)| (c, cast_to(v, &ty))).collect();
    Ok(Expr::Case { branches, otherwise: Box::new(cast_to(otherwise, &ty)), ty })
}

impl Binder<'_> {
    /// Binds CASE, with or without an operand that is compared with each condition.
    pub(super) fn case(
        &mut self,
        operand: Option<&Ast>,
        conditions: &[CaseWhen],
        otherwise: Option<&Ast>,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        let operand = operand.map(|o| self.expr(o, scope, agg)).transpose()?;
        let mut branches = vec![];
        for c in conditions {
            let when = self.expr(&c.condition, scope, agg)?;
            let when = match &operand {
                Some(o) => compare(CompareOp::Eq, self.again(o)?, when)?,
                None => truth(when, "CASE WHEN")?,
            };
            branches.push((when, self.expr(&c.result, scope, agg)?));
        }
        let otherwise = match otherwise {
            Some(e) => self.expr(e, scope, agg)?,
            None => null(),
        };
        choose(branches, otherwise, "CASE")
    }

    /// COALESCE: the first argument that is not NULL.
    pub(super) fn coalesce(&mut self, args: Vec<Expr>) -> Result<Expr> {
        let types: Vec<SqlType> = args.iter().map(Expr::ty).collect();
        let ty = argument_type(&types).ok_or_else(|| {
            let names: Vec<String> = types.iter().map(|t| t.kind.to_string()).collect();
            Error::script(format!("the arguments of COALESCE have types that do not go together: {}", names.join(", ")))
        })?;
        let ty = ty.nullable(types.iter().all(|t| t.nullable));
        let args: Vec<Expr> = args.into_iter().map(|a| cast_to(a, &ty)).collect();
        // Like in a CASE, later arguments are only evaluated if needed. User-defined functions must not be called twice.
        let once = |e: &Expr| {
            e.any(&|e| matches!(e, Expr::Call { function, .. } if function.is_user_defined() || !function.deterministic()))
        };
        if args.iter().any(once) {
            let called = functions::bind("COALESCE", args)?;
            return called.ok_or_else(|| Error::internal("COALESCE is missing"));
        }
        let mut args = args;
        let last = args.pop().ok_or_else(|| Error::script("COALESCE takes at least 1 argument"))?;
        let mut branches = vec![];
        for a in args {
            branches.push((Expr::Not(Box::new(Expr::IsNull(Box::new(self.again(&a)?)))), a));
        }
        // Nested branches are cheaper to evaluate, as long as the nesting is not too deep.
        let case =
            |branches: Vec<_>, otherwise| Expr::Case { branches, otherwise: Box::new(otherwise), ty: ty.clone() };
        Ok(match branches.len() {
            0 => last,
            1..=16 => branches.into_iter().rev().fold(last, |otherwise, b| case(vec![b], otherwise)),
            _ => case(branches, last),
        })
    }
}
