//! Row numbers in a SELECT: collected while its expressions are bound, then put in their places.

use weir_core::error::Place;
use weir_core::rank::SortKey;
use weir_core::{Field, Schema, SqlType};
use weir_expr::Expr;
use weir_plan::{Kept, Plan, Ranks};

/// An item of SELECT: its name, its expression, and where that stands.
pub(crate) type Item = (String, Expr, Option<Place>);

/// Columns from here on stand for row numbers that were collected.
const PLACEHOLDER: usize = 1 << 28;
/// Behind those.
const END: usize = 1 << 29;

/// A key of an order: its expression, whether it descends, and whether NULLs come first.
pub(crate) type Key = (Expr, bool, bool);

/// `ROW_NUMBER() OVER (PARTITION BY … ORDER BY …)`
pub(crate) struct RowNumber {
    pub partition: Vec<Expr>,
    pub order: Vec<Key>,
    pub place: Option<Place>,
}

fn number_type() -> SqlType {
    SqlType::BIGINT.not_null()
}

/// Stands for the row number of an index.
pub(crate) fn placeholder(index: usize) -> Expr {
    Expr::column(PLACEHOLDER + index, "$rank", number_type())
}

impl RowNumber {
    /// Whether both number rows alike.
    pub fn same(&self, other: &RowNumber) -> bool {
        let key = |(a, b): (&Key, &Key)| a.0.same(&b.0) && (a.1, a.2) == (b.1, b.2);
        self.partition.len() == other.partition.len()
            && self.order.len() == other.order.len()
            && self.partition.iter().zip(&other.partition).all(|(a, b)| a.same(b))
            && self.order.iter().zip(&other.order).all(key)
    }
}

/// The place of an expression among columns, which it is added to if it is not there.
pub(crate) fn column_of(e: Expr, columns: &mut Vec<(String, Expr)>) -> usize {
    let found = columns.iter().position(|(_, known)| known.same(&e));
    found.unwrap_or_else(|| {
        columns.push((format!("${}", columns.len()), e));
        columns.len() - 1
    })
}

/// The items of a SELECT with row numbers, in two parts: what is computed from its input, with the keys of the numbers, and what is made of
/// that and of the numbers.
pub(crate) struct Numbered {
    /// What is computed first.
    pub below: Vec<Item>,
    items: Vec<Item>,
    numbers: Vec<(Vec<usize>, Vec<SortKey>, Option<Place>)>,
}

impl Numbered {
    /// Parts the items of a SELECT.
    pub fn new(items: Vec<Item>, numbers: Vec<RowNumber>) -> Numbered {
        let mut columns: Vec<(String, Expr)> = vec![];
        let mut places: Vec<Option<Place>> = vec![];
        let is_number = |e: &Expr| matches!(e, Expr::Column { index, .. } if (PLACEHOLDER..END).contains(index));
        let mut made = vec![];
        for (name, e, at) in items {
            let e = if e.any(&is_number) {
                // Only its columns are computed below.
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
        let numbers: Vec<_> = numbers
            .into_iter()
            .map(|n| {
                let partition = n.partition.into_iter().map(|e| column_of(e, &mut columns)).collect();
                let order = n.order.into_iter().map(|(e, descending, nulls_first)| SortKey {
                    column: column_of(e, &mut columns),
                    descending,
                    nulls_first,
                });
                let order = order.collect();
                places.resize(columns.len(), n.place);
                (partition, order, n.place)
            })
            .collect();
        let below = columns.into_iter().zip(places).map(|((name, e), at)| (name, e, at)).collect();
        Numbered { below, items: made, numbers }
    }

    /// Numbers the rows of what was computed, and makes the items of that.
    pub fn over(self, mut plan: Plan) -> Plan {
        let width = plan.schema().len();
        for (partition, order, place) in self.numbers {
            let mut fields = plan.schema().fields.clone();
            fields.push(Field::new("$rank", number_type()));
            let ranks = Ranks { first: 1, last: None, place };
            let schema = Schema::new(fields);
            plan = Plan::Rank {
                input: Box::new(plan),
                partition,
                order,
                ranks,
                number: true,
                schema,
                kept: Kept::default(),
            };
        }
        let fields = plan.schema().fields.clone();
        let made = |e: Expr| {
            e.rewrite(&mut |e| match e {
                Expr::Column { index, .. } => {
                    // The numbers are behind the columns; a key of a grouping may have become nullable.
                    let at = if (PLACEHOLDER..END).contains(&index) { width + index - PLACEHOLDER } else { index };
                    Expr::column(at, fields[at].name.clone(), fields[at].ty.clone())
                }
                e => e,
            })
        };
        let items = self.items.into_iter().map(|(name, e, _)| (name, made(e))).collect();
        Plan::calc(plan, None, items)
    }
}
