//! The watermarks of operators as part of the epoch: a row that was late before a restart is late behind it.

use weir_core::event_time::{EventTime, Watermark};
use weir_core::state::{Changes, ENGINE, StateHandle};
use weir_core::{Error, Result};

/// What begins the keys of operators' watermarks.
const PREFIX: &[u8] = b"watermark ";

fn prefix() -> Vec<u8> {
    [&ENGINE[..], PREFIX].concat()
}

fn key_of(subtask: u32) -> Vec<u8> {
    [&prefix()[..], &subtask.to_be_bytes()].concat()
}

/// The watermarks of all together and of each input. The end of an input is not kept: a run that reads on behind it sees it again.
fn value(time: &EventTime) -> Vec<u8> {
    let all = std::iter::once(&time.all).chain(&time.inputs);
    all.map(|w| if *w == Watermark::END { Watermark::NONE } else { *w }).flat_map(|w| w.0.to_be_bytes()).collect()
}

fn read(value: &[u8]) -> Option<EventTime> {
    let (numbers, rest) = value.as_chunks::<8>();
    let mut all = numbers.iter().map(|n| Watermark(i64::from_be_bytes(*n)));
    let first = all.next().filter(|_| rest.is_empty())?;
    Some(EventTime { all: first, inputs: all.collect() })
}

/// What the state has of a subtask's watermarks.
pub(crate) struct KeptTime {
    subtask: u32,
    last: Option<EventTime>,
    /// Keys of subtasks that are there no longer.
    obsolete: Vec<Vec<u8>>,
}

impl KeptTime {
    /// Of a subtask, with the event time that it is to go on from. As many subtasks as before go on where each was; others where
    /// the one was that was least far.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn read(state: &StateHandle, subtask: usize, parallelism: usize) -> Result<(Self, Option<EventTime>)> {
        let mut times: Vec<EventTime> = vec![];
        let mut obsolete = vec![];
        for (key, value) in state.scan(&prefix())? {
            let damaged = || Error::state("a watermark in the state is damaged").hint("start with --fresh");
            times.push(read(&value).ok_or_else(damaged)?);
            if subtask == 0 && times.len() > parallelism {
                obsolete.push(key);
            }
        }
        let least = |a: EventTime, b: EventTime| EventTime {
            all: a.all.min(b.all),
            inputs: a.inputs.iter().zip(&b.inputs).map(|(a, b)| *a.min(b)).collect(),
        };
        let from = match times.len() == parallelism {
            true => times.into_iter().nth(subtask),
            false => times.into_iter().reduce(least),
        };
        Ok((KeptTime { subtask: subtask as u32, last: None, obsolete }, from))
    }

    /// Notes how far it is.
    pub fn checkpoint(&mut self, time: &EventTime, changes: &mut Changes) {
        self.obsolete.drain(..).for_each(|key| changes.remove(&[&key]));
        if self.last.as_ref() != Some(time) {
            changes.set(&key_of(self.subtask), &value(time));
            self.last = Some(time.clone());
        }
    }
}
