//! Calls an HTTP address for each row: chat bots, alerts, tickets. Calls wait until their epoch is durable, so nothing is announced that is
//! retracted later. A call that is repeated after a crash has the same `Idempotency-Key`.

use crate::delivery::{Delivery, guarantee};
use crate::format::Encoder;
use crate::format::json_writer::JsonWriter;
use crate::http;
use crate::http::Http;
use crate::options::TableSpec;
use crate::registered::Connector;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value as Jinja};
use reqwest::Method;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use weir_core::descriptor::{Changelog, Descriptor, ON_ERROR};
use weir_core::error::io;
use weir_core::graph::{CommitMarker, JobIdentity, Sink, SinkCheckpoint, SinkFactory, SubtaskContext};
use weir_core::metrics::SubtaskMetrics;
use weir_core::option_spec::{Opt, Shown};
use weir_core::state::Epoch;
use weir_core::thread::locked;
use weir_core::{Batch, Error, Result, Schema, SqlType, TypeKind, Value, choice, failpoint, options};
use weir_expr::OnError;
use weir_expr::text::cast_text;
use weir_expr::time::Zone;

/// The template's name, in the engine and for messages.
const TEMPLATE: &str = BODY.key();
/// Calls of an epoch that a subtask buffers, and their bytes, before it asks for the epoch to end early.
const WAITING: usize = 10_000;
const WAITING_BYTES: usize = 64 << 20;

struct Webhook {
    http: Http,
    url: String,
    host: String,
    method: Method,
    headers: Vec<(String, String)>,
    schema: Schema,
    body: Body,
    on_error: OnError,
    sink: String,
    job: Mutex<Option<JobIdentity>>,
    metrics: Mutex<Option<SubtaskMetrics>>,
}

#[derive(Clone)]
enum Body {
    /// The row as a JSON object, without a template.
    Row(JsonWriter),
    Template(Arc<Environment<'static>>),
}

pub(crate) const CONNECTOR: Connector = Connector {
    sink: Some(sink),
    ..Connector::new(&Descriptor {
        name: "webhook",
        help: "calls an HTTP address for each row",
        writes: Some(Changelog::All),
        options: &[OPTIONS, http::OPTIONS],
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'webhook', 'url' = 'https://host/path', 'body.template' = '{\"text\": {{ name }}}'
)",
        ..Descriptor::CONNECTOR
    })
};

choice! {
    enum Verb { Post = "POST", Put = "PUT", Patch = "PATCH" }
}

options! {
    OPTIONS:
    URL: String =
        Opt::address("url", "the HTTP address to call; messages never show it, since it may contain a token")
            .required()
            .shown(Shown::Host);
    METHOD: Verb = Opt::one_of("method", "the HTTP method of the calls").default("POST");
    HEADERS: String =
        Opt::text("headers.*", "further request headers; `Content-Type` is `application/json` by default").shown(Shown::Hidden);
    BODY: String = Opt::text(
        "body.template",
        "the request body as a minijinja template, whose variables are the columns and `op` (`+I` or `+U`), written as JSON. \
         By default the body is the row as a JSON object",
    )
    .shown(Shown::Hidden);
    DELIVERY: Delivery = guarantee(
        "at-least-once",
        "only `at-least-once` is supported, since a call cannot be rolled back",
    );
}

