//! How to connect to a server, and how rows are stored there.

use super::{DELIMITER, FORMAT, HOLDS, Holds, PREFIX, TIMEOUT, URL};
use crate::idle_connections::IdleConnections;
use crate::login;
use crate::options::TableSpec;
use crate::retry;
use crate::tls::{Tls, VERIFY, plain};
use std::time::Duration;
use weir_core::error::Place;
use weir_core::graph::SubtaskContext;
use weir_core::option_spec::Opt;
use weir_core::{Error, Result, Value};
use weir_expr::text::cast_text;
use weir_expr::time::Zone;

/// A server, and how a table's rows are stored there.
#[derive(Clone)]
pub(super) struct RedisConfig {
    client: redis::Client,
    address: String,
    prefix: String,
    delimiter: String,
    /// The columns of the key, in the primary key's order.
    pub key: Vec<usize>,
    /// The other columns.
    pub rest: Vec<usize>,
    pub shape: RowEncoding,
    retries: u32,
    timeout: Duration,
    pub place: Option<Place>,
    pub kept: IdleConnections<redis::Connection>,
}

/// How a row is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowEncoding {
    /// As a hash of texts.
    Hash,
    /// As the text of the only column outside the key.
    Text,
    /// As a string in a format.
    Formatted,
}

impl RedisConfig {
    /// Reads a table's options. `key` has the columns of the key, in any order.
    pub fn new(table: &TableSpec, key: &[usize], retries: &Opt<u32>) -> Result<Self> {
        let at = table.place_of(&URL);
        let wrong = |why: String| {
            let e = Error::script(format!("the option 'url' of table '{}': {why}", table.name)).at(at);
            e.hint("it is like redis://host:6379/0, or rediss://… for TLS")
        };
        let mut url = url::Url::parse(&table.value(&URL)?).map_err(|e| wrong(e.to_string()))?;
        if !matches!(url.scheme(), "redis" | "rediss" | "unix" | "redis+unix") {
            return Err(wrong(format!("there is no '{}'", url.scheme())));
        }
        let port = url.port().map_or(String::new(), |p| format!(":{p}"));
        let address = format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path());
        if let Some(user) = login::user(table)? {
            url.set_username(&user).map_err(|()| wrong("it takes no user".to_string()))?;
        }
        if let Some(password) = login::password(table)? {
            url.set_password(Some(&password)).map_err(|()| wrong("it takes no password".to_string()))?;
        }
        let tls = Tls::new(table)?;
        let encrypted = url.scheme() == "rediss";
        if tls.verify == Some(true) && !encrypted {
            return Err(plain(table, "'url' begins with rediss:// then"));
        }
        if tls.verify == Some(false) && encrypted {
            let e = Error::script("a Redis at rediss://… is always verified").at(table.place_of(&VERIFY));
            return Err(e.hint("name its authority by 'ssl.ca.location'"));
        }
        let client = match tls.authorities.filter(|_| encrypted) {
            None => redis::Client::open(url.as_str()),
            root_cert => {
                redis::Client::build_with_tls(url.as_str(), redis::TlsCertificates { client_tls: None, root_cert })
            }
        };
        let client = client.map_err(|e| wrong(e.to_string()))?;
        if key.is_empty() {
            let e = Error::script(format!("table '{}' has no primary key, by which its rows lie in Redis", table.name));
            return Err(e.at(table.place).hint("declare PRIMARY KEY (…) NOT ENFORCED"));
        }
        let rest: Vec<usize> = (0..table.schema.len()).filter(|i| !key.contains(i)).collect();
        let shape = match (table.get(&HOLDS)?, table.get(&FORMAT)?) {
            (None | Some(Holds::Hash), None) => RowEncoding::Hash,
            (Some(Holds::String), None) if rest.len() == 1 => RowEncoding::Text,
            (None | Some(Holds::String), Some(_)) => RowEncoding::Formatted,
            (Some(Holds::String), None) => {
                let e = Error::script(format!("table '{}' has {} columns beside its key", table.name, rest.len()));
                let e = e.at(table.place_of(&HOLDS));
                return Err(e.hint("a string holds one, or several by 'format' = 'json'; or set 'value.type' = 'hash'"));
            }
            (Some(Holds::Hash), Some(_)) => {
                let e = Error::script("a hash has no format: its fields are the columns").at(table.place_of(&FORMAT));
                return Err(e.hint("leave 'format' out, or set 'value.type' = 'string'"));
            }
        };
        let delimiter = table.value(&DELIMITER)?;
        if key.len() > 1 && (delimiter.is_empty() || delimiter.starts_with(ESCAPE as char)) {
            let e = Error::script(format!(
                "'key-delimiter' = '{delimiter}' does not tell the {} parts of a key of table '{}' apart",
                key.len(),
                table.name
            ));
            return Err(e.at(table.place_of(&DELIMITER)).hint("take another one, such as ':'"));
        }
        let mut key = key.to_vec();
        // Key names use the primary key's order, whatever the order of a join's conditions.
        key.sort_by_key(|k| table.key.iter().position(|p| p == k).unwrap_or(usize::MAX));
        Ok(RedisConfig {
            client,
            address,
            prefix: table.value(&PREFIX)?,
            delimiter,
            key,
            rest,
            shape,
            retries: table.value(retries)?,
            timeout: table.value(&TIMEOUT)?,
            place: table.place,
            kept: IdleConnections::default(),
        })
    }

    /// The server's address, for messages: no user, no password.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name of a row's key in Redis.
    pub fn name<'a>(&self, key: impl Iterator<Item = (Value<'a>, &'a weir_core::SqlType)>) -> Vec<u8> {
        let mut name = self.prefix.clone().into_bytes();
        let parts = key.map(|(v, ty)| text(&v, ty).unwrap_or_default());
        join(&mut name, self.delimiter.as_bytes(), self.key.len(), parts);
        name
    }
}

