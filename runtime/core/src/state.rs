//! What operators see of the state store: their own keys, as they were at the last epoch that was handed over.

use crate::Result;
use std::sync::Arc;

/// The number of an operator in the store's catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperatorId(pub u32);

/// The number of an epoch, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Epoch(pub u64);

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A change of one key within an epoch: its new value, or none when it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key: two bytes of key group, then the operator's own.
    pub key: Vec<u8>,
    /// The new value.
    pub value: Option<Vec<u8>>,
}

/// Reads of committed and handed-over state, shared by all subtasks.
pub trait StateReader: Send + Sync {
    /// The values of these keys, in their order. Sorted keys read fastest.
    fn get_many(&self, operator: OperatorId, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>>;
    /// All keys that start with `prefix`, in order, with their values.
    fn scan(&self, operator: OperatorId, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;
}

/// One operator's view of the store.
#[derive(Clone)]
pub struct StateHandle {
    /// Whose state.
    pub operator: OperatorId,
    /// Where it lies.
    pub reader: Arc<dyn StateBackend>,
}

impl StateHandle {
    /// See [`StateReader::get_many`].
    ///
    /// # Errors
    /// When the store fails.
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        self.reader.get_many(self.operator, keys)
    }
    /// See [`StateReader::scan`].
    ///
    /// # Errors
    /// When the store fails.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.reader.scan(self.operator, prefix)
    }
}

/// What a sink handed over in an epoch: the sink's state name and its entries.
pub type Outbox = Vec<(String, Vec<Vec<u8>>)>;

/// The store behind a job: takes changes in, makes epochs durable, gives state back.
pub trait StateBackend: StateReader {
    /// The number of an operator by the name of its state; drawn when first asked.
    fn operator(&self, uid: &str) -> Result<OperatorId>;
    /// Takes over a subtask's changes of an epoch; reads see them at once.
    fn stage(&self, operator: OperatorId, epoch: Epoch, changes: Vec<Change>);
    /// Makes an epoch durable: everything staged for it, and the outbox; `finished` when all input has come to its end.
    /// Gives the bytes written.
    fn commit(&self, epoch: Epoch, outbox: &Outbox, finished: bool) -> Result<u64>;
    /// Says that an epoch's outbox was delivered, so that the epoch need not be kept for it.
    fn delivered(&self, epoch: Epoch) -> Result<()>;
    /// The last durable epoch.
    fn last_epoch(&self) -> Epoch;
    /// Whether the last durable epoch was the job's last: nothing is left to do but what it delivers.
    fn finished(&self) -> bool;
    /// Outboxes of durable epochs that were not delivered, oldest first.
    fn undelivered(&self) -> Result<Vec<(Epoch, Outbox)>>;
    /// Forgets what was staged for epochs that never became durable.
    fn rewind(&self);
    /// Everything durable is in its final place, and the handles are closed.
    fn close(&self) -> Result<()>;
    /// Bytes on disk.
    fn disk_bytes(&self) -> u64;
}
