//! What actors say to each other.

use actix::{Message, Recipient};
use weir_core::event_time::Watermark;
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

/// What travels on a channel, in order.
#[derive(Debug, Clone)]
pub(crate) enum Element<B = Batch> {
    Batch(B),
    /// How far event time has come.
    Watermark(Watermark),
    /// Nothing follows for a while.
    Idle,
    /// Nothing but barriers follows.
    End,
    Barrier(Barrier),
}

/// Something on a channel.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Data {
    pub channel: usize,
    pub item: Element,
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

/// What a subtask tells the coordinator besides acks.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum SubtaskReport {
    SourceEnded,
    WantsEpoch,
    Failed(Error),
    Committed { epoch: Epoch, bytes: u64 },
}

/// How a piece of work ended.
#[derive(Debug)]
pub(crate) enum WorkResult {
    Polled(Polled),
    Processed,
    /// The operator was told of time or of an input's end.
    Notified,
    Checkpointed {
        barrier: Barrier,
        outbox: Vec<Vec<u8>>,
    },
    Failed(Error),
}
