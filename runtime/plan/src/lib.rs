//! Plans: what a statement computes, what is known about its relations, and how their state is identified.

mod emitting;
mod explain;
mod fingerprint;
mod identity;
mod intervals;
mod joins;
mod logical;
mod merge;
mod merged_windows;
mod multi_joins;
mod optimize;
pub mod physical;
mod ranks;
mod read_fields;
pub mod settings;
mod shared;
mod sharing;
mod table;
mod times;
mod traits;

pub use emitting::emit_early_and_late;
pub use explain::{Format, explain};
pub use fingerprint::statement as fingerprint;
pub use identity::{INSERT, Identity, UID, why_lost};
pub use joins::keyed as keyed_join;
pub use logical::{GroupWindow, Insert, Plan, Ranks, RowOrder, Shared, StateUids, WindowMerge, WindowTime};
pub use optimize::optimize;
pub use settings::Mode;
pub use shared::with_several_readers;
pub use sharing::{OperatorUids, SHARED, Together, share};
pub use table::{ErrorPolicy, EventTime, Table};
pub use times::{TimeAttribute, Windowed, time_domain, window_among};
pub use traits::{ChangelogMode, Derived, Monotonicity, Traits, derive};
