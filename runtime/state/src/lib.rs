//! State by epochs: a file decides, sled keeps what is older. The one crate that knows sled.

mod epoch_file;
mod folder;
mod portable;
mod store;

pub use folder::{Folder, Status};
pub use portable::{export, import};
pub use store::Store;
