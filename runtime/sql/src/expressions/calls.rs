//! Binds calls of functions, including those with their own syntax, and checks the arguments of some of them.

use super::branches::choose;
use super::conditions::{compare, truth};
use super::illegal_null;
use super::literals::text;
use crate::aggregates::Collector;
use crate::catalog::idents;
use crate::dialect::has_no_function;
use crate::names::{Binder, Scope, field};
use crate::places::{place, start};
use sqlparser::ast::{
    CeilFloorKind, DateTimeField, Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
};
use weir_core::error::nearest;
use weir_core::{Error, Result, SqlType, TypeKind, Value};
use weir_expr::aggregate::Aggregate;
use weir_expr::functions::{self, argument_type, branch_type, cast_to, common_type};
use weir_expr::{ArithOp, CompareOp, Expr, cast};

/// A function that only exists in the binder, and is rewritten to other expressions.
#[derive(Clone, Copy)]
enum Rewritten {
    CurrentDatabase,
    Grouping,
    If,
    IfNull,
    Mod,
    NullIf,
    TypeOf,
}

/// The names of these functions.
const REWRITTEN: [(&str, Rewritten); 8] = [
    ("CURRENT_DATABASE", Rewritten::CurrentDatabase),
    ("GROUPING", Rewritten::Grouping),
    ("GROUPING_ID", Rewritten::Grouping),
    ("IF", Rewritten::If),
    ("IFNULL", Rewritten::IfNull),
    ("MOD", Rewritten::Mod),
    ("NULLIF", Rewritten::NullIf),
    ("TYPEOF", Rewritten::TypeOf),
];

/// Checks the number of arguments.
fn arity(name: &str, args: &[Expr], n: usize) -> Result<()> {
    if args.len() == n {
        return Ok(());
    }
    let s = if n == 1 { "" } else { "s" };
    Err(Error::script(format!("{name} takes {n} argument{s}, not {}", args.len())))
}

/// The names of all of Flink's functions that are called by name, including aggregates.
pub(crate) fn built_in_names() -> impl Iterator<Item = &'static str> {
    functions::called_names().chain(REWRITTEN.map(|(name, _)| name)).chain(Aggregate::names())
}

