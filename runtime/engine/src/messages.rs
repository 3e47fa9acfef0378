//! What actors say to each other.

use actix::{Message, Recipient};
use std::time::Duration;
use weir_core::graph::Polled;
use weir_core::state::Epoch;
use weir_core::{Batch, Error};

/// A barrier: everything before it belongs to the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Barrier {
    pub epoch: Epoch,
    /// Nothing follows in this generation.
    pub last: bool,
    /// The input has come to its end.
    pub end: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Item {
    Batch(Batch),
    Barrier(Barrier),
}

/// Something on a channel.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Data {
    pub channel: usize,
    pub item: Item,
}

/// Says who sends on a channel, so that room can be given back.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Connect {
    pub channel: usize,
    pub sender: Recipient<Credit>,
    /// The channel's place among the sender's targets.
    pub target: usize,
}

/// Room for one more batch.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Credit {
    pub target: usize,
}

/// The coordinator asks a source for a barrier.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StartEpoch(pub Barrier);

/// The coordinator asks a source to bring nothing more until the next barrier.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Hold;

/// A subtask has handed an epoch over.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ack {
    pub node: usize,
    pub epoch: Epoch,
    pub outbox: Vec<Vec<u8>>,
}

/// What a subtask tells the coordinator beside acks.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum News {
    SourceEnded,
    WantsEpoch,
    Failed(Error),
    Committed { epoch: Epoch, bytes: u64 },
}

/// What the worker thread has done.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Done {
    /// What goes to which target.
    pub outputs: Vec<(usize, Batch)>,
    pub outcome: Outcome,
    pub cpu: Duration,
    /// The time that it took, without what the thread waited for a core.
    pub useful: Duration,
    pub wants_epoch: bool,
    /// The rows that the operator would rather take at once.
    pub gathers: usize,
}

pub(crate) enum Outcome {
    Polled(Polled),
    Processed,
    Checkpointed { barrier: Barrier, outbox: Vec<Vec<u8>> },
    Failed(Error),
}
