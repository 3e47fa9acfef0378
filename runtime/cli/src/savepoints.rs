//! Savepoints that a running job writes by itself, so that losing its disk does not end it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use weir_core::{Error, Result};
use weir_plan::settings::{SAVEPOINTS, SAVEPOINTS_INTERVAL, SAVEPOINTS_KEPT};
use weir_state::{Archive, Store};

/// How long an automatic savepoint waits for an epoch that every sink has.
const PATIENCE: Duration = Duration::from_secs(60);

/// The thread that writes savepoints; it ends, after the one at hand, when this is dropped.
pub struct Saving {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Saving {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Begins, if the job's settings name a place: `state.savepoints.dir`, every `state.savepoints.interval`, of which
/// `state.savepoints.num-retained` are kept.
///
/// # Errors
/// When a setting is wrong, or the place cannot be reached: better now than when the disk is lost.
pub fn start(
    settings: &BTreeMap<String, String>,
    base: &Path,
    store: &Arc<Store>,
    name: &str,
    id: &str,
) -> Result<Option<Saving>> {
    let Some(interval) = SAVEPOINTS_INTERVAL.given(settings)? else { return Ok(None) };
    let interval = interval.max(Duration::from_secs(1));
    let keep = SAVEPOINTS_KEPT.value(settings)?;
    let folder = SAVEPOINTS.given(settings)?.ok_or_else(|| {
        Error::script("'state.savepoints.interval' needs a place to write to").hint("SET 'state.savepoints.dir' = '…'")
    })?;
    let folder = if folder.contains("://") { folder } else { base.join(folder).display().to_string() };
    let archive = Archive::open(&folder)?;
    archive.retain(name, keep)?;
    let (stop, stopped) = mpsc::channel::<()>();
    let (store, name, id) = (Arc::downgrade(store), name.to_string(), id.to_string());
    let work = move || {
        while stopped.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
            let Some(store) = store.upgrade() else { return };
            let written = archive.put(&name, true, |out| weir_state::export(&store, &id, PATIENCE, out));
            match written.and_then(|(to, keys)| archive.retain(&name, keep).map(|()| (to, keys))) {
                Ok((to, keys)) => tracing::info!("savepoint of {keys} keys: {to}"),
                Err(e) => tracing::warn!("no savepoint was written, the next one is tried in {interval:?}: {e}"),
            }
        }
    };
    let thread = weir_core::thread::spawn("weir-savepoints", work)?;
    Ok(Some(Saving { stop: Some(stop), thread: Some(thread) }))
}
