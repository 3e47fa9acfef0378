//! Evaluates bound expressions over the columns of a batch.
//!
//! Branches of CASE, AND and OR that can fail or call a function are only evaluated for the rows that need them: the columns are filtered
//! to these rows, and the results are scattered back.

use crate::context::{EvalContext, Session};
use crate::expr::{CompareOp, Expr};
use crate::functions::size;
use crate::{arith, cast, equality};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, Scalar, UInt32Array, new_null_array};
use arrow::compute::kernels::{boolean, cmp};
use std::sync::Arc;
use weir_core::{Result, SqlType, Value, builder};

/// Evaluates an expression for every row of a batch.
///
/// # Errors
/// An error that ends the job. If `context.too_large` is set, the caller may evaluate the batch in parts instead.
pub fn eval(expr: &Expr, batch: &RecordBatch, context: &mut EvalContext) -> Result<ArrayRef> {
    if let Expr::Column { index, .. } = expr {
        return Ok(batch.column(*index).clone());
    }
    match context.caught(|c| node(expr, batch, c)) {
        Ok(result) => result,
        Err(panic) => eval_in_parts(expr, batch, context, &panic),
    }
}

/// Finds the row on which an expression panics, and evaluates the other rows.
fn eval_in_parts(expr: &Expr, batch: &RecordBatch, context: &mut EvalContext, panic: &str) -> Result<ArrayRef> {
    let rows = batch.num_rows();
    if rows <= 1 {
        let mut shown: String = expr.to_string().chars().take(200).collect();
        if shown.len() < expr.to_string().len() {
            shown.push('…');
        }
        context.mistake(0, format!("a mistake of Weir's own in {shown}: {panic}"))?;
        return Ok(new_null_array(&expr.ty().arrow(), rows));
    }
    let mut parts = vec![];
    for (from, to) in [(0, rows / 2), (rows / 2, rows)] {
        let selection: Vec<u32> = (from as u32..to as u32).collect();
        let part = batch.slice(from, to - from);
        parts.push(context.narrowed(&selection, |c| eval(expr, &part, c))?);
    }
    if parts.iter().map(|p| p.get_array_memory_size()).sum::<usize>() > size::MOST_OF_BATCH * 2 {
        return Err(context.too_large());
    }
    let parts: Vec<&dyn Array> = parts.iter().map(|p| p.as_ref()).collect();
    Ok(arrow::compute::concat(&parts)?)
}

