//! Top-N: the first rows of each partition in an order.
//!
//! The first rows of a partition, up to the end of the range, are stored as one value, in order. If the input has retractions, the rows
//! behind them are stored as well, each under a separate key of an ordered map. The next rows to move up are read from the front of this
//! map, so a partition of a million rows costs no more than one of ten. The output is the difference of the range before and after a batch.

mod best;
mod output;
mod top;
mod windows;

use crate::aggregate::{assign, by_group};
use output::RowsOut;
pub(crate) use output::push_ranked;
use std::sync::Arc;
use top::{Entry, Top, TopCodec};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{Keys, encode_row, encode_value, owned_groups};
use weir_core::keyed::{KeyedState, MapState};
use weir_core::rank::{RankStrategy, SortKey};
use weir_core::state::{Changes, Epoch};
use weir_core::{Batch, Field, Result, RowKind, Schema, SqlType, Value};
pub use windows::WindowRankFactory;

/// Creates Top-N operators.
#[derive(Clone)]
pub struct RankFactory {
    /// The columns of the partition; none: there is a single partition.
    pub partition: Vec<usize>,
    /// The order; none: the order of arrival.
    pub order: Vec<SortKey>,
    /// The first and the last rank of the range, from 1.
    pub ranks: (u64, u64),
    /// Whether the rank is appended as the last column.
    pub number: bool,
    /// How much of a partition is kept.
    pub strategy: RankStrategy,
    /// Whether the last of several rows that are equal in the order ranks first, for an append-only input.
    pub last_wins: bool,
    /// Whether rows are only emitted at the end of the input.
    pub at_end: bool,
    /// The columns of the input.
    pub schema: Schema,
    /// The time to live of a partition without a change in milliseconds; 0 = unlimited.
    pub ttl_millis: u64,
    /// Whether the old row of an update is emitted too.
    pub update_before: bool,
}

/// The columns of the output: those of the input, then the rank if requested.
pub(crate) fn with_rank(columns: &Schema, number: bool) -> Schema {
    let number = number.then(|| Field::new("$rank", SqlType::BIGINT.not_null()));
    Schema::new(columns.fields.iter().cloned().chain(number).collect())
}

impl RankFactory {
    /// The index range of the ranks in a partition's rows.
    fn range(&self) -> std::ops::Range<usize> {
        let place = |rank: u64| usize::try_from(rank).unwrap_or(usize::MAX);
        place(self.ranks.0.saturating_sub(1))..place(self.ranks.1)
    }
}

impl OperatorFactory for RankFactory {
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        if self.strategy.keeps_best(self.ranks) && !self.at_end {
            return best::Best::open(self, &context).map(|best| Box::new(best) as Box<dyn Operator>);
        }
        Rank::open(self, &context).map(|rank| Box::new(rank) as Box<dyn Operator>)
    }
}

/// The rows behind the range of each partition. The key of an entry is the row's sort key and its number.
const BEHIND: MapState = MapState::new(0);

struct Rank {
    plan: Arc<RankFactory>,
    partitions: KeyedState<TopCodec>,
    subtask: usize,
    parallelism: usize,
}

impl Operator for Rank {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        self.take(&Keys::of(&batch, &self.plan.partition), &batch, out)
    }

    fn results_at_end(&self) -> bool {
        self.plan.at_end
    }

    fn end(&mut self, out: &mut Collector) -> Result<()> {
        if !self.plan.at_end {
            return Ok(());
        }
        let mut rows_out = RowsOut::new(&self.plan);
        for group in owned_groups(self.subtask, self.parallelism) {
            for pair in self.partitions.all_stored(group, &[]) {
                rows_out.changed(&[], &Top::decode(&pair?.1)?.rows, out)?;
            }
        }
        let mut cached: Vec<(&[u8], &Top)> = self.partitions.all_cached().map(|(key, _, top)| (key, top)).collect();
        cached.sort_by_key(|(key, _)| *key);
        cached.into_iter().try_for_each(|(_, top)| rows_out.changed(&[], &top.rows, out))?;
        rows_out.finish(out)
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.partitions.checkpoint()
    }

    fn preferred_rows(&self) -> usize {
        self.partitions.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.partitions.wants_epoch()
    }
}

