//! Functions with OVER in a SELECT. They are collected while its expressions are bound, and replaced by columns.

use crate::aggregates::Collected;
use weir_core::error::Place;
use weir_core::frame::Frame;
use weir_core::rank::SortKey;
use weir_core::{Error, Field, Result, Schema, SqlType};
use weir_expr::Expr;
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_plan::{Mode, Plan, Ranks, RowOrder, StateUids, WindowTime, derive, time_domain};

/// An item of SELECT: its name, its expression, and the position of that in the script.
pub(crate) type Item = (String, Expr, Option<Place>);

/// Columns from this index on are placeholders for collected functions.
const PLACEHOLDER: usize = 1 << 28;
/// The index after these placeholders.
const END: usize = 1 << 29;

/// A key of an order: its expression, whether it is descending, and whether NULLs come first.
pub(crate) type Key = (Expr, bool, bool);

/// A function with OVER.
pub(crate) enum OverFunction {
    /// The number of the row in the window's order.
    RowNumber,
    /// An aggregate of the rows of a frame.
    Aggregate(Box<Collected>, Frame),
}

/// `f(…) OVER (PARTITION BY … ORDER BY …)`
pub(crate) struct OverCall {
    pub function: OverFunction,
    pub partition: Vec<Expr>,
    pub order: Vec<Key>,
    pub place: Option<Place>,
}

fn number_type() -> SqlType {
    SqlType::BIGINT.not_null()
}

/// The placeholder for the function with this index.
pub(crate) fn placeholder(index: usize, ty: SqlType) -> Expr {
    Expr::column(PLACEHOLDER + index, "$over", ty)
}

impl OverCall {
    /// The type of the result.
    pub fn ty(&self) -> SqlType {
        match &self.function {
            OverFunction::RowNumber => number_type(),
            OverFunction::Aggregate(call, _) => call.ty.clone(),
        }
    }

    /// Whether both have the same window.
    fn same_window(&self, other: &OverCall) -> bool {
        let key = |(a, b): (&Key, &Key)| a.0.same(&b.0) && (a.1, a.2) == (b.1, b.2);
        self.partition.len() == other.partition.len()
            && self.order.len() == other.order.len()
            && self.partition.iter().zip(&other.partition).all(|(a, b)| a.same(b))
            && self.order.iter().zip(&other.order).all(key)
    }

    /// Whether both have the same result.
    pub fn same(&self, other: &OverCall) -> bool {
        let function = match (&self.function, &other.function) {
            (OverFunction::RowNumber, OverFunction::RowNumber) => true,
            (OverFunction::Aggregate(a, f), OverFunction::Aggregate(b, g)) => f == g && a.same(b),
            (OverFunction::RowNumber, OverFunction::Aggregate(..))
            | (OverFunction::Aggregate(..), OverFunction::RowNumber) => false,
        };
        function && self.same_window(other)
    }
}

/// The index of an expression among columns, to which it is added if it is new.
pub(crate) fn column_of(e: Expr, columns: &mut Vec<(String, Expr)>) -> usize {
    let found = columns.iter().position(|(_, known)| known.same(&e));
    found.unwrap_or_else(|| {
        columns.push((format!("${}", columns.len()), e));
        columns.len() - 1
    })
}

/// A function with OVER whose expressions are columns.
struct Placed {
    function: PlacedFunction,
    partition: Vec<usize>,
    order: Vec<SortKey>,
    place: Option<Place>,
}

enum PlacedFunction {
    RowNumber,
    Aggregate(AggregateCall, Frame),
}

/// The items of a SELECT with functions with OVER, in two parts: the expressions over the input, including the functions' arguments, and
/// the items over these and the functions' results.
pub(crate) struct Numbered {
    /// The expressions over the input.
    pub below: Vec<Item>,
    items: Vec<Item>,
    calls: Vec<Placed>,
}

impl Numbered {
    /// Splits the items of a SELECT.
    pub fn new(items: Vec<Item>, calls: Vec<OverCall>) -> Numbered {
        let mut columns: Vec<(String, Expr)> = vec![];
        let mut places: Vec<Option<Place>> = vec![];
        let is_call = |e: &Expr| matches!(e, Expr::Column { index, .. } if (PLACEHOLDER..END).contains(index));
        let mut made = vec![];
        for (name, e, at) in items {
            let e = if e.any(&is_call) {
                // Only the columns of the item are computed below.
                e.rewrite(&mut |e| match e {
                    Expr::Column { index, .. } if !(PLACEHOLDER..END).contains(&index) => {
                        let ty = e.ty();
                        let at = column_of(e, &mut columns);
                        Expr::column(at, columns[at].0.clone(), ty)
                    }
                    e => e,
                })
            } else {
                let ty = e.ty();
                columns.push((name.clone(), e));
                Expr::column(columns.len() - 1, name.clone(), ty)
            };
            places.resize(columns.len(), at);
            made.push((name, e, at));
        }
        let mut placed = vec![];
        for call in calls {
            let mut column = |e: Expr| column_of(e, &mut columns);
            let partition = call.partition.into_iter().map(&mut column).collect();
            let order = call.order.into_iter();
            let order =
                order.map(|(e, descending, nulls_first)| SortKey { column: column(e), descending, nulls_first });
            let order = order.collect();
            let function = match call.function {
                OverFunction::RowNumber => PlacedFunction::RowNumber,
                OverFunction::Aggregate(c, frame) => {
                    let Collected { function, args, distinct, filter, ty } = *c;
                    let args = args.into_iter().map(&mut column).collect();
                    let filter = filter.map(&mut column);
                    PlacedFunction::Aggregate(AggregateCall { function, args, distinct, filter, ty }, frame)
                }
            };
            places.resize(columns.len(), call.place);
            placed.push(Placed { function, partition, order, place: call.place });
        }
        let below = columns.into_iter().zip(places).map(|((name, e), at)| (name, e, at)).collect();
        Numbered { below, items: made, calls: placed }
    }

