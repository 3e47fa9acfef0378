//! CAST and TRY_CAST.

use crate::aggregates::Collector;
use crate::names::{Binder, Scope};
use crate::syntax::parser_error;
use crate::tokens::type_of;
use sqlparser::ast::{CastKind, DataType, Expr as Ast};
use weir_core::{Error, Result, Value};
use weir_expr::functions::cast_to;
use weir_expr::{Expr, cast};

impl Binder<'_> {
    /// An expression as another type.
    pub(super) fn cast(
        &mut self,
        kind: &CastKind,
        expr: &Ast,
        data_type: &DataType,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        if matches!(kind, CastKind::SafeCast | CastKind::DoubleColon) {
            return Err(Error::script("this cast is not known").hint("write CAST(… AS type) or TRY_CAST(… AS type)"));
        }
        let ty = type_of(data_type).map_err(parser_error)?;
        let e = self.expr(expr, scope, agg)?;
        let from = e.ty();
        if !cast::allowed(&from, &ty) {
            return Err(Error::script(format!("cannot cast {} to {}", from.kind, ty.kind))
                .hint("TO_TIMESTAMP_LTZ makes a time from a number, UNIX_TIMESTAMP a number from a time"));
        }
        let safe = *kind == CastKind::TryCast;
        if from.kind == ty.kind {
            return Ok(e);
        }
        let ty = ty.nullable(from.nullable || safe);
        Ok(match e {
            Expr::Literal { value: Value::Null, .. } => Expr::literal(Value::Null, ty.nullable(true)),
            e if !safe => cast_to(e, &ty),
            e => Expr::Cast { expr: Box::new(e), ty, safe },
        })
    }
}