fn node(expr: &Expr, batch: &RecordBatch, context: &mut EvalContext) -> Result<ArrayRef> {
    let rows = batch.num_rows();
    Ok(match expr {
        Expr::Column { index, .. } => batch.column(*index).clone(),
        Expr::Literal { value, .. } if rows > 1 && size::of(value).saturating_mul(rows) > size::MOST_OF_BATCH => {
            return Err(context.too_large());
        }
        Expr::Literal { value, ty } => repeat(value, ty, rows),
        Expr::Cast { expr, ty, safe } => {
            let from = expr.ty();
            let array = node(expr, batch, context)?;
            cast::cast(&array, &from, ty, *safe, context)?
        }
        Expr::Arith { op, left, right, ty } => {
            let (lt, rt) = (left.ty(), right.ty());
            let (l, r) = (node(left, batch, context)?, node(right, batch, context)?);
            arith::arith(*op, (&l, &lt), (&r, &rt), ty, context)?
        }
        Expr::Compare { op, left, right } => {
            if let Expr::Literal { value, ty } = right.as_ref()
                && !value.is_null()
                && !ty.is_nested()
            {
                let l = node(left, batch, context)?;
                let r = builder::column(l.data_type(), [value.clone()]);
                if r.null_count() == 0 {
                    return Ok(Arc::new(compare_scalar(*op, &l, r)?));
                }
            }
            let (l, r) = (node(left, batch, context)?, node(right, batch, context)?);
            Arc::new(compare(*op, &l, &r)?)
        }
        Expr::And(l, r) | Expr::Or(l, r) => {
            let and = matches!(expr, Expr::And(..));
            let left = node(l, batch, context)?;
            let left = left.as_boolean();
            let right = if r.total() {
                node(r, batch, context)?
            } else {
                let undecided: Vec<u32> =
                    (0..rows).filter(|i| left.is_null(*i) || left.value(*i) == and).map(|i| i as u32).collect();
                eval_for(r, batch, &undecided, context)?
            };
            let right = right.as_boolean();
            Arc::new(if and { boolean::and_kleene(left, right)? } else { boolean::or_kleene(left, right)? })
        }
        Expr::Not(e) => Arc::new(boolean::not(node(e, batch, context)?.as_boolean())?),
        Expr::IsNull(e) => {
            let array = node(e, batch, context)?;
            Arc::new(boolean::is_null(&array)?)
        }
        Expr::Case { branches, otherwise, ty } => case(branches, otherwise, ty, batch, context)?,
        Expr::Field { expr, index, .. } => {
            let row = node(expr, batch, context)?;
            let row = row.as_struct();
            let field = row.column(*index).clone();
            match row.nulls() {
                Some(nulls) => {
                    let data = field.to_data().into_builder();
                    let merged = arrow::buffer::NullBuffer::union(Some(nulls), field.nulls());
                    if *field.data_type() == arrow::datatypes::DataType::Null {
                        field
                    } else {
                        arrow::array::make_array(data.nulls(merged).build()?)
                    }
                }
                None => field,
            }
        }
        Expr::Call { function, args, ty } => {
            let args = args.iter().map(|a| node(a, batch, context)).collect::<Result<Vec<_>>>()?;
            function.eval(&args, rows, ty, context)?
        }
    })
}

/// Evaluates a predicate. NULL counts as false.
///
/// # Errors
/// An error that ends the job. If `context.too_large` is set, the caller may evaluate the batch in parts instead.
pub fn condition(expr: &Expr, batch: &RecordBatch, context: &mut EvalContext) -> Result<BooleanArray> {
    Ok(holding(&eval(expr, batch, context)?))
}

fn holding(array: &ArrayRef) -> BooleanArray {
    let array = array.as_boolean();
    if array.null_count() > 0 { arrow::compute::prep_null_mask_filter(array) } else { array.clone() }
}

/// Evaluates an expression that reads no columns.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use weir_core::{SqlType, Value};
/// use weir_expr::{Expr, Session, eval::constant, functions};
///
/// let text = |s: &str| Expr::literal(Value::string(s.to_string()), SqlType::STRING.not_null());
/// let call = functions::bind("UPPER", vec![text("weir")])?.expect("a built-in function");
/// assert_eq!(constant(&call, &Arc::new(Session::default()))?, Value::string("WEIR".to_string()));
/// # Ok::<(), weir_core::Error>(())
/// ```
///
/// # Errors
/// If the evaluation fails.
pub fn constant(expr: &Expr, session: &Arc<Session>) -> Result<Value<'static>> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
    let schema = Arc::new(arrow::datatypes::Schema::empty());
    let batch = RecordBatch::try_new_with_options(schema, vec![], &options)?;
    let array = eval(expr, &batch, &mut EvalContext::new(session.clone()))?;
    Ok(Value::read(&array, 0).into_owned())
}

/// Builds a column with the same value in every row.
pub fn repeat(value: &Value<'static>, ty: &SqlType, rows: usize) -> ArrayRef {
    let arrow = ty.arrow();
    if value.is_null() {
        return new_null_array(&arrow, rows);
    }
    builder::column(&arrow, std::iter::repeat_n(value.clone(), rows))
}