/// The escape in front of a byte of a value that is the delimiter's first byte or the escape itself.
const ESCAPE: u8 = b'\\';

/// Joins the columns of a key into a name, so that different keys have different names. A key of one column needs no escapes.
fn join(name: &mut Vec<u8>, delimiter: &[u8], count: usize, parts: impl Iterator<Item = Vec<u8>>) {
    for (i, part) in parts.enumerate() {
        if i > 0 {
            name.extend_from_slice(delimiter);
        }
        for b in part {
            if count > 1 && (b == ESCAPE || delimiter.first() == Some(&b)) {
                name.push(ESCAPE);
            }
            name.push(b);
        }
    }
}

/// A value as text, as the server stores it; none for NULL.
pub(super) fn text(v: &Value<'_>, ty: &weir_core::SqlType) -> Option<Vec<u8>> {
    match v {
        Value::Null => None,
        Value::Bytes(b) => Some(b.to_vec()),
        v => Some(cast_text(v, ty, &Zone::UTC).into_bytes()),
    }
}

/// A connection that is reopened when it breaks. When it is dropped, it is kept for other subtasks.
pub(super) struct Connection {
    config: RedisConfig,
    open: Option<redis::Connection>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If the server cannot be reached, or rejects the user.
    pub fn new(config: &RedisConfig) -> Result<Self> {
        Self::with(config, config.kept.take())
    }

    /// Connects for a subtask.
    ///
    /// # Errors
    /// As [`Connection::new`].
    pub fn of_subtask(config: &RedisConfig, context: &SubtaskContext) -> Result<Self> {
        Self::with(config, config.kept.take_for(context))
    }

    fn with(config: &RedisConfig, open: Option<redis::Connection>) -> Result<Self> {
        let mut c = Connection { config: config.clone(), open };
        c.run(&mut |r| redis::cmd("PING").exec(r))?;
        Ok(c)
    }

    /// Runs commands that are safe to repeat.
    ///
    /// # Errors
    /// If the server cannot be reached in any attempt, or rejects the commands.
    pub fn run<T>(&mut self, f: &mut dyn FnMut(&mut redis::Connection) -> redis::RedisResult<T>) -> Result<T> {
        retry::asked(self.config.retries, || {
            self.once(f).map_err(|e| {
                self.open = None;
                self.error(&e)
            })
        })
    }

    fn once<T>(&mut self, f: &mut dyn FnMut(&mut redis::Connection) -> redis::RedisResult<T>) -> redis::RedisResult<T> {
        if self.open.is_none() {
            let c = self.config.client.get_connection_with_timeout(self.config.timeout)?;
            c.set_read_timeout(Some(self.config.timeout))?;
            c.set_write_timeout(Some(self.config.timeout))?;
            self.open = Some(c);
        }
        match &mut self.open {
            Some(c) => f(c),
            None => Err(redis::RedisError::from((redis::ErrorKind::Io, "no connection"))),
        }
    }

    fn error(&self, e: &redis::RedisError) -> Error {
        self.classified(e).with_source(e.clone())
    }

    fn classified(&self, e: &redis::RedisError) -> Error {
        let message = format!("{}: {e}", self.config.address());
        // For a pipeline, the result of its first failed command.
        let of_several = e.clone().into_server_errors();
        let code = of_several.as_ref().and_then(|all| all.first()).map_or_else(|| e.code(), |(_, e)| Some(e.code()));
        let code = code.unwrap_or_default();
        if e.kind() == redis::ErrorKind::AuthenticationFailed || ["NOAUTH", "WRONGPASS", "NOPERM"].contains(&code) {
            return Error::script(message).at(self.config.place).hint("check 'username' and 'password'");
        }
        if let Some(hint) = crate::tls::refused(&message) {
            return Error::script(message).at(self.config.place).hint(hint);
        }
        match code {
            "WRONGTYPE" => {
                Error::data(message).hint("a key of that name holds something else; choose another 'key-prefix'")
            }
            "LOADING" | "BUSY" | "MASTERDOWN" | "READONLY" | "CLUSTERDOWN" | "TRYAGAIN" | "OOM" => Error::io(message),
            "" => Error::io(message).hint("check that the address is right and the server runs"),
            _ => Error::data(message),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A broken connection was closed before.
        if let Some(c) = self.open.take() {
            self.config.kept.keep(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_keys_have_one_name() {
        let name = |delimiter: &str, parts: &[&str]| {
            let mut name = vec![];
            let all = parts.iter().map(|p| p.as_bytes().to_vec());
            join(&mut name, delimiter.as_bytes(), parts.len(), all);
            String::from_utf8(name).expect("text")
        };
        assert_eq!(name(":", &["a:b"]), "a:b");
        assert_eq!(name(":", &["1", "eu"]), "1:eu");
        assert_eq!(name(":", &["a:b", "c"]), "a\\:b:c");
        let pieces = ["", ":", "\\", "a", "§", "©", "::", "\\:", ":\\"];
        let parts: Vec<String> = pieces.iter().flat_map(|a| pieces.iter().map(move |b| format!("{a}{b}"))).collect();
        let parts: HashSet<&str> = parts.iter().map(String::as_str).collect();
        for delimiter in [":", "::", "§", ":a"] {
            let pairs = parts.iter().flat_map(|a| parts.iter().map(move |b| (*a, *b)));
            let names: HashSet<String> = pairs.map(|(a, b)| name(delimiter, &[a, b])).collect();
            assert_eq!(names.len(), parts.len() * parts.len(), "{delimiter}");
        }
    }
}