impl Binder<'_> {
    /// Calls a built-in function.
    pub(crate) fn call(&mut self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        match functions::bind(name, args)? {
            Some(e) => Ok(e),
            None => Err(self.unknown_function(name)),
        }
    }

    fn unknown_function(&self, name: &str) -> Error {
        let mut known: Vec<String> = built_in_names().map(str::to_string).collect();
        known.extend(self.catalog.functions.keys().cloned());
        known.extend(functions::datafusion_names());
        let e = Error::script(format!("there is no function '{name}'"));
        match nearest(name, known.iter().map(String::as_str)) {
            Some(n) => e.hint(format!("did you mean {n}?")),
            None => e.hint("SHOW FUNCTIONS lists what there is; CREATE FUNCTION adds to it"),
        }
    }

    /// Binds a call in a script: of an aggregate, a user-defined function, or a built-in function.
    pub(super) fn function(&mut self, f: &Function, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        let name = idents(&f.name).last().map(|i| i.value.clone()).unwrap_or_default();
        let upper = name.to_ascii_uppercase();
        // Some constructs with their own syntax are internally functions with further arguments, under the same name or one with blanks.
        let quoted = idents(&f.name).last().is_some_and(|i| i.quote_style.is_some());
        if quoted && (upper.contains(' ') || has_no_function(&upper)) {
            let e = Error::script(format!("there is no function '{name}' in quotes"));
            return Err(e.hint("write it without them, in its own syntax"));
        }
        if f.over.is_some() {
            return self.over(f, scope, agg);
        }
        if f.null_treatment.is_some() {
            return Err(Error::script("IGNORE NULLS and RESPECT NULLS are not yet supported"));
        }
        if !matches!(f.parameters, FunctionArguments::None) || matches!(f.args, FunctionArguments::Subquery(_)) {
            return Err(Error::script(format!("{upper} does not take such arguments")));
        }
        if !quoted && let Some(e) = self.of_older_window(&upper, f, scope, agg)? {
            return Ok(e);
        }
        if !quoted && let Some(e) = self.of_match(&upper, f, scope)? {
            return Ok(e);
        }
        if let Some(mut function) = Aggregate::by_name(&upper)
            && !self.catalog.functions.contains_key(&name.to_ascii_lowercase())
        {
            return self.aggregate(&upper, &mut function, f, scope, agg);
        }
        let distinct = matches!(&f.args, FunctionArguments::List(l) if l.duplicate_treatment.is_some());
        if f.filter.is_some() || distinct {
            let what = if distinct { "DISTINCT" } else { "FILTER" };
            return Err(Error::script(format!("{what} goes with aggregates, and {upper} is none"))
                .at(crate::catalog::place_of(&f.name)));
        }
        let mut bound = vec![];
        for a in arguments(f) {
            match a {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => bound.push(self.expr(e, scope, agg)?),
                other => return Err(no_argument(&upper, other)),
            }
        }
        let bound = match self.catalog.user_function(&name, bound, self.loader)? {
            Ok(expr) => return Ok(expr),
            Err(args) => args,
        };
        self.special(&name, &upper, bound, agg)
    }

    /// Binds a call with its own syntax: `EXTRACT(DAY FROM t)`, `FLOOR(t TO DAY)`, `SUBSTRING(s FROM 2 FOR 3)`, `OVERLAY(…)`.
    pub(super) fn with_words(&mut self, ast: &Ast, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        match ast {
            Ast::Extract { field, expr, .. } => {
                let e = self.expr(expr, scope, agg)?;
                self.call("EXTRACT", vec![text(&field.to_string()), e])
            }
            Ast::Ceil { expr, field } | Ast::Floor { expr, field } => {
                let name = if matches!(ast, Ast::Ceil { .. }) { "CEIL" } else { "FLOOR" };
                let e = self.expr(expr, scope, agg)?;
                match field {
                    CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => self.call(name, vec![e]),
                    CeilFloorKind::DateTimeField(f) => self.call(&format!("{name} TO"), vec![text(&f.to_string()), e]),
                    CeilFloorKind::Scale(_) => Err(Error::script(format!("{name} takes one argument"))),
                }
            }
            Ast::Substring { expr, substring_from, substring_for, .. } => {
                if substring_from.is_none() && substring_for.is_some() {
                    let e = Error::script("SUBSTRING has FOR, but no FROM").at(place(start(ast)));
                    return Err(e.hint("SUBSTRING(text FROM 1 FOR 2), or LEFT(text, 2)"));
                }
                let mut args = vec![self.expr(expr, scope, agg)?];
                for a in [substring_from, substring_for].into_iter().flatten() {
                    args.push(self.expr(a, scope, agg)?);
                }
                self.call("SUBSTRING", args)
            }
            Ast::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args = vec![];
                for a in
                    [Some(expr), Some(overlay_what), Some(overlay_from), overlay_for.as_ref()].into_iter().flatten()
                {
                    args.push(self.expr(a, scope, agg)?);
                }
                self.call("OVERLAY", args)
            }
            _ => Err(Error::internal("no call")),
        }
    }

    /// Calls a built-in function, including those with special rules for their arguments.
    pub(super) fn special(
        &mut self,
        name: &str,
        upper: &str,
        mut args: Vec<Expr>,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        if let Some((_, function)) = REWRITTEN.iter().find(|(known, _)| *known == upper) {
            return self.rewritten(*function, upper, args, agg);
        }
        let count = args.len();
        match upper {
            "COALESCE" => self.coalesce(args),
            "GREATEST" | "LEAST" => {
                let types: Vec<SqlType> = args.iter().map(Expr::ty).collect();
                let ty = argument_type(&types).ok_or_else(|| {
                    Error::script(format!("the arguments of {upper} have types that do not go together"))
                })?;
                self.call(upper, args.into_iter().map(|a| cast_to(a, &ty)).collect())
            }
            "ARRAY_CONTAINS" | "ARRAY_POSITION" | "ARRAY_REMOVE" | "ARRAY_APPEND" | "ARRAY_PREPEND" if count == 2 => {
                let args = with_element(upper, args)?;
                self.call(upper, args)
            }
            "ITEM" => {
                arity(upper, &args, 2)?;
                let at = args.remove(1);
                self.element_at(args.remove(0), at)
            }
            "ARRAY" => self.call(upper, alike(args, 0, 1, branch_type)),
            "ARRAY_CONCAT" | "ARRAY_UNION" | "ARRAY_INTERSECT" | "ARRAY_EXCEPT" | "MAP_UNION" => {
                if args.iter().any(|a| a.ty().is_null()) {
                    return Err(illegal_null());
                }
                self.call(upper, alike(args, 0, 1, common_type))
            }
            "ELT" => self.call(upper, alike(args, 1, 1, common_type)),
            "MAP" if count.is_multiple_of(2) => {
                self.call(upper, alike(alike(args, 0, 2, common_type), 1, 2, common_type))
            }
            "JSON" => Err(Error::script("JSON(…) stands only as a value of JSON_OBJECT or JSON_ARRAY")),
            "JSON_STRING" => self.call(upper, args),
            _ if args.iter().any(|a| a.ty().is_null()) && upper != "CONCAT_WS" => Err(illegal_null()),
            _ => match functions::bind(upper, args)? {
                Some(e) => Ok(e),
                None => Err(self.unknown_function(name)),
            },
        }
    }

    /// Rewrites a call of such a function.
    fn rewritten(
        &mut self,
        function: Rewritten,
        name: &str,
        mut args: Vec<Expr>,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        match function {
            Rewritten::TypeOf => {
                Ok(text(&args.first().ok_or_else(|| Error::script("TYPEOF takes 1 argument"))?.ty().to_string()))
            }
            // As in Flink, even in a view it is the database that is current where the view is read.
            Rewritten::CurrentDatabase => {
                arity(name, &args, 0)?;
                Ok(Expr::literal(Value::string(self.catalog.current.1.clone()), SqlType::STRING.not_null()))
            }
            Rewritten::If => {
                arity(name, &args, 3)?;
                let otherwise = args.remove(2);
                let then = args.remove(1);
                choose(vec![(truth(args.remove(0), name)?, then)], otherwise, name)
            }
            Rewritten::IfNull => {
                arity(name, &args, 2)?;
                self.coalesce(args)
            }
            Rewritten::NullIf => {
                arity(name, &args, 2)?;
                let equal = compare(CompareOp::Eq, self.again(&args[0])?, args[1].clone())?;
                let first = args.remove(0);
                let ty = first.ty().nullable(true);
                let none = Expr::literal(Value::Null, ty.clone());
                Ok(Expr::Case { branches: vec![(equal, none)], otherwise: Box::new(first), ty })
            }
            Rewritten::Mod => {
                arity(name, &args, 2)?;
                let right = args.remove(1);
                self.arith(ArithOp::Modulo, args.remove(0), right)
            }
            Rewritten::Grouping => match agg {
                Some(c) => c.grouping(&args),
                None => Err(Error::script(format!("{name} goes with GROUP BY"))),
            },
        }
    }
}