fn sink(table: &TableSpec) -> Result<Arc<dyn SinkFactory>> {
    let url = url::Url::parse(&table.value(&URL)?).ok().filter(|u| matches!(u.scheme(), "http" | "https"));
    let Some(url) = url else {
        // The address may contain a token, so it is not shown.
        let e = Error::script(format!("the option 'url' of table '{}' is no HTTP address", table.name));
        return Err(e.at(table.place_of(&URL)).hint("it is like https://host/path"));
    };
    let host = url.host_str().unwrap_or_default().to_string();
    let method = match table.value(&METHOD)? {
        Verb::Post => Method::POST,
        Verb::Put => Method::PUT,
        Verb::Patch => Method::PATCH,
    };
    let mut headers = table.all_of(&HEADERS);
    if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("content-type")) {
        headers.push(("Content-Type".to_string(), "application/json".to_string()));
    }
    for (name, value) in &headers {
        let good = reqwest::header::HeaderName::try_from(name.as_str()).is_ok()
            && reqwest::header::HeaderValue::try_from(value.as_str()).is_ok();
        if !good {
            let e = Error::script(format!("'headers.{name}' is no header of HTTP"));
            return Err(e.at(table.place_of_key(&format!("headers.{name}"))));
        }
    }
    let body = match table.get(&BODY)? {
        None => Body::Row(JsonWriter::plain(table)),
        Some(text) => Body::Template(Arc::new(template(table, &text)?)),
    };
    if matches!(table.on_error, OnError::DeadLetter | OnError::Null) {
        let e = Error::script("calls that are refused can end the job or be left out").at(table.place_of(&ON_ERROR));
        return Err(e.hint("'on-error' is 'fail' or 'skip'"));
    }
    if table.value(&DELIVERY)? == Delivery::ExactlyOnce {
        let e = Error::script("a call cannot be taken back, and so is made at least once");
        return Err(e
            .at(table.place_of(&DELIVERY))
            .hint("a repeated call has the same Idempotency-Key, by which its receiver can tell"));
    }
    Ok(Arc::new(Webhook {
        http: Http::new(table, format!("the webhook at {host}"))?,
        url: url.to_string(),
        host,
        method,
        headers,
        schema: table.schema.clone(),
        body,
        on_error: table.on_error,
        sink: table.outside_name(),
        job: Mutex::default(),
        metrics: Mutex::default(),
    }))
}

/// A template whose values are written as JSON.
fn template(table: &TableSpec, text: &str) -> Result<Environment<'static>> {
    let wrong = |e: minijinja::Error| {
        let line = e.line().map(|l| format!(" (line {l})")).unwrap_or_default();
        Error::script(format!("'{TEMPLATE}'{line}: {}", e.detail().map_or(e.kind().to_string(), str::to_string)))
            .at(table.place_of(&BODY))
    };
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::Json);
    env.add_template_owned(TEMPLATE, text.to_string()).map_err(wrong)?;
    let names = env.get_template(TEMPLATE).map_err(wrong)?.undeclared_variables(false);
    let mut known: Vec<&str> = table.schema.fields.iter().map(|f| f.name.as_str()).collect();
    known.push("op");
    if let Some(n) = names.iter().find(|n| !known.contains(&n.as_str())) {
        let e = Error::script(format!("'{TEMPLATE}' names '{n}', which is no column")).at(table.place_of(&BODY));
        return Err(match weir_core::error::nearest(n, known.iter().copied()) {
            Some(n) => e.hint(format!("did you mean '{n}'?")),
            None => e.hint(format!("there are: {}", known.join(", "))),
        });
    }
    Ok(env)
}

