//! The columns of the table: one for each kind of event, of which a row has one. Only what is read of them is made.

use super::site::{Kind, Site};
use crate::numbered::Rows;
use crate::options::TableSpec;
use arrow::array::{
    ArrayRef, Int32Array, Int64Array, StringArray, StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Fields};
use std::ops::Range;
use std::sync::Arc;
use weir_core::error::nearest;
use weir_core::{Batch, Error, Field, Result, Schema, SqlType, TypeKind};

/// How the values of a field are made of an event's number.
#[derive(Clone, Copy)]
enum Values {
    Number(fn(&Site, u64) -> i64),
    /// In milliseconds since 1970.
    Time(fn(&Site, u64) -> i64),
    /// Appended to the texts of other rows, in ASCII.
    Text(fn(&Site, u64, &mut Vec<u8>)),
}
use Values::{Number, Text, Time};

const PERSON: &[(&str, Values)] = &[
    ("id", Number(Site::person_id)),
    ("name", Text(Site::name)),
    ("emailAddress", Text(Site::email)),
    ("creditCard", Text(Site::credit_card)),
    ("city", Text(Site::city)),
    ("state", Text(Site::state)),
    ("dateTime", Time(Site::time)),
    ("extra", Text(Site::person_extra)),
];

const AUCTION: &[(&str, Values)] = &[
    ("id", Number(Site::auction_id)),
    ("itemName", Text(Site::item_name)),
    ("description", Text(Site::description)),
    ("initialBid", Number(Site::initial_bid)),
    ("reserve", Number(Site::reserve)),
    ("dateTime", Time(Site::time)),
    ("expires", Time(Site::expires)),
    ("seller", Number(Site::seller)),
    ("category", Number(Site::category)),
    ("extra", Text(Site::auction_extra)),
];

const BID: &[(&str, Values)] = &[
    ("auction", Number(Site::bid_auction)),
    ("bidder", Number(Site::bidder)),
    ("price", Number(Site::price)),
    ("channel", Text(Site::channel)),
    ("url", Text(Site::url)),
    ("dateTime", Time(Site::time)),
    ("extra", Text(Site::bid_extra)),
];

/// The columns of a kind of event, and where their values come from.
type Columns = &'static [(&'static str, Values)];

/// The columns with rows, by name.
const ROWS: [(&str, Kind, Columns); 3] =
    [("person", Kind::Person, PERSON), ("auction", Kind::Auction, AUCTION), ("bid", Kind::Bid, BID)];

impl Values {
    fn fits(self, ty: &SqlType) -> bool {
        match self {
            Number(_) => ty.kind == TypeKind::BigInt,
            Time(_) => matches!(ty.kind, TypeKind::Timestamp(3..=6)),
            Text(_) => ty.kind == SqlType::STRING.kind,
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            Number(_) => "BIGINT",
            Time(_) => "TIMESTAMP(3)",
            Text(_) => "STRING",
        }
    }
}

/// A column as it is made.
enum Column {
    /// The number of each event's kind.
    EventType,
    /// The events of a kind, and for each field how its values are made; none if nobody reads it.
    Event { kind: Kind, fields: Fields, values: Vec<Option<Values>> },
}

/// Generates events.
pub(super) struct Events {
    site: Site,
    columns: Vec<Column>,
    schema: Schema,
}

impl Events {
    /// The events of a table.
    ///
    /// # Errors
    /// If a column or field is not one that events have.
    pub(super) fn new(site: Site, table: &TableSpec) -> Result<Events> {
        let mut all = table.schema.fields.iter().map(|f| column(table, f)).collect::<Result<Vec<_>>>()?;
        let mut columns = vec![];
        for (place, index) in table.columns.iter().enumerate() {
            let mut column = std::mem::replace(&mut all[*index], Column::EventType);
            if let Column::Event { values, fields, .. } = &mut column {
                for (field, made) in values.iter_mut().enumerate() {
                    // A field without NULLs is made even if nobody reads it.
                    if !table.reads_field(place, field) && fields[field].is_nullable() {
                        *made = None;
                    }
                }
            }
            columns.push(column);
        }
        Ok(Events { site, columns, schema: table.projected() })
    }
}

