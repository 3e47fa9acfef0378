//! Aggregate functions and their accumulators, one family per file.
//!
//! Each function implements [`Function`]. The accumulators of all groups for it are a [`Column`], which processes a batch at a time. To add
//! a function, see `docs/src/contributing/aggregate-function.md`.

mod chosen;
mod count;
mod counted;
mod json;
mod lag;
mod lists;
mod moments;
mod multisets;
mod numbers;
mod ordered;
mod ranks;
pub(super) mod stored;
mod sums;
mod wide;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use std::any::Any;
use weir_core::key::{decode_value, encode_row};
use weir_core::keyed::Slab;
use weir_core::{Error, Result, Schema, SqlType, TypeKind, Value};
use weir_expr::aggregate::{Aggregate, AggregateCall};

/// The rows of a batch, as one aggregate reads them.
pub(crate) struct Rows<'a> {
    /// The columns of its arguments.
    pub args: &'a [ArrayRef],
    /// The place of each row's group.
    pub places: &'a [u32],
    /// The rows to process, in this order; none: all.
    pub only: Option<&'a [u32]>,
    /// 1 for an insertion, −1 for a retraction, 0 for a row that is ignored; none: all are insertions.
    pub signs: Option<&'a [i64]>,
    /// The FILTER condition of each row; none: all rows count.
    pub filter: Option<&'a BooleanArray>,
}

impl Rows<'_> {
    /// Calls `each` with the number, the place and the sign of every row that counts and is not NULL in `nulls`.
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

    /// Adds the signs of the rows that count to the counts of their groups.
    pub fn count(&self, counts: &mut Slab<i64>) {
        self.each(None, |_, at, sign| counts[at] += sign);
    }

    /// Does the same as `each` with a fallible function, and returns its first error.
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

    /// The column of an argument.
    fn arg(&self, at: usize) -> Result<&ArrayRef> {
        self.args.get(at).ok_or_else(|| Error::internal(format!("an aggregate has no argument {at}")))
    }

    /// Replaces the content of `out` with the encoded arguments of a row.
    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        out.clear();
        encode_row(self.args, row, out);
    }
}

/// The accumulators of all groups for one aggregate. A group is identified by its place. The content of one group can be appended to
/// another one, either from place to place or in a stored form. This is how slices are merged into windows, how groups are written to the
/// store and read back, and how partial results are combined. The only implementation is [`Column`].
pub(crate) trait Accumulators: Any + Send {
    /// Makes room for at least this many places. New places are empty.
    fn grow(&mut self, places: usize);

    /// Adds rows to their groups, or retracts them.
    ///
    /// # Errors
    /// An internal one when a column is of a type that the function does not take.
    fn update(&mut self, rows: &Rows<'_>) -> Result<()>;

    /// Appends the content of one group to another one, as if its rows had arrived after those of the other. A retraction must be in the
    /// same group as its insertion. `from` is unchanged.
    fn merge_place(&mut self, into: usize, from: usize);

    /// Does the same with a group of other accumulators, which must be of the same call.
    ///
    /// # Errors
    /// An internal error if they are of another function.
    fn merge_from(&mut self, into: usize, other: &dyn Accumulators, from: usize) -> Result<()>;

    /// Reads a stored form from the front of each entry of `states`, and appends it to the group at the corresponding entry of `places`.
    ///
    /// # Errors
    /// If an entry is truncated or corrupt.
    fn merge(&mut self, places: &[u32], states: &mut [&[u8]]) -> Result<()>;

    /// Appends the stored form of a group: its whole content, including what may be stored as [`Parts`].
    fn encode(&self, at: usize, out: &mut Vec<u8>);

    /// The result of a group.
    ///
    /// # Errors
    /// If the result is larger than a value may be, or cannot be expressed (such as JSON of a map with a NULL key), or if the state is
    /// corrupt.
    fn result(&self, at: usize) -> Result<Value<'static>>;

    /// Removes all rows of a group.
    fn reset(&mut self, at: usize);

    /// Removes all groups, and frees their memory.
    fn clear(&mut self);

    /// Minimum number of bytes of each group.
    fn width(&self) -> usize;

    /// The heap memory of groups, if they have any.
    fn heap(&self) -> Option<&dyn Heap>;

    /// The content that can be stored under separate keys instead of in the stored form, if there is any.
    fn parts(&mut self) -> Option<&mut dyn Parts>;
}

/// Accumulators whose groups differ in size.
pub(crate) trait Heap {
    /// The approximate heap memory of a group in bytes.
    fn bytes(&self, at: usize) -> usize;
}

/// Accumulators that can store the content of a group as parts under separate keys. A part is a value with a count.
pub(crate) trait Parts {
    /// Adds a part that was read from the store.
    fn load(&mut self, at: usize, value: &[u8], count: i64);
    /// Takes the parts that changed since the last call, each once. The count 0 means that a part is gone. `goes`: whether the group is
    /// being removed, and all of its parts with it.
    fn take_changed(&mut self, at: usize, goes: bool) -> Vec<(Vec<u8>, i64)>;
    /// Drops a group that is evicted from memory. Its parts do not count as changed.
    fn forget(&mut self, at: usize);
}

/// An aggregate function: how its accumulator is updated, and how its result is computed.
pub(super) trait Function: Sized + Send + 'static {
    /// The accumulator of a group. The default is the accumulator of no rows.
    type Accumulator: Default + Send;
    /// Whether accumulators have heap memory.
    const HAS_HEAP: bool = false;

