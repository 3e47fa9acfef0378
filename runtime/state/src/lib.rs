//! State by epochs: a file decides, sled keeps what is older. The one crate that knows sled.

mod applier;
mod archive;
mod epoch_file;
mod filter;
mod folder;
mod portable;
mod run;
mod sled_store;
mod store;

pub use archive::{Archive, open_savepoint};
pub use folder::{Folder, Status, status};
pub use portable::{export, import, summary};
pub use store::{Snapshot, Store};
