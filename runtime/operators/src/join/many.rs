//! Keys with many rows, each of which has an entry of its own.
//!
//! The entries of such a key are neither read nor written as a whole. Rows of a batch whose other side has many rows are compared with them
//! page by page; the pages of several rows are collected, so that the condition is evaluated for all of them together.

use super::pairs::{Candidates, Output, RowChange};
use super::rows::{Entry, KeyRows, SideRows, stepped};
use super::state::PAGE;
use super::{Incoming, Join, Probe, time_prefix};
use crate::change_rows::MOST_ROWS;
use std::collections::{HashMap, HashSet};
use weir_core::Result;
use weir_core::graph::Collector;
use weir_core::watermarks::row_time;

/// Rows of a batch with the entries of the other side that they are compared with.
struct Collected {
    rows: Vec<CollectedRow>,
    candidates: Candidates,
    /// The candidates' entries, in case their numbers of partners change.
    entries: Vec<Entry>,
    /// The rows that come, by the number of their key.
    coming: HashSet<(u32, Vec<u8>)>,
}

struct CollectedRow {
    row: usize,
    /// Where its candidates end.
    end: usize,
    encoded: Vec<u8>,
}

impl Join {
    /// Gives the rows of keys that have become too many entries of their own.
    pub(super) fn spill(&mut self, incoming: &Incoming<'_>, rows: &[usize]) -> Result<()> {
        let side = incoming.side;
        let large = |rows: &SideRows| matches!(rows, SideRows::Few(few) if few.is_large());
        for row in rows {
            let (key, place) = (incoming.keys.get(*row), incoming.place(*row));
            if !large(&self.kept.state.codec().keys[place][side]) {
                continue;
            }
            let state = &mut self.kept.state;
            let few = state.change(&[place as u32], |kept, _| Ok(std::mem::take(&mut kept.keys[place][side])))?;
            let SideRows::Few(few) = few else { continue };
            let many = self.kept.separate(key, side, &few)?;
            self.kept.state.change(&[place as u32], |kept, _| {
                kept.keys[place][side] = many;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Adds rows of a batch, given with the numbers of their partners, to keys with many rows.
    pub(super) fn add_entries(&mut self, incoming: &Incoming<'_>, rows: Vec<(usize, u32)>) -> Result<()> {
        let number = |(row, _): &(usize, u32)| incoming.found.numbers[*row];
        let mut rows = rows;
        rows.sort_by_key(number);
        let mut encoded = vec![];
        for of_key in rows.chunk_by(|a, b| number(a) == number(b)) {
            let key = incoming.keys.get(of_key[0].0);
            self.with_rows(key, |this, key_rows| {
                for (row, partners) in of_key {
                    incoming.encode(*row, &mut encoded);
                    let own = &mut key_rows[incoming.side];
                    this.kept.add_row(key, &encoded, incoming.side, own, (1, *partners))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Processes rows whose keys have many rows on the other side, or on their own side if rows are retracted there.
    pub(super) fn many(&mut self, incoming: &Incoming<'_>, rows: &[usize], out: &mut Collector) -> Result<()> {
        let mut collected = self.nothing_collected(incoming);
        for row in rows {
            self.collect(incoming, *row, &mut collected, out)?;
            if collected.candidates.len() >= MOST_ROWS || collected.rows.len() >= MOST_ROWS {
                self.process_collected(incoming, &mut collected, out)?;
            }
        }
        self.process_collected(incoming, &mut collected, out)
    }

    fn nothing_collected(&self, incoming: &Incoming<'_>) -> Collected {
        let candidates = Candidates::new(&self.sides[1 - incoming.side]);
        Collected { rows: vec![], candidates, entries: vec![], coming: HashSet::new() }
    }

    /// Collects a row with its candidates. A row that goes is removed from its side. A row with more than a page of candidates is processed.
    fn collect(
        &mut self,
        incoming: &Incoming<'_>,
        row: usize,
        collected: &mut Collected,
        out: &mut Collector,
    ) -> Result<()> {
        let (side, key, number) = (incoming.side, incoming.keys.get(row), incoming.found.numbers[row]);
        let comes = incoming.batch.kind(row).sign() > 0;
        let mut encoded = vec![];
        incoming.encode(row, &mut encoded);
        let of_key = (number, encoded);
        if !comes && collected.coming.contains(&of_key) {
            self.process_collected(incoming, collected, out)?;
        }
        let (_, encoded) = &of_key;
        let range = self.range(incoming, row)?;
        let page = self.with_rows(key, |this, key_rows| {
            if !comes && !this.kept.remove_row(key, encoded, side, &mut key_rows[side])? {
                // The insertion was not seen.
                return Ok(None);
            }
            this.candidates_of(incoming, row, key_rows, (&range.0, range.1.as_deref())).map(Some)
        })?;
        let Some((page, more)) = page else { return Ok(()) };
        if more {
            self.process_collected(incoming, collected, out)?;
            return self.with_rows(key, |this, key_rows| this.by_page(incoming, (row, encoded), key_rows, page, out));
        }
        for entry in &page {
            collected.candidates.push(row, key, entry.stored(), &self.sides[1 - side])?;
        }
        if self.plan.kind.counts(1 - side) {
            collected.entries.extend(page);
        }
        collected.rows.push(CollectedRow { row, end: collected.candidates.len(), encoded: encoded.clone() });
        if comes && self.sides[side].form.retracts {
            collected.coming.insert(of_key);
        }
        Ok(())
    }

    /// The entries of the other side that a row is compared with, at most a page of them, and whether there may be more.
    fn candidates_of(
        &self,
        incoming: &Incoming<'_>,
        row: usize,
        key_rows: &KeyRows,
        range: (&[u8], Option<&[u8]>),
    ) -> Result<(Vec<Entry>, bool)> {
        if !self.may_match(incoming, row) {
            return Ok((vec![], false));
        }
        let other = 1 - incoming.side;
        let page = self.kept.page(incoming.keys.get(row), other, &key_rows[other], range)?;
        let more = page.len() == PAGE && key_rows[other].is_many();
        Ok((page, more))
    }

    /// Emits what follows from the collected rows, and adds those that come to their side.
    fn process_collected(
        &mut self,
        incoming: &Incoming<'_>,
        collected: &mut Collected,
        out: &mut Collector,
    ) -> Result<()> {
        let nothing = self.nothing_collected(incoming);
        let Collected { rows, candidates, entries, .. } = std::mem::replace(collected, nothing);
        let (side, other) = (incoming.side, 1 - incoming.side);
        let decided = candidates.decide(incoming.batch, side, &self.plan, &mut self.eval, &self.failed, out)?;
        let (mut output, mut begin) = (Output::default(), 0);
        let mut counts: HashMap<(u32, usize, &[u8]), Counted<'_>> = HashMap::new();
        let mut added = vec![];
        for CollectedRow { row, end, .. } in &rows {
            let range = std::mem::replace(&mut begin, *end)..*end;
            let kind = incoming.batch.kind(*row);
            let change = RowChange { row: *row as u32, side, kind, plan: &self.plan };
            let number = incoming.found.numbers[*row];
            let partners = output.pairs(change, &decided, range, |n, up| {
                let entry = &entries[n];
                let counted = counts.entry((number, entry.partners_at, &entry.key));
                let counted = counted.or_insert(Counted { row: *row, entry, partners: entry.partners });
                let new = stepped(counted.partners, up);
                std::mem::replace(&mut counted.partners, new)
            });
            output.alone(change, partners);
            if kind.sign() > 0 {
                added.push(partners);
            }
            if output.len() >= MOST_ROWS {
                self.emit(&mut output, incoming.batch, side, &decided, out)?;
            }
        }
        self.emit(&mut output, incoming.batch, side, &decided, out)?;
        for Counted { row, entry, partners } in counts.into_values() {
            let key = incoming.keys.get(row);
            self.with_rows(key, |this, key_rows| {
                this.kept.set_partners(key, other, &mut key_rows[other], entry, partners);
                Ok(())
            })?;
        }
        let coming = rows.iter().filter(|r| incoming.batch.kind(r.row).sign() > 0);
        for (CollectedRow { row, encoded, .. }, partners) in coming.zip(added) {
            let key = incoming.keys.get(*row);
            self.with_rows(key, |this, key_rows| {
                this.kept.add_row(key, encoded, side, &mut key_rows[side], (1, partners))
            })?;
        }
        Ok(())
    }

    /// Compares a row with the other side page by page, emits what follows, and adds the row to its side if it comes.
    fn by_page(
        &mut self,
        incoming: &Incoming<'_>,
        (row, encoded): (usize, &[u8]),
        key_rows: &mut KeyRows,
        first: Vec<Entry>,
        out: &mut Collector,
    ) -> Result<()> {
        let (side, other, key) = (incoming.side, 1 - incoming.side, incoming.keys.get(row));
        let (_, to) = self.range(incoming, row)?;
        let change = RowChange { row: row as u32, side, kind: incoming.batch.kind(row), plan: &self.plan.clone() };
        let (mut partners, mut page, mut more) = (0u32, first, true);
        loop {
            let mut candidates = Candidates::new(&self.sides[other]);
            for entry in &page {
                candidates.push(row, key, entry.stored(), &self.sides[other])?;
            }
            let decided = candidates.decide(incoming.batch, side, &self.plan, &mut self.eval, &self.failed, out)?;
            let mut output = Output::default();
            let mut stepped_rows = vec![];
            let found = output.pairs(change, &decided, 0..page.len(), |n, up| {
                stepped_rows.push((n, stepped(page[n].partners, up)));
                page[n].partners
            });
            partners = partners.saturating_add(found);
            if !more {
                output.alone(change, partners);
            }
            self.emit(&mut output, incoming.batch, side, &decided, out)?;
            for (n, count) in stepped_rows {
                self.kept.set_partners(key, other, &mut key_rows[other], &page[n], count);
            }
            if !more {
                break;
            }
            let from = page.last().map_or(vec![], |last| [last.key.as_slice(), &[0]].concat());
            (page, more) = self.candidates_of(incoming, row, key_rows, (&from, to.as_deref()))?;
        }
        if change.kind.sign() > 0 {
            self.kept.add_row(key, encoded, side, &mut key_rows[side], (1, partners))?;
        }
        Ok(())
    }

    /// The range of stored rows of the other side that a row of a batch is compared with.
    fn range(&self, incoming: &Incoming<'_>, row: usize) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        let Probe::Interval(interval) = self.probe else { return Ok((vec![], None)) };
        let (side, other) = (incoming.side, 1 - incoming.side);
        let Some(time) = row_time(incoming.batch.data.column(interval.times[side]), row)? else {
            return Ok((vec![], None));
        };
        let ty = &self.sides[other].types[interval.times[other]];
        let to = interval.last_partner(side, time).saturating_add(1);
        Ok((time_prefix(interval.first_partner(side, time), ty), Some(time_prefix(to, ty))))
    }
}

/// An entry of the other side, and the number of its partners so far.
struct Counted<'a> {
    /// A row of the batch with its key.
    row: usize,
    entry: &'a Entry,
    partners: u32,
}
