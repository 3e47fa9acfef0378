//! Bound expressions: all names are resolved, all types are known, and all implicit casts are explicit.

use crate::arith::ArithOp;
use crate::context::EvalContext;
use arrow::array::ArrayRef;
use std::fmt;
use std::sync::Arc;
use weir_core::{Result, SqlType, Value};

/// A scalar function of a bound call, built-in or user-defined.
pub trait Function: Send + Sync {
    /// The name, for plans and errors.
    fn name(&self) -> &str;
    /// Evaluates the call for `rows` rows. The arguments have the types that the binder cast them to.
    ///
    /// # Errors
    /// An error that ends the job. Rows that merely fail are passed to [`EvalContext::fail`].
    fn eval(&self, args: &[ArrayRef], rows: usize, ty: &SqlType, context: &mut EvalContext) -> Result<ArrayRef>;
    /// Whether equal arguments always give equal results.
    fn deterministic(&self) -> bool {
        true
    }
    /// Whether it is cheap and can neither fail nor have side effects, so that it may be evaluated for rows that do not need it.
    fn total(&self) -> bool {
        false
    }
    /// Whether it is a user-defined function in a sandbox.
    fn is_user_defined(&self) -> bool {
        false
    }
    /// The dead-letter table for rows on which it fails.
    fn dead_letters(&self) -> Option<String> {
        None
    }
    /// The parallelism that it requests for the operators that call it.
    fn parallelism(&self) -> Option<usize> {
        None
    }
    /// The version of a user-defined function for plans and the identity of state: a hash of its code.
    fn version(&self) -> Option<String> {
        None
    }
}

/// A comparison operator: =, <>, <, <=, >, >=, IS DISTINCT FROM or IS NOT DISTINCT FROM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named after what they do")]
pub enum CompareOp {
    Eq,
    NotEq,
    Less,
    LessEq,
    Greater,
    GreaterEq,
    DistinctFrom,
    NotDistinctFrom,
}

impl CompareOp {
    /// The comparison with its operands swapped: `a < b` is `b > a`.
    pub fn turned(self) -> CompareOp {
        match self {
            CompareOp::Less => CompareOp::Greater,
            CompareOp::LessEq => CompareOp::GreaterEq,
            CompareOp::Greater => CompareOp::Less,
            CompareOp::GreaterEq => CompareOp::LessEq,
            same @ (CompareOp::Eq | CompareOp::NotEq | CompareOp::DistinctFrom | CompareOp::NotDistinctFrom) => same,
        }
    }
}

