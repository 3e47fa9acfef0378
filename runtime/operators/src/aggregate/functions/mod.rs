//! Aggregate functions: what is kept of a group for each, a family a file.
//!
//! All of them are [`Accumulators`], which work on a batch at a time. To add one, see `docs/src/contributing/aggregate-function.md`.

mod count;
mod counted;
mod edges;
mod extremes;
mod json;
mod lists;
mod moments;
mod multisets;
mod numbers;
mod ordered;
mod stored;
mod sums;
mod wide;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use weir_core::key::{decode_value, encode_row};
use weir_core::keyed::Slab;
use weir_core::{Error, Result, Schema, SqlType, TypeKind, Value};
use weir_expr::aggregate::{Aggregate, AggregateCall};

/// Rows of a batch, as one aggregate sees them.
pub(super) struct Rows<'a> {
    /// The columns that it reads.
    pub args: &'a [ArrayRef],
    /// The place of each row's group.
    pub places: &'a [u32],
    /// The rows to take, in their order; none = all.
    pub only: Option<&'a [u32]>,
    /// 1 for a row that comes, −1 for one that goes, 0 for one that does not count; none = all come.
    pub signs: Option<&'a [i64]>,
    /// Which rows count; none = all.
    pub filter: Option<&'a BooleanArray>,
}

impl Rows<'_> {
    /// Calls `each` with the number, the place and the sign of the rows that count and are not NULL in `nulls`.
    #[inline]
    fn each(&self, nulls: Option<&NullBuffer>, mut each: impl FnMut(usize, usize, i64)) {
        let mut one = |row: usize| {
            let sign = self.signs.map_or(1, |s| s[row]);
            let counts = self.filter.is_none_or(|f| f.is_valid(row) && f.value(row));
            if sign != 0 && counts && nulls.is_none_or(|n| n.is_valid(row)) {
                each(row, self.places[row] as usize, sign);
            }
        };
        match self.only {
            Some(rows) => rows.iter().for_each(|row| one(*row as usize)),
            None => (0..self.places.len()).for_each(one),
        }
    }

    /// Counts the rows that count.
    pub fn count(&self, counts: &mut Slab<i64>) {
        self.each(None, |_, at, sign| counts[at] += sign);
    }

    /// The same as `each`, for what can fail: the first failure is the result.
    fn try_each(
        &self,
        nulls: Option<&NullBuffer>,
        mut each: impl FnMut(usize, usize, i64) -> Result<()>,
    ) -> Result<()> {
        let mut result = Ok(());
        self.each(nulls, |row, at, sign| {
            if result.is_ok() {
                result = each(row, at, sign);
            }
        });
        result
    }

    /// A column that the aggregate reads.
    fn arg(&self, at: usize) -> Result<&ArrayRef> {
        self.args.get(at).ok_or_else(|| Error::internal(format!("an aggregate has no argument {at}")))
    }

    /// Puts the arguments of a row in the place of what is in `out`, encoded one behind the other.
    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        out.clear();
        encode_row(self.args, row, out);
    }
}

/// What all groups keep for one aggregate. A group is known by its place. Whatever a group has taken in, it can give in a stored form, which
/// can be put behind what another one has: so groups get into the store and out of it, and partial results are put together.
pub(super) trait Accumulators: Send {
    /// Makes room for so many places at least; new ones are empty.
    fn grow(&mut self, places: usize);