/// A value as templates see it. Values that JSON has no type for are text.
fn jinja(v: &Value<'_>, ty: &SqlType) -> Jinja {
    match (v, &ty.kind) {
        (Value::Null, _) => Jinja::from(()),
        (Value::Bool(b), _) => Jinja::from(*b),
        (Value::Int(i), _) => Jinja::from(*i),
        (Value::Float(f), _) => Jinja::from(*f),
        (Value::Double(d), _) => Jinja::from(*d),
        (Value::List(items), TypeKind::Array(e)) => items.iter().map(|v| jinja(v, e)).collect(),
        (Value::Map(items), TypeKind::Map(k, e)) => {
            let key =
                |k: &Value<'_>, ty| if k.is_null() { Jinja::from(()) } else { cast_text(k, ty, &Zone::UTC).into() };
            let pair = |(a, b): &(Value<'_>, Value<'_>)| (key(a, k), jinja(b, e));
            items.iter().map(pair).collect::<BTreeMap<_, _>>().into()
        }
        (Value::Row(items), TypeKind::Row(fields)) => {
            let pair = |(v, f): (&Value<'_>, &weir_core::Field)| (f.name.clone(), jinja(v, &f.ty));
            items.iter().zip(fields).map(pair).collect::<BTreeMap<_, _>>().into()
        }
        _ => Jinja::from(cast_text(v, ty, &Zone::UTC)),
    }
}

impl SinkFactory for Webhook {
    fn begin(&self, job: &JobIdentity, _mark: Option<CommitMarker>) -> Result<()> {
        *locked(&self.job) = Some(job.clone());
        Ok(())
    }

    fn deliver(&self, mark: CommitMarker, outbox: &[Vec<u8>]) -> Result<()> {
        let Some(job) = locked(&self.job).clone() else { return Ok(()) };
        for (i, body) in outbox.iter().enumerate() {
            failpoint::pass("webhook-call").map_err(io("call", self.host.as_ref()))?;
            let key = format!("{}-{}-{}-{}-{i}", job.id, job.run, self.sink, mark.epoch.0);
            let answer = self.http.send(|c| {
                let call = c.request(self.method.clone(), &self.url).header("Idempotency-Key", &key).body(body.clone());
                self.headers.iter().fold(call, |call, (name, value)| call.header(name, value))
            })?;
            if answer.good() {
                continue;
            }
            let message = format!("the webhook at {} refuses a call: {}", self.host, answer.shown());
            if self.on_error == OnError::Fail {
                return Err(Error::data(message).hint("mend the body, or set 'on-error' = 'skip'"));
            }
            tracing::warn!("left out: {message}");
            locked(&self.metrics).iter().for_each(|m| m.skipped.inc());
        }
        Ok(())
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Sink>> {
        *locked(&self.metrics) = Some(context.metrics.clone());
        Ok(Box::new(WebhookWriter {
            schema: self.schema.clone(),
            body: self.body.clone(),
            waiting: vec![],
            bytes: 0,
            context,
        }))
    }
}

struct WebhookWriter {
    schema: Schema,
    body: Body,
    waiting: Vec<Vec<u8>>,
    bytes: usize,
    context: SubtaskContext,
}

impl Sink for WebhookWriter {
    fn write(&mut self, batch: Batch) -> Result<()> {
        let columns: Vec<usize> = (0..self.schema.len()).collect();
        // Retractions and deletions make no calls.
        for row in (0..batch.rows()).filter(|r| batch.kind(*r).sign() > 0) {
            let body = match &mut self.body {
                Body::Row(w) => {
                    let mut out = vec![];
                    w.encode(&batch, row, &columns, &mut out)?;
                    out
                }
                Body::Template(env) => {
                    let named = self.schema.fields.iter().zip(batch.data.columns());
                    let values = named.map(|(f, c)| (f.name.clone(), jinja(&Value::read(c, row), &f.ty)));
                    let op = ("op".to_string(), Jinja::from(batch.kind(row).mark()));
                    let all: BTreeMap<String, Jinja> = std::iter::once(op).chain(values).collect();
                    let text = env.get_template(TEMPLATE).and_then(|t| t.render(all));
                    text.map_err(|e| Error::data(format!("'{TEMPLATE}' fails for a row")).caused_by(e))?.into_bytes()
                }
            };
            self.context.metrics.bytes_out.inc_by(body.len() as u64);
            self.bytes += body.len();
            self.waiting.push(body);
        }
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch, _last: bool) -> Result<SinkCheckpoint> {
        self.bytes = 0;
        Ok(SinkCheckpoint { outbox: std::mem::take(&mut self.waiting), ..SinkCheckpoint::default() })
    }

    fn wants_epoch(&self) -> bool {
        self.waiting.len() >= WAITING || self.bytes >= WAITING_BYTES
    }
}