/// A bound expression.
#[derive(Clone)]
#[expect(missing_docs, reason = "the fields of each variant are what SQL calls them")]
pub enum Expr {
    /// A column of the input.
    Column {
        index: usize,
        name: String,
        ty: SqlType,
    },
    /// A constant.
    Literal {
        value: Value<'static>,
        ty: SqlType,
    },
    /// CAST or TRY_CAST.
    Cast {
        expr: Box<Expr>,
        ty: SqlType,
        safe: bool,
    },
    /// Arithmetic between operands of a common type, or between exact numbers.
    Arith {
        op: ArithOp,
        left: Box<Expr>,
        right: Box<Expr>,
        ty: SqlType,
    },
    /// A comparison between operands of the same type, or decimals of any types.
    Compare {
        op: CompareOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    IsNull(Box<Expr>),
    /// The first branch whose condition is true.
    Case {
        branches: Vec<(Expr, Expr)>,
        otherwise: Box<Expr>,
        ty: SqlType,
    },
    /// A field of a ROW.
    Field {
        expr: Box<Expr>,
        index: usize,
        name: String,
        ty: SqlType,
    },
    /// A function call.
    Call {
        function: Arc<dyn Function>,
        args: Vec<Expr>,
        ty: SqlType,
    },
}

impl Expr {
    /// A reference to an input column.
    pub fn column(index: usize, name: impl Into<String>, ty: SqlType) -> Self {
        Expr::Column { index, name: name.into(), ty }
    }
    /// A constant.
    pub fn literal(value: Value<'static>, ty: SqlType) -> Self {
        Expr::Literal { value, ty }
    }
    /// The type of the value.
    pub fn ty(&self) -> SqlType {
        match self {
            Expr::Column { ty, .. }
            | Expr::Literal { ty, .. }
            | Expr::Cast { ty, .. }
            | Expr::Arith { ty, .. }
            | Expr::Case { ty, .. }
            | Expr::Field { ty, .. }
            | Expr::Call { ty, .. } => ty.clone(),
            Expr::Compare { op: CompareOp::DistinctFrom | CompareOp::NotDistinctFrom, .. } | Expr::IsNull(_) => {
                SqlType::BOOLEAN.not_null()
            }
            Expr::Compare { left, right, .. } | Expr::And(left, right) | Expr::Or(left, right) => {
                SqlType::BOOLEAN.nullable(left.ty().nullable || right.ty().nullable)
            }
            Expr::Not(e) => SqlType::BOOLEAN.nullable(e.ty().nullable),
        }
    }
    /// Visits every function that is called in the expression, in the order in which they are written.
    pub fn each_call<'a>(&'a self, see: &mut dyn FnMut(&'a Arc<dyn Function>)) {
        if let Expr::Call { function, .. } = self {
            see(function);
        }
        self.children().into_iter().for_each(|c| c.each_call(see));
    }
    /// The operands of the expression, but not their own operands.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Column { .. } | Expr::Literal { .. } => vec![],
            Expr::Cast { expr, .. } | Expr::Not(expr) | Expr::IsNull(expr) | Expr::Field { expr, .. } => vec![expr],
            Expr::Arith { left, right, .. }
            | Expr::Compare { left, right, .. }
            | Expr::And(left, right)
            | Expr::Or(left, right) => vec![left, right],
            Expr::Case { branches, otherwise, .. } => {
                branches.iter().flat_map(|(c, v)| [c, v]).chain([otherwise.as_ref()]).collect()
            }
            Expr::Call { args, .. } => args.iter().collect(),
        }
    }
    /// Rewrites the expression bottom-up: `f` is applied to the operands first, then to the expression itself.
    pub fn rewrite(self, f: &mut dyn FnMut(Expr) -> Expr) -> Expr {
        let mut b = |e: Box<Expr>| Box::new(e.rewrite(f));
        let out = match self {
            Expr::Column { .. } | Expr::Literal { .. } => self,
            Expr::Cast { expr, ty, safe } => Expr::Cast { expr: b(expr), ty, safe },
            Expr::Not(e) => Expr::Not(b(e)),
            Expr::IsNull(e) => Expr::IsNull(b(e)),
            Expr::Field { expr, index, name, ty } => Expr::Field { expr: b(expr), index, name, ty },
            Expr::Arith { op, left, right, ty } => Expr::Arith { op, left: b(left), right: b(right), ty },
            Expr::Compare { op, left, right } => Expr::Compare { op, left: b(left), right: b(right) },
            Expr::And(l, r) => Expr::And(b(l), b(r)),
            Expr::Or(l, r) => Expr::Or(b(l), b(r)),
            Expr::Case { branches, otherwise, ty } => Expr::Case {
                branches: branches.into_iter().map(|(c, v)| (c.rewrite(f), v.rewrite(f))).collect(),
                otherwise: Box::new(otherwise.rewrite(f)),
                ty,
            },
            Expr::Call { function, args, ty } => {
                Expr::Call { function, args: args.into_iter().map(|a| a.rewrite(f)).collect(), ty }
            }
        };
        f(out)
    }
    /// Whether a predicate holds for this expression or for one within it.
    pub fn any(&self, f: &dyn Fn(&Expr) -> bool) -> bool {
        f(self) || self.children().into_iter().any(|c| c.any(f))
    }
    /// The conjuncts of a condition (what AND connects), from left to right.
    pub fn conjuncts(self) -> Vec<Expr> {
        fn walk(e: Expr, out: &mut Vec<Expr>) {
            match e {
                Expr::And(left, right) => {
                    walk(*left, out);
                    walk(*right, out);
                }
                one => out.push(one),
            }
        }
        let mut out = vec![];
        walk(self, &mut out);
        out
    }
    /// Collects the indices of the input columns that the expression reads.
    pub fn columns(&self, into: &mut std::collections::BTreeSet<usize>) {
        if let Expr::Column { index, .. } = self {
            into.insert(*index);
        }
        self.children().into_iter().for_each(|c| c.columns(into));
    }
    /// The condition that all of these hold; none if there are none. The inverse of [`Expr::conjuncts`].
    pub fn all_of(conditions: impl IntoIterator<Item = Expr>) -> Option<Expr> {
        conditions.into_iter().reduce(|a, b| Expr::And(Box::new(a), Box::new(b)))
    }
    /// The same expression over columns that have moved: `place` gives the new index of each.
    pub fn with_columns(self, place: &mut dyn FnMut(usize) -> usize) -> Expr {
        self.rewrite(&mut |e| match e {
            Expr::Column { index, name, ty } => Expr::Column { index: place(index), name, ty },
            e => e,
        })
    }
    /// Whether it may be evaluated for rows that do not need it, because nothing in it can fail or have side effects.
    pub fn total(&self) -> bool {
        !self.any(&|e| match e {
            Expr::Cast { expr, ty, safe } => !safe && crate::cast::can_fail(&expr.ty(), ty),
            Expr::Arith { op: ArithOp::Divide | ArithOp::Modulo, ty, .. } => !ty.is_approximate(),
            Expr::Call { function, .. } => !function.total(),
            _ => false,
        })
    }
    /// Whether equal inputs always give equal results.
    pub fn deterministic(&self) -> bool {
        !self.any(&|e| matches!(e, Expr::Call { function, .. } if !function.deterministic()))
    }
    /// Whether it reads no column and can be replaced by its value.
    pub fn constant(&self) -> bool {
        self.deterministic()
            && !self.any(&|e| {
                matches!(e, Expr::Column { .. })
                    || matches!(e, Expr::Call { function, .. } if function.is_user_defined())
            })
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Column { name, .. } => f.write_str(name),
            Expr::Literal { value: Value::Text(s), .. } => write!(f, "'{}'", s.replace('\'', "''")),
            Expr::Literal { value: Value::Bytes(b), .. } => {
                f.write_str("X'")?;
                b.iter().try_for_each(|b| write!(f, "{b:02X}"))?;
                f.write_str("'")
            }
            Expr::Literal { value, ty } => f.write_str(&crate::text::cast_text(value, ty, &crate::time::Zone::UTC)),
            Expr::Cast { expr, ty, safe } => {
                write!(f, "{}({expr} AS {})", if *safe { "TRY_CAST" } else { "CAST" }, ty.kind)
            }
            Expr::Arith { op, left, right, .. } => {
                let op = match op {
                    ArithOp::Add => "+",
                    ArithOp::Subtract => "-",
                    ArithOp::Multiply => "*",
                    ArithOp::Divide => "/",
                    ArithOp::Modulo => "%",
                };
                write!(f, "({left} {op} {right})")
            }
            Expr::Compare { op, left, right } => {
                let op = match op {
                    CompareOp::Eq => "=",
                    CompareOp::NotEq => "<>",
                    CompareOp::Less => "<",
                    CompareOp::LessEq => "<=",
                    CompareOp::Greater => ">",
                    CompareOp::GreaterEq => ">=",
                    CompareOp::DistinctFrom => "IS DISTINCT FROM",
                    CompareOp::NotDistinctFrom => "IS NOT DISTINCT FROM",
                };
                write!(f, "({left} {op} {right})")
            }
            Expr::And(l, r) => write!(f, "({l} AND {r})"),
            Expr::Or(l, r) => write!(f, "({l} OR {r})"),
            Expr::Not(e) => write!(f, "NOT {e}"),
            Expr::IsNull(e) if matches!(**e, Expr::Not(_)) => write!(f, "({e}) IS NULL"),
            Expr::IsNull(e) => write!(f, "{e} IS NULL"),
            Expr::Case { branches, otherwise, .. } => {
                f.write_str("CASE")?;
                for (c, v) in branches {
                    write!(f, " WHEN {c} THEN {v}")?;
                }
                write!(f, " ELSE {otherwise} END")
            }
            Expr::Field { expr, name, .. } => write!(f, "{expr}.{name}"),
            Expr::Call { function, args, .. } => {
                write!(f, "{}(", function.name())?;
                for (i, a) in args.iter().enumerate() {
                    write!(f, "{}{a}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
        }
    }
}
