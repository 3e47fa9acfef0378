//! The options of functions: what a function of a script is granted, and how it is called.

use crate::option_spec::Opt;
use crate::{Error, Result};
use std::time::Duration;

crate::options! {
    /// The options of every function, beside [`FAILING`](crate::descriptor::FAILING).
    pub FUNCTION:
    /// Bytes of memory of an instance.
    pub MEMORY: usize = Opt::size(
        "memory",
        "of an instance: its memory, its tables, and what it returns from a call, which the host holds as well for a moment (up to half \
         as much again)",
    )
    .default("256mb");
    /// Processor time of a row.
    pub TIMEOUT: Duration = Opt::some_time("timeout", "processor time that a row may take; three times that for waiting").default("10 s");
    /// Addresses, which [`Grant::parse_all`] reads.
    pub NETWORK: String = Opt::checked(
        "network",
        "addresses, `host:port`, with commas between",
        |text| Grant::parse_all(text).map(drop),
        "the function may connect to these, and to nothing else",
    );
    /// Files and folders, with commas.
    pub ASSETS: String = Opt::text(
        "assets",
        "files or folders that it may read by name, with commas; `.gz` is unpacked; all together no more than `memory`",
    );
    /// Whether equal arguments give equal results.
    pub DETERMINISTIC: bool = Opt::boolean(
        "deterministic",
        "equal arguments give equal results, which may be remembered; as the function says where nothing is said",
    );
    /// Subtasks of the operators that call it.
    pub SUBTASKS: usize = Opt::whole("parallelism", 1, 64, "subtasks of the operators that call it; the job's number where nothing is said");
}

/// An address that a function may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The host, in small letters.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Grant {
    /// Reads grants: `host:port`, several with commas between.
    ///
    /// # Errors
    /// When one is no host and port.
    pub fn parse_all(text: &str) -> Result<Vec<Grant>> {
        text.split(',')
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .map(|t| {
                let wrong = || Error::script(format!("a network grant is host:port, not '{t}'"));
                let (host, port) = t.rsplit_once(':').ok_or_else(wrong)?;
                let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
                Ok(Grant { host, port: port.parse().map_err(|_| wrong())? })
            })
            .collect()
    }
}