/// How a column of the table is made.
fn column(table: &TableSpec, declared: &Field) -> Result<Column> {
    let name = declared.name.as_str();
    let wrong = |what: String, hint: String| Err(Error::script(what).at(table.place).hint(hint));
    if name == "event_type" {
        return match declared.ty.kind {
            TypeKind::Int => Ok(Column::EventType),
            _ => wrong(format!("column 'event_type' is {}", declared.ty), "declare it INT".to_string()),
        };
    }
    let Some((_, kind, known)) = ROWS.iter().find(|(n, ..)| *n == name) else {
        let names = ROWS.iter().map(|(n, ..)| *n).chain(["event_type"]);
        let hint = nearest(name, names).map(|n| format!("did you mean '{n}'?"));
        let columns = "event_type INT, person ROW<…>, auction ROW<…>, bid ROW<…>";
        return wrong(format!("'nexmark' has no column '{name}'"), hint.unwrap_or_else(|| format!("it has {columns}")));
    };
    let (TypeKind::Row(fields), true) = (&declared.ty.kind, declared.ty.nullable) else {
        return wrong(
            format!("column '{name}' is {}", declared.ty),
            format!("declare it ROW<…> with fields of these, and without NOT NULL: {}", names(known)),
        );
    };
    let mut values = vec![];
    for field in fields {
        let Some((_, made)) = known.iter().find(|(n, _)| *n == field.name) else {
            let hint = nearest(&field.name, known.iter().map(|(n, _)| *n));
            let hint = hint.map_or_else(|| format!("it has {}", names(known)), |n| format!("did you mean '{n}'?"));
            return wrong(format!("'{name}' of 'nexmark' has no field '{}'", field.name), hint);
        };
        if !made.fits(&field.ty) {
            let hint = format!("declare it {}", made.type_name());
            return wrong(format!("field '{}' of '{name}' is {}", field.name, field.ty), hint);
        }
        values.push(Some(*made));
    }
    match declared.ty.arrow() {
        DataType::Struct(fields) => Ok(Column::Event { kind: *kind, fields, values }),
        other => Err(Error::internal(format!("a ROW that is {other}"))),
    }
}

fn names(known: &[(&str, Values)]) -> String {
    known.iter().map(|(n, v)| format!("{n} {}", v.type_name())).collect::<Vec<_>>().join(", ")
}

/// The events of one kind in a batch.
struct OfKind<'a> {
    site: &'a Site,
    /// The number of the batch's first event, and how many there are of all kinds.
    first: u64,
    rows: usize,
    /// The places of these events.
    places: &'a [usize],
    /// Of all rows: whether they are of this kind.
    valid: &'a NullBuffer,
}

impl OfKind<'_> {
    fn numbers(&self, of: fn(&Site, u64) -> i64, factor: i64) -> Vec<i64> {
        let mut all = vec![0; self.rows];
        for place in self.places {
            all[*place] = of(self.site, self.first + *place as u64).saturating_mul(factor);
        }
        all
    }

    fn texts(&self, of: fn(&Site, u64, &mut Vec<u8>)) -> Result<ArrayRef> {
        let (mut bytes, mut ends) = (vec![], Vec::with_capacity(self.rows + 1));
        for place in self.places {
            // The rows of other kinds in between are empty.
            ends.resize(place + 1, bytes.len() as i32);
            of(self.site, self.first + *place as u64, &mut bytes);
        }
        ends.resize(self.rows + 1, bytes.len() as i32);
        let offsets = OffsetBuffer::new(ends.into());
        Ok(Arc::new(StringArray::try_new(offsets, bytes.into(), Some(self.valid.clone()))?))
    }

    fn column(&self, made: Option<Values>, ty: &DataType) -> Result<ArrayRef> {
        let valid = Some(self.valid.clone());
        Ok(match made {
            None => new_null_array(ty, self.rows),
            Some(Number(of)) => Arc::new(Int64Array::try_new(self.numbers(of, 1).into(), valid)?),
            Some(Time(of)) => Arc::new(TimestampMicrosecondArray::try_new(self.numbers(of, 1_000).into(), valid)?),
            Some(Text(of)) => self.texts(of)?,
        })
    }
}

impl Rows for Events {
    fn rows(&self, numbers: Range<u64>, _now: i64) -> Result<Batch> {
        let (first, rows) = (numbers.start, (numbers.end - numbers.start) as usize);
        let kinds: Vec<Kind> = numbers.map(|n| self.site.kind(n)).collect();
        let columns = self.columns.iter().map(|column| -> Result<ArrayRef> {
            Ok(match column {
                Column::EventType => Arc::new(kinds.iter().map(|k| *k as i32).collect::<Int32Array>()),
                Column::Event { kind, fields, values } => {
                    let places: Vec<usize> = (0..rows).filter(|row| kinds[*row] == *kind).collect();
                    let valid: NullBuffer = kinds.iter().map(|k| k == kind).collect();
                    let of = OfKind { site: &self.site, first, rows, places: &places, valid: &valid };
                    let values = values.iter().zip(fields).map(|(made, f)| of.column(*made, f.data_type()));
                    Arc::new(StructArray::try_new(fields.clone(), values.collect::<Result<_>>()?, Some(valid.clone()))?)
                }
            })
        });
        Batch::from_columns(self.schema.arrow(), columns.collect::<Result<_>>()?, rows)
    }
}
