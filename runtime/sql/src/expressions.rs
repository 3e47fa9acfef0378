//! Binds scalar expressions: names to columns, operators to Flink's types, implicit conversions written out.

use crate::aggregates::{Collected, Collector};
use crate::budget::{joined, size};
use crate::names::{Binder, Scope, field};
use crate::places::{place, start};
use crate::syntax::parser_error;
use crate::tokens::type_of;
use crate::words::check_name;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, CeilFloorKind, DateTimeField, DuplicateTreatment, Expr as Ast, Function,
    FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, Interval, Subscript, UnaryOperator,
    Value as Literal,
};
use weir_core::error::nearest;
use weir_core::value::decimal_text;
use weir_core::{Error, Result, SqlType, TypeKind, Value};
use weir_expr::aggregate::Aggregate;
use weir_expr::arith::decimal_type;
use weir_expr::functions::{self, cast_to, common_type};
use weir_expr::time::{self, Unit};
use weir_expr::{ArithOp, CompareOp, Expr, cast};

fn text(s: &str) -> Expr {
    let n = s.chars().count() as u32;
    Expr::literal(Value::string(s.to_string()), SqlType::from(TypeKind::Char(n)).not_null())
}

fn boolean(b: bool) -> Expr {
    Expr::literal(Value::Bool(b), SqlType::BOOLEAN.not_null())
}

fn null() -> Expr {
    Expr::literal(Value::Null, SqlType::from(TypeKind::Null))
}

/// A number as written.
fn number(s: &str, negative: bool) -> Result<Expr> {
    let sign = if negative { "-" } else { "" };
    let range = || Error::script(format!("the number {sign}{s} is out of range"));
    if s.contains(['e', 'E']) {
        let d: f64 = format!("{sign}{s}").parse().map_err(|_| range())?;
        if d.is_infinite() {
            return Err(range());
        }
        // There is no negative zero: the sign is an operator.
        return Ok(Expr::literal(Value::Double(if d == 0.0 { 0.0 } else { d }), SqlType::DOUBLE.not_null()));
    }
    let (whole, fraction) = s.split_once('.').unwrap_or((s, ""));
    if fraction.is_empty() {
        let v: i64 = format!("{sign}{whole}").parse().map_err(|_| range())?;
        let ty = if i32::try_from(v).is_ok() { SqlType::INT } else { SqlType::BIGINT };
        return Ok(Expr::literal(Value::Int(v), ty.not_null()));
    }
    let digits = format!("{whole}{fraction}");
    if digits.trim_start_matches('0').len() > 38 || fraction.len() > 38 {
        return Err(range());
    }
    let v: i128 = format!("{sign}{digits}").parse().map_err(|_| range())?;
    let scale = fraction.len() as u8;
    // Zeros in front count, as far as there is room.
    let kind = TypeKind::Decimal(digits.len().min(38) as u8, scale);
    Ok(Expr::literal(Value::Decimal(v, scale), SqlType::from(kind).not_null()))
}

fn illegal_null() -> Error {
    Error::script("a bare NULL has no type here").hint("give it one: CAST(NULL AS INT)")
}

