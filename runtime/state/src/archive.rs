//! Storage of savepoints: a folder, or a bucket of an object store. A savepoint becomes visible only when it is complete.

use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use weir_core::error::io;
use weir_core::{Error, Result};

const ENDING: &str = ".savepoint";
/// How many bytes of an object are written or read at a time.
const PIECE: usize = 8 << 20;

/// A location for savepoints.
pub struct Archive {
    place: Location,
    shown: String,
}

enum Location {
    Folder(PathBuf),
    Store { store: Arc<dyn ObjectStore>, prefix: Key, runtime: Arc<Runtime> },
}

/// The parts of a savepoint's name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    job: String,
    automatic: bool,
    millis: u128,
}

impl Name {
    fn parse(name: &str) -> Option<Name> {
        let (rest, millis) = name.strip_suffix(ENDING)?.rsplit_once('-')?;
        let automatic = rest.strip_suffix("-auto");
        let millis = millis.parse().ok()?;
        Some(Name { job: automatic.unwrap_or(rest).to_string(), automatic: automatic.is_some(), millis })
    }
    fn text(&self) -> String {
        format!("{}{}-{}{ENDING}", self.job, if self.automatic { "-auto" } else { "" }, self.millis)
    }
}

impl Archive {
    /// Opens a folder, or the address of a bucket and a prefix in it, such as `s3://bucket/prefix`, `gs://…`, `az://…`. Credentials come
    /// from the environment, in the variables that the clouds' own tools use (`AWS_ACCESS_KEY_ID`, …).
    ///
    /// # Errors
    /// If the address is invalid, or its kind of store is not supported.
    pub fn open(target: &str) -> Result<Archive> {
        let shown = target.trim_end_matches('/').to_string();
        let url = match target.split_once("://") {
            None => return Ok(Archive { place: Location::Folder(target.into()), shown }),
            Some(("file", path)) => {
                return Ok(Archive { place: Location::Folder(path.into()), shown: path.to_string() });
            }
            Some(_) => url::Url::parse(target),
        };
        let wrong = |e: String| {
            Error::script(format!("'{shown}' is no place for savepoints: {e}"))
                .hint("it is a folder, or like s3://bucket/prefix, gs://bucket/prefix, az://container/prefix")
        };
        let url = url.map_err(|e| wrong(e.to_string()))?;
        // The environment variables have the names of the store's options, in capitals.
        let settings = std::env::vars().map(|(k, v)| (k.to_ascii_lowercase(), v));
        let (store, prefix) = object_store::parse_url_opts(&url, settings).map_err(|e| wrong(e.to_string()))?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::internal("no runtime for the object store").caused_by(e))?;
        Ok(Archive { place: Location::Store { store: store.into(), prefix, runtime: Arc::new(runtime) }, shown })
    }

    /// Writes a savepoint of a job. Returns its address, and the result of `write`.
    ///
    /// # Errors
    /// If it cannot be written. Nothing that looks like a savepoint is left behind then.
    pub fn put<T>(
        &self,
        job: &str,
        automatic: bool,
        write: impl FnOnce(&mut dyn Write) -> Result<T>,
    ) -> Result<(String, T)> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let name = Name { job: job.to_string(), automatic, millis: now }.text();
        let given = match &self.place {
            Location::Folder(folder) => in_folder(folder, &name, write)?,
            Location::Store { store, prefix, runtime } => {
                // It is written into a local file first. A running job is held at one epoch meanwhile, and must not wait for the network.
                let local = |e: std::io::Error| Error::io("cannot write a temporary file").caused_by(e);
                let mut out = BufWriter::new(tempfile::tempfile().map_err(local)?);
                let given = write(&mut out)?;
                let mut file = out.into_inner().map_err(|e| local(e.into_error()))?;
                file.rewind().map_err(local)?;
                let key = prefix.clone().join(name.as_str());
                let upload = async {
                    let begun = store.put_multipart(&key).await?;
                    let mut upload = WriteMultipart::new_with_chunk_size(begun, PIECE);
                    let mut piece = vec![0; PIECE];
                    loop {
                        let read = file
                            .read(&mut piece)
                            .map_err(|e| object_store::Error::Generic { store: "file", source: e.into() });
                        match upload.wait_for_capacity(2).await.and(read) {
                            Ok(0) => return upload.finish().await.map(drop),
                            Ok(n) => upload.write(&piece[..n]),
                            // An upload that is not finished is never visible, and the store keeps no parts of it.
                            Err(e) => return upload.abort().await.and(Err(e)),
                        }
                    }
                };
                runtime.block_on(upload).map_err(|e| self.failed("write to", e))?;
                given
            }
        };
        Ok((format!("{}/{name}", self.shown), given))
    }

    fn failed(&self, what: &str, e: object_store::Error) -> Error {
        let mut last: &dyn std::error::Error = &e;
        while let Some(next) = last.source() {
            last = next;
        }
        Error::io(format!("cannot {what} {}: {last}", self.shown))
            .hint("check the address, and the environment's variables for the store (for S3: AWS_ACCESS_KEY_ID, …)")
            .with_source(e)
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(match &self.place {
            Location::Folder(folder) => match std::fs::read_dir(folder) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => vec![],
                Err(e) => return Err(io("read", folder)(e)),
                Ok(entries) => entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect(),
            },
            Location::Store { store, prefix, runtime } => {
                let found =
                    runtime.block_on(store.list_with_delimiter(Some(prefix))).map_err(|e| self.failed("read", e))?;
                found.objects.iter().filter_map(|o| o.location.filename().map(str::to_string)).collect()
            }
        })
    }

    /// Deletes a job's automatic savepoints, except the newest `keep`.
    ///
    /// # Errors
    /// If the location cannot be listed or changed.
    pub fn retain(&self, job: &str, keep: usize) -> Result<()> {
        let mut all: Vec<Name> = self.names()?.iter().filter_map(|n| Name::parse(n)).collect();
        all.retain(|n| n.job == job && n.automatic);
        all.sort_by_key(|n| std::cmp::Reverse(n.millis));
        for old in all.iter().skip(keep.max(1)) {
            match &self.place {
                Location::Folder(folder) => {
                    let path = folder.join(old.text());
                    std::fs::remove_file(&path).map_err(io("remove", &path))?;
                }
                Location::Store { store, prefix, runtime } => {
                    let key = prefix.clone().join(old.text());
                    runtime.block_on(store.delete(&key)).map_err(|e| self.failed("change", e))?;
                }
            }
        }
        Ok(())
    }
}