    /// Computes the functions and then the items, over a relation with the expressions over the input.
    ///
    /// # Errors
    /// If the rows of a window have no order that a function supports.
    pub fn over(self, mut plan: Plan, mode: Mode) -> Result<Plan> {
        // The column of each function's result.
        let mut results = vec![0; self.calls.len()];
        for (n, call) in self.calls.iter().enumerate() {
            if results[n] > 0 {
                continue;
            }
            let mut fields = plan.schema().fields.clone();
            let Placed { partition, order, place, .. } = call;
            let (partition, order, place) = (partition.clone(), order.clone(), *place);
            match &call.function {
                PlacedFunction::RowNumber => {
                    results[n] = fields.len();
                    fields.push(Field::new("$rank", number_type()));
                    let (schema, ranks) = (Schema::new(fields), Ranks { first: 1, last: None, place });
                    let (input, uids) = (Box::new(plan), StateUids::default());
                    plan = Plan::Rank { input, partition, order, ranks, number: true, schema, uids };
                }
                PlacedFunction::Aggregate(call, frame) => {
                    let by = row_order(&plan, &order, *frame, mode, place)?;
                    let frame = frame_of(call, *frame, &by);
                    let mut calls = vec![];
                    for (m, other) in self.calls.iter().enumerate().skip(n) {
                        if let PlacedFunction::Aggregate(c, f) = &other.function
                            && (frame_of(c, *f, &by), &other.partition, &other.order) == (frame, &partition, &order)
                        {
                            results[m] = fields.len();
                            fields.push(Field::new(format!("$over{m}"), c.ty.clone()));
                            calls.push(c.clone());
                        }
                    }
                    let (schema, input, uids) = (Schema::new(fields), Box::new(plan), StateUids::default());
                    plan = Plan::Over { input, partition, order: by, frame, calls, schema, uids };
                }
            }
        }
        let fields = plan.schema().fields.clone();
        let made = |e: Expr| {
            e.rewrite(&mut |e| match e {
                Expr::Column { index, .. } => {
                    // A grouping key may have become nullable.
                    let at = if (PLACEHOLDER..END).contains(&index) { results[index - PLACEHOLDER] } else { index };
                    Expr::column(at, fields[at].name.clone(), fields[at].ty.clone())
                }
                e => e,
            })
        };
        let items = self.items.into_iter().map(|(name, e, _)| (name, made(e))).collect();
        Ok(Plan::calc(plan, None, items))
    }
}

/// The frame of a function in an order. If rows are ordered by columns, LAG looks back from each row. If they are ordered by time, rows of
/// the same time are processed together, as in Flink.
fn frame_of(call: &AggregateCall, frame: Frame, order: &RowOrder) -> Frame {
    match (&call.function, order) {
        (Aggregate::Lag { .. }, RowOrder::Values(_)) => Frame::AllRows,
        _ => frame,
    }
}

/// The order of rows by some keys. A single time attribute, ascending, is an order by time. Otherwise streams allow a single ascending
/// column of any type, as in Flink, and batch mode allows any keys.
fn row_order(plan: &Plan, order: &[SortKey], frame: Frame, mode: Mode, place: Option<Place>) -> Result<RowOrder> {
    if let [SortKey { column, descending: false, .. }] = order {
        let derived = derive(plan, Mode::Streaming);
        if let Some(domain) = time_domain(*column, &derived.traits.times) {
            return Ok(RowOrder::Time(WindowTime { column: *column, domain, local: false }));
        }
    }
    if frame.is_bounded() {
        let e = Error::script(format!("OVER with the frame {frame} needs the order of a time attribute, ascending"));
        let name = |k: &SortKey| &plan.schema().fields[k.column];
        let hint = match order {
            [key] if !key.descending => {
                let f = name(key);
                format!(
                    "'{}' is {} without a watermark: declare WATERMARK FOR it in its table, or leave the frame out",
                    f.name, f.ty.kind
                )
            }
            _ => "OVER (PARTITION BY … ORDER BY ts ROWS …), where ts is a column with a WATERMARK or PROCTIME()"
                .to_string(),
        };
        return Err(e.at(place).hint(hint));
    }
    match (mode, order) {
        (Mode::Batch, _) | (Mode::Streaming, [SortKey { descending: false, .. }]) => {
            Ok(RowOrder::Values(order.to_vec()))
        }
        (Mode::Streaming, _) => {
            let e = Error::script("aggregates with OVER go by one column in ascending order").at(place);
            Err(e.hint("OVER (PARTITION BY … ORDER BY v); for the first rows in any order use ROW_NUMBER with a bound"))
        }
    }
}
