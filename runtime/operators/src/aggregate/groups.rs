//! Groups as values of keyed state. All of their content is in columns. Functions with parts store each part under a separate key.
//!
//! A group is only encoded as a whole ([`Groups::encode`], [`Groups::merge`]) to be sent to another subtask or merged there. Groups in
//! memory are merged without an encoding ([`Groups::merge_place`], [`Groups::merge_from`]).

use super::functions::{Accumulators, accumulators, stored};
use std::collections::BTreeSet;
use weir_core::key::key_group;
use weir_core::keyed::{Codec, Slab};
use weir_core::state::{Changes, KeyRange, StateHandle, behind};
use weir_core::{Error, Result, Schema, varint};
use weir_expr::aggregate::AggregateCall;

/// The byte after the key group in the keys of parts. No key of a group or of a collection of keyed state begins with it.
const PARTS: u8 = 0xFE;

/// Groups by place.
pub(crate) struct Groups {
    /// The number of rows of each group.
    pub rows: Slab<i64>,
    /// The accumulators of each aggregate.
    pub aggregates: Vec<Box<dyn Accumulators>>,
    /// The bytes of a group without its heap memory.
    width: usize,
    /// The aggregates with heap memory.
    heaps: Vec<usize>,
    /// For each aggregate, whether it has parts.
    has_parts: Vec<bool>,
    /// The offset of the part of a key that determines the subtask.
    owner_from: usize,
}

impl Groups {
    /// Creates the state for these calls, without any group. `retracts`: whether the input has retractions.
    ///
    /// # Errors
    /// An internal error for an unsupported call.
    pub fn new(calls: &[AggregateCall], input: &Schema, retracts: bool) -> Result<Groups> {
        let all = calls.iter().map(|call| accumulators(call, input, retracts));
        let mut aggregates: Vec<Box<dyn Accumulators>> = all.collect::<Result<_>>()?;
        let width = size_of::<i64>() + aggregates.iter().map(|a| a.width()).sum::<usize>();
        let heaps = (0..aggregates.len()).filter(|a| aggregates[*a].heap().is_some()).collect();
        let has_parts = aggregates.iter_mut().map(|a| a.parts().is_some()).collect();
        Ok(Groups { rows: Slab::default(), aggregates, width, heaps, has_parts, owner_from: 0 })
    }

    /// The same groups, but the first bytes of a key do not determine the subtask.
    pub fn owned_from(self, owner_from: usize) -> Groups {
        Groups { owner_from, ..self }
    }

    /// The number of rows in an output of [`Groups::encode`].
    ///
    /// # Errors
    /// If it is truncated.
    pub fn rows_in(mut encoded: &[u8]) -> Result<i64> {
        stored::long(&mut encoded)
    }

    fn any_parts(&self) -> bool {
        self.has_parts.contains(&true)
    }

    /// Makes room for at least this many places.
    pub fn grow(&mut self, places: usize) {
        self.rows.grow(places);
        self.aggregates.iter_mut().for_each(|a| a.grow(places));
    }

    /// Removes all rows of a group. The group itself stays.
    pub fn reset(&mut self, at: usize) {
        self.rows[at] = 0;
        self.aggregates.iter_mut().for_each(|a| a.reset(at));
    }

    /// Drops a group from memory, as if it had never been there.
    pub fn drop_group(&mut self, at: usize) {
        self.rows[at] = 0;
        for aggregate in &mut self.aggregates {
            match aggregate.parts() {
                Some(parts) => parts.forget(at),
                None => aggregate.reset(at),
            }
        }
    }

