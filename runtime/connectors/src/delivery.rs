//! How often a sink delivers a row when something fails.

use weir_core::choice;
use weir_core::option_spec::{Opt, Role};

choice! {
    /// How often a row is delivered.
    pub(crate) enum Delivery {
        ExactlyOnce = "exactly-once",
        AtLeastOnce = "at-least-once" | "none",
    }
}

/// `sink.delivery-guarantee`, as a connector declares it with its own default.
pub(crate) const fn guarantee(default: &'static str, help: &'static str) -> Opt<Delivery> {
    Opt::one_of("sink.delivery-guarantee", help).default(default).how().of(&[Role::Sink])
}