fn in_folder<T>(folder: &Path, name: &str, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    std::fs::create_dir_all(folder).map_err(io("make", folder))?;
    let (to, draft) = (folder.join(name), folder.join(format!(".{name}.draft")));
    let mut out = BufWriter::new(File::create(&draft).map_err(io("write", &draft))?);
    let written = write(&mut out).and_then(|given| {
        out.flush().and_then(|()| out.get_ref().sync_all()).map_err(io("write", &draft))?;
        std::fs::rename(&draft, &to).map_err(io("name", &to))?;
        File::open(folder).and_then(|f| f.sync_all()).map_err(io("sync", folder))?;
        Ok(given)
    });
    written.inspect_err(|_| drop(std::fs::remove_file(&draft)))
}

/// Opens a savepoint: a file or an object, or the job's newest one in a folder or under a prefix. Also returns its address.
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn open_savepoint(from: &str, job: &str) -> Result<(String, Box<dyn BufRead>)> {
    let cannot = |e: std::io::Error| Error::script(format!("cannot read {from}")).caused_by(e);
    let (folder, name) = if !from.contains("://") && Path::new(from).is_file() {
        return Ok((from.to_string(), Box::new(BufReader::new(File::open(from).map_err(cannot)?))));
    } else if let (true, Some((folder, name))) = (from.ends_with(ENDING), from.rsplit_once('/')) {
        (Archive::open(folder)?, name.to_string())
    } else {
        if !from.contains("://") && !Path::new(from).exists() {
            return Err(cannot(std::io::ErrorKind::NotFound.into()));
        }
        let folder = Archive::open(from)?;
        let all = folder.names()?;
        let newest = all.iter().filter_map(|n| Name::parse(n)).filter(|n| n.job == job).max_by_key(|n| n.millis);
        let Some(newest) = newest else {
            return Err(Error::script(format!("there is no savepoint of the job '{job}' in {from}")));
        };
        (folder, newest.text())
    };
    let shown = format!("{}/{name}", folder.shown);
    Ok((
        shown.clone(),
        match &folder.place {
            Location::Folder(f) => Box::new(BufReader::new(File::open(f.join(&name)).map_err(cannot)?)),
            Location::Store { store, prefix, runtime } => {
                let key = prefix.clone().join(name);
                let size = runtime.block_on(store.head(&key)).map_err(|e| folder.failed("read", e))?.size;
                let read = Download { store: store.clone(), key, at: 0, size, runtime: runtime.clone() };
                Box::new(BufReader::with_capacity(PIECE, read))
            }
        },
    ))
}

struct Download {
    store: Arc<dyn ObjectStore>,
    key: Key,
    at: u64,
    size: u64,
    runtime: Arc<Runtime>,
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let end = self.size.min(self.at + out.len() as u64);
        if end == self.at {
            return Ok(0);
        }
        let bytes = self.runtime.block_on(self.store.get_range(&self.key, self.at..end))?;
        let n = bytes.len().min(out.len());
        out[..n].copy_from_slice(&bytes[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let name = |n: &str| Name::parse(n).map(|n| (n.job, n.automatic, n.millis));
        assert_eq!(name("a-b-17.savepoint"), Some(("a-b".to_string(), false, 17)));
        assert_eq!(name("a-auto-18.savepoint"), Some(("a".to_string(), true, 18)));
        assert_eq!(name("a-18.savepoint.draft"), None);
        assert_eq!(name("a.savepoint"), None);
    }

    #[test]
    fn old_automatic_savepoints_go_and_others_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = Archive::open(&folder.path().display().to_string()).expect("a folder");
        for n in ["j-auto-1", "j-auto-3", "j-auto-2", "j-4", "k-auto-1"] {
            std::fs::write(folder.path().join(format!("{n}{ENDING}")), n).expect("a file");
        }
        archive.retain("j", 2).expect("fewer");
        let mut left = archive.names().expect("names");
        left.sort();
        assert_eq!(left, ["j-4", "j-auto-2", "j-auto-3", "k-auto-1"].map(|n| format!("{n}{ENDING}")));
        let newest = |job: &str| {
            open_savepoint(&folder.path().display().to_string(), job).map(|(_, mut r)| {
                let mut text = String::new();
                r.read_to_string(&mut text).map(|_| text)
            })
        };
        assert_eq!(newest("j").expect("one").expect("text"), "j-4");
        assert!(newest("x").is_err());
        // A failed savepoint leaves nothing behind.
        let failed = archive.put("j", true, |out| {
            let _ = out.write_all(b"half");
            Err::<(), _>(Error::io("no"))
        });
        assert!(failed.is_err());
        assert_eq!(archive.names().expect("names").len(), 4);
    }
}
