//! Binds unary and binary operators, and OVERLAPS.

use super::branches::choose;
use super::conditions::{compare, truth};
use super::illegal_null;
use super::literals::number;
use crate::aggregates::Collector;
use crate::budget::joined;
use crate::names::{Binder, Scope};
use sqlparser::ast::{BinaryOperator, Expr as Ast, UnaryOperator, Value as Literal};
use weir_core::{Error, Result, SqlType, TypeKind, Value};
use weir_expr::arith::decimal_type;
use weir_expr::functions::{cast_to, common_type};
use weir_expr::{ArithOp, CompareOp, Expr};

/// Whether both types are dates or times of the same kind.
fn of_one_kind(a: &SqlType, b: &SqlType) -> bool {
    a.is_temporal() && a.is_like(b)
}

/// Whether an expression is a number in the script, with any signs.
fn is_number(e: &Ast) -> bool {
    match e {
        Ast::Nested(e) | Ast::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: e } => is_number(e),
        Ast::Value(v) => matches!(v.value, Literal::Number(..)),
        _ => false,
    }
}

impl Binder<'_> {
    /// Binds the unary minus.
    pub(super) fn minus(&mut self, expr: &Ast, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        let inner = match expr {
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
            if is_number(inner) {
                return number(&v.unsigned_abs().to_string(), *v > 0);
            }
            // Anything else keeps its type.
            let negative = match ty.kind {
                TypeKind::TinyInt => i64::from((*v as i8).wrapping_neg()),
                TypeKind::SmallInt => i64::from((*v as i16).wrapping_neg()),
                TypeKind::Int => i64::from((*v as i32).wrapping_neg()),
                _ => v.wrapping_neg(),
            };
            return Ok(Expr::literal(Value::Int(negative), ty.clone()));
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

    /// Binds a chain of AND, OR or || of any length.
    pub(super) fn chain(&mut self, ast: &Ast, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
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

    /// Binds a binary operator.
    pub(crate) fn binary(&mut self, l: Expr, op: &BinaryOperator, r: Expr) -> Result<Expr> {
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
            // The operator is shown as in the script. Word operators of other dialects are not supported.
            other => return Err(Error::script(format!("there is no operator {other}"))),
        };
        compare(compare_op, l, r)
    }

    /// Binds arithmetic on numbers, times and intervals.
    pub(super) fn arith(&mut self, op: ArithOp, l: Expr, r: Expr) -> Result<Expr> {
        let (lt, rt) = (l.ty(), r.ty());
        if lt.is_null() || rt.is_null() {
            return Err(illegal_null());
        }
        match op {
            ArithOp::Add if lt.is_temporal() && rt.is_interval() => {
                return self.call("TIME + INTERVAL", vec![l, r]);
            }
            ArithOp::Add if rt.is_temporal() && lt.is_interval() => {
                return self.call("TIME + INTERVAL", vec![r, l]);
            }
            ArithOp::Subtract if lt.is_temporal() && rt.is_interval() => {
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
                // Between FLOAT and DOUBLE, the left operand wins, as in Flink.
                (TypeKind::Float, TypeKind::Double) => cast_to(node(double(l), double(r), TypeKind::Double), &lt),
                _ => node(double(l), double(r), TypeKind::Double),
            });
        }
        if lt.is_integer() && rt.is_integer() {
            let wide = common_type(&[lt.clone(), rt.clone()]).ok_or_else(refused)?;
            let out = node(cast_to(l, &wide), cast_to(r, &wide), wide.kind);
            // The remainder has the type of the divisor.
            return Ok(if op == ArithOp::Modulo { cast_to(out, &rt) } else { out });
        }
        match (lt.as_decimal(), rt.as_decimal()) {
            (Some(a), Some(b)) => Ok(node(l, r, decimal_type(op, a, b))),
            _ => Err(refused()),
        }
    }

    /// Binds OVERLAPS: whether two periods have a time in common.
    pub(super) fn overlaps(
        &mut self,
        left: &Ast,
        right: &Ast,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        let (from, to) = self.period(left, scope, agg)?;
        let (other_from, other_to) = self.period(right, scope, agg)?;
        if !of_one_kind(&from.ty(), &other_from.ty()) {
            return Err(Error::script("the periods of OVERLAPS have times of different types"));
        }
        let before = compare(CompareOp::GreaterEq, to, other_from)?;
        Ok(Expr::And(Box::new(before), Box::new(compare(CompareOp::GreaterEq, other_to, from)?)))
    }

    /// The start and end of a period: two times in any order, or a time and a length.
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
        if !of_one_kind(&a.ty(), &b.ty()) {
            return Err(Error::script(format!("a period of OVERLAPS is between {} and {}", a.ty().kind, b.ty().kind))
                .hint("both are DATE, TIME, TIMESTAMP or TIMESTAMP_LTZ; CAST one of them"));
        }
        let rising = compare(CompareOp::LessEq, self.again(&a)?, self.again(&b)?)?;
        let from = choose(vec![(self.again(&rising)?, self.again(&a)?)], self.again(&b)?, "OVERLAPS")?;
        Ok((from, choose(vec![(rising, b)], a, "OVERLAPS")?))
    }
}
