//! The options of functions: what a function may use, and how it is called.

use crate::option_spec::Opt;
use crate::{Error, Result};
use std::time::Duration;

crate::options! {
    /// The options of every function, besides [`FAILING`](crate::descriptor::FAILING).
    pub FUNCTION:
    /// The memory limit of an instance.
    pub MEMORY: usize = Opt::size(
        "memory",
        "the memory limit of an instance: its own memory, its tables, and the results of a call, of which the host holds a copy for a \
         moment (up to half as much again)",
    )
    .default("256mb");
    /// The CPU time limit of a row.
    pub TIMEOUT: Duration =
        Opt::some_time("timeout", "the CPU time that a row may take; waiting may take three times as long").default("10 s");
    /// The allowed addresses. [`Grant::parse_all`] parses them.
    pub NETWORK: String = Opt::checked(
        "network",
        "addresses, `host:port`, with commas between",
        |text| Grant::parse_all(text).map(drop),
        "the addresses that the function may connect to; by default none",
    );
    /// The readable files and folders, separated by commas.
    pub ASSETS: String = Opt::text(
        "assets",
        "files or folders, separated by commas, that the function may read by name; `.gz` files are decompressed, and `memory` limits \
         them all together",
    );
    /// Whether equal arguments give equal results.
    pub DETERMINISTIC: bool = Opt::boolean(
        "deterministic",
        "whether equal arguments give equal results, so that results may be cached; by default as the function itself declares",
    );
    /// The parallelism of the operators that call the function.
    pub SUBTASKS: usize =
        Opt::whole("parallelism", 1, 64, "how many subtasks the operators that call the function have; by default the job's parallelism");
}

/// An address that a function may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The host, in lower case.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Grant {
    /// Parses addresses `host:port`, separated by commas.
    ///
    /// # Errors
    /// If one of them is not a host with a port.
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
