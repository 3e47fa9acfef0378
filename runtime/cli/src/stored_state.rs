//! What a job's state was made by, against what the job is now: names of operators, who shares them, layouts of what statements with
//! a uid keep, and versions of functions.

use crate::assemble::{Assembled, REPLAY};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weir_core::state::{KeyRange, StateBackend, StateReader};
use weir_core::{Error, Result};
use weir_engine::{JobMetadata, read_metadata};
use weir_plan::{Identity, OperatorUids, SHARED, why_lost};
use weir_state::Store;

/// Where the store has layouts, by the operators' names.
const LAYOUTS: &str = "#layouts";
/// Where it has versions of functions, by statement and name.
const FUNCTIONS: &str = "#functions";
/// Where it has the uids of operators that several names share, by those names.
const PLACES: &str = "#shared";

/// What a run of a job records.
pub fn records(job: &Assembled) -> JobMetadata {
    let shared = job.places.iter().filter(|(name, uid)| name != uid);
    let shared = shared.map(|(name, uid)| (name.clone(), uid.clone())).collect();
    JobMetadata::from([(LAYOUTS, job.layouts.clone()), (FUNCTIONS, job.functions.clone()), (PLACES, shared)])
}

/// The state that there is, by the names that statements know it by.
pub struct StoredState<'a> {
    store: &'a Arc<Store>,
    /// The uid of each.
    uids: OperatorUids,
    /// The operators that something is kept of, or that are shared: a name that has none of them is as good as new.
    places: OperatorUids,
    layouts: BTreeMap<String, String>,
    functions: BTreeMap<String, String>,
}

impl<'a> StoredState<'a> {
    /// Of a store that no job works on yet.
    ///
    /// # Errors
    /// When the store fails.
    pub fn read(store: &'a Arc<Store>) -> Result<StoredState<'a>> {
        let backend: Arc<dyn StateBackend> = store.clone();
        let shared = read_metadata(&backend, PLACES)?;
        let (mut uids, mut places) = (shared.clone(), shared.clone());
        let all = KeyRange { from: &[], to: None };
        for (uid, operator) in store.operators()? {
            let of_several = uid.starts_with(SHARED);
            if of_several && !shared.values().any(|u| *u == uid) {
                // Those that it was of go on with copies, or are gone.
                store.drop_operator(&uid)?;
            }
            // What a replay has read stays known, so that no letter is replayed twice.
            if of_several || uid.starts_with('#') || uid.ends_with(REPLAY) {
                continue;
            }
            if !store.range(operator, all, 1)?.is_empty() {
                places.entry(uid.clone()).or_insert_with(|| uid.clone());
            }
            uids.entry(uid.clone()).or_insert(uid);
        }
        let (layouts, functions) = (read_metadata(&backend, LAYOUTS)?, read_metadata(&backend, FUNCTIONS)?);
        Ok(StoredState { store, uids, places, layouts, functions })
    }

    /// The uids of what has state.
    pub fn places(&self) -> &OperatorUids {
        &self.places
    }

    /// Compares it with what the job has: what would be lost needs a word, and what would be misread is refused. Functions of other
    /// versions are told.
    ///
    /// # Errors
    /// When state would be lost or misread, and `allow_drop` does not say that it may go.
    pub fn compare(&mut self, job: &Assembled, allow_drop: bool) -> Result<()> {
        self.misread(&job.layouts, allow_drop)?;
        for told in other_versions(&self.functions, &job.functions) {
            tracing::warn!("{told}");
        }
        self.lost(job, allow_drop)
    }

    fn lost(&mut self, job: &Assembled, allow_drop: bool) -> Result<()> {
        let wanted: BTreeSet<&str> = job.places.keys().map(String::as_str).collect();
        let operators = self.store.operators()?;
        let (mut kept, mut gone, mut lost) = (0, vec![], vec![]);
        for (name, uid) in &self.uids {
            if wanted.contains(name.as_str()) {
                kept += 1;
                continue;
            }
            if let Some(operator) = operators.get(uid)
                && self.store.keeps(uid, *operator)?
            {
                lost.push(name.clone());
            }
            gone.push(name.clone());
        }
        if lost.is_empty() {
            return Ok(());
        }
        note!("state: {kept} operators kept, {} new, {} no longer used", wanted.len() - kept, gone.len());
        if !allow_drop {
            return Err(Error::state(why_lost(&lost, &wanted))
                .hint("--allow-state-drop lets go of it and keeps the rest; --fresh starts everything anew"));
        }
        gone.iter().try_for_each(|name| self.forget(name))
    }

    /// Refuses operators whose state is made of other things than they keep now; or lets go of the state of their statements.
    fn misread(&mut self, now: &BTreeMap<String, String>, allow_drop: bool) -> Result<()> {
        let mut dropped = BTreeSet::new();
        for (name, why) in differences(&self.layouts, now) {
            if !allow_drop {
                let e = Error::state(format!("the state of '{name}' does not fit the statement any longer: {why}"));
                return Err(e.hint(
                    "undo the change, or let go of the state of this statement with --allow-state-drop; --fresh starts everything anew",
                ));
            }
            dropped.insert(statement(name).to_string());
        }
        let names: Vec<String> = self.uids.keys().filter(|name| dropped.contains(statement(name))).cloned().collect();
        for name in names {
            // A sink that writes where it wrote goes on there: what is outside still has its mark.
            let sink = name.ends_with("/sink") && self.layouts.get(&name) == now.get(&name);
            if !sink {
                self.forget(&name)?;
            }
        }
        Ok(())
    }

    /// Lets go of what is known by a name. What others share with it stays theirs.
    fn forget(&mut self, name: &str) -> Result<()> {
        self.places.remove(name);
        self.store.drop_operator(name)?;
        match self.uids.remove(name) {
            Some(uid) if !self.uids.values().any(|u| *u == uid) => self.store.drop_operator(&uid),
            _ => Ok(()),
        }
    }
}

/// The identity of the statement in the name of an operator.
fn statement(uid: &str) -> &str {
    uid.rsplit_once('/').map_or(uid, |(statement, _)| statement)
}

/// The operators whose layouts differ, with what does. An operator that a statement with a uid has got, or no longer has, changes
/// what the others of its kind are called.
fn differences<'a>(before: &'a BTreeMap<String, String>, now: &'a BTreeMap<String, String>) -> Vec<(&'a str, String)> {
    let given = |uid: &str| matches!(Identity::of(uid), Some(Identity::Given(_)));
    let known: BTreeSet<&str> = before.keys().map(|uid| statement(uid)).collect();
    let mut all = vec![];
    for (uid, layout) in now {
        match before.get(uid) {
            Some(old) if old == layout => {}
            Some(old) => all.push((uid.as_str(), difference(old, layout))),
            None if given(uid) && known.contains(statement(uid)) => {
                all.push((uid.as_str(), "the statement did not have this operator".to_string()));
            }
            None => {}
        }
    }
    let still: BTreeSet<&str> = now.keys().map(|uid| statement(uid)).collect();
    let gone = before.keys().filter(|uid| !now.contains_key(*uid) && given(uid) && still.contains(statement(uid)));
    all.extend(gone.map(|uid| (uid.as_str(), "the statement no longer has this operator".to_string())));
    all
}

