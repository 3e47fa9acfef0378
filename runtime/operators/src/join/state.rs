//! The keyed state of joins: the rows of each key, by the input that they came from.

use super::rows::{Entry, FewRows, Form, JoinRows, KeyRows, ManyRows, SideRows, StoredRow, decode_entry, encode_entry};
use weir_core::Result;
use weir_core::graph::SubtaskContext;
use weir_core::join::MOST_INPUTS;
use weir_core::key::Keys;
use weir_core::keyed::{KeyedState, MapState, Touched};

/// The number of rows that are read at once.
pub(super) const PAGE: usize = 4096;

/// The rows of keys with many rows, one map for each input.
pub(super) const MANY: [MapState; MOST_INPUTS] = {
    let mut maps = [MapState::new(0); MOST_INPUTS];
    let mut n = 1;
    while n < MOST_INPUTS {
        maps[n] = MapState::new(n as u8);
        n += 1;
    }
    maps
};

/// The rows of the inputs of a join, by key.
pub(super) struct JoinState {
    pub state: KeyedState<JoinRows>,
}

impl JoinState {
    /// The state of a subtask, whose inputs have rows of these forms, with these times to live in milliseconds (0 = unlimited).
    ///
    /// # Errors
    /// If the store fails, or its state has another layout.
    pub fn open(forms: Vec<Form>, ttl_millis: Vec<u64>, context: &SubtaskContext) -> Result<JoinState> {
        let opened = context.clock.now().max(0).cast_unsigned();
        let rows = JoinRows::new(forms, ttl_millis.clone(), opened);
        let longest = rows.longest();
        let mut state = KeyedState::open(rows, context, longest)?;
        for (of, ttl) in MANY.into_iter().zip(ttl_millis) {
            state.expire_entries_after(of, ttl);
        }
        Ok(JoinState { state })
    }

    fn form(&self, input: usize) -> Form {
        self.state.codec().forms[input]
    }

    /// When the oldest row of an input that has not expired was written; 0 without a time to live.
    pub fn oldest(&self, input: usize) -> u64 {
        match self.state.codec().ttl_millis[input] {
            0 => 0,
            ttl => self.state.now().saturating_sub(ttl),
        }
    }

    /// Takes the rows of a key out of the state, and gives the place that they must be put back to.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn take(&mut self, key: &[u8]) -> Result<(u32, KeyRows)> {
        let mut one = Keys::default();
        one.push(key);
        let places = self.state.places(&one)?.places;
        let rows = self.state.change(&places, |kept, touched| {
            // A changed key is not evicted.
            touched[0] = Touched { there: true, changed: true };
            kept.keys.grow(places[0] as usize + 1);
            Ok(std::mem::take(&mut kept.keys[places[0] as usize]))
        })?;
        Ok((places[0], rows))
    }

    /// Puts the rows of a key back.
    ///
    /// # Errors
    /// None.
    pub fn put_back(&mut self, place: u32, rows: KeyRows) -> Result<()> {
        self.state.change(&[place], |kept, touched| {
            // The rows decide when the key expires.
            touched[0].changed = true;
            kept.keys[place as usize] = rows;
            Ok(())
        })
    }

    /// Stores rows as entries of their own.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn separate(&mut self, key: &[u8], input: usize, few: &FewRows) -> Result<SideRows> {
        let mut many = SideRows::Many(ManyRows::default());
        let oldest = self.oldest(input);
        for stored in few.iter(self.form(input)).filter(|r| r.written >= oldest) {
            self.add_row(key, stored.row, input, &mut many, (stored.times, stored.partners))?;
        }
        Ok(many)
    }

    /// Rows of an input of a key, with how often they are there and the numbers of their partners. If there are many, at most [`PAGE`] of a
    /// range.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn page(
        &self,
        key: &[u8],
        input: usize,
        rows: &SideRows,
        (from, to): (&[u8], Option<&[u8]>),
    ) -> Result<Vec<Entry>> {
        let form = self.form(input);
        match rows {
            SideRows::Few(few) => {
                let oldest = self.oldest(input);
                let alive = few.iter(form).filter(|r| r.written >= oldest);
                let entry = |r: StoredRow<'_>| {
                    let (key, partners_at) = (r.row.to_vec(), r.partners_at);
                    Entry { key, row_at: 0, times: r.times, partners: r.partners, partners_at }
                };
                Ok(alive.map(entry).collect())
            }
            SideRows::Many(_) => {
                let range = MANY[input].range(&self.state, key, from, to);
                let entries = range.take(PAGE).map(|pair| {
                    let (key, entry) = pair?;
                    let (times, partners) = decode_entry(&entry, form)?;
                    Ok(Entry { key, row_at: form.row_at(), times, partners, partners_at: 0 })
                });
                entries.collect()
            }
        }
    }

    /// Sets the number of partners of a row.
    pub fn set_partners(&mut self, key: &[u8], input: usize, rows: &mut SideRows, entry: &Entry, partners: u32) {
        match rows {
            SideRows::Few(few) => few.set_partners(entry.partners_at, partners),
            SideRows::Many(_) => {
                let value = encode_entry(entry.times, partners, self.form(input));
                MANY[input].put(&mut self.state, key, &entry.key, &value);
            }
        }
    }

    /// Adds a row to those of an input of a key.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn add_row(
        &mut self,
        key: &[u8],
        row: &[u8],
        input: usize,
        rows: &mut SideRows,
        (times, partners): (u64, u32),
    ) -> Result<()> {
        let form = self.form(input);
        match rows {
            SideRows::Few(few) => {
                few.add(row, partners, self.state.now(), form);
                if few.is_large() {
                    let few = std::mem::take(few);
                    *rows = self.separate(key, input, &few)?;
                }
            }
            SideRows::Many(many) if form.retracts => {
                let entry = MANY[input].get(&mut self.state, key, row)?;
                let before = entry.map(|e| decode_entry(&e, form)).transpose()?.map_or(0, |(times, _)| times);
                many.count += u64::from(before == 0);
                MANY[input].put(&mut self.state, key, row, &encode_entry(before + times, partners, form));
            }
            SideRows::Many(many) => {
                let entry = form.entry_key(row, many.added);
                many.count += 1;
                many.added += 1;
                MANY[input].put(&mut self.state, key, &entry, &encode_entry(times, partners, form));
            }
        }
        Ok(())
    }

    /// Removes a row of an input of a key. Returns whether it was there.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn remove_row(&mut self, key: &[u8], row: &[u8], input: usize, rows: &mut SideRows) -> Result<bool> {
        let form = self.form(input);
        match rows {
            SideRows::Few(few) => Ok(few.remove(row, form)),
            SideRows::Many(many) => {
                let Some(entry) = MANY[input].get(&mut self.state, key, row)? else { return Ok(false) };
                let (times, partners) = decode_entry(&entry, form)?;
                if times > 1 {
                    MANY[input].put(&mut self.state, key, row, &encode_entry(times - 1, partners, form));
                } else {
                    MANY[input].remove(&mut self.state, key, row);
                    many.count = many.count.saturating_sub(1);
                }
                Ok(true)
            }
        }
    }
}
