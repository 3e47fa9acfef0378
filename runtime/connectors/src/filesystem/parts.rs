//! The part files that a subtask writes at the same time: one in each partition folder, of which only some are open.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;
use weir_core::error::io;
use weir_core::{Batch, Error, Field, Result, Value, private};

/// Maximum number of open files of a subtask. The others are reopened when a row is written to them.
const OPEN: usize = 64;

/// Maximum number of parts of a subtask. If there are more, those that were not written to for longest are finished.
const PARTS: usize = 4096;

/// Bytes that a part buffers before it writes them to its file.
const BUFFER: usize = 128 << 10;

/// A part that is being written.
pub(super) struct PartFile {
    pub hidden: PathBuf,
    pub to: PathBuf,
    file: Option<File>,
    /// Bytes that are not in the file yet. A part that is dropped does not write them, since its file may already belong to the next
    /// generation.
    buffer: Vec<u8>,
    /// The length, including the buffer.
    pub length: u64,
    pub since: Instant,
    /// Whether the state has an entry for the part.
    pub noted: bool,
    /// Whether the part was written to since its entry was written.
    pub changed: bool,
    /// When the part was last written to, as a count of all writes.
    used: u64,
}

impl PartFile {
    fn file(&mut self) -> std::io::Result<&mut File> {
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().append(true).open(&self.hidden)?);
        }
        self.file.as_mut().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if !self.buffer.is_empty() {
            let buffer = std::mem::take(&mut self.buffer);
            self.file()?.write_all(&buffer)?;
            self.buffer = buffer;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Appends a row.
    pub fn push(&mut self, row: &[u8]) -> std::io::Result<()> {
        self.buffer.extend_from_slice(row);
        self.length += row.len() as u64;
        self.changed = true;
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Writes the buffer and syncs the file.
    pub fn sync(&mut self) -> std::io::Result<()> {
        self.flush()?;
        self.file()?.sync_all()
    }

    /// Writes the buffer, and closes the file.
    fn close(&mut self) -> std::io::Result<()> {
        self.flush()?;
        self.buffer = vec![];
        self.file = None;
        Ok(())
    }
}

/// The parts of a subtask, by the folder that each is in.
#[derive(Default)]
pub(super) struct PartFiles {
    all: BTreeMap<PathBuf, PartFile>,
    open: usize,
    turn: u64,
}

impl PartFiles {
    /// The part of a folder, with an open file. `names` returns the hidden name and the final name of a new part.
    ///
    /// # Errors
    /// If its file cannot be opened, or another part's buffer cannot be written.
    pub fn of(&mut self, folder: &Path, names: impl FnOnce() -> (PathBuf, PathBuf)) -> Result<&mut PartFile> {
        self.turn += 1;
        if self.all.get(folder).is_none_or(|p| p.file.is_none()) {
            if self.open >= OPEN {
                self.close_some()?;
            }
            self.open += 1;
        }
        if !self.all.contains_key(folder) {
            private::make_folder_for_all(folder).map_err(io("make", folder))?;
            let (hidden, to) = names();
            let file = Some(File::create(&hidden).map_err(io("write", &hidden))?);
            private::give_out(&hidden).map_err(io("write", &hidden))?;
            let since = Instant::now();
            let part =
                PartFile { hidden, to, file, buffer: vec![], length: 0, since, noted: false, changed: false, used: 0 };
            self.all.insert(folder.to_path_buf(), part);
        }
        let part = self.all.get_mut(folder).ok_or_else(|| Error::internal("a part that was just made is gone"))?;
        part.used = self.turn;
        part.file().map_err(io("write", folder))?;
        Ok(part)
    }

    /// Closes the half of the open files that were least recently used.
    fn close_some(&mut self) -> Result<()> {
        let mut open: Vec<&mut PartFile> = self.all.values_mut().filter(|p| p.file.is_some()).collect();
        open.sort_unstable_by_key(|p| p.used);
        let most = open.len() / 2;
        for p in open.iter_mut().take(most.max(1)) {
            p.close().map_err(io("write", &p.hidden))?;
        }
        self.open = self.all.values().filter(|p| p.file.is_some()).count();
        Ok(())
    }

    /// Removes the part of a folder, after its file was synced.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn take(&mut self, folder: &Path) -> Result<Option<PartFile>> {
        let Some(mut part) = self.all.remove(folder) else { return Ok(None) };
        self.open -= usize::from(part.file.is_some());
        part.sync().map_err(io("write", &part.hidden))?;
        part.file = None;
        Ok(Some(part))
    }

    /// The folders of the parts to finish, if there are too many.
    pub fn surplus(&self) -> Vec<PathBuf> {
        if self.all.len() <= PARTS {
            return vec![];
        }
        let mut all: Vec<(u64, &PathBuf)> = self.all.iter().map(|(f, p)| (p.used, f)).collect();
        all.sort_unstable_by_key(|(used, _)| *used);
        all.into_iter().take(self.all.len() - PARTS / 2).map(|(_, f)| f.clone()).collect()
    }

    /// The folders of the parts that meet a condition.
    pub fn folders(&self, of: impl Fn(&PartFile) -> bool) -> Vec<PathBuf> {
        self.all.iter().filter(|(_, p)| of(p)).map(|(f, _)| f.clone()).collect()
    }

    /// Syncs the parts that have changed, and calls `each` with every one of them.
    ///
    /// # Errors
    /// If a part cannot be written.
    pub fn sync(&mut self, mut each: impl FnMut(&mut PartFile) -> Result<()>) -> Result<()> {
        for p in self.all.values_mut().filter(|p| p.changed) {
            let open = p.file.is_some();
            p.sync().map_err(io("write", &p.hidden))?;
            if !open {
                p.file = None;
            }
            each(p)?;
            p.changed = false;
        }
        Ok(())
    }
}

