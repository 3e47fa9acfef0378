//! The hint STATE_TTL of a SELECT: times to live for the rows that its joins and its aggregation keep, by the names of the relations.
//!
//! As in Flink, a relation with an alias is named by the alias, and the left side of a second join has the time to live of the job.

use crate::hints::STATE_TTL;
use weir_core::error::Place;
use weir_core::{Error, Result};

/// The times to live that a hint gives.
#[derive(Default)]
pub(crate) struct StateTtl(Vec<Entry>);

struct Entry {
    /// The name of a relation in FROM.
    name: String,
    millis: u64,
    place: Option<Place>,
    /// Whether FROM has the relation.
    known: bool,
    used: bool,
}

impl StateTtl {
    /// Sets the time to live of a relation in milliseconds; 0 = unlimited.
    pub fn set(&mut self, name: &str, millis: u64, place: Option<Place>) {
        self.0.retain(|e| e.name != name);
        self.0.push(Entry { name: name.to_string(), millis, place, known: false, used: false });
    }

    /// The time to live of the rows of a relation, if all its columns belong to one that the hint names. `columns` are the names of the
    /// relations that the columns belong to.
    pub fn take<'n>(&mut self, mut columns: impl Iterator<Item = Option<&'n str>>) -> Option<u64> {
        let name = columns.next()??;
        if columns.any(|of| of != Some(name)) {
            return None;
        }
        let entry = self.0.iter_mut().find(|e| is_called(name, &e.name))?;
        entry.used = true;
        Some(entry.millis)
    }

    /// Notes which relations FROM has, given those that its columns belong to.
    pub fn check_names<'n>(&mut self, columns: impl Iterator<Item = Option<&'n str>>) {
        columns
            .flatten()
            .for_each(|name| self.0.iter_mut().filter(|e| is_called(name, &e.name)).for_each(|e| e.known = true));
    }

    /// The name of the hint, if a relation that it names is neither joined nor aggregated by itself.
    ///
    /// # Errors
    /// If FROM has no such relation.
    pub fn idle(&self) -> Result<Option<&'static str>> {
        if let Some(e) = self.0.iter().find(|e| !e.known) {
            let wrong = Error::script(format!("the hint STATE_TTL names '{}', which is no relation in FROM", e.name));
            return Err(wrong.hint("a relation with an alias is named by its alias").at(e.place));
        }
        Ok(self.0.iter().any(|e| !e.used).then_some(STATE_TTL))
    }
}

/// Whether a relation, given by its alias or its full name, is called by a name.
pub(crate) fn is_called(relation: &str, name: &str) -> bool {
    relation.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}
