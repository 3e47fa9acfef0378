//! Binds the WATERMARK of a table: the time attribute and the watermark expression.

use crate::catalog::idents;
use crate::names::{Binder, Scope};
use crate::places::{place, start};
use crate::script::Compiler;
use crate::syntax::Watermark;
use sqlparser::ast::{Expr as Ast, FunctionArguments};
use weir_core::{Error, Field, Result, SqlType, TypeKind};
use weir_expr::Expr;
use weir_plan::EventTime;

/// Whether columns of a type can be time attributes. As in Flink, they have at most milliseconds.
fn has_times(ty: &SqlType) -> bool {
    matches!(ty.kind, TypeKind::Timestamp(0..=3) | TypeKind::TimestampLtz(0..=3))
}

const WANTED: &str = "TIMESTAMP(p) or TIMESTAMP_LTZ(p) with p from 0 to 3";

/// Whether a watermark is `SOURCE_WATERMARK()`, which means that the source emits watermarks itself.
fn is_source_watermark(e: &Ast) -> bool {
    let Ast::Function(f) = e else { return false };
    let no_arguments = matches!(&f.args, FunctionArguments::List(l) if l.args.is_empty());
    let name = idents(&f.name);
    no_arguments && name.len() == 1 && name[0].value.eq_ignore_ascii_case("SOURCE_WATERMARK")
}

impl Compiler<'_> {
    /// Binds the WATERMARK of a table. `columns` has all its columns, and computed ones have their expressions over the physical columns.
    pub(crate) fn event_time(&mut self, w: &Watermark, columns: &[(Field, Option<Expr>)]) -> Result<EventTime> {
        let (name, at) = (&w.column.value, place(w.column.span.start));
        let found = columns.iter().position(|(f, _)| f.name == *name);
        let column =
            found.ok_or_else(|| Error::script(format!("WATERMARK FOR '{name}', which is no column")).at(at))?;
        let (field, computed) = &columns[column];
        if !has_times(&field.ty) {
            let e = Error::script(format!("WATERMARK FOR '{name}', which is {}; it takes {WANTED}", field.ty)).at(at);
            let cast = format!("a computed column can have the time: rt AS CAST({name} AS TIMESTAMP(3))");
            return Err(match field.ty.kind {
                TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => e.hint(cast),
                _ => e.hint("TO_TIMESTAMP and TO_TIMESTAMP_LTZ make times of texts and numbers in a computed column"),
            });
        }
        let of_source = is_source_watermark(&w.expr);
        let scope = Scope::new(columns.iter().map(|(f, _)| (None, f.clone())).collect());
        let expr = if of_source {
            Expr::column(column, field.name.clone(), field.ty.clone())
        } else {
            Binder::new(&mut self.catalog, self.loader).expr(&w.expr, &scope, &mut None)?
        };
        if !has_times(&expr.ty()) {
            let e = Error::script(format!("the watermark is {}; it must be {WANTED}", expr.ty()));
            return Err(e.at(place(start(&w.expr))));
        }
        let physical = |of: usize| columns[..of].iter().filter(|(_, computed)| computed.is_none()).count();
        let scanned = if computed.is_some() { physical(columns.len()) } else { physical(column) };
        let watermark = expr.rewrite(&mut |e| match e {
            Expr::Column { index, name, ty } if index == column => Expr::Column { index: scanned, name, ty },
            Expr::Column { index, name, ty } => match &columns[index].1 {
                Some(computed) => computed.clone(),
                None => Expr::Column { index: physical(index), name, ty },
            },
            e => e,
        });
        let computed = computed.clone().map(|e| (field.clone(), e));
        let of_source = of_source.then(|| place(start(&w.expr)));
        Ok(EventTime { column: scanned, computed, watermark, of_source })
    }
}