/// Maximum length of a path in bytes, without the sink's folder and the names of parts.
const PATH: usize = 3000;

/// The name of a row's folder for a column, `column=value`. Characters other than letters and digits are written as `%` and their code. A
/// name that would be too long for a file is cut, and ends with a tilde and a hash.
fn folder_name(field: &Field, value: &Value<'_>, default: &str, longest: usize) -> String {
    let text = match value {
        Value::Null => String::new(),
        v => weir_expr::text::cast_text(v, &field.ty, &weir_expr::time::Zone::UTC),
    };
    let safe = |text: &str, out: &mut String| {
        for c in text.chars() {
            if c.is_alphanumeric() || "-_. ".contains(c) {
                out.push(c);
            } else {
                out.push_str(&format!("%{:02X}", c as u32));
            }
        }
    };
    let mut name = String::new();
    safe(&field.name, &mut name);
    name.push('=');
    if text.is_empty() {
        name.push_str(default);
    } else {
        safe(&text, &mut name);
    }
    if name.len() > longest {
        let hash = xxhash_rust::xxh3::xxh3_128(name.as_bytes());
        let mut cut = longest.saturating_sub(33);
        while !name.is_char_boundary(cut) {
            cut -= 1;
        }
        name.truncate(cut);
        name.push_str(&format!("~{hash:032x}"));
    }
    name
}

/// The partition folder of a row, relative to the sink's folder.
pub(super) fn sub_folder(
    folder: &Path,
    fields: &[Field],
    partitioned_by: &[usize],
    default: &str,
    batch: &Batch,
    row: usize,
) -> PathBuf {
    let longest = (PATH / partitioned_by.len().max(1)).clamp(34, 255);
    let mut folder = folder.to_path_buf();
    for c in partitioned_by {
        let value = Value::read(batch.data.column(*c), row);
        folder.push(folder_name(&fields[*c], &value, default, longest));
    }
    folder
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::SqlType;

    fn name(text: &str) -> String {
        folder_name(&Field::new("p", SqlType::STRING), &Value::text(text), "none", 255)
    }

    #[test]
    fn names_of_folders_are_names_of_files() {
        assert_eq!(name("a b"), "p=a b");
        assert_eq!(name("a/b~"), "p=a%2Fb%7E");
        assert_eq!(name(""), "p=none");
        let long: Vec<String> = ["/".repeat(90), "/".repeat(91), "ä".repeat(200), "x".repeat(10_000)].to_vec();
        let names: Vec<String> = long.iter().map(|t| name(t)).collect();
        for (i, n) in names.iter().enumerate() {
            assert!(n.len() <= 255 && n.starts_with("p=") && !n.contains('/'), "{n}");
            assert!(!names[..i].contains(n), "{n} is two values'");
        }
    }

    #[test]
    fn more_parts_than_may_be_open_keep_their_rows() {
        let folder = std::env::temp_dir().join(format!("weir-parts-{}", std::process::id()));
        let mut parts = PartFiles::default();
        for round in 0..3 {
            for n in 0..3 * OPEN {
                let of = folder.join(n.to_string());
                let names = || (of.join("hidden"), of.join("part"));
                parts
                    .of(&of, names)
                    .and_then(|p| p.push(format!("{round}\n").as_bytes()).map_err(io("write", &of)))
                    .expect("written");
                assert!(parts.open <= OPEN && parts.all.values().filter(|p| p.file.is_some()).count() == parts.open);
            }
        }
        let mut synced = 0;
        parts
            .sync(|_| {
                synced += 1;
                Ok(())
            })
            .expect("synced");
        assert_eq!(synced, 3 * OPEN);
        parts.sync(|_| panic!("nothing has changed")).expect("synced");
        for n in 0..3 * OPEN {
            let part = parts.take(&folder.join(n.to_string())).expect("written").expect("a part");
            assert_eq!(std::fs::read_to_string(part.hidden).expect("a file"), "0\n1\n2\n");
        }
        assert_eq!(parts.open, 0);
        drop(std::fs::remove_dir_all(&folder));
    }
}
