//! The identity of a statement's state: its sink, the fingerprint of what it computes, and whether results are only emitted at the end; or
//! the uid that its author has chosen.

use std::collections::BTreeSet;
use weir_core::option_spec::Opt;
use weir_core::{Error, Result, options};
use weir_expr::structure::{self, write_number, write_text};
use weir_expr::time::Zone;
use xxhash_rust::xxh3::xxh3_64;

/// The version of identities, and of the fingerprints and encodings in them. State with another version never matches.
const VERSION: u32 = structure::VERSION;

/// The identity of a statement's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Derived from what the statement computes.
    Computed {
        /// The table of the sink.
        table: String,
        /// Whether results are only emitted at the end, if that affects the state.
        batch: bool,
        /// The hash of the fingerprint.
        hash: u64,
        /// The number of equal statements before it in the script.
        twin: usize,
    },
    /// The uid that the author has chosen.
    Given(String),
}

options! {
    /// The options of an INSERT, in a hint after its table.
    pub INSERT:
    /// The identity of the statement's state.
    pub UID: String = Opt::checked(
        "uid",
        "1 to 100 letters, digits, `-`, `_` and `.`",
        check_uid,
        "the uid that the statement's state belongs to; by default the state belongs to what the statement computes",
    );
}

/// The characters of uids besides ASCII letters and digits. Names of operators' state use other characters as separators.
const SIGNS: &[u8] = b"-_.";

/// The maximum length of a uid.
const LONGEST: usize = 100;

/// Checks a uid.
///
/// # Errors
/// If it is empty, too long, or has other characters.
fn check_uid(uid: &str) -> Result<()> {
    let fits = |c: u8| c.is_ascii_alphanumeric() || SIGNS.contains(&c);
    match (1..=LONGEST).contains(&uid.len()) && uid.bytes().all(fits) {
        true => Ok(()),
        false => Err(Error::script(format!("'{uid}' is no uid"))
            .hint(format!("it is made of 1 to {LONGEST} letters, digits, '-', '_' and '.'"))),
    }
}

impl Identity {
    /// The identity of a statement. `twin` is its number among the statements with this fingerprint, `batch` whether results are only
    /// emitted at the end, `zone` the time zone of the job.
    pub fn new(table: &str, fingerprint: u128, batch: bool, zone: Zone, twin: usize) -> Identity {
        let mut out = fingerprint.to_le_bytes().to_vec();
        match zone {
            Zone::Fixed(seconds) => {
                write_number(seconds.unsigned_abs() as usize * 2 + usize::from(seconds < 0), &mut out)
            }
            Zone::Named(zone) if zone.name() == "UTC" => write_number(0, &mut out),
            Zone::Named(zone) => write_text(zone.name(), &mut out),
        }
        Identity::Computed { table: table.to_string(), batch, hash: xxh3_64(&out), twin }
    }

    /// The uid of the statement, if its author has chosen one.
    pub fn uid(&self) -> Option<&str> {
        match self {
            Identity::Given(uid) => Some(uid),
            Identity::Computed { .. } => None,
        }
    }

    /// The statement that an operator's uid belongs to. None if it belongs to no statement, or if another version of Weir has named it.
    pub fn of(uid: &str) -> Option<Identity> {
        let (identity, _) = uid.rsplit_once('/')?;
        if let Some(given) = identity.strip_suffix(GIVEN) {
            return check_uid(given).ok().map(|()| Identity::Given(given.to_string()));
        }
        let mut parts = identity.rsplitn(3, '#');
        let (twin, middle, table) = (parts.next()?, parts.next()?, parts.next()?);
        let (version, hash) = middle.split_once('-')?;
        let batch = match version.strip_prefix('v')?.strip_prefix(&VERSION.to_string())? {
            "" => false,
            "b" => true,
            _ => return None,
        };
        let hash = u64::from_str_radix(hash, 16).ok()?;
        Some(Identity::Computed { table: table.to_string(), batch, hash, twin: twin.parse().ok()? })
    }

