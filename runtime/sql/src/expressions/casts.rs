//! Binds CAST and TRY_CAST.

use crate::aggregates::Collector;
use crate::names::{Binder, Scope};
use sqlparser::ast::Expr as Ast;
use weir_core::{Error, Result, SqlType, Value};
use weir_expr::functions::cast_to;
use weir_expr::{Expr, cast};

impl Binder<'_> {
    /// Casts an expression to another type.
    pub(super) fn cast(
        &mut self,
        expr: &Ast,
        ty: &SqlType,
        safe: bool,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        let e = self.expr(expr, scope, agg)?;
        let from = e.ty();
        if !cast::allowed(&from, ty) {
            return Err(Error::script(format!("cannot cast {} to {}", from.kind, ty.kind))
                .hint("TO_TIMESTAMP_LTZ makes a time from a number, UNIX_TIMESTAMP a number from a time"));
        }
        if from.kind == ty.kind {
            return Ok(e);
        }
        let ty = ty.clone().nullable(from.nullable || safe);
        Ok(match e {
            Expr::Literal { value: Value::Null, .. } => Expr::literal(Value::Null, ty.nullable(true)),
            e if !safe => cast_to(e, &ty),
            e => Expr::Cast { expr: Box::new(e), ty, safe },
        })
    }
}