impl Binder<'_> {
    /// Binds an expression; aggregates in it go to the collector, if there is one.
    pub(crate) fn expr(&mut self, ast: &Ast, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        self.deeper(|this| this.bind(ast, scope, agg)).map_err(|e| e.at(place(start(ast))))
    }

    fn bind(&mut self, ast: &Ast, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        match ast {
            Ast::Identifier(i) if i.quote_style.is_none() && scope.find(None, &i.value)?.is_none() => {
                let bare = [
                    "CURRENT_TIMESTAMP",
                    "CURRENT_DATE",
                    "CURRENT_TIME",
                    "LOCALTIME",
                    "LOCALTIMESTAMP",
                    "PI",
                    "CURRENT_ROW_TIMESTAMP",
                ];
                let upper = i.value.to_ascii_uppercase();
                match upper.as_str() {
                    "UNKNOWN" => Ok(Expr::literal(Value::Null, SqlType::BOOLEAN)),
                    u if bare.contains(&u) => self.call(u, vec![]),
                    _ => {
                        check_name(i)?;
                        scope.resolve(std::slice::from_ref(i))
                    }
                }
            }
            Ast::Identifier(i) => {
                check_name(i)?;
                scope.resolve(std::slice::from_ref(i))
            }
            Ast::CompoundIdentifier(parts) => {
                parts.iter().try_for_each(check_name)?;
                scope.resolve(parts)
            }
            Ast::CompoundFieldAccess { root, access_chain } => {
                let mut expr = None;
                let mut rest = access_chain.as_slice();
                // `t.pos[1]` comes as a chain that begins with names.
                let mut names: Vec<Ident> = match root.as_ref() {
                    Ast::Identifier(i) => vec![i.clone()],
                    Ast::CompoundIdentifier(p) => p.clone(),
                    _ => vec![],
                };
                if names.is_empty() {
                    expr = Some(self.expr(root, scope, agg)?);
                } else {
                    while let [AccessExpr::Dot(Ast::Identifier(i)), tail @ ..] = rest {
                        names.push(i.clone());
                        rest = tail;
                    }
                }
                let mut expr = match expr {
                    Some(e) => e,
                    None => scope.resolve(&names)?,
                };
                for access in rest {
                    expr = match access {
                        AccessExpr::Dot(Ast::Identifier(i)) => field(expr, &i.value)?,
                        AccessExpr::Subscript(Subscript::Index { index }) => {
                            let index = self.expr(index, scope, agg)?;
                            self.call("ITEM", vec![expr, index])?
                        }
                        _ => {
                            return Err(Error::script("this access is not known; write a[1], m['k'] or r.field"));
                        }
                    };
                }
                Ok(expr)
            }
            Ast::Nested(e) => self.expr(e, scope, agg),
            Ast::Value(v) => literal(&v.value),
            Ast::TypedString(t) => {
                let ty = t.data_type.to_string().to_ascii_uppercase();
                let Some(s) = t.value.value.clone().into_string() else {
                    return Err(Error::script("a literal is a text in quotes"));
                };
                time_literal(&ty, &s)
            }
            Ast::Interval(i) => self.interval(i, scope, agg),
            Ast::UnaryOp { op: UnaryOperator::Minus, expr } => {
                let inner = match expr.as_ref() {
                    Ast::Nested(e) => e.as_ref(),
                    e => e,
                };
                if let Ast::Value(v) = inner
                    && let Literal::Number(n, _) = &v.value
                {
                    return number(n, true);
                }
                let e = self.expr(expr, scope, agg)?;
                if let Expr::Literal { value: Value::Int(v), ty } = &e
                    && ty.is_integer()
                {
                    return number(&v.unsigned_abs().to_string(), *v > 0);
                }
                let ty = e.ty();
                if !ty.is_numeric() && !ty.is_interval() {
                    return Err(Error::script(format!("cannot apply '-' to {}", ty.kind)));
                }
                let zero = match ty.kind {
                    TypeKind::Float => Value::Float(0.0),
                    TypeKind::Double => Value::Double(0.0),
                    TypeKind::Decimal(_, s) => Value::Decimal(0, s),
                    _ => Value::Int(0),
                };
                let zero = Expr::literal(zero, ty.clone().not_null());
                Ok(Expr::Arith { op: ArithOp::Subtract, left: Box::new(zero), right: Box::new(e), ty })
            }
            Ast::UnaryOp { op: UnaryOperator::Plus, expr } => self.expr(expr, scope, agg),
            Ast::UnaryOp { op: UnaryOperator::Not, expr } => {
                let e = self.expr(expr, scope, agg)?;
                Ok(Expr::Not(Box::new(truth(e, "NOT")?)))
            }
            Ast::BinaryOp { left, op: BinaryOperator::Overlaps, right } => {
                let (from, to) = self.period(left, scope, agg)?;
                let (other_from, other_to) = self.period(right, scope, agg)?;
                let before = compare(CompareOp::GreaterEq, to, other_from)?;
                Ok(Expr::And(Box::new(before), Box::new(compare(CompareOp::GreaterEq, other_to, from)?)))
            }
            Ast::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or | BinaryOperator::StringConcat, .. } => {
                self.chain(ast, scope, agg)
            }
            Ast::BinaryOp { left, op, right } => {
                let l = self.expr(left, scope, agg)?;
                let r = self.expr(right, scope, agg)?;
                self.binary(l, op, r)
            }
            Ast::IsNull(e) => Ok(Expr::IsNull(Box::new(self.expr(e, scope, agg)?))),
            Ast::IsNotNull(e) => Ok(Expr::Not(Box::new(Expr::IsNull(Box::new(self.expr(e, scope, agg)?))))),
            Ast::IsTrue(e) => self.is(e, scope, agg, Some(true), false),
            Ast::IsNotTrue(e) => self.is(e, scope, agg, Some(true), true),
            Ast::IsFalse(e) => self.is(e, scope, agg, Some(false), false),
            Ast::IsNotFalse(e) => self.is(e, scope, agg, Some(false), true),
            Ast::IsUnknown(e) => self.is(e, scope, agg, None, false),
            Ast::IsNotUnknown(e) => self.is(e, scope, agg, None, true),
            Ast::IsDistinctFrom(a, b) | Ast::IsNotDistinctFrom(a, b) => {
                let op = match ast {
                    Ast::IsDistinctFrom(..) => CompareOp::DistinctFrom,
                    _ => CompareOp::NotDistinctFrom,
                };
                let (a, b) = (self.expr(a, scope, agg)?, self.expr(b, scope, agg)?);
                compare(op, a, b)
            }
            Ast::Between { expr, negated, low, high } => {
                let e = self.expr(expr, scope, agg)?;
                let (low, high) = (self.expr(low, scope, agg)?, self.expr(high, scope, agg)?);
                let from = compare(CompareOp::GreaterEq, self.again(&e)?, low)?;
                let to = compare(CompareOp::LessEq, e, high)?;
                Ok(negate(Expr::And(Box::new(from), Box::new(to)), *negated))
            }
            Ast::InList { expr, list, negated } => {
                let e = self.expr(expr, scope, agg)?;
                let mut all = vec![];
                for item in list {
                    let item = self.expr(item, scope, agg)?;
                    all.push(compare(CompareOp::Eq, self.again(&e)?, item)?);
                }
                let mut all = if all.len() > SET { in_set(all) } else { all };
                if all.is_empty() {
                    all.push(boolean(false));
                }
                Ok(negate(joined(all, |a, b| Ok(Expr::Or(Box::new(a), Box::new(b))))?, *negated))
            }
            Ast::Like { any: true, .. } => Err(Error::script("LIKE ANY is not supported yet")),
            Ast::Like { negated, expr, pattern, escape_char, .. }
            | Ast::SimilarTo { negated, expr, pattern, escape_char } => {
                let name = if matches!(ast, Ast::Like { .. }) { "LIKE" } else { "SIMILAR TO" };
                let mut args = vec![self.expr(expr, scope, agg)?, self.expr(pattern, scope, agg)?];
                if let Some(e) = escape_char {
                    args.push(text(&e.value.clone().into_string().unwrap_or_default()));
                }
                Ok(negate(self.call(name, args)?, *negated))
            }
            Ast::Cast { kind: CastKind::SafeCast | CastKind::DoubleColon, .. } => {
                Err(Error::script("this cast is not known").hint("write CAST(… AS type) or TRY_CAST(… AS type)"))
            }
            Ast::Cast { kind, expr, data_type, .. } => {
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
            Ast::Case { operand, conditions, else_result, .. } => {
                let operand = operand.as_ref().map(|o| self.expr(o, scope, agg)).transpose()?;
                let mut branches = vec![];
                for c in conditions {
                    let when = self.expr(&c.condition, scope, agg)?;
                    let when = match &operand {
                        Some(o) => compare(CompareOp::Eq, self.again(o)?, when)?,
                        None => truth(when, "CASE WHEN")?,
                    };
                    branches.push((when, self.expr(&c.result, scope, agg)?));
                }
                let otherwise = match else_result {
                    Some(e) => self.expr(e, scope, agg)?,
                    None => null(),
                };
                choose(branches, otherwise, "CASE")
            }
            Ast::Array(a) => {
                let items = a.elem.iter().map(|e| self.expr(e, scope, agg)).collect::<Result<Vec<_>>>()?;
                self.special("ARRAY", "ARRAY", items, agg)
            }
            Ast::Tuple(items) => {
                let items = items.iter().map(|e| self.expr(e, scope, agg)).collect::<Result<Vec<_>>>()?;
                self.call("ROW", items)
            }
            Ast::Function(f) => self.function(f, scope, agg),
            Ast::InSubquery { .. } | Ast::Exists { .. } | Ast::Subquery(_) => {
                Err(Error::script("sub-queries in expressions are not yet supported").hint("sub-queries in FROM are"))
            }
            Ast::RLike { .. } | Ast::ILike { .. } => {
                Err(Error::script("RLIKE and ILIKE are not supported")
                    .hint("REGEXP(text, pattern) looks for a pattern"))
            }
            Ast::AllOp { .. } | Ast::AnyOp { .. } => Err(Error::script("ANY and ALL are not supported yet")),
            Ast::Prefixed { .. } => Err(Error::script("character sets of texts are not supported")),
            _ => Err(Error::script("this expression is not supported")),
        }
    }

    /// A chain of AND, OR or ||, however long.
    fn chain(&mut self, ast: &Ast, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        let Ast::BinaryOp { op: wanted, .. } = ast else { return Err(Error::internal("no chain")) };
        let mut operands = vec![];
        let mut at = ast;
        while let Ast::BinaryOp { left, op, right } = at
            && op == wanted
        {
            operands.push(right.as_ref());
            at = left;
        }
        operands.push(at);
        let bound = operands.into_iter().rev().map(|o| self.expr(o, scope, agg)).collect::<Result<Vec<_>>>()?;
        joined(bound, |l, r| self.binary(l, wanted, r))
    }

    fn is(
        &mut self,
        e: &Ast,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
        value: Option<bool>,
        negated: bool,
    ) -> Result<Expr> {
        let e = truth(self.expr(e, scope, agg)?, "IS")?;
        let test = match value {
            Some(b) => Expr::Compare { op: CompareOp::NotDistinctFrom, left: Box::new(e), right: Box::new(boolean(b)) },
            None => Expr::IsNull(Box::new(e)),
        };
        Ok(negate(test, negated))
    }

    /// Calls a built-in function.
    pub(crate) fn call(&mut self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        match functions::bind(name, args)? {
            Some(e) => Ok(e),
            None => Err(self.unknown_function(name)),
        }
    }

    fn unknown_function(&self, name: &str) -> Error {
        let mut known: Vec<String> = functions::flink_names().into_iter().map(str::to_string).collect();
        known.extend(self.catalog.functions.keys().cloned());
        known.extend(functions::datafusion_names());
        let e = Error::script(format!("there is no function '{name}'"));
        match nearest(name, known.iter().map(String::as_str)) {
            Some(n) => e.hint(format!("did you mean {n}?")),
            None => e.hint("SHOW FUNCTIONS lists what there is; CREATE FUNCTION adds to it"),
        }
    }

    /// Begin and end of a period: two times in any order, or a time and how long from there.
    fn period(&mut self, ast: &Ast, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<(Expr, Expr)> {
        let Ast::Tuple(parts) = ast else {
            return Err(Error::script("OVERLAPS takes two periods").hint("(begin, end) or (begin, INTERVAL …)"));
        };
        let [a, b] = parts.as_slice() else {
            return Err(Error::script("a period of OVERLAPS has a begin and an end, or a begin and an interval"));
        };
        let (a, mut b) = (self.expr(a, scope, agg)?, self.expr(b, scope, agg)?);
        if b.ty().is_interval() {
            b = self.arith(ArithOp::Add, a.clone(), b)?;
        }
        let rising = compare(CompareOp::LessEq, self.again(&a)?, self.again(&b)?)?;
        let from = choose(vec![(self.again(&rising)?, self.again(&a)?)], self.again(&b)?, "OVERLAPS")?;
        Ok((from, choose(vec![(rising, b)], a, "OVERLAPS")?))
    }

    fn binary(&mut self, l: Expr, op: &BinaryOperator, r: Expr) -> Result<Expr> {
        let compare_op = match op {
            BinaryOperator::Eq => CompareOp::Eq,
            BinaryOperator::NotEq => CompareOp::NotEq,
            BinaryOperator::Lt => CompareOp::Less,
            BinaryOperator::LtEq => CompareOp::LessEq,
            BinaryOperator::Gt => CompareOp::Greater,
            BinaryOperator::GtEq => CompareOp::GreaterEq,
            BinaryOperator::And => {
                return Ok(Expr::And(Box::new(truth(l, "AND")?), Box::new(truth(r, "AND")?)));
            }
            BinaryOperator::Or => {
                return Ok(Expr::Or(Box::new(truth(l, "OR")?), Box::new(truth(r, "OR")?)));
            }
            BinaryOperator::StringConcat => {
                return self.call("||", vec![l, r]);
            }
            BinaryOperator::Plus => return self.arith(ArithOp::Add, l, r),
            BinaryOperator::Minus => return self.arith(ArithOp::Subtract, l, r),
            BinaryOperator::Multiply => return self.arith(ArithOp::Multiply, l, r),
            BinaryOperator::Divide => return self.arith(ArithOp::Divide, l, r),
            BinaryOperator::Modulo => return self.arith(ArithOp::Modulo, l, r),
            // Its sign as the script has it; the words of other dialects are no operators here.
            other => return Err(Error::script(format!("there is no operator {other}"))),
        };
        compare(compare_op, l, r)
    }

    fn arith(&mut self, op: ArithOp, l: Expr, r: Expr) -> Result<Expr> {
        let (lt, rt) = (l.ty(), r.ty());
        if lt.is_null() || rt.is_null() {
            return Err(illegal_null());
        }
        let timed = |t: &SqlType| t.is_timestamp() || matches!(t.kind, TypeKind::Date | TypeKind::Time(_));
        match op {
            ArithOp::Add if timed(&lt) && rt.is_interval() => {
                return self.call("TIME + INTERVAL", vec![l, r]);
            }
            ArithOp::Add if timed(&rt) && lt.is_interval() => {
                return self.call("TIME + INTERVAL", vec![r, l]);
            }
            ArithOp::Subtract if timed(&lt) && rt.is_interval() => {
                return self.call("TIME - INTERVAL", vec![l, r]);
            }
            _ => {}
        }
        let sign = match op {
            ArithOp::Add => '+',
            ArithOp::Subtract => '-',
            ArithOp::Multiply => '*',
            ArithOp::Divide => '/',
            ArithOp::Modulo => '%',
        };
        let refused = || {
            let e = Error::script(format!("cannot apply '{sign}' to {} and {}", lt.kind, rt.kind));
            if lt.is_text() || rt.is_text() { e.hint("CAST the text to a number, or join texts by ||") } else { e }
        };
        let nullable = lt.nullable || rt.nullable;
        let node = |l: Expr, r: Expr, kind: TypeKind| Expr::Arith {
            op,
            left: Box::new(l),
            right: Box::new(r),
            ty: SqlType { kind, nullable },
        };
        if lt.is_interval() || rt.is_interval() {
            return match op {
                ArithOp::Add | ArithOp::Subtract if lt.kind == rt.kind => Ok(node(l, r, lt.kind)),
                ArithOp::Multiply if lt.is_integer() => Ok(node(cast_to(l, &rt), r, rt.kind)),
                ArithOp::Multiply if rt.is_integer() => {
                    let kind = lt.kind.clone();
                    Ok(node(l, cast_to(r, &lt), kind))
                }
                _ => Err(refused()),
            };
        }
        if !lt.is_numeric() || !rt.is_numeric() {
            return Err(refused());
        }
        if lt.is_approximate() || rt.is_approximate() {
            if op == ArithOp::Modulo {
                return Err(refused().hint("% takes whole numbers and decimals"));
            }
            let double = |e: Expr| cast_to(e, &SqlType::DOUBLE);
            return Ok(match (&lt.kind, &rt.kind) {
                (TypeKind::Float, TypeKind::Float) => node(l, r, TypeKind::Float),
                (TypeKind::Float, _) if rt.is_integer() => node(l, cast_to(r, &lt), TypeKind::Float),
                (_, TypeKind::Float) if lt.is_integer() => node(cast_to(l, &rt), r, TypeKind::Float),
                // Between FLOAT and DOUBLE the left one wins, as in Flink.
                (TypeKind::Float, TypeKind::Double) => cast_to(node(double(l), double(r), TypeKind::Double), &lt),
                _ => node(double(l), double(r), TypeKind::Double),
            });
        }
        if lt.is_integer() && rt.is_integer() {
            let wide = common_type(&[lt.clone(), rt.clone()]).ok_or_else(refused)?;
            let out = node(cast_to(l, &wide), cast_to(r, &wide), wide.kind);
            // The remainder has the divisor's type.
            return Ok(if op == ArithOp::Modulo { cast_to(out, &rt) } else { out });
        }
        match (lt.as_decimal(), rt.as_decimal()) {
            (Some(a), Some(b)) => Ok(node(l, r, decimal_type(op, a, b))),
            _ => Err(refused()),
        }
    }

    fn interval(&mut self, i: &Interval, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        let unit = |f: &Option<DateTimeField>| f.as_ref().and_then(|f| Unit::parse(&f.to_string()));
        let lead = unit(&i.leading_field).ok_or_else(|| Error::script("an interval needs a unit: INTERVAL '1' DAY"))?;
        let months = match lead {
            Unit::Year => 12,
            Unit::Quarter => 3,
            Unit::Month => 1,
            _ => 0,
        };
        let millis = |u: Unit| match u {
            Unit::Week => 604_800_000i64,
            Unit::Day => 86_400_000,
            Unit::Hour => 3_600_000,
            Unit::Minute => 60_000,
            _ => 1_000,
        };
        let kind = if months > 0 { TypeKind::IntervalMonth } else { TypeKind::IntervalDay };
        let (sign, body) = match i.value.as_ref() {
            Ast::UnaryOp { op: UnaryOperator::Minus, expr } => (-1, expr.as_ref()),
            e => (1, e),
        };
        let written = match body {
            Ast::Value(v) => match &v.value {
                Literal::Number(n, _) => Some(n.clone()),
                other => other.clone().into_string(),
            },
            _ => None,
        };
        let Some(written) = written else {
            let e = self.expr(&i.value, scope, agg)?;
            if !e.ty().is_integer() {
                return Err(Error::script("an interval's length is a whole number"));
            }
            let factor = if months > 0 { months } else { millis(lead) };
            let e = cast_to(e, &SqlType::from(kind.clone()));
            let ty = e.ty();
            let factor = Expr::literal(Value::Int(factor), ty.clone().not_null());
            return Ok(Expr::Arith { op: ArithOp::Multiply, left: Box::new(e), right: Box::new(factor), ty });
        };
        let wrong = || Error::script(format!("'{written}' is no interval of this unit"));
        let (minus, rest) = match written.trim().strip_prefix('-') {
            Some(r) => (-1, r),
            None => (1, written.trim().trim_start_matches('+')),
        };
        let value = if months > 0 {
            match (rest.split_once('-'), unit(&i.last_field)) {
                (Some((y, m)), Some(Unit::Month)) => {
                    y.parse::<i64>().map_err(|_| wrong())? * 12 + m.parse::<i64>().map_err(|_| wrong())?
                }
                _ => rest.parse::<i64>().map_err(|_| wrong())? * months,
            }
        } else {
            let (clock, fraction) = rest.split_once('.').unwrap_or((rest, ""));
            let order = [Unit::Day, Unit::Hour, Unit::Minute, Unit::Second];
            let parts: Vec<&str> = clock.split([' ', ':']).collect();
            let first = order.iter().position(|u| *u == lead);
            let mut total = 0i64;
            for (k, p) in parts.iter().enumerate() {
                let u = match first {
                    Some(f) => *order.get(f + k).ok_or_else(wrong)?,
                    None if parts.len() == 1 => lead,
                    None => return Err(wrong()),
                };
                total += p.parse::<i64>().map_err(|_| wrong())? * millis(u);
            }
            let digits = format!("{:0<3}", fraction);
            total + digits.get(..3).and_then(|d| d.parse::<i64>().ok()).ok_or_else(wrong)?
        };
        Ok(Expr::literal(Value::Int(sign * minus * value), SqlType::from(kind).not_null()))
    }

    fn function(&mut self, f: &Function, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        let name = crate::catalog::idents(&f.name).last().map(|i| i.value.clone()).unwrap_or_default();
        let upper = name.to_ascii_uppercase();
        if f.over.is_some() {
            return Err(Error::script("OVER is not yet supported"));
        }
        if f.null_treatment.is_some() {
            return Err(Error::script("IGNORE NULLS and RESPECT NULLS are not yet supported"));
        }
        if !matches!(f.parameters, FunctionArguments::None) || matches!(f.args, FunctionArguments::Subquery(_)) {
            return Err(Error::script(format!("{upper} does not take such arguments")));
        }
        let (args, duplicates, clauses) = match &f.args {
            FunctionArguments::List(l) => (l.args.as_slice(), l.duplicate_treatment, l.clauses.as_slice()),
            _ => (&[] as &[FunctionArg], None, &[] as &[FunctionArgumentClause]),
        };
        if ["TUMBLE", "HOP", "SESSION", "CUMULATE", "TUMBLE_START", "TUMBLE_END", "HOP_START", "HOP_END"]
            .contains(&upper.as_str())
        {
            return Err(Error::script(format!(
                "{upper} needs a time attribute, and windows over time are not yet supported"
            ))
            .hint("declare a watermark once windows are there; until then group by FLOOR(time TO MINUTE)"));
        }
        if let Some(mut function) = Aggregate::by_name(&upper)
            && !self.catalog.functions.contains_key(&name.to_ascii_lowercase())
        {
            return self.aggregate(&upper, &mut function, f, args, duplicates, clauses, scope, agg);
        }
        let mut bound = vec![];
        for a in args {
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

    fn coalesce(&mut self, args: Vec<Expr>) -> Result<Expr> {
        let types: Vec<SqlType> = args.iter().map(Expr::ty).collect();
        let ty = common_type(&types).ok_or_else(|| {
            let names: Vec<String> = types.iter().map(|t| t.kind.to_string()).collect();
            Error::script(format!("the arguments of COALESCE have types that do not go together: {}", names.join(", ")))
        })?;
        let ty = ty.nullable(types.iter().all(|t| t.nullable));
        let args: Vec<Expr> = args.into_iter().map(|a| cast_to(a, &ty)).collect();
        // As a CASE, later arguments are evaluated only where they are needed; calls of functions are not made twice.
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
        // One branch within another is the cheaper one to evaluate, as long as that does not nest too deep.
        let case =
            |branches: Vec<_>, otherwise| Expr::Case { branches, otherwise: Box::new(otherwise), ty: ty.clone() };
        Ok(match branches.len() {
            0 => last,
            1..=16 => branches.into_iter().rev().fold(last, |otherwise, b| case(vec![b], otherwise)),
            _ => case(branches, last),
        })
    }

    fn special(
        &mut self,
        name: &str,
        upper: &str,
        mut args: Vec<Expr>,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        let count = args.len();
        let arity = |n: usize| match count == n {
            true => Ok(()),
            false => {
                Err(Error::script(format!("{upper} takes {n} argument{}, not {count}", if n == 1 { "" } else { "s" })))
            }
        };
        match upper {
            "TYPEOF" => {
                Ok(text(&args.first().ok_or_else(|| Error::script("TYPEOF takes 1 argument"))?.ty().to_string()))
            }
            "IF" => {
                arity(3)?;
                let otherwise = args.remove(2);
                let then = args.remove(1);
                choose(vec![(truth(args.remove(0), "IF")?, then)], otherwise, "IF")
            }
            "IFNULL" | "COALESCE" => {
                if upper == "IFNULL" {
                    arity(2)?;
                }
                self.coalesce(args)
            }
            "NULLIF" => {
                arity(2)?;
                let equal = compare(CompareOp::Eq, self.again(&args[0])?, args[1].clone())?;
                let first = args.remove(0);
                let ty = first.ty().nullable(true);
                let none = Expr::literal(Value::Null, ty.clone());
                Ok(Expr::Case { branches: vec![(equal, none)], otherwise: Box::new(first), ty })
            }
            "GREATEST" | "LEAST" => {
                let types: Vec<SqlType> = args.iter().map(Expr::ty).collect();
                let ty = common_type(&types).ok_or_else(|| {
                    Error::script(format!("the arguments of {upper} have types that do not go together"))
                })?;
                self.call(upper, args.into_iter().map(|a| cast_to(a, &ty)).collect())
            }
            "MOD" => {
                arity(2)?;
                let right = args.remove(1);
                self.arith(ArithOp::Modulo, args.remove(0), right)
            }
            "TIMESTAMP_LTZ LITERAL" => match &args[0] {
                Expr::Literal { value: Value::Text(s), .. } => {
                    let e = time_literal("TIMESTAMP", s)?;
                    let digits = e.ty().time_digits().unwrap_or(0);
                    Ok(cast_to(e, &SqlType::from(TypeKind::TimestampLtz(digits))))
                }
                _ => Err(Error::internal("a literal without text")),
            },
            "GROUPING" | "GROUPING_ID" => match agg {
                Some(c) => c.grouping(&args),
                None => Err(Error::script(format!("{upper} goes with GROUP BY"))),
            },
            "ARRAY_CONTAINS" | "ARRAY_POSITION" | "ARRAY_REMOVE" | "ARRAY_APPEND" | "ARRAY_PREPEND" if count == 2 => {
                // The element is brought to what the array holds, or both to what they have in common.
                if let TypeKind::Array(item) = args[0].ty().kind
                    && let Some(ty) = common_type(&[*item.clone(), args[1].ty()])
                {
                    let element = args.remove(1);
                    let array = args.remove(0);
                    let whole = SqlType::from(TypeKind::Array(Box::new(ty.clone()))).nullable(array.ty().nullable);
                    args = vec![cast_to(array, &whole), cast_to(element, &ty)];
                }
                self.call(upper, args)
            }
            "ARRAY" | "ARRAY_CONCAT" | "ARRAY_UNION" | "ARRAY_INTERSECT" | "ARRAY_EXCEPT" | "MAP_UNION" | "ELT" => {
                let from = usize::from(upper == "ELT");
                let types: Vec<SqlType> = args.iter().skip(from).map(Expr::ty).collect();
                if let Some(ty) = common_type(&types) {
                    args =
                        args.into_iter().enumerate().map(|(i, a)| if i < from { a } else { cast_to(a, &ty) }).collect();
                }
                self.call(upper, args)
            }
            "MAP" if count.is_multiple_of(2) => {
                for first in 0..2 {
                    let types: Vec<SqlType> = args.iter().skip(first).step_by(2).map(Expr::ty).collect();
                    if let Some(ty) = common_type(&types) {
                        let each = args.iter_mut().skip(first).step_by(2);
                        each.for_each(|a| *a = cast_to(a.clone(), &ty));
                    }
                }
                self.call(upper, args)
            }
            "JSON_STRING" | "JSON_ARRAY" | "JSON_OBJECT" | "JSON_VALUE" => self.call(upper, args),
            _ if args.iter().any(|a| a.ty().is_null()) && upper != "CONCAT_WS" => Err(illegal_null()),
            _ => match functions::bind(upper, args)? {
                Some(e) => Ok(e),
                None => Err(self.unknown_function(name)),
            },
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one call, as the parser cut them")]
    fn aggregate(
        &mut self,
        name: &str,
        function: &mut Aggregate,
        f: &Function,
        args: &[FunctionArg],
        duplicates: Option<DuplicateTreatment>,
        clauses: &[FunctionArgumentClause],
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        match agg {
            None => {
                return Err(Error::script(format!("the aggregate {name} cannot stand here"))
                    .hint("aggregates go into SELECT and HAVING; filter groups by HAVING, not WHERE"));
            }
            Some(c) if c.inside => {
                return Err(Error::script(format!("aggregates cannot be nested: {name} inside an aggregate"))
                    .hint("compute the inner one in a sub-query"));
            }
            Some(_) => {}
        }
        if clauses.iter().any(|c| matches!(c, FunctionArgumentClause::OrderBy(_))) || !f.within_group.is_empty() {
            return Err(Error::script(format!("ORDER BY inside {name} is not yet supported")));
        }
        let mut bound = vec![];
        let mut inside = Collector { inside: true, ..Collector::default() };
        for a in args {
            match a {
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if *function == Aggregate::Count => {
                    *function = Aggregate::CountStar;
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => {
                    bound.push(self.expr(e, scope, &mut Some(&mut inside))?);
                }
                other => return Err(no_argument(name, other)),
            }
        }
        let filter = match &f.filter {
            Some(c) => Some(truth(self.expr(c, scope, &mut Some(&mut inside))?, "FILTER")?),
            None => None,
        };
        let constant = |e: &Expr| match e {
            Expr::Literal { value: Value::Text(s), .. } => Some(s.to_string()),
            _ => None,
        };
        match function {
            Aggregate::ListAgg { separator } if bound.len() == 2 => {
                *separator = constant(&bound.remove(1))
                    .ok_or_else(|| Error::script("LISTAGG's separator is a constant text"))?;
            }
            Aggregate::JsonObjectAgg { absent_on_null } | Aggregate::JsonArrayAgg { absent_on_null } => {
                *absent_on_null = constant(&bound.remove(0)).as_deref() == Some("ABSENT");
            }
            Aggregate::Percentile { fractions, several } if (2..=3).contains(&bound.len()) => {
                let wanted = Some(bound.remove(1)).filter(Expr::constant);
                // No session matters to numbers.
                let wanted = wanted.map(|e| weir_expr::eval::constant(&e, &Default::default())).transpose()?;
                let list = match wanted.unwrap_or(Value::Null) {
                    Value::List(list) => {
                        *several = true;
                        list
                    }
                    one => vec![one],
                };
                *fractions = list.iter().filter_map(Value::as_f64).map(f64::to_bits).collect();
                if fractions.len() != list.len()
                    || !list.iter().filter_map(Value::as_f64).all(|f| (0.0..=1.0).contains(&f))
                {
                    return Err(Error::script("PERCENTILE's fraction is a constant from 0 to 1, or an array of such"));
                }
                let value = bound.remove(0);
                bound.insert(0, if value.ty().is_numeric() { cast_to(value, &SqlType::DOUBLE) } else { value });
            }
            Aggregate::Percentile { .. } => {
                return Err(Error::script(format!("PERCENTILE takes 2 or 3 arguments, not {}", bound.len()))
                    .hint("a value, a fraction or an array of them, and how often the value counts"));
            }
            // COUNT of several columns counts the rows in which none is NULL.
            Aggregate::Count if bound.len() > 1 => {
                let row = bound.iter().map(|b| Expr::Not(Box::new(Expr::IsNull(Box::new(b.clone())))));
                let known = row.reduce(|a, b| Expr::And(Box::new(a), Box::new(b))).unwrap_or_else(|| boolean(true));
                let row = self.call("ROW", bound)?;
                let ty = row.ty().nullable(true);
                let none = Expr::literal(Value::Null, ty.clone());
                bound = vec![Expr::Case { branches: vec![(known, row)], otherwise: Box::new(none), ty }];
            }
            _ => {}
        }
        if bound.iter().any(|b| b.ty().is_null()) {
            return Err(illegal_null());
        }
        let types: Vec<SqlType> = bound.iter().map(Expr::ty).collect();
        let mut ty = function.result_type(&types)?;
        if filter.is_some() && !matches!(function, Aggregate::Count | Aggregate::CountStar) {
            ty.nullable = true;
        }
        // Equal values change nothing for these.
        let distinct = duplicates == Some(DuplicateTreatment::Distinct)
            && !matches!(function, Aggregate::Min | Aggregate::Max | Aggregate::CountStar);
        let call = Collected { function: function.clone(), args: bound, distinct, filter, ty };
        match agg {
            Some(c) => Ok(c.add(call)),
            None => Err(Error::internal("an aggregate without a collector")),
        }
    }
}

/// What is said of an argument that is no expression.
fn no_argument(function: &str, argument: &FunctionArg) -> Error {
    match argument {
        FunctionArg::Unnamed(_) => Error::script(format!("{function} does not take *")),
        _ => Error::script(format!("{function} takes arguments by their places, not by names")),
    }
}

/// The start of an expression's text, for messages.
fn brief(e: &Expr) -> String {
    if size(e) > 20 {
        return "…".to_string();
    }
    let text = e.to_string();
    match text.char_indices().nth(100) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// From how many comparisons on IN is a look into a set.
const SET: usize = 16;

/// Comparisons of one expression with constants, as far as that can be, as a look into a set.
fn in_set(all: Vec<Expr>) -> Vec<Expr> {
    let mut sets: Vec<(Expr, Vec<Value<'static>>)> = vec![];
    let mut rest = vec![];
    for e in all {
        let Expr::Compare { op: CompareOp::Eq, left, right } = e else {
            rest.push(e);
            continue;
        };
        let ty = left.ty();
        // What a text means as a local time depends on the session.
        let plain = !ty.is_nested() && !ty.is_approximate() && !matches!(ty.kind, TypeKind::TimestampLtz(_));
        let value = (plain && right.ty().kind == ty.kind)
            .then(|| Some(right.as_ref()).filter(|r| r.constant()))
            .flatten()
            .and_then(|r| weir_expr::eval::constant(r, &Default::default()).ok());
        match value {
            Some(v) => match sets.iter_mut().find(|(e, _)| {
                e.ty().kind == ty.kind && std::mem::discriminant(e) == std::mem::discriminant(left.as_ref())
            }) {
                Some((_, values)) => values.push(v),
                None => sets.push((*left, vec![v])),
            },
            None => rest.push(Expr::Compare { op: CompareOp::Eq, left, right }),
        }
    }
    sets.into_iter().map(|(e, values)| functions::in_set(e, &values)).chain(rest).collect()
}

fn negate(e: Expr, negated: bool) -> Expr {
    if negated { Expr::Not(Box::new(e)) } else { e }
}

/// An expression that must be a condition.
pub(crate) fn truth(e: Expr, of: &str) -> Result<Expr> {
    let ty = e.ty();
    match ty.kind {
        TypeKind::Boolean => Ok(e),
        TypeKind::Null => Ok(Expr::literal(Value::Null, SqlType::BOOLEAN)),
        _ => Err(Error::script(format!("{of} takes a condition, not {} ({})", ty.kind, brief(&e)))),
    }
}

fn literal(v: &Literal) -> Result<Expr> {
    Ok(match v {
        Literal::Number(n, _) => number(n, false)?,
        Literal::Boolean(b) => boolean(*b),
        Literal::Null => null(),
        Literal::HexStringLiteral(h) => {
            let digits: Option<Vec<u8>> = (h.len() % 2 == 0)
                .then(|| (0..h.len() / 2).map(|i| u8::from_str_radix(h.get(2 * i..2 * i + 2)?, 16).ok()).collect())
                .flatten();
            let b =
                digits.ok_or_else(|| Error::script(format!("X'{h}' is not made of pairs of hexadecimal digits")))?;
            let ty = SqlType::from(TypeKind::Binary(b.len() as u32)).not_null();
            Expr::literal(Value::Bytes(b.into()), ty)
        }
        other => match other.clone().into_string() {
            Some(s) => text(&s),
            None => return Err(Error::script("this literal is not known")),
        },
    })
}

fn time_literal(ty: &str, s: &str) -> Result<Expr> {
    let digits = s.split_once('.').map_or(0, |(_, f)| f.len().min(9)) as u8;
    let wrong = |form: &str| Error::script(format!("'{s}' is no {ty}; write it as {form}"));
    let (value, kind) = match ty {
        "DATE" => {
            let d = time::parse_date(s).filter(|_| s.matches('-').count() == 2);
            (Value::Date(d.ok_or_else(|| wrong("yyyy-MM-dd"))?), TypeKind::Date)
        }
        "TIME" => {
            let t = time::parse_time(s).filter(|_| s.matches(':').count() == 2);
            (Value::Time(t.ok_or_else(|| wrong("HH:mm:ss"))?), TypeKind::Time(digits.min(3)))
        }
        _ => {
            let cut = match s.split_once('.') {
                Some((a, f)) if f.len() > 9 => format!("{a}.{}", &f[..9]),
                _ => s.to_string(),
            };
            let (s, n) = time::parse_timestamp(&cut).ok_or_else(|| wrong("yyyy-MM-dd HH:mm:ss"))?;
            (Value::Timestamp(s, n), TypeKind::Timestamp(digits))
        }
    };
    Ok(Expr::literal(value, SqlType::from(kind).not_null()))
}

/// CASE and its kin: branches of one type.
fn choose(branches: Vec<(Expr, Expr)>, otherwise: Expr, of: &str) -> Result<Expr> {
    let types: Vec<SqlType> = branches.iter().map(|(_, v)| v.ty()).chain([otherwise.ty()]).collect();
    let ty = common_type(&types).ok_or_else(|| {
        let names: Vec<String> = types.iter().map(|t| t.kind.to_string()).collect();
        Error::script(format!("the branches of {of} have types that do not go together: {}", names.join(", ")))
    })?;
    let branches = branches.into_iter().map(|(c, v)| (c, cast_to(v, &ty))).collect();
    Ok(Expr::Case { branches, otherwise: Box::new(cast_to(otherwise, &ty)), ty })
}

/// A comparison: both sides brought to one type, where they have one.
pub(crate) fn compare(op: CompareOp, l: Expr, r: Expr) -> Result<Expr> {
    let (lt, rt) = (l.ty(), r.ty());
    let refused = || {
        let e = Error::script(format!("cannot compare {} with {}: {} and {}", lt.kind, rt.kind, brief(&l), brief(&r)));
        if lt.is_text() || rt.is_text() { e.hint("text is not converted by itself; CAST one of them") } else { e }
    };
    let timed = |t: &SqlType| t.is_timestamp() || matches!(t.kind, TypeKind::Date | TypeKind::Time(_));
    let constant_text = |e: &Expr| matches!(e, Expr::Literal { value: Value::Text(_), .. });
    let ty = match () {
        _ if lt.is_null() && rt.is_null() => SqlType::BOOLEAN,
        _ if timed(&lt) && constant_text(&r) => lt.clone(),
        _ if timed(&rt) && constant_text(&l) => rt.clone(),
        _ if lt.is_decimal() && rt.is_decimal()
            || lt.is_decimal() && rt.is_integer()
            || lt.is_integer() && rt.is_decimal() =>
        {
            let ((p, s), (q, t)) = (lt.as_decimal().unwrap_or((38, 0)), rt.as_decimal().unwrap_or((38, 0)));
            let (whole, scale) = ((p - s).max(q - t), s.max(t));
            if whole + scale > 38 {
                // No type holds both: they are compared as they are.
                let exact = |e: Expr, (p, s)| Box::new(cast_to(e, &SqlType::from(TypeKind::Decimal(p, s))));
                return Ok(Expr::Compare { op, left: exact(l, (p, s)), right: exact(r, (q, t)) });
            }
            SqlType::from(TypeKind::Decimal(whole + scale, scale))
        }
        _ => common_type(&[lt.clone(), rt.clone()]).ok_or_else(refused)?,
    };
    if matches!(ty.kind, TypeKind::Map(..) | TypeKind::Multiset(_)) && !matches!(op, CompareOp::Eq | CompareOp::NotEq) {
        return Err(refused());
    }
    // A decimal constant is brought to the column's scale exactly or not at all.
    let bring = |e: Expr| match (&e, &ty.kind) {
        (Expr::Literal { value: Value::Decimal(v, s), .. }, TypeKind::Decimal(_, scale)) if s <= scale => {
            let digits: String = decimal_text(*v, *s).chars().filter(|c| *c != '.').collect();
            let digits = digits + &"0".repeat(usize::from(scale - s));
            match digits.parse() {
                Ok(v) => Expr::literal(Value::Decimal(v, *scale), ty.clone().not_null()),
                Err(_) => cast_to(e, &ty),
            }
        }
        (Expr::Literal { value: Value::Int(v), ty: t }, TypeKind::BigInt | TypeKind::Int) if t.is_integer() => {
            Expr::literal(Value::Int(*v), ty.clone().not_null())
        }
        _ => cast_to(e, &ty),
    };
    Ok(Expr::Compare { op, left: Box::new(bring(l)), right: Box::new(bring(r)) })
}