    /// The identity of the same statement in the other runtime mode.
    fn in_other_mode(&self) -> Option<Identity> {
        match self.clone() {
            Identity::Computed { table, batch, hash, twin } => {
                Some(Identity::Computed { table, batch: !batch, hash, twin })
            }
            Identity::Given(_) => None,
        }
    }
}

/// Follows the author's uid in the names of the statement's operators.
const GIVEN: &str = "#uid";

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Identity::Computed { table, batch, hash, twin } => {
                let mode = if *batch { "b" } else { "" };
                write!(f, "{table}#v{VERSION}{mode}-{hash:016x}#{twin}")
            }
            Identity::Given(uid) => write!(f, "{uid}{GIVEN}"),
        }
    }
}

/// Explains why state would be lost: `lost` has the uids without an operator, `wanted` those of the job.
pub fn why_lost(lost: &[String], wanted: &BTreeSet<&str>) -> String {
    let table = |uid: &str| uid.split('#').next().unwrap_or(uid).rsplit('.').next().unwrap_or(uid).to_string();
    let mut tables: Vec<String> = lost.iter().map(|u| table(u)).collect();
    tables.dedup();
    let tables = tables.join(", ");
    let letters = |uid: &str| uid.contains("#dead-letters/");
    if lost.iter().any(|u| !letters(u) && Identity::of(u).is_none()) {
        return format!(
            "the state of what writes into {tables} was named by another version of Weir, and would be lost"
        );
    }
    if let Some(Identity::Given(uid)) = lost.iter().filter_map(|u| Identity::of(u)).find(|i| i.uid().is_some()) {
        return format!(
            "the statement with the uid '{uid}' has no such operator any longer, or is gone, and its state would be lost"
        );
    }
    let now: Vec<Identity> = wanted.iter().filter_map(|u| Identity::of(u)).collect();
    let other_mode =
        lost.iter().filter_map(|u| Identity::of(u)).find(|i| i.in_other_mode().is_some_and(|o| now.contains(&o)));
    match other_mode {
        Some(Identity::Computed { batch, .. }) => {
            let (was, is) = if batch { ("batch", "streaming") } else { ("streaming", "batch") };
            format!(
                "the state of what writes into {tables} is of a run in {was} mode, which keeps other things than one in {is} mode"
            )
        }
        _ => format!("the statement that wrote into {tables} has changed or is gone, and its state would be lost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_is_written() {
        for batch in [false, true] {
            let identity = Identity::new("c.d.t", 1 << 100, batch, Zone::UTC, 3);
            assert_eq!(Identity::of(&format!("{identity}/source-3")), Some(identity));
        }
        for other in
            ["#parallelism", "t#0123456789abcdef#0/calc-1", "t#v9-0123456789abcdef#0/calc-1", "t#dead-letters/sink"]
        {
            assert_eq!(Identity::of(other), None, "{other}");
        }
    }

    #[test]
    fn why_state_is_lost_is_said() {
        let why = |lost: &str, wanted: &str| why_lost(&[lost.to_string()], &BTreeSet::from([wanted]));
        let now = "c.d.t#v1-00000000000000aa#0/aggregate-2";
        assert!(why("c.d.t#00000000000000aa#0/aggregate-2", now).contains("another version"));
        assert!(why("c.d.t#v1b-00000000000000aa#0/aggregate-2", now).contains("batch mode, which"));
        assert!(why(now, "c.d.t#v1b-00000000000000aa#0/aggregate-2").contains("streaming mode, which"));
        for lost in
            ["c.d.t#v1-00000000000000ab#0/source-3", "c.d.t#v1b-00000000000000ab#0/source-3", "c.d.t#dead-letters/sink"]
        {
            assert_eq!(
                why(lost, now),
                "the statement that wrote into t has changed or is gone, and its state would be lost"
            );
        }
    }
}
