//! How to connect to a table's database.

use super::statements::SqlDialect;
use super::{PATIENCE, TABLE, URL};
use crate::login;
use crate::options::TableSpec;
use crate::tls::{Tls, plain};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::time::Duration;
use url::Url;
use weir_core::error::Place;
use weir_core::{Error, Result};

/// The use of TLS that the URL asks for, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TlsMode {
    Off,
    Preferred,
    Required,
    /// With a certificate from a trusted authority.
    Vouched,
    /// Also with the server's host name in the certificate.
    Named,
}

/// Whether a parameter of the URL has a meaning for this kind of database. [`TlsMode::of`] reads those of TLS.
fn counts(parameter: &str, dialect: SqlDialect) -> bool {
    let tls: &[&str] = match dialect {
        SqlDialect::MySql => &["sslMode", "sslmode", "useSSL", "requireSSL", "verifyServerCertificate"],
        SqlDialect::Postgres => &["sslMode", "sslmode", "ssl", "currentSchema"],
    };
    ["user", "password"].contains(&parameter) || tls.contains(&parameter)
}

impl TlsMode {
    /// Reads the parameters, with the words that the databases' drivers use.
    fn of(parameter: impl Fn(&str) -> Option<String>, dialect: SqlDialect) -> std::result::Result<TlsMode, String> {
        if let Some(mode) = parameter("sslMode").or_else(|| parameter("sslmode")) {
            return Ok(match mode.to_lowercase().replace('_', "-").as_str() {
                "disable" | "disabled" => TlsMode::Off,
                "allow" | "prefer" | "preferred" => TlsMode::Preferred,
                "require" | "required" | "trust" => TlsMode::Required,
                "verify-ca" => TlsMode::Vouched,
                "verify-full" | "verify-identity" => TlsMode::Named,
                _ => return Err(format!("there is no mode of TLS '{mode}'")),
            });
        }
        let flag = |name: &str| match parameter(name).map(|v| v.to_lowercase()).as_deref() {
            None => Ok(None),
            Some("true" | "") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(format!("'{name}' is true or false, not '{other}'")),
        };
        Ok(match dialect {
            SqlDialect::MySql => match (flag("useSSL")?, flag("requireSSL")?, flag("verifyServerCertificate")?) {
                (Some(false), ..) => TlsMode::Off,
                (_, _, Some(true)) => TlsMode::Vouched,
                (Some(true), ..) | (_, Some(true), _) => TlsMode::Required,
                _ => TlsMode::Preferred,
            },
            SqlDialect::Postgres if flag("ssl")? == Some(true) => TlsMode::Named,
            SqlDialect::Postgres => TlsMode::Preferred,
        })
    }
}

/// Decodes the percent escapes in a piece of a URL.
fn plain_text(piece: &str) -> String {
    let whole = format!("={}", piece.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(whole.as_bytes()).map(|(_, v)| v.into_owned()).collect()
}

/// A table of a database, and how to connect to the database.
#[derive(Clone)]
pub(super) struct JdbcConfig {
    pub dialect: SqlDialect,
    url: Url,
    user: Option<String>,
    password: Option<String>,
    mode: TlsMode,
    /// The schema in which the table is looked up, if the URL names one.
    schema: Option<String>,
    /// PEM certificates of authorities to trust besides the system's.
    authorities: Option<Vec<u8>>,
    /// The table's name in the database.
    pub table: String,
    /// How long connecting is retried.
    pub patience: Duration,
    pub place: Option<Place>,
}

impl JdbcConfig {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let text = table.value(&URL)?;
        let at = table.place_of(&URL);
        let wrong = |why: String| {
            let e = Error::script(format!("the option 'url' of table '{}': {why}", table.name)).at(at);
            e.hint("it is like jdbc:mysql://host:3306/database or jdbc:postgresql://host:5432/database")
        };
        let url = Url::parse(text.strip_prefix("jdbc:").unwrap_or(&text)).map_err(|e| wrong(e.to_string()))?;
        let dialect = match url.scheme() {
            "mysql" | "mariadb" => SqlDialect::MySql,
            "postgresql" | "postgres" => SqlDialect::Postgres,
            other => return Err(wrong(format!("there is no database '{other}'"))),
        };
        if url.host_str().is_none() || url.path().trim_matches('/').is_empty() {
            return Err(wrong("it lacks the host or the database".to_string()));
        }
        for (key, _) in url.query_pairs().filter(|(k, _)| !counts(k, dialect)) {
            tracing::info!("the driver's parameter '{key}' in 'url' of table '{}' means nothing here", table.name);
        }
        let parameter = |name: &str| url.query_pairs().find(|(k, _)| k == name).map(|(_, v)| v.into_owned());
        let given = |text: &str| Some(plain_text(text)).filter(|t| !t.is_empty());
        let user = login::user(table)?.or_else(|| parameter("user"));
        let user = user.or_else(|| given(url.username()));
        let password = login::password(table)?.or_else(|| parameter("password").filter(|p| !p.is_empty()));
        let password = password.or_else(|| given(url.password().unwrap_or_default()));
        let tls = Tls::new(table)?;
        let said = TlsMode::of(parameter, dialect).map_err(&wrong)?;
        if tls.verify == Some(true) && said == TlsMode::Off {
            return Err(plain(table, "leave the driver's parameter in 'url' out"));
        }
        let mode = if tls.verify == Some(true) { TlsMode::Named } else { said };
        let schema = parameter("currentSchema").filter(|_| dialect == SqlDialect::Postgres);
        let patience = table.value(&PATIENCE)?;
        Ok(JdbcConfig {
            dialect,
            user,
            password,
            mode,
            schema,
            authorities: tls.authorities,
            table: table.value(&TABLE)?,
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

    /// Whether others may intercept the connection: the server's certificate is not verified, and the server is on another machine.
    pub fn open_to_others(&self) -> bool {
        let host = self.host();
        let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback());
        !here && self.mode < TlsMode::Vouched
    }

    fn host(&self) -> String {
        self.url.host_str().unwrap_or("localhost").trim_matches(['[', ']']).to_string()
    }

    fn database(&self) -> String {
        plain_text(self.url.path().trim_matches('/'))
    }

    pub fn mysql(&self) -> MySqlConnectOptions {
        let ssl = match self.mode {
            TlsMode::Off => MySqlSslMode::Disabled,
            TlsMode::Preferred => MySqlSslMode::Preferred,
            TlsMode::Required => MySqlSslMode::Required,
            TlsMode::Vouched => MySqlSslMode::VerifyCa,
            TlsMode::Named => MySqlSslMode::VerifyIdentity,
        };
        let mut o = MySqlConnectOptions::new()
            .host(&self.host())
            .port(self.url.port().unwrap_or(3306))
            .database(&self.database())
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
        let ssl = match self.mode {
            TlsMode::Off => PgSslMode::Disable,
            TlsMode::Preferred => PgSslMode::Prefer,
            TlsMode::Required => PgSslMode::Require,
            TlsMode::Vouched => PgSslMode::VerifyCa,
            TlsMode::Named => PgSslMode::VerifyFull,
        };
        let mut o = PgConnectOptions::new_without_pgpass()
            .host(&self.host())
            .port(self.url.port().unwrap_or(5432))
            .database(&self.database())
            .ssl_mode(ssl)
            .application_name("weir");
        if let Some(schema) = &self.schema {
            let escaped = schema.replace('\\', "\\\\").replace(' ', "\\ ");
            o = o.options([("search_path", escaped)]);
        }
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