    /// See [`Accumulators::update`].
    ///
    /// # Errors
    /// An internal one when a column is of a type that the function does not take.
    fn update(&self, groups: &mut Slab<Self::Accumulator>, rows: &Rows<'_>) -> Result<()>;

    /// Appends the content of another accumulator to this one.
    fn merge(&self, into: &mut Self::Accumulator, from: &Self::Accumulator);

    /// Appends the stored form of an accumulator.
    fn encode(&self, group: &Self::Accumulator, out: &mut Vec<u8>);

    /// Reads a stored form from the front of some bytes, and appends it to the accumulator.
    ///
    /// # Errors
    /// If it is truncated or corrupt.
    fn merge_stored(&self, into: &mut Self::Accumulator, from: &mut &[u8]) -> Result<()>;

    /// See [`Accumulators::result`].
    ///
    /// # Errors
    /// If the result is larger than a value may be, or cannot be expressed, or if the state is corrupt.
    fn result(&self, group: &Self::Accumulator) -> Result<Value<'static>>;

    /// The approximate heap memory of an accumulator in bytes.
    fn heap(&self, _group: &Self::Accumulator) -> usize {
        0
    }

    /// Removes all rows.
    fn reset(&self, group: &mut Self::Accumulator) {
        *group = Self::Accumulator::default();
    }

    /// The column as one with parts, if it supports them.
    fn parts(_column: &mut Column<Self>) -> Option<&mut dyn Parts> {
        None
    }
}

/// The accumulators of a function, by the places of groups.
pub(super) struct Column<F: Function> {
    function: F,
    groups: Slab<F::Accumulator>,
}

impl<F: Function> Column<F> {
    fn boxed(function: F) -> Box<dyn Accumulators> {
        Box::new(Column { function, groups: Slab::default() })
    }
}

impl<F: Function> Accumulators for Column<F> {
    fn grow(&mut self, places: usize) {
        self.groups.grow(places);
    }
    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        self.function.update(&mut self.groups, rows)
    }
    fn merge_place(&mut self, into: usize, from: usize) {
        let taken = std::mem::take(&mut self.groups[from]);
        self.function.merge(&mut self.groups[into], &taken);
        self.groups[from] = taken;
    }
    fn merge_from(&mut self, into: usize, other: &dyn Accumulators, from: usize) -> Result<()> {
        let other = (other as &dyn Any).downcast_ref::<Self>();
        let other = other.ok_or_else(|| Error::internal("groups of different aggregates are put together"))?;
        self.function.merge(&mut self.groups[into], &other.groups[from]);
        Ok(())
    }
    fn merge(&mut self, places: &[u32], states: &mut [&[u8]]) -> Result<()> {
        let mut each = places.iter().zip(states);
        each.try_for_each(|(at, from)| self.function.merge_stored(&mut self.groups[*at as usize], from))
    }
    fn encode(&self, at: usize, out: &mut Vec<u8>) {
        self.function.encode(&self.groups[at], out);
    }
    fn result(&self, at: usize) -> Result<Value<'static>> {
        self.function.result(&self.groups[at])
    }
    fn reset(&mut self, at: usize) {
        self.function.reset(&mut self.groups[at]);
    }
    fn clear(&mut self) {
        self.groups.clear();
    }
    fn width(&self) -> usize {
        size_of::<F::Accumulator>()
    }
    fn heap(&self) -> Option<&dyn Heap> {
        if F::HAS_HEAP { Some(self) } else { None }
    }
    fn parts(&mut self) -> Option<&mut dyn Parts> {
        F::parts(self)
    }
}

