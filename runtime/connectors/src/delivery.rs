//! The delivery guarantees of sinks.

use weir_core::choice;
use weir_core::option_spec::{Opt, Role};

choice! {
    /// What happens to the rows of an epoch if the job fails and repeats it.
    pub(crate) enum Delivery {
        ExactlyOnce = "exactly-once",
        AtLeastOnce = "at-least-once" | "none",
    }
}

/// The option `sink.delivery-guarantee`, with the connector's default and help text.
pub(crate) const fn guarantee(default: &'static str, help: &'static str) -> Opt<Delivery> {
    Opt::one_of("sink.delivery-guarantee", help).default(default).how().of(&[Role::Sink])
}