/// What differs between two layouts.
fn difference(old: &str, new: &str) -> String {
    let items = |layout: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(layout);
    let (Ok(old), Ok(new)) = (items(old), items(new)) else {
        return "it was written by another version of Weir".to_string();
    };
    let shown = |value: Option<&serde_json::Value>| match value.and_then(|v| v.as_str()) {
        None | Some("") => "nothing".to_string(),
        Some(text) => text.to_string(),
    };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let other = names.into_iter().filter(|k| old.get(*k) != new.get(*k));
    let told = other.map(|k| format!("{k} was {}, and is {}", shown(old.get(k)), shown(new.get(k))));
    told.collect::<Vec<_>>().join("; ")
}

/// What is said of functions whose code is another than the one that state was made with.
fn other_versions(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let other = now.iter().filter_map(|(key, version)| Some((key, before.get(key)?, version)));
    let told = other.filter(|(_, old, new)| old != new).map(|(key, old, new)| {
        let (of, name) = key.rsplit_once('/').unwrap_or(("", key));
        format!(
            "the function {name} has changed: the state of '{of}' was made with version {old}, and goes on with {new}; what is in the \
             state is not computed again"
        )
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect()
    }

    #[test]
    fn what_differs_is_named() {
        let old = all(&[("a#uid/aggregate-1", r#"{"kind":"aggregate","keys":"STRING","aggregates":"SUM(INT)"}"#)]);
        let new = all(&[("a#uid/aggregate-1", r#"{"kind":"aggregate","keys":"INT","aggregates":"SUM(INT)"}"#)]);
        let told = "keys was STRING, and is INT".to_string();
        assert_eq!(differences(&old, &new), [("a#uid/aggregate-1", told)]);
        assert_eq!(differences(&old, &old), []);
    }

    #[test]
    fn operators_that_come_and_go_are_told_of_statements_with_a_uid() {
        let one = all(&[("a#uid/aggregate-1", "{}")]);
        let two = all(&[("a#uid/aggregate-1", "{}"), ("a#uid/aggregate-2", "{}")]);
        assert_eq!(differences(&one, &two).len(), 1);
        assert_eq!(differences(&two, &one).len(), 1);
        // Others are known by what they compute, and new statements have no state yet.
        let other = all(&[("c.d.t#v1-00000000000000aa#0/aggregate-1", "{}")]);
        assert_eq!(differences(&other, &two), []);
        assert_eq!(differences(&all(&[]), &two), []);
        assert_eq!(differences(&two, &all(&[])), []);
    }

    #[test]
    fn functions_of_another_version_are_told() {
        let (old, new) =
            (all(&[("a#uid/f", "0123"), ("a#uid/g", "77")]), all(&[("a#uid/f", "4567"), ("b#uid/f", "1")]));
        let told = other_versions(&old, &new);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("function f") && told[0].contains("0123") && told[0].contains("4567"), "{told:?}");
        assert!(other_versions(&old, &old).is_empty());
    }
}
