//! The output rows of a batch: how its groups changed.

use super::AggregateFactory;
use super::functions::refused;
use super::groups::Groups;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::DataType;
use std::sync::Arc;
use weir_core::graph::Collector;
use weir_core::key::decode_row;
use weir_core::{Batch, ColumnBuilder, Result, RowKind, Value};
use weir_expr::aggregate::AggregateCall;
use weir_expr::functions::size;

/// The source of the keys of output rows.
enum KeysOut {
    /// Rows of the input batch: the first one of each group.
    Rows { columns: Vec<ArrayRef>, picked: Vec<u32> },
    /// Encoded keys.
    Encoded { types: Vec<DataType>, builders: Vec<ColumnBuilder> },
}

/// The key of a group in two forms.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    /// Encoded.
    pub encoded: &'a [u8],
    /// The number of a row with this key in the input batch.
    pub row: u32,
}

pub(super) struct RowsOut {
    plan: Arc<AggregateFactory>,
    keys: KeysOut,
    results: Vec<ColumnBuilder>,
    kinds: Vec<i8>,
    /// The size of `results` in bytes, and the number of rows sent before.
    bytes: usize,
    sent: usize,
    /// Whether each of the current groups had a result before its change, and these results.
    was_there: Vec<bool>,
    old: Vec<Value<'static>>,
    new: Vec<Value<'static>>,
}

impl RowsOut {
    /// `columns`: the key columns of the input batch; none if there are only encoded keys.
    pub fn new(plan: &Arc<AggregateFactory>, columns: Option<&[ArrayRef]>) -> RowsOut {
        let types = plan.key_types();
        // Nested keys are decoded from their encoding, which is the same for all equal keys.
        let plain = |c: &&[ArrayRef]| c.iter().zip(&types).all(|(c, ty)| !ty.is_nested() && c.data_type() == ty);
        let keys = match columns.filter(plain) {
            Some(columns) => KeysOut::Rows { columns: columns.to_vec(), picked: vec![] },
            None => KeysOut::Encoded { builders: types.iter().map(ColumnBuilder::new).collect(), types },
        };
        RowsOut {
            plan: plan.clone(),
            keys,
            results: results(plan),
            kinds: vec![],
            bytes: 0,
            sent: 0,
            was_there: vec![],
            old: vec![],
            new: vec![],
        }
    }

    /// Starts with new groups.
    pub fn begin(&mut self) {
        self.was_there.clear();
        self.old.clear();
    }

    /// Records the result of one more group before it changes.
    ///
    /// # Errors
    /// When a result is larger than a value may be.
    pub fn before(&mut self, groups: &Groups, at: usize, there: bool) -> Result<()> {
        let has_result = there && groups.rows[at] > 0;
        self.was_there.push(has_result);
        if has_result {
            read_results(&self.plan.calls, groups, at, &mut self.old)
        } else {
            self.old.extend(self.plan.calls.iter().map(|_| Value::Null));
            Ok(())
        }
    }

    /// Emits how the `n`th of the current groups has changed. The rows before it are sent first if a batch cannot hold all.
    ///
    /// # Errors
    /// When a result is larger than a value may be.
    pub fn after(&mut self, n: usize, key: Key<'_>, groups: &Groups, at: usize, out: &mut Collector) -> Result<()> {
        self.new.clear();
        let is_there = groups.rows[at] > 0;
        if is_there {
            read_results(&self.plan.calls, groups, at, &mut self.new)?;
        }
        let calls = self.plan.calls.len();
        let old = n * calls..(n + 1) * calls;
        let bytes = |values: &[Value<'_>]| values.iter().map(size::of).sum::<usize>();
        let both = bytes(&self.old[old.clone()]) + bytes(&self.new);
        if self.bytes + both > size::MOST_OF_BATCH {
            self.send(out)?;
        }
        self.bytes += both;
        match (self.was_there[n], is_there) {
            (false, true) => self.push(RowKind::Insert, key, old),
            (true, false) => self.push(RowKind::Delete, key, old),
            (true, true) if self.old[old.clone()] != self.new[..] || self.plan.refreshes() => {
                if self.plan.update_before {
                    self.push(RowKind::UpdateBefore, key, old.clone())?;
                }
                self.push(RowKind::UpdateAfter, key, old)
            }
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// Emits a group that has not been emitted before.
    ///
    /// # Errors
    /// When a result is larger than a value may be.
    pub fn whole(&mut self, key: &[u8], groups: &Groups, at: usize, out: &mut Collector) -> Result<()> {
        self.begin();
        self.before(groups, at, false)?;
        self.after(0, Key { encoded: key, row: 0 }, groups, at, out)
    }

    fn push(&mut self, kind: RowKind, key: Key<'_>, old: std::ops::Range<usize>) -> Result<()> {
        self.kinds.push(kind as i8);
        match &mut self.keys {
            KeysOut::Rows { picked, .. } => picked.push(key.row),
            KeysOut::Encoded { types, builders } => {
                decode_row(types, key.encoded, builders)?;
            }
        }
        let given = if kind.sign() < 0 { &self.old[old] } else { &self.new[..] };
        given.iter().zip(&mut self.results).for_each(|(v, b)| b.push(v));
        Ok(())
    }

    /// Sends the remaining rows, and returns the total number of rows sent.
    pub fn finish(mut self, out: &mut Collector) -> Result<usize> {
        self.send(out)?;
        Ok(self.sent)
    }

    fn send(&mut self, out: &mut Collector) -> Result<()> {
        let kinds = std::mem::take(&mut self.kinds);
        let rows = kinds.len();
        let mut columns: Vec<ArrayRef> = match &mut self.keys {
            KeysOut::Rows { columns, picked } => {
                let picked = UInt32Array::from(std::mem::take(picked));
                columns.iter().map(|c| arrow::compute::take(c, &picked, None)).collect::<Result<_, _>>()?
            }
            KeysOut::Encoded { types, builders } => {
                let empty = types.iter().map(ColumnBuilder::new).collect();
                std::mem::replace(builders, empty).into_iter().map(ColumnBuilder::finish).collect()
            }
        };
        let filled = std::mem::replace(&mut self.results, results(&self.plan));
        columns.extend(filled.into_iter().map(ColumnBuilder::finish));
        let batch = Batch::from_columns(self.plan.schema.arrow(), columns, rows)?;
        out.emit(batch.with_changes(kinds));
        self.bytes = 0;
        self.sent += rows;
        Ok(())
    }
}

/// Creates the builders of the result columns.
fn results(plan: &AggregateFactory) -> Vec<ColumnBuilder> {
    plan.schema.fields[plan.keys.len()..].iter().map(|f| ColumnBuilder::new(&f.ty.arrow())).collect()
}

/// Appends the results of a group.
///
/// # Errors
/// If a result is larger than a value may be.
pub(crate) fn read_results(
    calls: &[AggregateCall],
    groups: &Groups,
    at: usize,
    values: &mut Vec<Value<'static>>,
) -> Result<()> {
    for (aggregate, call) in groups.aggregates.iter().zip(calls) {
        let value = aggregate.result(at)?;
        size::fits(size::of(&value)).map_err(|why| refused(call, why))?;
        values.push(value);
    }
    Ok(())
}
