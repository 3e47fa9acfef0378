//! How to reach a table's database.

use super::statements::Dialect;
use crate::options::TableSpec;
use crate::tls::{Tls, plain};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::time::Duration;
use url::Url;
use weir_core::error::Place;
use weir_core::{Error, Result};

/// The options of all roles: a table may be read, written and looked up in, each in a script of its own.
const OPTIONS: &[&str] = &[
    "scan.query",
    "scan.partition.column",
    "scan.partition.num",
    "scan.partition.lower-bound",
    "scan.partition.upper-bound",
    "scan.fetch-size",
    "scan.auto-commit",
    "sink.buffer-flush.max-rows",
    "sink.buffer-flush.interval",
    "sink.max-retries",
    "sink.delivery-guarantee",
    "lookup.max-retries",
    "lookup.connections",
    "driver",
];

/// A table of a database, and how to reach it.
#[derive(Clone)]
pub(super) struct Config {
    pub dialect: Dialect,
    url: Url,
    user: Option<String>,
    password: Option<String>,
    /// Whether the server must prove who it is.
    verify: bool,
    /// Who may vouch for it, in PEM, beside the system's authorities.
    authorities: Option<Vec<u8>>,
    /// The table's name in the database.
    pub table: String,
    /// How long a lost connection is tried again within one attempt.
    pub patience: Duration,
    pub place: Option<Place>,
}

impl Config {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let text = table.need("url")?;
        let at = table.place_of("url");
        let wrong = |why: String| {
            let e = Error::script(format!("the option 'url' of table '{}': {why}", table.name)).at(at);
            e.hint("it is like jdbc:mysql://host:3306/database or jdbc:postgresql://host:5432/database")
        };
        let url = Url::parse(text.strip_prefix("jdbc:").unwrap_or(text)).map_err(|e| wrong(e.to_string()))?;
        let dialect = match url.scheme() {
            "mysql" | "mariadb" => Dialect::MySql,
            "postgresql" | "postgres" => Dialect::Postgres,
            other => return Err(wrong(format!("there is no database '{other}'"))),
        };
        if url.host_str().is_none() || url.path().trim_matches('/').is_empty() {
            return Err(wrong("it lacks the host or the database".to_string()));
        }
        for (key, _) in url.query_pairs() {
            if !["useSSL", "sslMode", "sslmode", "requireSSL", "user", "password", "currentSchema"]
                .contains(&key.as_ref())
            {
                tracing::debug!("table '{}': the driver's parameter '{key}' is ignored", table.name);
            }
        }
        let parameter = |name: &str| url.query_pairs().find(|(k, _)| k == name).map(|(_, v)| v.into_owned());
        let user = table.get("username").map(str::to_string).or_else(|| parameter("user"));
        let password = table.secret("password")?.or_else(|| parameter("password").filter(|p| !p.is_empty()));
        for k in OPTIONS {
            table.get(k);
        }
        table.lookup_cache()?;
        let tls = Tls::new(table)?;
        let off = ["false", "disabled", "disable"];
        let modes = ["useSSL", "sslMode", "sslmode", "requireSSL"];
        if tls.verify == Some(true)
            && url.query_pairs().any(|(k, v)| modes.contains(&k.as_ref()) && off.contains(&v.to_lowercase().as_str()))
        {
            return Err(plain(table, "leave the driver's parameter in 'url' out"));
        }
        let patience = table.duration("connection.max-retry-timeout")?.unwrap_or(Duration::from_secs(60));
        Ok(Config {
            dialect,
            user,
            password,
            verify: tls.verify == Some(true),
            authorities: tls.authorities,
            table: table.need("table-name")?.to_string(),
            patience,
            place: table.place,
            url,
        })
    }

    /// The address, for messages: no user, no password.
    pub fn address(&self) -> String {
        let port = self.url.port().map(|p| format!(":{p}")).unwrap_or_default();
        format!("{}://{}{port}{}", self.url.scheme(), self.url.host_str().unwrap_or_default(), self.url.path())
    }

    /// The table, for messages.
    pub fn what(&self) -> String {
        format!("'{}' in {}", self.table, self.address())
    }

    /// Whether what goes over the connection may be read by whoever sits between: where nothing says that the server must prove who
    /// it is, and it is not on this machine.
    pub fn open_to_others(&self) -> bool {
        let host = self.host();
        let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback());
        let mode = self.parameter(&["sslMode", "sslmode"]).unwrap_or_default();
        !self.verify && !here && !mode.starts_with("verify")
    }

    fn host(&self) -> String {
        self.url.host_str().unwrap_or("localhost").trim_matches(['[', ']']).to_string()
    }

    fn database(&self) -> &str {
        self.url.path().trim_matches('/')
    }

    fn parameter(&self, names: &[&str]) -> Option<String> {
        self.url.query_pairs().find(|(k, _)| names.contains(&k.as_ref())).map(|(_, v)| v.to_lowercase())
    }

    pub fn mysql(&self) -> MySqlConnectOptions {
        let ssl = match self.parameter(&["useSSL", "sslMode", "requireSSL"]).as_deref() {
            Some("false" | "disabled") => MySqlSslMode::Disabled,
            Some("true" | "required") => MySqlSslMode::Required,
            Some("verify_ca") => MySqlSslMode::VerifyCa,
            Some("verify_identity") => MySqlSslMode::VerifyIdentity,
            _ => MySqlSslMode::Preferred,
        };
        let ssl = if self.verify { MySqlSslMode::VerifyIdentity } else { ssl };
        let mut o = MySqlConnectOptions::new()
            .host(&self.host())
            .port(self.url.port().unwrap_or(3306))
            .database(self.database())
            .ssl_mode(ssl)
            .timezone(Some("+00:00".to_string()));
        if let Some(pem) = &self.authorities {
            o = o.ssl_ca_from_pem(pem.clone());
        }
        if let Some(u) = &self.user {
            o = o.username(u);
        }
        if let Some(p) = &self.password {
            o = o.password(p);
        }
        o
    }

    pub fn postgres(&self) -> PgConnectOptions {
        let ssl = match self.parameter(&["sslmode"]).as_deref() {
            Some("disable") => PgSslMode::Disable,
            Some("require") => PgSslMode::Require,
            Some("verify-ca") => PgSslMode::VerifyCa,
            Some("verify-full") => PgSslMode::VerifyFull,
            _ => PgSslMode::Prefer,
        };
        let ssl = if self.verify { PgSslMode::VerifyFull } else { ssl };
        let mut o = PgConnectOptions::new_without_pgpass()
            .host(&self.host())
            .port(self.url.port().unwrap_or(5432))
            .database(self.database())
            .ssl_mode(ssl)
            .application_name("weir");
        if let Some(pem) = &self.authorities {
            o = o.ssl_root_cert_from_pem(pem.clone());
        }
        if let Some(u) = &self.user {
            o = o.username(u);
        }
        if let Some(p) = &self.password {
            o = o.password(p);
        }
        o
    }
}