/// Evaluates an expression for some rows only. The result has a value for every row of the batch, which is NULL for the others.
fn eval_for(expr: &Expr, batch: &RecordBatch, rows: &[u32], context: &mut EvalContext) -> Result<ArrayRef> {
    if rows.len() == batch.num_rows() {
        return node(expr, batch, context);
    }
    if rows.is_empty() {
        return Ok(new_null_array(&expr.ty().arrow(), batch.num_rows()));
    }
    let mut used = std::collections::BTreeSet::new();
    expr.columns(&mut used);
    let indices = UInt32Array::from(rows.to_vec());
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .enumerate()
        .map(|(i, c)| {
            // Columns that the expression does not read only preserve the positions.
            if used.contains(&i) {
                arrow::compute::take(c, &indices, None)
            } else {
                Ok(new_null_array(c.data_type(), rows.len()))
            }
        })
        .collect::<Result<_, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let narrow = RecordBatch::try_new_with_options(batch.schema(), columns, &options)?;
    let result = context.narrowed(rows, |c| node(expr, &narrow, c))?;
    let mut back: Vec<Option<u32>> = vec![None; batch.num_rows()];
    for (i, row) in rows.iter().enumerate() {
        back[*row as usize] = Some(i as u32);
    }
    Ok(arrow::compute::take(&result, &UInt32Array::from(back), None)?)
}

fn case(
    branches: &[(Expr, Expr)],
    otherwise: &Expr,
    ty: &SqlType,
    batch: &RecordBatch,
    context: &mut EvalContext,
) -> Result<ArrayRef> {
    let rows = batch.num_rows();
    if branches.len() == 1 && branches[0].1.total() && otherwise.total() {
        let mask = holding(&node(&branches[0].0, batch, context)?);
        let (yes, no) = (node(&branches[0].1, batch, context)?, node(otherwise, batch, context)?);
        return Ok(arrow::compute::kernels::zip::zip(&mask, &yes, &no)?);
    }
    let mut left: Vec<u32> = (0..rows as u32).collect();
    let mut parts: Vec<ArrayRef> = vec![new_null_array(&ty.arrow(), 1)];
    let mut places: Vec<(usize, usize)> = vec![(0, 0); rows];
    for (when, then) in branches {
        if left.is_empty() {
            break;
        }
        let holds = eval_for(when, batch, &left, context)?;
        let holds = holds.as_boolean();
        let (taken, rest): (Vec<u32>, Vec<u32>) =
            left.into_iter().partition(|r| holds.is_valid(*r as usize) && holds.value(*r as usize));
        left = rest;
        if !taken.is_empty() {
            parts.push(eval_for(then, batch, &taken, context)?);
            taken.iter().for_each(|r| places[*r as usize] = (parts.len() - 1, *r as usize));
        }
    }
    if !left.is_empty() {
        parts.push(eval_for(otherwise, batch, &left, context)?);
        left.iter().for_each(|r| places[*r as usize] = (parts.len() - 1, *r as usize));
    }
    let parts: Vec<&dyn Array> = parts.iter().map(|p| p.as_ref()).collect();
    Ok(arrow::compute::interleave(&parts, &places)?)
}

fn kernel(op: CompareOp, l: &dyn arrow::array::Datum, r: &dyn arrow::array::Datum) -> Result<BooleanArray> {
    Ok(match op {
        CompareOp::Eq => cmp::eq(l, r)?,
        CompareOp::NotEq => cmp::neq(l, r)?,
        CompareOp::Less => cmp::lt(l, r)?,
        CompareOp::LessEq => cmp::lt_eq(l, r)?,
        CompareOp::Greater => cmp::gt(l, r)?,
        CompareOp::GreaterEq => cmp::gt_eq(l, r)?,
        CompareOp::DistinctFrom => cmp::distinct(l, r)?,
        CompareOp::NotDistinctFrom => cmp::not_distinct(l, r)?,
    })
}

fn compare_scalar(op: CompareOp, l: &ArrayRef, r: ArrayRef) -> Result<BooleanArray> {
    if l.data_type().is_floating() {
        let r = arrow::compute::take(&r, &UInt32Array::from(vec![0; l.len()]), None)?;
        return compare(op, l, &r);
    }
    kernel(op, l, &Scalar::new(r))
}

