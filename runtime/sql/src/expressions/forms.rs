//! Binds the nodes that only Flink's dialect has. Each becomes a call of a function, whose clauses are further arguments.

use super::illegal_null;
use super::literals::{null, text, time_literal};
use crate::aggregates::Collector;
use crate::forms::{ExistsElse, Form, JsonKind, OnNull, QueryElse, Side, ValueElse, Wrapper};
use crate::names::{Binder, Scope};
use sqlparser::ast::{Expr as Ast, FunctionArg, FunctionArgExpr, FunctionArguments};
use weir_core::{Error, Result, SqlType, TypeKind, Value};
use weir_expr::Expr;
use weir_expr::functions::cast_to;

impl Binder<'_> {
    /// Binds a node.
    #[expect(clippy::too_many_lines, reason = "one flat match, an arm a node")]
    pub(super) fn form(&mut self, form: &Form, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        match form {
            Form::Cast { expr, ty, safe } => self.cast(expr, ty, *safe, scope, agg),
            Form::JsonValue { json, path, returning, on_empty, on_error } => {
                let mut args = self.all([json, path], scope, agg)?;
                args.push(null_of(returning.as_ref()));
                for on in [on_empty, on_error] {
                    let (word, default) = match on {
                        None | Some(ValueElse::Null) => ("NULL", null()),
                        Some(ValueElse::Error) => ("ERROR", null()),
                        Some(ValueElse::Default(e)) => ("DEFAULT", self.expr(e, scope, agg)?),
                    };
                    args.extend([text(word), default]);
                }
                self.call("JSON_VALUE", args)
            }
            Form::JsonQuery { json, path, returning, wrapper, on_empty, on_error } => {
                let wrapper = match wrapper {
                    None => "",
                    Some(Wrapper::Without) => "WITHOUT",
                    Some(Wrapper::Conditional) => "CONDITIONAL",
                    Some(Wrapper::Unconditional) => "WITH",
                };
                let otherwise = |on: &Option<QueryElse>| match on {
                    None | Some(QueryElse::Null) => text("NULL"),
                    Some(QueryElse::Error) => text("ERROR"),
                    Some(QueryElse::EmptyArray) => text("EMPTY ARRAY"),
                    Some(QueryElse::EmptyObject) => text("EMPTY OBJECT"),
                };
                let mut args = self.all([json, path], scope, agg)?;
                args.extend([text(wrapper), otherwise(on_empty), otherwise(on_error), null_of(returning.as_ref())]);
                self.called("JSON_QUERY", args)
            }
            Form::JsonExists { json, path, on_error } => {
                let on_error = match on_error {
                    // Has the same effect as FALSE, but the word is part of the identity of state.
                    None => "NULL",
                    Some(ExistsElse::True) => "TRUE",
                    Some(ExistsElse::False) => "FALSE",
                    Some(ExistsElse::Unknown) => "UNKNOWN",
                    Some(ExistsElse::Error) => "ERROR",
                };
                let mut args = self.all([json, path], scope, agg)?;
                args.push(text(on_error));
                self.called("JSON_EXISTS", args)
            }
            Form::JsonObject { members, on_null } => {
                let members: Vec<&Ast> = members.iter().flat_map(|(key, value)| [key, value]).collect();
                self.json_made("JSON_OBJECT", &members, *on_null, scope, agg)
            }
            Form::JsonArray { items, on_null } => {
                self.json_made("JSON_ARRAY", &items.iter().collect::<Vec<_>>(), *on_null, scope, agg)
            }
            Form::JsonAggregate { of, on_null, filter } => {
                self.json_aggregate(of, *on_null, filter.as_ref(), scope, agg)
            }
            Form::Table { .. } => {
                let e = Error::script("a table stands only among the arguments of a table function");
                Err(e.hint("FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(c), INTERVAL '1' MINUTE))"))
            }
            Form::IsJson { text: of, kind } => {
                let kind = match kind {
                    JsonKind::Value => "VALUE",
                    JsonKind::Object => "OBJECT",
                    JsonKind::Array => "ARRAY",
                    JsonKind::Scalar => "SCALAR",
                };
                let of = self.expr(of, scope, agg)?;
                self.called("IS JSON", vec![of, text(kind)])
            }
            Form::Map(items) => {
                let items = self.all(items, scope, agg)?;
                self.special("MAP", "MAP", items, agg)
            }
            Form::Row(items) => {
                let items = self.all(items, scope, agg)?;
                self.called("ROW", items)
            }
            Form::TimestampAdd { unit, count, time } => {
                let args = self.all([count, time], scope, agg)?;
                self.called("TIMESTAMPADD", [vec![text(unit)], args].concat())
            }
            Form::TimestampDiff { unit, from, to } => {
                let args = self.all([from, to], scope, agg)?;
                self.called("TIMESTAMPDIFF", [vec![text(unit)], args].concat())
            }
            Form::TimeDifference { left, right, unit } => {
                let args = self.all([left, right], scope, agg)?;
                self.called("TIME - TIME", [args, vec![text(unit)]].concat())
            }
            Form::TimestampLtz(s) => {
                let e = time_literal("TIMESTAMP", s)?;
                let digits = e.ty().time_digits().unwrap_or(0);
                Ok(cast_to(e, &SqlType::from(TypeKind::TimestampLtz(digits))))
            }
            Form::Position { what, text, from } => {
                let args = self.all([what, text].into_iter().chain(from), scope, agg)?;
                self.called("POSITION", args)
            }
            Form::Trim { side, what, text } => {
                let name = match side {
                    Side::Both => "TRIM",
                    Side::Leading => "LTRIM",
                    Side::Trailing => "RTRIM",
                };
                let args = self.all([text].into_iter().chain(what), scope, agg)?;
                self.called(name, args)
            }
        }
    }

    /// Binds expressions from left to right.
    fn all<'a>(
        &mut self,
        exprs: impl IntoIterator<Item = &'a Ast>,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Vec<Expr>> {
        exprs.into_iter().map(|e| self.expr(e, scope, agg)).collect()
    }

    /// Calls a built-in function that does not accept an untyped NULL.
    fn called(&mut self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        if args.iter().any(|a| a.ty().is_null()) {
            return Err(illegal_null());
        }
        self.call(name, args)
    }

    /// Builds JSON from values. The first argument of the function is the handling of NULLs and the numbers of the arguments that already
    /// are JSON, which is not quoted within other JSON: `NULL 2 4`.
    fn json_made(
        &mut self,
        name: &str,
        items: &[&Ast],
        on_null: OnNull,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        let mut how = match on_null {
            OnNull::Null => "NULL".to_string(),
            OnNull::Absent => "ABSENT".to_string(),
        };
        let mut args = vec![];
        for (i, item) in items.iter().enumerate() {
            if self.is_json(item) {
                how += &format!(" {}", i + 1);
            }
            args.push(match json_text(item) {
                Some(text) => {
                    let text = self.expr(text, scope, agg)?;
                    self.call("JSON", vec![text])?
                }
                None => self.expr(item, scope, agg)?,
            });
        }
        args.insert(0, text(&how));
        self.call(name, args)
    }

    /// Whether an expression is JSON by its syntax.
    fn is_json(&self, e: &Ast) -> bool {
        match e {
            Ast::Nested(e) => self.is_json(e),
            Ast::Function(f) => f.name.to_string().eq_ignore_ascii_case("JSON"),
            Ast::Value(v) => matches!(
                self.catalog.forms.of(&v.value).as_deref(),
                Some(Form::JsonObject { .. } | Form::JsonArray { .. } | Form::JsonAggregate { .. })
            ),
            _ => false,
        }
    }
}

/// A NULL of a type, or of STRING by default. It tells a call its return type.
fn null_of(ty: Option<&SqlType>) -> Expr {
    Expr::literal(Value::Null, ty.cloned().unwrap_or(SqlType::STRING).nullable(true))
}

/// The argument of `JSON(text)`.
fn json_text(e: &Ast) -> Option<&Ast> {
    let Ast::Function(f) = e else { return None };
    let FunctionArguments::List(list) = &f.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(text))] if f.name.to_string().eq_ignore_ascii_case("JSON") => {
            Some(text)
        }
        _ => None,
    }
}