    /// Removes all groups, and frees their memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.aggregates.iter_mut().for_each(|a| a.clear());
    }

    /// Appends the content of one group to another one, as if its rows had arrived after those of the other. `from` is unchanged. A
    /// retraction must be in the same group as its insertion.
    pub fn merge_place(&mut self, into: usize, from: usize) {
        self.rows[into] += self.rows[from];
        self.aggregates.iter_mut().for_each(|a| a.merge_place(into, from));
    }

    /// Does the same with a group of other groups, which must have the same calls.
    ///
    /// # Errors
    /// An internal error if they have other calls.
    pub fn merge_from(&mut self, into: usize, others: &Groups, from: usize) -> Result<()> {
        if self.aggregates.len() != others.aggregates.len() {
            return Err(Error::internal("groups of different calls are put together"));
        }
        self.rows[into] += others.rows[from];
        let mut pairs = self.aggregates.iter_mut().zip(&others.aggregates);
        pairs.try_for_each(|(ours, theirs)| ours.merge_from(into, &**theirs, from))
    }

    /// Does the same with outputs of [`Groups::encode`]: appends each to the group at the corresponding entry of `places`.
    ///
    /// # Errors
    /// If one is truncated, corrupt, or longer than a group.
    pub fn merge(&mut self, places: &[u32], states: &mut [&[u8]]) -> Result<()> {
        for (at, from) in places.iter().zip(states.iter_mut()) {
            self.rows[*at as usize] += stored::long(from)?;
        }
        self.aggregates.iter_mut().try_for_each(|a| a.merge(places, states))?;
        states.iter().try_for_each(|rest| ends(rest))
    }

    /// Whether two groups have equal accumulators. Groups with equal results may still differ if they were built in different ways.
    pub fn keep_the_same(&self, one: usize, other: usize) -> bool {
        let mut bytes = (vec![], vec![]);
        self.aggregates.iter().all(|a| {
            bytes.0.clear();
            bytes.1.clear();
            a.encode(one, &mut bytes.0);
            a.encode(other, &mut bytes.1);
            bytes.0 == bytes.1
        })
    }

    /// Appends the whole content of a group.
    pub fn encode(&self, at: usize, out: &mut Vec<u8>) {
        stored::put_long(out, self.rows[at]);
        self.aggregates.iter().for_each(|a| a.encode(at, out));
    }

    /// The prefix of the keys of a group's parts: the key group, a marker byte, the length of the key, and the key. The number of the
    /// aggregate and the value follow it.
    fn part_key(&self, key: &[u8]) -> Vec<u8> {
        parts_prefix(self.key_group(key), PARTS, key)
    }

    /// Reads a group of the store into an empty place.
    ///
    /// # Errors
    /// If it is corrupt, or the store fails.
    pub fn read(&mut self, at: u32, key: &[u8], bytes: &[u8], store: &StateHandle) -> Result<()> {
        self.grow(at as usize + 1);
        let mut states = [bytes.get(size_of::<u64>()..).ok_or_else(stored::cut)?];
        self.rows[at as usize] = stored::long(&mut states[0])?;
        let without_parts = self.aggregates.iter_mut().zip(&self.has_parts).filter(|(_, has_parts)| !**has_parts);
        without_parts.map(|(a, _)| a).try_for_each(|a| a.merge(&[at], &mut states))?;
        ends(states[0])?;
        if !self.any_parts() {
            return Ok(());
        }
        let prefix = self.part_key(key);
        for pair in store.range(KeyRange { from: &prefix, to: behind(&prefix).as_deref() }) {
            let (k, v) = pair?;
            let damaged = || Error::state("a value of a group in the state is damaged");
            let (call, value) = k[prefix.len()..].split_first().ok_or_else(damaged)?;
            let parts = self.aggregates.get_mut(usize::from(*call)).and_then(|a| a.parts());
            parts.ok_or_else(damaged)?.load(at as usize, value, stored::long(&mut &v[..])?);
        }
        Ok(())
    }
}

fn ends(rest: &[u8]) -> Result<()> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(Error::state("a group in the state is longer than its aggregates are"))
}

/// The prefix of the keys of a value's parts: the key group, a marker byte, the length of the value's key, and that key.
pub(crate) fn parts_prefix(group: u16, marker: u8, key: &[u8]) -> Vec<u8> {
    let mut prefix = group.to_be_bytes().to_vec();
    prefix.push(marker);
    varint::put(&mut prefix, key.len() as u64);
    prefix.extend_from_slice(key);
    prefix
}

/// The key of the group within the key of a part.
fn of_part(key: &[u8]) -> Option<&[u8]> {
    let mut rest = key.get(3..)?;
    let length = varint::take(&mut rest)?;
    rest.get(..length as usize)
}

impl Codec for Groups {
    type Value = ();
    const LAYOUT: u32 = 2;

    fn key_group(&self, key: &[u8]) -> u16 {
        key_group(key.get(self.owner_from..).unwrap_or_default())
    }

    /// Stored: the time of the last write, the number of rows, and the aggregates without parts.
    fn encode(&self, place: u32, (): &(), written: u64, out: &mut Vec<u8>) {
        let at = place as usize;
        out.extend_from_slice(&written.to_be_bytes());
        stored::put_long(out, self.rows[at]);
        let without_parts = self.aggregates.iter().zip(&self.has_parts).filter(|(_, has_parts)| !**has_parts);
        without_parts.for_each(|(a, _)| a.encode(at, out));
    }

    fn decode(&mut self, place: u32, key: &[u8], bytes: &[u8], store: &StateHandle) -> Result<()> {
        self.read(place, key, bytes, store)
    }

    fn bytes(&self, place: u32, (): &()) -> usize {
        let heap = |a: &usize| self.aggregates[*a].heap().map_or(0, |heap| heap.bytes(place as usize));
        self.width + self.heaps.iter().map(heap).sum::<usize>()
    }

    fn is_empty(&self, place: u32, (): &()) -> bool {
        self.rows[place as usize] <= 0
    }

    fn parts(&mut self, place: u32, key: &[u8], (): &mut (), goes: bool, changes: &mut Changes) {
        if !self.any_parts() {
            return;
        }
        let prefix = self.part_key(key);
        for (call, aggregate) in self.aggregates.iter_mut().enumerate() {
            let Some(parts) = aggregate.parts() else { continue };
            for (value, count) in parts.take_changed(place as usize, goes) {
                let key: [&[u8]; 3] = [&prefix, &[call as u8], &value];
                if count == 0 {
                    changes.remove(&key);
                } else {
                    changes.set_with(&key, |out| stored::put_long(out, count));
                }
            }
        }
    }