impl<F: Function> Heap for Column<F> {
    fn bytes(&self, at: usize) -> usize {
        self.function.heap(&self.groups[at])
    }
}

/// A call with the types of its arguments.
#[derive(Debug, Clone)]
struct Typed {
    call: AggregateCall,
    args: Vec<SqlType>,
    /// The Arrow types of the arguments.
    columns: Vec<DataType>,
}

impl Typed {
    /// The type of an argument.
    fn arg(&self, at: usize) -> Result<&SqlType> {
        self.args.get(at).ok_or_else(|| self.unfit())
    }

    /// The error for a call that the binder should have rejected.
    #[track_caller]
    fn unfit(&self) -> Error {
        let types = self.args.iter().map(|t| t.kind.to_string()).collect::<Vec<_>>().join(", ");
        let distinct = if self.call.distinct { "DISTINCT " } else { "" };
        let (name, result) = (self.call.function.name(), &self.call.ty.kind);
        Error::internal(format!("{name}({distinct}{types}) cannot be kept, or does not give {result}"))
    }

    /// Decodes a value of the first argument.
    fn decode(&self, mut bytes: &[u8]) -> Result<Value<'static>> {
        decode_value(self.columns.first().ok_or_else(|| self.unfit())?, &mut bytes)
    }

    /// The error for a result that is not possible.
    fn refused(&self, why: String) -> Error {
        refused(&self.call, why)
    }
}

/// The error for a result that is not possible.
pub(super) fn refused(call: &AggregateCall, why: String) -> Error {
    let e = Error::data(format!("{}: {why}", call.function.name()));
    e.hint("a group that is as large as that belongs into more than one: group by more, or filter")
}

/// Creates the accumulators of a call. `retracts`: whether the input has retractions.
///
/// # Errors
/// An internal error for an unsupported call that the binder should have rejected.
pub(super) fn accumulators(call: &AggregateCall, input: &Schema, retracts: bool) -> Result<Box<dyn Accumulators>> {
    let args: Vec<SqlType> = call.args.iter().map(|a| input.fields[*a].ty.clone()).collect();
    let columns = args.iter().map(SqlType::arrow).collect();
    let typed = Typed { call: call.clone(), args, columns };
    use Aggregate::*;
    Ok(match &call.function {
        CountStar => Column::boxed(count::Count::new(true)),
        Count if !call.distinct => Column::boxed(count::Count::new(false)),
        Sum | Avg if !call.distinct => match typed.arg(0)?.kind {
            TypeKind::Float | TypeKind::Double => Column::boxed(sums::Sums::<sums::Real>::new(typed)),
            TypeKind::Decimal(..) => Column::boxed(sums::Sums::<wide::Wide>::new(typed)),
            _ => Column::boxed(sums::Sums::<sums::Whole>::new(typed)),
        },
        StddevPop | StddevSamp | VarPop | VarSamp if !call.distinct => Column::boxed(moments::Moments::new(typed)),
        Min if !call.distinct && !retracts => Column::boxed(chosen::Chosen::new(chosen::Which::Least, typed)),
        Max if !call.distinct && !retracts => Column::boxed(chosen::Chosen::new(chosen::Which::Greatest, typed)),
        FirstValue if !retracts => Column::boxed(chosen::Chosen::new(chosen::Which::First, typed)),
        LastValue if !call.distinct && !retracts => Column::boxed(chosen::Chosen::new(chosen::Which::Last, typed)),
        Count | Sum | Avg | Min | Max | StddevPop | StddevSamp | VarPop | VarSamp | Collect | Percentile { .. } => {
            Column::boxed(multisets::Multisets::new(typed))
        }
        Lag { .. } => Column::boxed(lag::Lag::new(typed)?),
        Rank { .. } => Column::boxed(ranks::Ranks::new(&typed)?),
        FirstValue | LastValue | ListAgg { .. } | ArrayAgg | JsonObjectAgg { .. } | JsonArrayAgg { .. } => {
            if call.distinct || retracts {
                Column::boxed(lists::Changing::new(typed))
            } else {
                Column::boxed(lists::Growing::new(typed))
            }
        }
    })
}
