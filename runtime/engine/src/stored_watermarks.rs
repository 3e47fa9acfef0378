//! The watermarks of operators, stored with the epoch: a row that was late before a restart is late after it.

use crate::scale::MOST;
use std::collections::BTreeMap;
use weir_core::Result;
use weir_core::event_time::{EventTime, Watermark};
use weir_core::state::{Changes, ENGINE, StateHandle};
use weir_core::stored::{self, Reader, Stored};

/// The prefix of the keys of operators' watermarks.
const PREFIX: &[u8] = b"watermark ";

fn key_of(subtask: u32) -> Vec<u8> {
    [&ENGINE[..], PREFIX, &subtask.to_be_bytes()].concat()
}

/// The event time of a subtask, and the operator's parallelism when it was stored.
struct StoredTime {
    parallelism: u32,
    time: EventTime,
}

impl Stored for StoredTime {
    const LAYOUT: u8 = 1;
    const NAME: &'static str = "a watermark";

    /// The number of subtasks, the watermark of all inputs together, how many inputs there are, and theirs.
    fn write(&self, out: &mut Vec<u8>) {
        stored::put(out, u64::from(self.parallelism));
        stored::put_signed(out, self.time.all.0);
        stored::put(out, self.time.inputs.len() as u64);
        self.time.inputs.iter().for_each(|w| stored::put_signed(out, w.0));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (parallelism, all) = (from.number()?.try_into().ok()?, Watermark(from.signed()?));
        let inputs = (0..from.number()?).map(|_| from.signed().map(Watermark)).collect::<Option<_>>()?;
        Some(StoredTime { parallelism, time: EventTime { all, inputs } })
    }
}

/// The stored watermarks of a subtask.
pub(crate) struct StoredWatermarks {
    subtask: u32,
    parallelism: u32,
    /// The latest event time, and whether it is stored.
    last: Option<EventTime>,
    written: bool,
    /// Keys that are obsolete.
    obsolete: Vec<Vec<u8>>,
}

impl StoredWatermarks {
    /// The watermarks of a subtask, and the event time from which it resumes. With an unchanged parallelism that is its own; otherwise it
    /// is the least of all subtasks.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn read(state: &StateHandle, subtask: usize, parallelism: usize) -> Result<(Self, Option<EventTime>)> {
        // Keys are read one by one, because a range would have to sort all changes that the store has not applied yet.
        let keys: Vec<Vec<u8>> = (0..MOST as u32).map(key_of).collect();
        let values = state.get_many(&keys.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let mut kept: BTreeMap<usize, (u32, EventTime)> = BTreeMap::new();
        for (of, value) in values.into_iter().enumerate() {
            if let Some(value) = value {
                let StoredTime { parallelism, time } = stored::decode(&value)?;
                kept.insert(of, (parallelism, time));
            }
        }
        let least = |a: EventTime, b: &EventTime| EventTime {
            all: a.all.min(b.all),
            inputs: a.inputs.iter().zip(&b.inputs).map(|(a, b)| *a.min(b)).collect(),
        };
        let from = match (kept.get(&subtask), kept.values().next()) {
            (Some((before, time)), _) if *before as usize == parallelism => Some(time.clone()),
            // A subtask without a stored watermark had none.
            (_, Some((before, first))) if kept.len() == *before as usize && kept.values().all(|(n, _)| n == before) => {
                Some(kept.values().fold(first.clone(), |a, (_, b)| least(a, b)))
            }
            _ => None,
        };
        let gone = |of: &usize| subtask == 0 && *of >= parallelism || *of == subtask && from.is_none();
        let obsolete = kept.keys().filter(|of| gone(of)).map(|of| key_of(*of as u32)).collect();
        let (subtask, parallelism) = (subtask as u32, parallelism as u32);
        let written = kept.get(&(subtask as usize)).is_some_and(|(before, _)| *before == parallelism);
        Ok((StoredWatermarks { subtask, parallelism, last: from.clone(), written, obsolete }, from))
    }

    /// Notes the event time, if it is known. For an input that has ended, the watermark from before its end is kept, since a later run may
    /// read on.
    pub fn checkpoint(&mut self, time: Option<&EventTime>, changes: &mut Changes) {
        self.obsolete.drain(..).for_each(|key| changes.remove(&[&key]));
        let Some(time) = time else { return };
        let last = self.last.clone().unwrap_or(EventTime { all: Watermark::NONE, inputs: vec![] });
        let known = |now: Watermark, last: Option<&Watermark>| match now {
            Watermark::END => last.copied().unwrap_or_default(),
            now => now,
        };
        let inputs = time.inputs.iter().enumerate().map(|(i, w)| known(*w, last.inputs.get(i))).collect();
        let now = EventTime { all: known(time.all, Some(&last.all)), inputs };
        let is_known = now.all > Watermark::NONE || now.inputs.iter().any(|w| *w > Watermark::NONE);
        if is_known && (!self.written || self.last.as_ref() != Some(&now)) {
            let kept = StoredTime { parallelism: self.parallelism, time: now.clone() };
            changes.set(&key_of(self.subtask), &stored::encode(&kept));
            (self.last, self.written) = (Some(now), true);
        }
    }
}
