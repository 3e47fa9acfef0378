//! Top-1 over an append-only input, such as the latest row of each key. The best row so far is kept in as few bytes as possible, and a
//! batch is compared with all of its partitions at once.

use super::{RankFactory, put_sort_key, with_rank};
use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use std::sync::Arc;
use weir_core::graph::{Collector, Operator, SubtaskContext};
use weir_core::key::{Keys, decode_into, decode_value, encode_row};
use weir_core::keyed::{Codec, KeyedState, Slab, SmallBytes, Touched};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::{Batch, ColumnBuilder, Error, Result, RowKind, varint};

/// The best row of each partition by place: the length of its sort key, the sort key, then the columns that are not of the partition key.
#[derive(Default)]
struct BestRows(Slab<SmallBytes>);

/// Splits a row of [`BestRows`] into its sort key and its columns.
fn split(row: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut rest = row;
    let length = varint::take(&mut rest).and_then(|n| usize::try_from(n).ok());
    length.and_then(|n| rest.split_at_checked(n)).ok_or_else(|| Error::state("a row in the state is cut short"))
}

/// Stored: the time of the last write, then the row.
impl Codec for BestRows {
    type Value = ();
    const LAYOUT: u32 = 2;

    fn encode(&self, place: u32, (): &(), written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&written.to_be_bytes());
        out.extend_from_slice(&self.0[place as usize]);
    }
    fn decode(&mut self, place: u32, _key: &[u8], bytes: &[u8], _store: &StateHandle) -> Result<()> {
        self.0.grow(place as usize + 1);
        let row = bytes.get(size_of::<u64>()..).unwrap_or_default();
        split(row)?;
        self.0[place as usize] = row.into();
        Ok(())
    }
    fn bytes(&self, place: u32, (): &()) -> usize {
        size_of::<SmallBytes>() + self.0[place as usize].heap()
    }
    fn forget(&mut self, place: u32) {
        if (place as usize) < self.0.len() {
            self.0[place as usize] = SmallBytes::default();
        }
    }
    fn forget_all(&mut self) {
        self.0.clear();
    }
}

/// The operator.
pub(super) struct Best {
    rows: Rows,
    state: KeyedState<BestRows>,
}

/// The description of the rows.
struct Rows {
    plan: RankFactory,
    types: Vec<DataType>,
    /// The columns that are not of the partition key.
    rest: Vec<usize>,
}

impl Best {
    pub fn open(plan: &RankFactory, context: &SubtaskContext) -> Result<Best> {
        let rows = Rows {
            types: plan.schema.fields.iter().map(|f| f.ty.arrow()).collect(),
            rest: (0..plan.schema.len()).filter(|c| !plan.partition.contains(c)).collect(),
            plan: plan.clone(),
        };
        Ok(Best { rows, state: KeyedState::open(BestRows::default(), context, plan.ttl_millis)? })
    }
}

impl Rows {
    /// The sort keys of a batch's rows.
    fn sorts(&self, batch: &Batch) -> Keys {
        let (mut sorts, mut sort) = (Keys::default(), vec![]);
        for row in 0..batch.rows() {
            sort.clear();
            put_sort_key(&self.plan.order, batch, row, &mut sort);
            sorts.push(&sort);
        }
        sorts
    }

    /// Whether a row ranks before one that arrived earlier.
    fn wins(&self, sort: &[u8], over: &[u8]) -> bool {
        if self.plan.last_wins { sort <= over } else { sort < over }
    }

    /// Decodes a row from the partition key and the other columns.
    fn decode(&self, columns: &mut [ColumnBuilder], mut key: &[u8], mut rest: &[u8]) -> Result<()> {
        for (n, column) in self.plan.partition.iter().enumerate() {
            if self.plan.partition[..n].contains(column) {
                decode_value(&self.types[*column], &mut key)?;
            } else {
                decode_into(&self.types[*column], &mut key, &mut columns[*column])?;
            }
        }
        for column in &self.rest {
            decode_into(&self.types[*column], &mut rest, &mut columns[*column])?;
        }
        Ok(())
    }

    /// The rows of an output batch.
    fn output(&self, batch: &Batch, changes: BestChanges) -> Result<Batch> {
        let BestChanges { rows, before, kinds } = changes;
        let before: Vec<ArrayRef> = before.into_iter().map(ColumnBuilder::finish).collect();
        let mut columns = Vec::with_capacity(before.len() + 1);
        for (new, old) in batch.data.columns().iter().zip(&before) {
            columns.push(interleave(&[new.as_ref(), old.as_ref()], &rows)?);
        }
        if self.plan.number {
            columns.push(Arc::new(Int64Array::from_value(1, rows.len())));
        }
        let schema = with_rank(&self.plan.schema, self.plan.number);
        Ok(Batch::from_columns(schema.arrow(), columns, rows.len())?.with_changes(kinds))
    }
}

/// The rows that follow from a batch.
struct BestChanges {
    /// Each is a row of the batch (0), or one that it replaces (1).
    rows: Vec<(usize, usize)>,
    /// The rows that are replaced.
    before: Vec<ColumnBuilder>,
    kinds: Vec<i8>,
}

impl BestChanges {
    fn push(&mut self, kind: RowKind, row: (usize, usize)) {
        self.rows.push(row);
        self.kinds.push(kind as i8);
    }
}

impl Operator for Best {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let rows = &self.rows;
        let (keys, sorts) = (Keys::of(&batch, &rows.plan.partition), rows.sorts(&batch));
        let found = self.state.places(&keys)?;
        // For each partition, the best row of the batch.
        let mut best = found.first.clone();
        for (row, number) in found.numbers.iter().enumerate() {
            let best = &mut best[*number as usize];
            if rows.wins(sorts.get(row), sorts.get(*best as usize)) {
                *best = row as u32;
            }
        }
        let rest: Vec<_> = rows.rest.iter().map(|c| batch.data.column(*c).clone()).collect();
        let before = rows.types.iter().map(ColumnBuilder::new).collect();
        let mut changes = BestChanges { rows: vec![], before, kinds: vec![] };
        let mut replaced = 0;
        self.state.change(&found.places, |kept, touched| {
            kept.0.grow(found.room());
            let mut new = vec![];
            for ((row, place), touched) in best.iter().zip(&found.places).zip(touched) {
                let (row, old) = (*row as usize, &mut kept.0[*place as usize]);
                let (key, sort) = (keys.get(row), sorts.get(row));
                let before = touched.there.then(|| split(old)).transpose()?;
                if before.is_some_and(|(over, _)| !rows.wins(sort, over)) {
                    continue;
                }
                new.clear();
                varint::put(&mut new, sort.len() as u64);
                new.extend_from_slice(sort);
                let columns = new.len();
                encode_row(&rest, row, &mut new);
                let is = &new[columns..];
                match before {
                    None => changes.push(RowKind::Insert, (0, row)),
                    Some((_, was)) if was == is => {}
                    Some((_, was)) => {
                        if rows.plan.update_before {
                            rows.decode(&mut changes.before, key, was)?;
                            changes.push(RowKind::UpdateBefore, (1, replaced));
                            replaced += 1;
                        }
                        changes.push(RowKind::UpdateAfter, (0, row));
                    }
                }
                *old = new.as_slice().into();
                *touched = Touched { there: true, changed: true };
            }
            Ok(())
        })?;
        if !changes.rows.is_empty() {
            out.emit(rows.output(&batch, changes)?);
        }
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.state.checkpoint()
    }

    fn preferred_rows(&self) -> usize {
        self.state.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.state.wants_epoch()
    }
}
