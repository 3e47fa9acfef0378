//! Functions of URLs: their parts as Java's `URL` class finds them, and the encoding of text in URLs.

use super::arguments;
use super::table::*;
use crate::text::trimmed;
use std::net::Ipv6Addr;

pub(super) const ALL: &[Definition] = &[
    def("URL_ENCODE", &[Text], (1, 1), MaybeNull(string), Strict(encode)),
    def("URL_DECODE", &[Text], (1, 1), MaybeNull(string), Strict(decode)),
    def("PARSE_URL", &[Text], (2, 3), MaybeNull(string), Strict(parse)),
];

#[track_caller]
fn s<'a>(a: &'a [Value<'_>], at: usize) -> &'a str {
    a.get(at).map_or("", arguments::text)
}

fn encode(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let mut out = String::new();
    for b in s(a, 0).bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(char::from(b)),
            b' ' => out.push('+'),
            _ => out += &format!("%{b:02X}"),
        }
    }
    Ok(Value::string(out))
}

fn decode(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let (mut out, mut rest) = (vec![], s(a, 0).as_bytes());
    while let [b, tail @ ..] = rest {
        let byte;
        (byte, rest) = match (b, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, tail @ ..]) => match escaped(*high, *low) {
                Some(b) => (b, tail),
                None => return Ok(Value::Null),
            },
            (b'%', _) => return Ok(Value::Null),
            (b, _) => (*b, tail),
        };
        out.push(byte);
    }
    Ok(Value::string(String::from_utf8_lossy(&out).into_owned()))
}

/// The byte of a percent escape with these two characters. As in Java, the first one may be a plus sign.
fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    if high == b'+' { digit(low) } else { Some(digit(high)? * 16 + digit(low)?) }
}

/// The parts of a URL.
#[derive(Debug, Default, PartialEq, Eq)]
struct Url<'a> {
    protocol: String,
    authority: Option<&'a str>,
    user: Option<&'a str>,
    host: &'a str,
    path: String,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

/// The protocols that Java supports.
const PROTOCOLS: [&str; 7] = ["http", "https", "ftp", "file", "jar", "mailto", "jrt"];

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Url<'a>> {
        let text = trimmed(text);
        let text = match text.get(..4) {
            Some(start) if start.eq_ignore_ascii_case("url:") => &text[4..],
            _ => text,
        };
        let (protocol, rest) = text.split_once(':')?;
        let protocol = protocol.to_ascii_lowercase();
        if !PROTOCOLS.contains(&protocol.as_str()) {
            return None;
        }
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(r, f)| (r, Some(f)));
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(r, q)| (r, Some(q)));
        let url = Url { protocol, query, fragment, ..Url::default() };
        match url.protocol.as_str() {
            "mailto" if rest.trim().is_empty() => return None,
            "mailto" => return Some(Url { path: rest.to_string(), fragment: None, ..url }),
            // A URL within another one.
            "jar" => {
                let (inner, _) = rest.rsplit_once("!/")?;
                Url::parse(inner)?;
                return Some(Url { path: rest.to_string(), ..url });
            }
            _ => {}
        }
        let after = rest.strip_prefix("//").filter(|_| !rest.starts_with("////"));
        let Some(after) = after else {
            return Some(Url { path: rest.to_string(), ..url });
        };
        let (authority, path) = after.find('/').map_or((after, ""), |at| after.split_at(at));
        let (user, host) = match authority.split_once('@') {
            // An authority with more than one `@` has no host.
            Some((_, rest)) if rest.contains('@') => (None, ""),
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        Some(Url { authority: Some(authority), user, host: host_of(host)?, path: path.to_string(), ..url })
    }

    fn file(&self) -> String {
        match self.query {
            Some(q) => format!("{}?{q}", self.path),
            None => self.path.clone(),
        }
    }
}

/// The host without its port. None if the port is not a number, or an IPv6 address is invalid.
fn host_of(host: &str) -> Option<&str> {
    let (name, port) = if host.starts_with('[') {
        let end = host.find(']').filter(|at| *at > 2)?;
        let address = host[1..end].split_once('%').map_or(&host[1..end], |(address, _)| address);
        address.parse::<Ipv6Addr>().ok()?;
        match &host[end + 1..] {
            "" => (&host[..=end], ""),
            rest => (&host[..=end], rest.strip_prefix(':')?),
        }
    } else {
        host.split_once(':').unwrap_or((host, ""))
    };
    let known = port.is_empty() || port.parse::<i32>().is_ok_and(|p| p >= -1);
    known.then_some(name)
}

/// The value of the first parameter of a query that has this key.
fn parameter<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    let starts = std::iter::once(0).chain(query.match_indices('&').map(|(at, _)| at + 1));
    let mut values = starts.filter_map(|at| query[at..].strip_prefix(key)?.strip_prefix('='));
    values.next().map(|value| value.split('&').next().unwrap_or(value))
}

/// PARSE_URL(url, part), or PARSE_URL(url, part, key)
fn parse(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let Some(url) = Url::parse(s(a, 0)) else {
        return Ok(Value::Null);
    };
    let text = |t: Option<&str>| Ok(t.map_or(Value::Null, |t| Value::string(t.to_string())));
    if a.len() > 2 {
        let Some(query) = url.query.filter(|_| s(a, 1) == "QUERY") else {
            return Ok(Value::Null);
        };
        return text(parameter(query, s(a, 2)));
    }
    match s(a, 1) {
        "PROTOCOL" => text(Some(&url.protocol)),
        "HOST" => text(Some(url.host)),
        "PATH" => text(Some(&url.path)),
        "QUERY" => text(url.query),
        "REF" => text(url.fragment),
        "AUTHORITY" => text(url.authority),
        "USERINFO" => text(url.user),
        "FILE" => text(Some(&url.file())),
        _ => Ok(Value::Null),
    }
}
