//! Verification of TLS servers: one pair of options for databases, Redis and Kafka.

use crate::options::TableSpec;
use weir_core::option_spec::{Opt, Shown};
use weir_core::{Error, Result, options};

options! {
    /// The options of TLS.
    pub(crate) OPTIONS:
    /// Whether to verify the server.
    pub(crate) VERIFY: bool =
        Opt::boolean("tls.verify", "whether to verify the server's certificate and the host name in it; `true` requires TLS").how();
    AUTHORITIES: String =
        Opt::text("ssl.ca.location", "a PEM file of the certificate authorities to trust").how().shown(Shown::Hidden);
}

/// `tls.verify` and `ssl.ca.location`.
pub(crate) struct Tls {
    /// Whether to verify the server's certificate and host name, if the table says so.
    pub verify: Option<bool>,
    /// PEM certificates to trust besides, or instead of, the system's certificate authorities.
    pub authorities: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the options of a table.
    ///
    /// # Errors
    /// If an option is invalid, or the file cannot be read.
    pub fn new(table: &TableSpec) -> Result<Self> {
        let read = |file: String| {
            let path = table.base.join(file);
            let wrong = |e: String| {
                let e = format!("'{}': {}: {e}", AUTHORITIES.key(), path.display());
                Error::script(e).at(table.place_of(&AUTHORITIES))
            };
            let pem = std::fs::read(&path).map_err(|e| wrong(e.to_string()))?;
            match reqwest::Certificate::from_pem_bundle(&pem) {
                Ok(all) if !all.is_empty() => Ok(pem),
                Ok(_) => Err(wrong("there is no certificate in it".to_string())),
                Err(e) => Err(wrong(e.to_string())),
            }
        };
        Ok(Tls { verify: table.get(&VERIFY)?, authorities: table.get(&AUTHORITIES)?.map(read).transpose()? })
    }
}

/// The hint for an error that says that the server's certificate is invalid. Retrying would not help.
pub(crate) fn refused(message: &str) -> Option<&'static str> {
    message.contains("invalid peer certificate").then_some(
        "the server's certificate, or the name in it, is not right; name who may vouch for it by 'ssl.ca.location'",
    )
}

/// The error if the server is to be verified, but the connection is not encrypted.
pub(crate) fn plain(table: &TableSpec, hint: &str) -> Error {
    let e = Error::script(format!(
        "'tls.verify' of table '{}' asks for a server that proves who it is, over a connection without TLS",
        table.name
    ));
    e.at(table.place_of(&VERIFY)).hint(hint)
}