    /// Takes rows into their groups, or out of them.
    ///
    /// # Errors
    /// An internal one when a column is of a type that the function does not take.
    fn update(&mut self, rows: &Rows<'_>) -> Result<()>;

    /// Reads a stored form from the front of each of `states`, and puts it behind what the group at the same number of `places` has.
    ///
    /// # Errors
    /// When one is cut short, or damaged.
    fn merge(&mut self, places: &[u32], states: &mut [&[u8]]) -> Result<()>;

    /// Appends the stored form of a group. What has keys of its own ([`Accumulators::parts`]) is not in it.
    fn encode(&self, at: usize, out: &mut Vec<u8>);

    /// What a group comes to.
    ///
    /// # Errors
    /// When that is longer than a value may be, or cannot be told, as JSON of a map with a NULL key; when what is kept is damaged.
    fn result(&self, at: usize) -> Result<Value<'static>>;

    /// Forgets all rows of a group.
    fn reset(&mut self, at: usize);

    /// Forgets all groups, and gives their memory back.
    fn clear(&mut self);

    /// Bytes of each group, at least.
    fn width(&self) -> usize;

    /// Bytes that a group has in memory of its own, if groups have such memory.
    fn heap(&self) -> Option<&dyn Heap> {
        None
    }

    /// What a group keeps under keys of their own in the store, if it keeps such parts.
    fn parts(&mut self) -> Option<&mut dyn Parts> {
        None
    }
}

/// Of accumulators whose groups differ in size.
pub(super) trait Heap {
    /// Bytes that a group has in memory of its own, about.
    fn bytes(&self, at: usize) -> usize;
}

/// Of accumulators that keep parts of a group under keys of their own: values, each with a number.
pub(super) trait Parts {
    /// Takes in a part as the store has it.
    fn load(&mut self, at: usize, value: &[u8], count: i64);
    /// The parts that changed since this was last asked, each once; 0 for one that is no longer there. All of them go when the group
    /// goes.
    fn take_changed(&mut self, at: usize, goes: bool) -> Vec<(Vec<u8>, i64)>;
    /// Forgets a group that is in memory no more: its parts are not noted as changed.
    fn forget(&mut self, at: usize);
}

/// A call with the types of its arguments.
#[derive(Debug, Clone)]
struct Typed {
    call: AggregateCall,
    args: Vec<SqlType>,
    /// Their types in columns.
    columns: Vec<DataType>,
}

impl Typed {
    /// The type of an argument.
    fn arg(&self, at: usize) -> Result<&SqlType> {
        self.args.get(at).ok_or_else(|| self.unfit())
    }

    /// The error for a call that the binder must not have let through.
    #[track_caller]
    fn unfit(&self) -> Error {
        let types = self.args.iter().map(|t| t.kind.to_string()).collect::<Vec<_>>().join(", ");
        let distinct = if self.call.distinct { "DISTINCT " } else { "" };
        let (name, result) = (self.call.function.name(), &self.call.ty.kind);
        Error::internal(format!("{name}({distinct}{types}) cannot be kept, or does not give {result}"))
    }

    /// The value of the first argument's encoded form.
    fn decode(&self, mut bytes: &[u8]) -> Result<Value<'static>> {
        decode_value(self.columns.first().ok_or_else(|| self.unfit())?, &mut bytes)
    }

    /// The error for a result that cannot be.
    fn refused(&self, why: String) -> Error {
        refused(&self.call, why)
    }
}

/// The error for a result that cannot be.
pub(super) fn refused(call: &AggregateCall, why: String) -> Error {
    let e = Error::data(format!("{}: {why}", call.function.name()));
    e.hint("a group that is as large as that belongs into more than one: group by more, or filter")
}

/// What groups keep for a call. `retracts`: whether rows can go again.
///
/// # Errors
/// An internal one for a call that cannot be: the binder let it through.
pub(super) fn accumulators(call: &AggregateCall, input: &Schema, retracts: bool) -> Result<Box<dyn Accumulators>> {
    let args: Vec<SqlType> = call.args.iter().map(|a| input.fields[*a].ty.clone()).collect();
    let columns = args.iter().map(SqlType::arrow).collect();
    let typed = Typed { call: call.clone(), args, columns };
    use Aggregate::*;
    Ok(match &call.function {
        CountStar => Box::new(count::Count::new(true)),
        Count if !call.distinct => Box::new(count::Count::new(false)),
        Sum | Avg if !call.distinct => match typed.arg(0)?.kind {
            TypeKind::Float | TypeKind::Double => Box::new(sums::Sums::<sums::Real>::new(typed)),
            TypeKind::Decimal(..) => Box::new(sums::Sums::<wide::Wide>::new(typed)),
            _ => Box::new(sums::Sums::<sums::Whole>::new(typed)),
        },
        StddevPop | StddevSamp | VarPop | VarSamp if !call.distinct => Box::new(moments::Moments::new(typed)),
        Min | Max if !call.distinct && !retracts => Box::new(extremes::Extremes::new(typed)),
        FirstValue if !retracts => Box::new(edges::Edges::new(typed)),
        LastValue if !call.distinct && !retracts => Box::new(edges::Edges::new(typed)),
        Count | Sum | Avg | Min | Max | StddevPop | StddevSamp | VarPop | VarSamp | Collect | Percentile { .. } => {
            Box::new(multisets::Multisets::new(typed))
        }
        FirstValue | LastValue | ListAgg { .. } | ArrayAgg | JsonObjectAgg { .. } | JsonArrayAgg { .. } => {
            if call.distinct || retracts {
                Box::new(lists::Changing::new(typed))
            } else {
                Box::new(lists::Growing::new(typed))
            }
        }
    })
}
