//! Generated rows. Each value is a function of the seed, the row's number and the column, so a job that is restarted generates the same
//! rows.

mod column;

use crate::numbered::{NumberedSource, Rows};
use crate::options::TableSpec;
use crate::registered::Connector;
use column::GeneratedColumn;
use std::ops::Range;
use std::sync::Arc;
use weir_core::descriptor::{Changelog, Descriptor};
use weir_core::graph::SourceFactory;
use weir_core::option_spec::Opt;
use weir_core::{Batch, ColumnBuilder, Result, Schema, options};

pub(crate) const CONNECTOR: Connector = Connector {
    source: Some(source),
    ..Connector::new(&Descriptor {
        name: "datagen",
        help: "generates rows",
        reads: Some(Changelog::InsertOnly),
        options: &[OPTIONS, column::OPTIONS],
        rows_fail: false,
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'datagen', 'number-of-rows' = '5', 'fields.id.min' = '1', 'fields.name.length' = '8'
)",
        ..Descriptor::CONNECTOR
    })
};

options! {
    OPTIONS:
    ROWS: u64 = Opt::whole(
        "number-of-rows",
        0,
        i64::MAX,
        "how many rows to generate before the source ends; by default it never ends, unless a sequence does",
    );
    PER_SECOND: f64 =
        Opt::number("rows-per-second", f64::MIN_POSITIVE, f64::MAX, "the rate of all subtasks together").default("10000").how();
    SEED: u64 = Opt::whole("seed", 0, i64::MAX, "the seed of random values; the same seed gives the same rows").default("1");
}

struct Datagen {
    /// The columns that are read, with their numbers among all columns.
    columns: Vec<(u64, GeneratedColumn)>,
    schema: Schema,
    seed: u64,
}

fn source(table: &TableSpec) -> Result<Arc<dyn SourceFactory>> {
    let mut rows: Option<u64> = table.get(&ROWS)?;
    let mut all = vec![];
    for (index, f) in table.schema.fields.iter().enumerate() {
        let (column, length) = GeneratedColumn::new(table, &f.name, &f.ty)?;
        // The source ends when its shortest sequence ends.
        rows = length.map(|l| rows.map_or(l, |r| r.min(l))).or(rows);
        all.push((index as u64, column));
    }
    let datagen = Datagen {
        columns: table.columns.iter().map(|c| all[*c].clone()).collect(),
        schema: table.projected(),
        seed: table.value(&SEED)?,
    };
    Ok(Arc::new(NumberedSource::new(Arc::new(datagen), rows, Some(table.value(&PER_SECOND)?), false)))
}

impl Rows for Datagen {
    fn rows(&self, numbers: Range<u64>, now: i64) -> Result<Batch> {
        let mut builders: Vec<ColumnBuilder> =
            self.columns.iter().map(|(_, c)| ColumnBuilder::new(&c.ty.arrow())).collect();
        let count = (numbers.end - numbers.start) as usize;
        for row in numbers {
            self.columns.iter().zip(&mut builders).for_each(|((i, c), b)| b.push(&c.value(self.seed, row, *i, now)));
        }
        let columns = builders.into_iter().map(ColumnBuilder::finish).collect();
        Batch::from_columns(self.schema.arrow(), columns, count)
    }
}
