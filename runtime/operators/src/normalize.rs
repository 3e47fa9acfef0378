//! Turns upserts into a changelog with full updates: a row replaces the previous row of the same key, and a tombstone deletes it. The
//! previous row for the retraction comes from the state. Flink calls this ChangelogNormalize.
//!
//! In front of a sink with another upsert key, several rows of the query may have the same key in the sink. Then all of them are kept. The
//! last one is the row of the key in the sink, and if it is retracted, the one before replaces it. Flink calls this the
//! SinkUpsertMaterializer.

use crate::change_rows::ChangeRows;
use arrow::datatypes::DataType;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{Keys, decode_row, encode_row};
use weir_core::keyed::{Codec, KeyedState};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::{Batch, Error, Result, RowKind, Schema};

/// Creates normalizations.
pub struct NormalizeFactory {
    /// The columns of the key.
    pub keys: Vec<usize>,
    /// The columns.
    pub schema: Schema,
    /// Whether all rows of a key are kept until each is retracted, and not only the last.
    pub materializes: bool,
    /// The time to live of a key without a row in milliseconds; 0 = unlimited.
    pub ttl_millis: u64,
    /// Whether the old row of an update is emitted too.
    pub update_before: bool,
}

impl OperatorFactory for NormalizeFactory {
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Normalize {
            keys: self.keys.clone(),
            schema: self.schema.clone(),
            rules: Rules {
                materializes: self.materializes,
                update_before: self.update_before,
                types: self.schema.fields.iter().map(|f| f.ty.arrow()).collect(),
            },
            rows: KeyedState::open(Rows, &context, self.ttl_millis)?,
        }))
    }
}

/// The state of a key: its encoded row, or all of its rows, each before its length. In the store it follows the time of the last write.
struct Rows;

impl Codec for Rows {
    type Value = Vec<u8>;
    fn encode(&self, _place: u32, rows: &Vec<u8>, written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&written.to_be_bytes());
        out.extend_from_slice(rows);
    }
    fn decode(&mut self, _place: u32, _key: &[u8], bytes: &[u8], _store: &StateHandle) -> Result<Vec<u8>> {
        let cut = || Error::state("a row in the state is cut short");
        bytes.get(8..).map(<[u8]>::to_vec).ok_or_else(cut)
    }
    fn bytes(&self, _place: u32, rows: &Vec<u8>) -> usize {
        rows.len()
    }
}

/// Bytes of a row's length, which follows the row.
const LENGTH: usize = 4;

/// The last one of several rows.
fn last(rows: &[u8]) -> Option<&[u8]> {
    let (rest, length) = rows.split_last_chunk::<LENGTH>()?;
    rest.get(rest.len().checked_sub(u32::from_le_bytes(*length) as usize)?..)
}

/// Appends a row to others.
fn with(rows: Option<&[u8]>, row: &[u8]) -> Vec<u8> {
    [rows.unwrap_or_default(), row, &(row.len() as u32).to_le_bytes()].concat()
}

/// Removes the last row that equals `row`, if there is one.
fn without(rows: &[u8], row: &[u8]) -> Vec<u8> {
    let mut end = rows.len();
    while let Some(at) = last(&rows[..end]) {
        let start = end - LENGTH - at.len();
        if at == row {
            return [&rows[..start], &rows[end..]].concat();
        }
        end = start;
    }
    rows.to_vec()
}

/// The rules for rows.
struct Rules {
    materializes: bool,
    update_before: bool,
    types: Vec<DataType>,
}

impl Rules {
    /// The state after an insertion or a retraction.
    fn next(&self, old: Option<&[u8]>, comes: bool, row: Vec<u8>) -> Option<Vec<u8>> {
        match (self.materializes, comes) {
            (false, true) => Some(row),
            (false, false) => None,
            (true, true) => Some(with(old, &row)),
            (true, false) => old.map(|o| without(o, &row)).filter(|r| !r.is_empty()),
        }
    }

    /// The current row of a key.
    fn stands<'a>(&self, kept: Option<&'a [u8]>) -> Option<&'a [u8]> {
        let kept = kept?;
        if self.materializes { last(kept) } else { Some(kept) }
    }

    /// Emits a row.
    fn give(&self, kind: RowKind, row: &[u8], given: &mut ChangeRows) -> Result<()> {
        decode_row(&self.types, row, given.row(kind))
    }
}

struct Normalize {
    keys: Vec<usize>,
    schema: Schema,
    rules: Rules,
    rows: KeyedState<Rows>,
}

impl Operator for Normalize {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let keys = Keys::of(&batch, &self.keys);
        self.rows.prefetch((0..keys.len()).map(|r| keys.get(r)))?;
        // Downstream there may be a table or an aggregation with a time to live, so unchanged rows are emitted as well.
        let refreshes = self.rows.forgets();
        let rules = &self.rules;
        let mut given = ChangeRows::new(self.schema.clone());
        for row in 0..batch.rows() {
            let comes = batch.kind(row).sign() > 0;
            let mut packed = vec![];
            if comes || rules.materializes {
                encode_row(batch.data.columns(), row, &mut packed);
            }
            self.rows.update(keys.get(row), |kept| {
                let old = kept.take();
                let new = rules.next(old.as_deref(), comes, packed);
                match (rules.stands(old.as_deref()), rules.stands(new.as_deref())) {
                    (None, Some(new)) => rules.give(RowKind::Insert, new, &mut given)?,
                    (Some(old), Some(new)) if old != new || refreshes && comes => {
                        if rules.update_before {
                            rules.give(RowKind::UpdateBefore, old, &mut given)?;
                        }
                        rules.give(RowKind::UpdateAfter, new, &mut given)?;
                    }
                    (Some(old), None) => rules.give(RowKind::Delete, old, &mut given)?,
                    _ => {}
                }
                let same = old == new && !(refreshes && comes);
                *kept = new;
                Ok(!same)
            })?;
        }
        out.emit(given.take()?);
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.rows.checkpoint()
    }

    fn preferred_rows(&self) -> usize {
        self.rows.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.rows.wants_epoch()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_key_come_and_go() {
        let rows = with(Some(&with(Some(&with(None, b"a")), b"")), b"bb");
        assert_eq!(last(&rows), Some(&b"bb"[..]));
        assert_eq!(without(&rows, b"c"), rows);
        let rows = without(&rows, b"bb");
        assert_eq!(last(&rows), Some(&b""[..]));
        let rows = without(&rows, b"a");
        assert_eq!(rows, with(None, b""));
        assert_eq!(last(&without(&rows, b"")), None);
        assert_eq!(last(b"xx\xff\0\0\0"), None);
    }
}