impl Rank {
    fn open(plan: &RankFactory, context: &SubtaskContext) -> Result<Rank> {
        Ok(Rank {
            partitions: KeyedState::open(TopCodec, context, plan.ttl_millis)?,
            subtask: context.subtask,
            parallelism: context.parallelism,
            plan: Arc::new(plan.clone()),
        })
    }

    /// Processes the rows of a batch. `keys` has the partition of each row.
    fn take(&mut self, keys: &Keys, batch: &Batch, out: &mut Collector) -> Result<()> {
        let found = assign(keys);
        let (rows, ends) = by_group(&found);
        let partitions = || found.first.iter().map(|row| keys.get(*row as usize));
        self.partitions.prefetch(partitions())?;
        let mut rows_out = RowsOut::new(&self.plan);
        let mut from = 0;
        for (key, end) in partitions().zip(ends) {
            self.change(key, batch, &rows[from..end], &mut rows_out, out)?;
            from = end;
        }
        rows_out.finish(out)
    }

    /// Applies rows of a batch to their partition, and emits how its first rows have changed.
    fn change(
        &mut self,
        key: &[u8],
        batch: &Batch,
        rows: &[u32],
        rows_out: &mut RowsOut,
        out: &mut Collector,
    ) -> Result<()> {
        let mut taken = None;
        self.partitions.update(key, |top| {
            taken = top.take();
            Ok(false)
        })?;
        let mut changing = Changing { plan: &self.plan, top: taken.unwrap_or_default(), before: None, changed: false };
        let mut sort = vec![];
        for row in rows {
            let (row, kind) = (*row as usize, batch.kind(*row as usize));
            if kind == RowKind::UpdateBefore && matches!(self.plan.strategy, RankStrategy::Update(_)) {
                continue;
            }
            sort.clear();
            put_sort_key(&self.plan.order, batch, row, &mut sort);
            let comes = kind.sign() > 0;
            match &self.plan.strategy {
                RankStrategy::Append => changing.append(&sort, batch, row),
                RankStrategy::Update(unique) => changing.replace(&sort, batch, row, unique),
                RankStrategy::Retract if comes => changing.insert(&sort, batch, row, key, &mut self.partitions),
                RankStrategy::Retract => changing.remove(&sort, batch, row, key, &mut self.partitions)?,
            }
        }
        changing.settle(key, &mut self.partitions)?;
        let Changing { top, before, changed, .. } = changing;
        if let Some(before) = before {
            rows_out.changed(&before, &top.rows, out)?;
        }
        self.partitions.update(key, |kept| {
            *kept = (!top.is_empty()).then_some(top);
            Ok(changed)
        })
    }
}

/// A partition to which rows of a batch are applied.
struct Changing<'a> {
    plan: &'a RankFactory,
    top: Top,
    /// The first rows, up to the end of the range, before the first change to them.
    before: Option<Vec<Entry>>,
    /// Whether the state of the partition has changed.
    changed: bool,
}