/// Compares two columns of the same type, or decimals of any types. Floating point numbers are compared as in Java: NaN equals nothing, −0
/// equals 0.
///
/// # Errors
/// An internal error if the types differ, which the binder prevents.
pub fn compare(op: CompareOp, l: &ArrayRef, r: &ArrayRef) -> Result<BooleanArray> {
    use arrow::array::Decimal256Array;
    use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, i256};
    macro_rules! float {
        ($t:ty) => {{
            let (l, r) = (l.as_primitive::<$t>(), r.as_primitive::<$t>());
            (0..l.len())
                .map(|i| match (op, l.is_null(i), r.is_null(i)) {
                    (CompareOp::DistinctFrom, a, b) if a || b => Some(a != b),
                    (CompareOp::NotDistinctFrom, a, b) if a || b => Some(a == b),
                    (_, false, false) => {
                        let (a, b) = (l.value(i), r.value(i));
                        Some(match op {
                            CompareOp::Eq | CompareOp::NotDistinctFrom => a == b,
                            CompareOp::NotEq | CompareOp::DistinctFrom => a != b,
                            CompareOp::Less => a < b,
                            CompareOp::LessEq => a <= b,
                            CompareOp::Greater => a > b,
                            CompareOp::GreaterEq => a >= b,
                        })
                    }
                    _ => None,
                })
                .collect()
        }};
    }
    match l.data_type() {
        DataType::Float64 => Ok(float!(Float64Type)),
        DataType::Float32 => Ok(float!(Float32Type)),
        DataType::Struct(_) | DataType::List(_) | DataType::Map(..) => {
            let key = |a: &ArrayRef, i: usize| {
                let mut k = vec![];
                weir_core::key::encode_value(&Value::read(a, i), a.data_type(), &mut k);
                k
            };
            Ok((0..l.len())
                .map(|i| {
                    let equal = || equal(&Value::read(l, i), &Value::read(r, i));
                    let distinct = || match (l.is_null(i), r.is_null(i)) {
                        (false, false) => equal() != Some(true),
                        (a, b) => a != b,
                    };
                    match op {
                        CompareOp::DistinctFrom => return Some(distinct()),
                        CompareOp::NotDistinctFrom => return Some(!distinct()),
                        _ if l.is_null(i) || r.is_null(i) => return None,
                        CompareOp::Eq => return equal(),
                        CompareOp::NotEq => return equal().map(|equal| !equal),
                        _ => {}
                    }
                    let order = key(l, i).cmp(&key(r, i));
                    Some(match op {
                        CompareOp::Less => order.is_lt(),
                        CompareOp::LessEq => order.is_le(),
                        CompareOp::Greater => order.is_gt(),
                        _ => order.is_ge(),
                    })
                })
                .collect())
        }
        DataType::Decimal128(_, s) if l.data_type() != r.data_type() => {
            let DataType::Decimal128(_, t) = r.data_type() else {
                return Err(weir_core::Error::internal("a decimal is compared with what is none"));
            };
            let scale = s.max(t);
            let wide = |a: &ArrayRef, from: i8| -> Decimal256Array {
                let up = arith::power_of_ten((scale - from).unsigned_abs());
                a.as_primitive::<Decimal128Type>().unary(|v| i256::from_i128(v).wrapping_mul(up))
            };
            kernel(op, &wide(l, *s), &wide(r, *t))
        }
        DataType::Null => Ok(BooleanArray::new_null(l.len())),
        _ => kernel(op, l, r),
    }
}

/// Whether two values are equal. None (unknown in SQL) if that depends on a NULL field.
fn equal(a: &Value<'_>, b: &Value<'_>) -> Option<bool> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::Row(x), Value::Row(y)) => x.iter().zip(y).try_fold(true, |so_far, (a, b)| match equal(a, b) {
            Some(false) => Some(false),
            Some(true) => Some(so_far),
            None => None,
        }),
        (a, b) => Some(equality::equals(a, b)),
    }
}
