//! The limits and grants of a function: memory, time, addresses, and files to read.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use weir_core::function_options::{ASSETS, DETERMINISTIC, Grant, MEMORY, NETWORK, SUBTASKS, TIMEOUT};
use weir_core::{Error, Result};

/// The limits and grants of a function.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The memory limit of an instance in bytes.
    pub memory: usize,
    /// The CPU time limit of a call.
    pub timeout: Duration,
    /// The addresses that it may connect to.
    pub network: Vec<Grant>,
    /// The files that it may read, by name.
    pub assets: Arc<BTreeMap<String, Vec<u8>>>,
    /// Whether equal arguments give equal results; none: as the function declares.
    pub deterministic: Option<bool>,
    /// The parallelism of the operators that call it; none: the job's.
    pub parallelism: Option<usize>,
}

impl Limits {
    /// Reads the options of CREATE FUNCTION. `base` is the folder to which asset paths are relative.
    ///
    /// # Errors
    /// If an option is invalid, or an asset cannot be read.
    pub fn from_options(given: &BTreeMap<String, String>, base: &Path) -> Result<Limits> {
        let memory = MEMORY.value(given)?;
        let mut assets = Assets { files: BTreeMap::new(), left: memory, memory };
        let paths = ASSETS.given(given)?.unwrap_or_default();
        for p in paths.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            assets.read(&base.join(p))?;
        }
        Ok(Limits {
            memory,
            timeout: TIMEOUT.value(given)?,
            network: NETWORK.given(given)?.map_or(Ok(vec![]), |text| Grant::parse_all(&text))?,
            assets: Arc::new(assets.files),
            deterministic: DETERMINISTIC.given(given)?,
            parallelism: SUBTASKS.given(given)?,
        })
    }
}

/// The decompressed files that a function may read. Together they may not exceed its memory limit.
struct Assets {
    files: BTreeMap<String, Vec<u8>>,
    left: usize,
    memory: usize,
}

impl Assets {
    fn read(&mut self, path: &Path) -> Result<()> {
        if !path.exists() {
            return Err(unreadable(path, &std::io::Error::from(std::io::ErrorKind::NotFound)));
        }
        for e in walkdir::WalkDir::new(path).sort_by_file_name() {
            let e = e.map_err(|e| unreadable(path, &e))?;
            if !e.file_type().is_file() {
                continue;
            }
            let relative = match e.path().strip_prefix(path) {
                Ok(r) if r != Path::new("") => r.to_path_buf(),
                _ => e.path().file_name().map(Into::into).unwrap_or_default(),
            };
            let name = relative.to_string_lossy().into_owned();
            let file = std::fs::File::open(e.path()).map_err(|x| unreadable(e.path(), &x))?;
            let (name, bytes) = match name.strip_suffix(".gz") {
                Some(plain) => (plain.to_string(), self.take(flate2::read::MultiGzDecoder::new(file), e.path())?),
                None => {
                    let bytes = self.take(file, e.path())?;
                    (name, bytes)
                }
            };
            self.files.insert(name, bytes);
        }
        Ok(())
    }

    fn take(&mut self, from: impl Read, path: &Path) -> Result<Vec<u8>> {
        let mut bytes = vec![];
        let most = self.left as u64;
        from.take(most + 1).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(|| {
            let mb = self.memory >> 20;
            Error::script(format!("with {} the assets take more than the function's memory of {mb} MB", path.display()))
                .hint("more is granted by 'memory' = '1gb' in CREATE FUNCTION … WITH (…)")
        })?;
        bytes.shrink_to_fit();
        Ok(bytes)
    }
}

fn unreadable(path: &Path, e: &dyn std::fmt::Display) -> Error {
    Error::script(format!("cannot read the asset {}: {e}", path.display()))
}