impl Changing<'_> {
    fn limit(&self) -> usize {
        self.plan.range().end
    }

    /// The first rows, for a change.
    fn rows(&mut self) -> &mut Vec<Entry> {
        self.changed = true;
        if self.before.is_none() && !self.plan.at_end {
            self.before = Some(self.top.rows.clone());
        }
        &mut self.top.rows
    }

    fn entry(&mut self, sort: &[u8], batch: &Batch, row: usize) -> Entry {
        let number = self.top.next;
        self.top.next += 1;
        self.changed = true;
        Entry::new(sort, number, &packed(batch, row))
    }

    /// The index of a new row in the order: after the rows that are equal to it, or before them if the last one ranks first.
    fn place(&self, sort: &[u8]) -> usize {
        let first = self.plan.last_wins;
        self.top.rows.partition_point(|e| if first { e.sort() < sort } else { e.sort() <= sort })
    }

    fn append(&mut self, sort: &[u8], batch: &Batch, row: usize) {
        let (at, limit) = (self.place(sort), self.limit());
        if at >= limit {
            return;
        }
        let entry = self.entry(sort, batch, row);
        let rows = self.rows();
        rows.insert(at, entry);
        rows.truncate(limit);
    }

    /// Replaces the row that equals this one in the `unique` columns, or adds a new row. A deletion removes the row.
    fn replace(&mut self, sort: &[u8], batch: &Batch, row: usize, unique: &[usize]) {
        // A row behind the last one of a full range was not in it before either, because rows only move towards the front.
        if self.top.rows.len() >= self.limit() && self.top.rows.last().is_some_and(|last| last.sort() < sort) {
            return;
        }
        let new = packed(batch, row);
        let types = &self.plan.schema.fields;
        let same = |e: &Entry| top::same_in(unique, types, e.row(), &new);
        let found = self.top.rows.iter().position(same);
        if let Some(at) = found {
            if self.top.rows[at].sort() == sort {
                let number = self.top.rows[at].number();
                let entry = Entry::new(sort, number, &new);
                self.rows()[at] = entry;
                return;
            }
            self.rows().remove(at);
        }
        self.append(sort, batch, row);
    }

    fn insert(&mut self, sort: &[u8], batch: &Batch, row: usize, key: &[u8], kept: &mut KeyedState<TopCodec>) {
        let (at, entry) = (self.place(sort), self.entry(sort, batch, row));
        if at == self.top.rows.len() && (self.top.behind > 0 || at >= self.limit()) {
            self.put_behind(&entry, key, kept);
        } else {
            self.rows().insert(at, entry);
        }
    }

    fn put_behind(&mut self, entry: &Entry, key: &[u8], kept: &mut KeyedState<TopCodec>) {
        BEHIND.put(kept, key, entry.place(), entry.row());
        self.top.behind += 1;
    }

    fn remove(
        &mut self,
        sort: &[u8],
        batch: &Batch,
        row: usize,
        key: &[u8],
        kept: &mut KeyedState<TopCodec>,
    ) -> Result<()> {
        let gone = packed(batch, row);
        let from = self.top.rows.partition_point(|e| e.sort() < sort);
        let equal = self.top.rows[from..].iter().take_while(|e| e.sort() == sort);
        if let Some(at) = equal.zip(from..).find_map(|(e, at)| (e.row() == gone).then_some(at)) {
            self.rows().remove(at);
            return Ok(());
        }
        if self.top.behind == 0 {
            return Ok(());
        }
        let to = weir_core::state::behind(sort);
        let found =
            BEHIND.range(kept, key, sort, to.as_deref()).find(|pair| pair.as_ref().map_or(true, |p| p.1 == gone));
        if let Some(pair) = found {
            BEHIND.remove(kept, key, &pair?.0);
            self.top.behind -= 1;
            self.changed = true;
        }
        Ok(())
    }

    /// Restores the length of the first rows: moves surplus rows behind the range, or the first rows from there up.
    fn settle(&mut self, key: &[u8], kept: &mut KeyedState<TopCodec>) -> Result<()> {
        let limit = self.limit();
        while self.top.rows.len() > limit {
            let Some(entry) = self.rows().pop() else { break };
            self.put_behind(&entry, key, kept);
        }
        while self.top.rows.len() < limit && self.top.behind > 0 {
            let first = BEHIND.range(kept, key, &[], None).next().transpose()?;
            let Some((place, row)) = first else {
                // The rows behind the range have expired.
                self.top.behind = 0;
                break;
            };
            BEHIND.remove(kept, key, &place);
            self.top.behind -= 1;
            self.rows().push(Entry::at(&place, &row));
        }
        Ok(())
    }
}

/// Appends the sort key of a row: bytes that compare in the order of the rows.
pub(crate) fn put_sort_key(order: &[SortKey], batch: &Batch, row: usize, out: &mut Vec<u8>) {
    for SortKey { column, descending, nulls_first } in order {
        let column = batch.data.column(*column);
        let value = Value::read(column, row);
        let null = matches!(value, Value::Null);
        out.push(u8::from(null != *nulls_first));
        if !null {
            let begin = out.len();
            encode_value(&value, column.data_type(), out);
            if *descending {
                out[begin..].iter_mut().for_each(|b| *b = !*b);
            }
        }
    }
}

/// Encodes a row.
fn packed(batch: &Batch, row: usize) -> Vec<u8> {
    let mut out = vec![];
    encode_row(batch.data.columns(), row, &mut out);
    out
}