/// Casts a possible element to the element type of an array, if an implicit cast exists.
fn with_element(function: &str, mut args: Vec<Expr>) -> Result<Vec<Expr>> {
    if let TypeKind::Array(item) = args[0].ty().kind {
        let given = args[1].ty();
        let day = matches!((&given.kind, &item.kind), (TypeKind::Timestamp(_), TypeKind::Date | TypeKind::Time(_)));
        if !day && !cast::implicit(&given, &item) {
            let (given, item) = (given.kind, item.kind);
            let e = Error::script(format!("{function} of an array of {item} takes {item}, not {given}"));
            return Err(e.hint(format!("cast it: CAST(… AS {item})")));
        }
        args[1] = cast_to(args[1].clone(), &item);
    }
    Ok(args)
}

impl Binder<'_> {
    /// Binds access to an element of an array or a map, or to a field of a row. A field is given by a constant number, from 1, or name.
    pub(super) fn element_at(&mut self, of: Expr, at: Expr) -> Result<Expr> {
        if at.ty().is_null() {
            return Err(illegal_null());
        }
        let TypeKind::Row(fields) = of.ty().kind else { return self.call("ITEM", vec![of, at]) };
        match &at {
            Expr::Literal { value: Value::Text(name), .. } => field(of, name),
            Expr::Literal { value: Value::Int(n), .. } => {
                let found = n.checked_sub(1).and_then(|n| usize::try_from(n).ok()).and_then(|i| fields.get(i));
                let e =
                    || Error::script(format!("the row has {} fields, counted from 1, and no field {n}", fields.len()));
                field(of, &found.ok_or_else(e)?.name)
            }
            _ => Err(Error::script("a field of a row is named by a constant: its number or its name")),
        }
    }
}

/// Casts every `step`th argument, from one on, to the type that these have in common, if there is one.
fn alike(mut args: Vec<Expr>, from: usize, step: usize, in_common: fn(&[SqlType]) -> Option<SqlType>) -> Vec<Expr> {
    let types: Vec<SqlType> = args.iter().skip(from).step_by(step).map(Expr::ty).collect();
    if let Some(ty) = in_common(&types) {
        args.iter_mut().skip(from).step_by(step).for_each(|a| *a = cast_to(a.clone(), &ty));
    }
    args
}

/// The arguments of a call.
pub(crate) fn arguments(f: &Function) -> &[FunctionArg] {
    match &f.args {
        FunctionArguments::List(l) => &l.args,
        _ => &[],
    }
}

/// The error for an argument that is not an expression.
pub(super) fn no_argument(function: &str, argument: &FunctionArg) -> Error {
    match argument {
        FunctionArg::Unnamed(_) => Error::script(format!("{function} does not take *")),
        _ => Error::script(format!("{function} takes arguments by their places, not by names")),
    }
}
