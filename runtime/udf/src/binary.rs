//! A component file, which is read once and identified by a hash.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use weir_core::{Error, Result};

/// The bytes of a component.
pub struct Binary {
    path: PathBuf,
    bytes: Vec<u8>,
    hash: [u8; 32],
}

impl Binary {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Binary> {
        let bytes =
            std::fs::read(path).map_err(|e| Error::script(format!("cannot read {}", path.display())).caused_by(e))?;
        Ok(Binary::new(path.to_path_buf(), bytes))
    }

    /// Creates a binary from the content of a file.
    pub(crate) fn new(path: PathBuf, bytes: Vec<u8>) -> Binary {
        let hash = Sha256::digest(&bytes).into();
        Binary { path, bytes, hash }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of the content.
    pub(crate) fn hash(&self) -> &[u8; 32] {
        &self.hash
    }
}
