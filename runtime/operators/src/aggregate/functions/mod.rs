//! Aggregate functions: what is kept of a group for each, a family a file.
//!
//! Each is a [`Function`]; what all groups keep for it is a [`Column`], which works on a batch at a time. To add one, see `docs/src/contributing/aggregate-function.md`.

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

/// Rows of a batch, as one aggregate sees them.
pub(crate) struct Rows<'a> {
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

/// What all groups keep for one aggregate. A group is known by its place. Whatever a group has taken in can be put behind what another one
/// has: straight from place to place, or by way of a stored form. So slices of a window are put together, groups get into the store and
/// out of it, and partial results are combined. All of them are [`Column`]s.
pub(crate) trait Accumulators: Any + Send {
    /// Makes room for so many places at least; new ones are empty.
    fn grow(&mut self, places: usize);

    /// Takes rows into their groups, or out of them.
    ///
    /// # Errors
    /// An internal one when a column is of a type that the function does not take.
    fn update(&mut self, rows: &Rows<'_>) -> Result<()>;

    /// Puts what a group has behind what another one has, as if its rows had come behind the other's. A row that goes must have come in the
    /// same group. `from` keeps what it has.
    fn merge_place(&mut self, into: usize, from: usize);

    /// The same with a group of other accumulators, which are of the same call.
    ///
    /// # Errors
    /// An internal one when they are of another function.
    fn merge_from(&mut self, into: usize, other: &dyn Accumulators, from: usize) -> Result<()>;

    /// Reads a stored form from the front of each of `states`, and puts it behind what the group at the same number of `places` has.
    ///
    /// # Errors
    /// When one is cut short, or damaged.
    fn merge(&mut self, places: &[u32], states: &mut [&[u8]]) -> Result<()>;

    /// Appends the stored form of a group: all that it has, also what may be kept as [`Parts`].
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
    fn heap(&self) -> Option<&dyn Heap>;

    /// What a group keeps, if that can be under keys of its own in the store instead of in the stored form.
    fn parts(&mut self) -> Option<&mut dyn Parts>;
}

/// Of accumulators whose groups differ in size.
pub(crate) trait Heap {
    /// Bytes that a group has in memory of its own, about.
    fn bytes(&self, at: usize) -> usize;
}

/// Of accumulators that keep parts of a group under keys of their own: values, each with a number.
pub(crate) trait Parts {
    /// Takes in a part as the store has it.
    fn load(&mut self, at: usize, value: &[u8], count: i64);
    /// The parts that changed since this was last asked, each once; 0 for one that is no longer there. All of them go when the group
    /// goes.
    fn take_changed(&mut self, at: usize, goes: bool) -> Vec<(Vec<u8>, i64)>;
    /// Forgets a group that is in memory no more: its parts are not noted as changed.
    fn forget(&mut self, at: usize);
}

/// An aggregate function: how a group's accumulator takes rows in, and what it comes to.
pub(super) trait Function: Sized + Send + 'static {
    /// What is kept of a group; the default is that of no rows.
    type Accumulator: Default + Send;
    /// Whether accumulators have memory of their own.
    const HAS_HEAP: bool = false;

    /// See [`Accumulators::update`].
    ///
    /// # Errors
    /// An internal one when a column is of a type that the function does not take.
    fn update(&self, groups: &mut Slab<Self::Accumulator>, rows: &Rows<'_>) -> Result<()>;

    /// Puts what another accumulator has behind what this one has.
    fn merge(&self, into: &mut Self::Accumulator, from: &Self::Accumulator);

    /// Appends the stored form.
    fn encode(&self, group: &Self::Accumulator, out: &mut Vec<u8>);

    /// Reads a stored form from the front of bytes, and puts it behind what the accumulator has.
    ///
    /// # Errors
    /// When it is cut short, or damaged.
    fn merge_stored(&self, into: &mut Self::Accumulator, from: &mut &[u8]) -> Result<()>;

    /// See [`Accumulators::result`].
    ///
    /// # Errors
    /// When the result is longer than a value may be, or cannot be told; when what is kept is damaged.
    fn result(&self, group: &Self::Accumulator) -> Result<Value<'static>>;

    /// Bytes that an accumulator has in memory of its own, about.
    fn heap(&self, _group: &Self::Accumulator) -> usize {
        0
    }

    /// Forgets all rows.
    fn reset(&self, group: &mut Self::Accumulator) {
        *group = Self::Accumulator::default();
    }

    /// The column as one that has parts, if it has.
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
