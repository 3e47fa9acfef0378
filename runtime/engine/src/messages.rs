//! The messages between actors.

use actix::{Message, Recipient};
use weir_core::event_time::Watermark;
use weir_core::graph::Polled;
use weir_core::state::Epoch;
use weir_core::{Batch, Error};

/// A barrier: all elements in front of it belong to the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Barrier {
    pub epoch: Epoch,
    /// Whether it is the last element of this generation.
    pub last: bool,
    /// Whether the input has ended.
    pub end: bool,
}

/// An element of the stream.
#[derive(Debug, Clone)]
pub(crate) enum Element<B = Batch> {
    Batch(B),
    /// A watermark: event time has advanced.
    Watermark(Watermark),
    /// The channel is idle until the next element.
    Idle,
    /// The channel has ended; only barriers may follow.
    End,
    Barrier(Barrier),
}

/// An element on a channel.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Data {
    pub channel: usize,
    pub item: Element,
}

/// Connects a channel: tells the receiver who sends, so that it can return credits.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Connect {
    pub channel: usize,
    pub sender: Recipient<Credit>,
    /// The index of the channel among the sender's targets.
    pub target: usize,
}

/// A credit: the receiver has room for one more batch.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Credit {
    pub target: usize,
}

/// The coordinator asks a source for a barrier.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StartEpoch(pub Barrier);

/// The coordinator asks a source to pause until the next barrier.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Hold;

/// A subtask has completed an epoch.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ack {
    pub node: usize,
    pub epoch: Epoch,
    pub outbox: Vec<Vec<u8>>,
}

/// What a subtask reports to the coordinator besides acknowledgements.
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
