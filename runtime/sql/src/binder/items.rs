//! Binds the items of SELECT: named expressions and `*`.

use super::not_yet;
use crate::aggregates::Collector;
use crate::catalog::idents;
use crate::names::{Binder, Scope, field};
use crate::over::Item;
use crate::places::{place, start};
use crate::words::check_name;
use sqlparser::ast::{Expr as Ast, SelectItem, SelectItemQualifiedWildcardKind, Spanned};
use weir_core::error::Place;
use weir_core::{Error, Result, TypeKind};
use weir_expr::Expr;

impl Binder<'_> {
    /// Binds an item of SELECT, which may stand for several columns.
    pub(super) fn item(
        &mut self,
        item: &SelectItem,
        scope: &Scope,
        collector: &mut Collector,
        out: &mut Vec<Item>,
    ) -> Result<()> {
        let at = match item {
            SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => place(start(e)),
            other => place(other.span().start),
        };
        let mut push = |name: String, e: Expr| out.push((name, e, at));
        let column = |i: usize| {
            let f = &scope.columns[i].1;
            (f.name.clone(), Expr::column(i, f.name.clone(), f.ty.clone()))
        };
        match item {
            SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options)
                if options.opt_ilike.is_some()
                    || options.opt_exclude.is_some()
                    || options.opt_except.is_some()
                    || options.opt_replace.is_some()
                    || options.opt_rename.is_some()
                    || options.opt_alias.is_some() =>
            {
                return Err(Error::script("* stands alone").at(at).hint("name the columns"));
            }
            SelectItem::Wildcard(_) => {
                if scope.columns.is_empty() {
                    return Err(Error::script("SELECT * needs FROM").at(at));
                }
                scope.all().map(column).for_each(|(n, e)| push(n, e));
            }
            SelectItem::QualifiedWildcard(kind, _) => {
                let row = match kind {
                    SelectItemQualifiedWildcardKind::ObjectName(name) => {
                        let parts = idents(name);
                        let qualifier = parts.iter().map(|p| p.value.as_str()).collect::<Vec<_>>().join(".");
                        let of_table = scope.of_table(&qualifier);
                        if !of_table.is_empty() {
                            of_table.into_iter().map(column).for_each(|(n, e)| push(n, e));
                            return Ok(());
                        }
                        scope.resolve(&parts)?
                    }
                    SelectItemQualifiedWildcardKind::Expr(e) => self.expr(e, scope, &mut Some(collector))?,
                };
                let TypeKind::Row(fields) = row.ty().kind else {
                    return Err(Error::script(format!("{row} is neither a table nor a row")).at(at));
                };
                for f in fields {
                    push(f.name.clone(), field(row.clone(), &f.name)?);
                }
            }
            SelectItem::UnnamedExpr(ast) => {
                let name = match ast {
                    Ast::Identifier(i) => i.value.clone(),
                    Ast::CompoundIdentifier(p) => p.last().map(|i| i.value.clone()).unwrap_or_default(),
                    _ => format!("EXPR${}", out.len()),
                };
                let e = self.expr(ast, scope, &mut Some(collector))?;
                out.push((name, typed_null(e, at)?, at));
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                check_name(alias)?;
                let e = self.expr(expr, scope, &mut Some(collector))?;
                out.push((alias.value.clone(), typed_null(e, at)?, at));
            }
            SelectItem::ExprWithAliases { .. } => {
                return Err(not_yet("several names for one expression").at(at));
            }
        }
        Ok(())
    }
}

fn typed_null(e: Expr, at: Option<Place>) -> Result<Expr> {
    if e.ty().is_null() {
        return Err(Error::script("a bare NULL has no type here").hint("give it one: CAST(NULL AS STRING)").at(at));
    }
    Ok(e)
}
