//! A client for HTTP services. It retries where that can help, and its errors name the service.

use crate::options::TableSpec;
use backon::{BlockingRetryable, ExponentialBuilder};
use reqwest::blocking::{RequestBuilder, Response};
use std::io::Read;
use std::time::{Duration, Instant};
use weir_core::option_spec::{Opt, Shown};
use weir_core::{Error, Result, options};

/// Maximum size of a response in bytes. No request of Weir has a larger response.
const LARGEST: usize = 16 << 20;

options! {
    /// The options of an HTTP service.
    pub(crate) OPTIONS:
    USER: String =
        Opt::text("basic-auth.user-info", "the user of HTTP basic authentication, as `user:password`").how().shown(Shown::Secret);
    TOKEN: String =
        Opt::text("bearer-auth.token", "the token of HTTP bearer authentication, instead of a user").how().shown(Shown::Secret);
    AUTHORITIES: String =
        Opt::text("ssl.ca.location", "a PEM file of certificate authorities to trust besides the system's").how().shown(Shown::Hidden);
    TIMEOUT: Duration = Opt::some_time("request.timeout", "how long a response may take").default("30 s").how();
    RETRIES: usize = Opt::whole("request.max-retries", 0, i64::MAX, "how often a failed request is retried").default("3").how();
}

/// An HTTP service, with its time-out and number of retries.
#[derive(Clone)]
pub(crate) struct Http {
    client: reqwest::blocking::Client,
    /// How long a response may take, to its last byte.
    timeout: Duration,
    /// The service's description for messages, without secrets.
    what: String,
    retries: usize,
    user: Option<(String, Option<String>)>,
    token: Option<String>,
}

/// The response to a request.
pub(crate) struct HttpResponse {
    pub status: u16,
    pub body: String,
}

impl HttpResponse {
    pub fn good(&self) -> bool {
        (200..300).contains(&self.status)
    }
    /// The status and the beginning of the body, for messages.
    pub fn shown(&self) -> String {
        let body = self.body.trim();
        let cut: String = body.chars().take(300).collect();
        if cut.is_empty() { format!("HTTP {}", self.status) } else { format!("HTTP {}: {cut}", self.status) }
    }
}

impl Http {
    /// The service that a table's options name. `what` describes it for messages, without secrets.
    ///
    /// # Errors
    /// If an option is invalid.
    pub fn new(table: &TableSpec, what: String) -> Result<Self> {
        let timeout = table.value(&TIMEOUT)?;
        let mut client = reqwest::blocking::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none());
        if let Some(file) = table.get(&AUTHORITIES)? {
            let path = table.base.join(file);
            let wrong = |e: String| {
                let e = format!("'{}': {}: {e}", table.key_of(&AUTHORITIES), path.display());
                Error::script(e).at(table.place_of(&AUTHORITIES))
            };
            let pem = std::fs::read(&path).map_err(|e| wrong(e.to_string()))?;
            for c in reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| wrong(e.to_string()))? {
                client = client.add_root_certificate(c);
            }
        }
        let user = table.get(&USER)?.map(|u| match u.split_once(':') {
            Some((name, password)) => (name.to_string(), Some(password.to_string())),
            None => (u, None),
        });
        Ok(Http {
            timeout,
            client: client.build().map_err(|e| Error::internal("no HTTP client").caused_by(e))?,
            what,
            retries: table.value(&RETRIES)?,
            user,
            token: table.get(&TOKEN)?,
        })
    }

    /// Sets the user, if the connector has options of its own for that.
    pub fn with_user(mut self, user: Option<String>, password: Option<String>) -> Self {
        self.user = user.map(|u| (u, password)).or(self.user);
        self
    }

    /// Sends a request that may safely be repeated. Failed connections, and responses with status 429, 500 and above, are retried. Any
    /// other response is returned.
    ///
    /// # Errors
    /// If no response came, or the service was busy or failing in all attempts.
    pub fn send(&self, make: impl Fn(&reqwest::blocking::Client) -> RequestBuilder) -> Result<HttpResponse> {
        self.send_until(make, |a| a.status != 429 && a.status < 500)
    }

    /// Sends a request like [`Http::send`], until a response is one that a retry would not change.
    ///
    /// # Errors
    /// If there was no such response.
    pub fn send_until(
        &self,
        make: impl Fn(&reqwest::blocking::Client) -> RequestBuilder,
        last: impl Fn(&HttpResponse) -> bool,
    ) -> Result<HttpResponse> {
        let once = || -> Result<HttpResponse> {
            let mut request = make(&self.client);
            if let Some((name, password)) = &self.user {
                request = request.basic_auth(name, password.as_ref());
            }
            if let Some(t) = &self.token {
                request = request.bearer_auth(t);
            }
            let begun = Instant::now();
            let answer = request.send().map_err(|e| {
                let error = self.fails(&reason(&e));
                // An invalid request, or a loop of redirects, would fail the same way again.
                let error = if e.is_builder() || e.is_redirect() { error.permanent() } else { error };
                error.with_source(e)
            })?;
            let answer = self.read(answer, begun)?;
            if last(&answer) { Ok(answer) } else { Err(self.fails(&answer.shown())) }
        };
        let waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .with_max_times(self.retries)
            .with_jitter();
        once.retry(waits).when(Error::is_retriable).notify(|e, _| tracing::warn!("asked again: {e}")).call()
    }

    fn fails(&self, why: &str) -> Error {
        Error::io(format!("{} does not answer: {why}", self.what))
    }

    /// Reads a whole response. The client's own time-out applies to each read, so a service that sends slowly would never exceed it.
    fn read(&self, mut response: Response, begun: Instant) -> Result<HttpResponse> {
        let status = response.status().as_u16();
        let mut body = vec![];
        let mut piece = [0; 16 << 10];
        loop {
            let n = response.read(&mut piece).map_err(|e| self.fails(&e.to_string()).with_source(e))?;
            if n == 0 {
                return Ok(HttpResponse { status, body: String::from_utf8_lossy(&body).into_owned() });
            }
            body.extend_from_slice(&piece[..n]);
            if body.len() > LARGEST {
                return Err(self.fails(&format!("HTTP {status} with more than {} MiB", LARGEST >> 20)).permanent());
            }
            if begun.elapsed() > self.timeout {
                return Err(self.fails("it took too long"));
            }
        }
    }
}

/// Why a request failed: the innermost cause, without the address, which may hold a password.
fn reason(e: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = e;
    while let Some(next) = last.source() {
        last = next;
    }
    if e.is_timeout() { "it took too long".to_string() } else { last.to_string() }
}
