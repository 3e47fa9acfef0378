//! Records about a job that later runs are compared with, such as the layouts of its operators. They become durable with the first epoch,
//! and so together with the state that they describe.

use std::collections::BTreeMap;
use std::sync::Arc;
use weir_core::Result;
use weir_core::state::{Changes, Epoch, StateBackend, StateHandle};

/// Records by the uid of their state, which begins with `#`, and by key.
pub type JobMetadata = BTreeMap<&'static str, BTreeMap<String, String>>;

/// The records with a uid in the store.
///
/// # Errors
/// When the store fails.
pub fn read_metadata(backend: &Arc<dyn StateBackend>, name: &str) -> Result<BTreeMap<String, String>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let state = StateHandle { operator: backend.operator(name)?, reader: backend.clone() };
    Ok(state.scan(&[])?.iter().map(|(k, v)| (text(k), text(v))).collect())
}

/// Stages the records that the store does not have, and the deletion of those that are not among these.
pub(crate) fn stage(backend: &Arc<dyn StateBackend>, records: &JobMetadata) -> Result<()> {
    for (name, wanted) in records {
        let before = read_metadata(backend, name)?;
        let mut changes = Changes::default();
        for (key, value) in wanted.iter().filter(|(k, v)| before.get(*k) != Some(v)) {
            changes.set(key.as_bytes(), value.as_bytes());
        }
        for key in before.keys().filter(|k| !wanted.contains_key(*k)) {
            changes.remove(&[key.as_bytes()]);
        }
        if !changes.is_empty() {
            backend.stage(backend.operator(name)?, Epoch(backend.last_epoch().0 + 1), changes);
        }
    }
    Ok(())
}