    fn forget_parts(
        &self,
        group: u16,
        keys: &BTreeSet<Vec<u8>>,
        store: &StateHandle,
        changes: &mut Changes,
    ) -> Result<()> {
        if !self.any_parts() {
            return Ok(());
        }
        let [high, low] = group.to_be_bytes();
        for pair in store.range(KeyRange { from: &[high, low, PARTS], to: Some(&[high, low, PARTS + 1]) }) {
            let (k, _) = pair?;
            if of_part(&k).is_some_and(|key| keys.contains(key)) {
                changes.remove(&[&k]);
            }
        }
        Ok(())
    }

    fn forget(&mut self, place: u32) {
        // A key that is known to be absent may have a place beyond the columns.
        if (place as usize) < self.rows.len() {
            self.drop_group(place as usize);
        }
    }

    fn forget_all(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::functions::Rows;
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use std::sync::Arc;
    use weir_core::{Field, SqlType};
    use weir_expr::aggregate::Aggregate;

    fn input() -> Schema {
        Schema::new(vec![Field::new("n", SqlType::BIGINT), Field::new("s", SqlType::STRING)])
    }

    fn groups(function: Aggregate, arg: usize, distinct: bool, retracts: bool) -> Groups {
        let ty = function.result_type(&[input().fields[arg].ty.clone()]).expect("a type");
        let call = AggregateCall { function, args: vec![arg], distinct, filter: None, ty };
        Groups::new(&[call], &input(), retracts).expect("groups")
    }

    /// Two rows for each of two groups.
    fn take(groups: &mut Groups, column: ArrayRef) -> Result<()> {
        groups.grow(3);
        let args = [column];
        let rows = Rows { args: &args, places: &[0, 1, 1, 0], only: None, signs: None, filter: None };
        rows.count(&mut groups.rows);
        groups.aggregates.iter_mut().try_for_each(|a| a.update(&rows))
    }

    fn numbers() -> ArrayRef {
        Arc::new(Int64Array::from(vec![3, 7, 1, 5]))
    }

    fn texts() -> ArrayRef {
        Arc::new(StringArray::from(vec![Some("a longer text than is kept in place"), None, Some("c"), Some("b")]))
    }

    #[test]
    fn a_group_is_its_stored_form_and_nothing_less_or_more() {
        use Aggregate::*;
        let list = || ListAgg { separator: ",".to_string() };
        let of_numbers = [Count, Sum, Avg, VarPop, StddevSamp, Min, Max, ArrayAgg].map(|f| (f, 0, numbers()));
        let of_texts = [Count, Min, Max, FirstValue, LastValue, list(), ArrayAgg].map(|f| (f, 1, texts()));
        for (function, arg, column) in of_numbers.into_iter().chain(of_texts) {
            let name = format!("{function:?}");
            for (distinct, retracts) in [(false, false), (false, true), (true, false)] {
                let mut all = groups(function.clone(), arg, distinct, retracts);
                take(&mut all, column.clone()).expect("rows");
                let mut bytes = vec![];
                all.encode(1, &mut bytes);
                all.merge(&[2], &mut [&bytes]).expect("a group");
                assert_eq!(all.rows[2], 2);
                let result = |at| all.aggregates[0].result(at).expect("a result");
                assert_eq!(result(2), result(1), "{name}");
                for n in 0..bytes.len() {
                    let error = all.merge(&[2], &mut [&bytes[..n]]).expect_err("cut");
                    assert!(error.to_string().contains("cut short"), "{name}: {error}");
                }
                bytes.push(0);
                let error = all.merge(&[2], &mut [&bytes]).expect_err("long");
                assert!(error.to_string().contains("longer"), "{name}: {error}");
            }
        }
    }

    #[test]
    fn a_column_of_another_type_is_an_internal_error() {
        use Aggregate::{Avg, StddevPop, Sum};
        for function in [Sum, Avg, StddevPop] {
            let error = take(&mut groups(function, 0, false, true), texts()).expect_err("texts");
            assert_eq!(error.kind, weir_core::error::ErrorKind::Internal, "{error}");
        }
        let going = |mut groups: Groups| {
            groups.grow(1);
            let args = [numbers()];
            let rows =
                Rows { args: &args, places: &[0, 0, 0, 0], only: None, signs: Some(&[1, -1, 1, 1]), filter: None };
            groups.aggregates[0].update(&rows)
        };
        for function in [Aggregate::Min, Aggregate::LastValue, Aggregate::ArrayAgg] {
            assert!(going(groups(function.clone(), 0, false, true)).is_ok());
            let error = going(groups(function, 0, false, false)).expect_err("a row that goes");
            assert_eq!(error.kind, weir_core::error::ErrorKind::Internal, "{error}");
        }
    }
}
