//! ClickHouse over HTTP: rows are inserted as JSON, one block per request.
//!
//! ClickHouse has no transactions, but a table that keeps deduplication tokens drops a block whose token it has seen. With exactly-once,
//! all blocks wait until their epoch is durable, and a repeated delivery repeats their tokens. Other blocks have tokens too, which only a
//! retry of the same request repeats. Without a token, such a table would take a block for an earlier one with the same rows.

use crate::delivery::{Delivery, guarantee};
use crate::format::Encoder;
use crate::format::json_writer::JsonWriter;
use crate::http;
use crate::http::{Http, HttpResponse};
use crate::login;
use crate::options::TableSpec;
use crate::registered::Connector;
use std::sync::Arc;
use std::sync::Mutex;
use weir_core::descriptor::{Changelog, Descriptor, ON_ERROR};
use weir_core::error::{Place, io, nearest};
use weir_core::graph::{CommitMarker, JobIdentity, Sink, SinkCheckpoint, SinkFactory, SubtaskContext};
use weir_core::option_spec::Opt;
use weir_core::state::Epoch;
use weir_core::thread::locked;
use weir_core::{Batch, Error, Result, RowKind, failpoint, options};
use weir_expr::OnError;

/// Bytes of an epoch that a subtask buffers before it asks for the epoch to end early.
const WAITING: usize = 64 << 20;
/// Maximum size of a block in bytes.
const BLOCK: usize = 8 << 20;
/// ClickHouse's errors that a retry may resolve: time-outs, too many queries, too little memory, no Keeper.
const PASSING: &[u32] = &[159, 160, 164, 202, 203, 209, 210, 225, 241, 242, 252, 286, 319, 425, 473, 999];

#[derive(Clone)]
struct ClickHouseTable {
    http: Http,
    url: String,
    database: String,
    table: String,
    columns: Vec<String>,
    sign: Option<String>,
    ignore_delete: bool,
    rows: usize,
    place: Option<Place>,
}

struct ClickHouse {
    target: ClickHouseTable,
    writer: JsonWriter,
    /// The sink's name in deduplication tokens.
    name: String,
    exactly_once: bool,
    /// Whether blocks wait until their epoch is durable: with exactly-once, and if the query's results change. A repeated epoch may emit
    /// other intermediate changes, and the signs would not add up then.
    waits: bool,
    job: Mutex<Option<JobIdentity>>,
}

pub(crate) const CONNECTOR: Connector = Connector {
    sink: Some(sink),
    ..Connector::new(&Descriptor {
        name: "clickhouse",
        help: "inserts rows over HTTP",
        writes: Some(Changelog::All),
        options: &[OPTIONS, login::OPTIONS, http::OPTIONS],
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'clickhouse', 'url' = 'http://host:8123', 'table-name' = 't'
)",
        ..Descriptor::CONNECTOR
    })
};

options! {
    OPTIONS:
    URL: String = Opt::address("url", "the address of ClickHouse's HTTP interface: `http://` or `https://`").required();
    DATABASE: String = Opt::text("database-name", "the database of the table").default("default");
    TABLE: String = Opt::text("table-name", "the table to insert into").required();
    DELIVERY: Delivery = guarantee(
        "at-least-once",
        "`exactly-once` needs a table that deduplicates blocks by their tokens; `at-least-once` may insert rows again after a failure",
    );
    BATCH: usize =
        Opt::whole("sink.batch-size", 1, i64::MAX, "how many rows to insert in one block; the end of an epoch also ends a block")
            .default("100000").how();
    SIGN: String = Opt::text(
        "sink.sign-column",
        "the sign column of a CollapsingMergeTree table: 1 for a row that is inserted, -1 for one that is deleted",
    )
    .how();
    IGNORE_DELETE: bool =
        Opt::boolean("sink.ignore-delete", "whether to ignore deletions; otherwise a deletion ends the job").default("false").how();
}

fn sink(table: &TableSpec) -> Result<Arc<dyn SinkFactory>> {
    let url =
        url::Url::parse(&table.value(&URL)?).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    let Some(url) = url else {
        let e = Error::script(format!("the option 'url' of table '{}' is no HTTP address", table.name));
        return Err(e.at(table.place_of(&URL)).hint("it is like http://host:8123"));
    };
    if table.on_error != OnError::Fail {
        let e = Error::script("rows that ClickHouse refuses end the job: it takes or refuses a block as a whole");
        return Err(e.at(table.place_of(&ON_ERROR)).hint("leave 'on-error' out"));
    }
    if let Some(f) = table.schema.fields.iter().find(|f| f.ty.is_bytes()) {
        let e = Error::script(format!("column '{}' is {}, which goes into no JSON", f.name, f.ty.kind));
        return Err(e.at(table.place).hint("write TO_BASE64(…) or HEX(…) into a STRING"));
    }
    let what = format!("ClickHouse at {}", url.host_str().unwrap_or_default());
    let password = login::password(table)?;
    // ClickHouse's default user may have a password as well.
    let user = login::user(table)?.or_else(|| password.is_some().then(|| "default".to_string()));
    let http = Http::new(table, what)?.with_user(user, password);
    if table.has(&SIGN) && table.has(&IGNORE_DELETE) {
        let e = Error::script("'sink.sign-column' and 'sink.ignore-delete' exclude each other");
        return Err(e.at(table.place_of(&IGNORE_DELETE)).hint("rows that go are written with the sign -1"));
    }
    let target = ClickHouseTable {
        http,
        url: url.to_string(),
        database: table.value(&DATABASE)?,
        table: table.value(&TABLE)?,
        columns: table.schema.fields.iter().map(|f| f.name.clone()).collect(),
        sign: table.get(&SIGN)?,
        ignore_delete: table.value(&IGNORE_DELETE)?,
        rows: table.value(&BATCH)?,
        place: table.place,
    };
    let exactly_once = table.value(&DELIVERY)? == Delivery::ExactlyOnce;
    let waits = exactly_once || table.changes;
    let (writer, name) = (JsonWriter::plain(table), table.outside_name());
    Ok(Arc::new(ClickHouse { target, writer, name, exactly_once, waits, job: Mutex::default() }))
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The code of ClickHouse's error, from the text of a response.
fn code(a: &HttpResponse) -> Option<u32> {
    let (_, rest) = a.body.split_once("Code: ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

impl ClickHouseTable {
    fn what(&self) -> String {
        format!("the table '{}' of ClickHouse", self.table)
    }

    fn ask(&self, parameters: &[(&str, &str)], body: &[u8]) -> Result<String> {
        let last = |a: &HttpResponse| match code(a) {
            Some(c) => !PASSING.contains(&c),
            None => a.status != 429 && a.status < 500,
        };
        let make = |c: &reqwest::blocking::Client| c.post(&self.url).query(parameters).body(body.to_vec());
        let answer = self.http.send_until(make, last)?;
        if answer.good() {
            return Ok(answer.body);
        }
        let message = format!("{}: {}", self.what(), answer.shown());
        Err(match code(&answer) {
            Some(516 | 192 | 193 | 194) => {
                Error::script(message).at(self.place).hint("check 'username' and 'password'")
            }
            Some(497) => Error::script(message).at(self.place).hint("the user lacks the right"),
            Some(60 | 81) => Error::script(message)
                .at(self.place)
                .hint("create the table, or correct 'database-name' and 'table-name'"),
            _ if matches!(answer.status, 401 | 403) => {
                Error::script(message).at(self.place).hint("check 'username' and 'password'")
            }
            _ => {
                Error::data(message).hint("the rows do not fit the table: compare its columns with those of the script")
            }
        })
    }

    /// Compares the table's columns with the script's and, if `tokens` is set, checks that the table deduplicates blocks.
    fn check(&self, tokens: bool) -> Result<()> {
        let of = format!("database = {} AND table = {}", literal(&self.database), literal(&self.table));
        let found =
            self.ask(&[("query", &format!("SELECT name FROM system.columns WHERE {of} FORMAT TSVRaw"))], b"")?;
        let there: Vec<&str> = found.lines().collect();
        let wrong = |message: String| Error::script(message).at(self.place);
        if there.is_empty() {
            let e =
                wrong(format!("there is no table '{}' in the database '{}' of ClickHouse", self.table, self.database));
            return Err(e.hint("create it, or correct 'database-name' and 'table-name'"));
        }
        for c in self.columns.iter().chain(&self.sign) {
            if !there.contains(&c.as_str()) {
                let e = wrong(format!("there is no column '{c}' in {}", self.what()));
                return Err(match nearest(c, there.iter().copied()) {
                    Some(n) => e.hint(format!("did you mean '{n}'?")),
                    None => e.hint(format!("there are: {}", there.join(", "))),
                });
            }
        }
        if tokens {
            let of = format!("database = {} AND name = {}", literal(&self.database), literal(&self.table));
            let query = format!("SELECT engine, create_table_query FROM system.tables WHERE {of} FORMAT TSVRaw");
            let made = self.ask(&[("query", &query)], b"")?;
            let keeps = ["Replicated", "Shared"].iter().any(|e| made.starts_with(e));
            if !keeps && !made.contains("non_replicated_deduplication_window") {
                let e = wrong(format!("{} does not leave out blocks that it has seen", self.what()));
                return Err(e.hint(format!(
                    "ALTER TABLE {} MODIFY SETTING non_replicated_deduplication_window = 10000, use a Replicated engine, or set \
                     'sink.delivery-guarantee' = 'at-least-once'",
                    quoted(&self.table)
                )));
            }
        }
        Ok(())
    }

    fn insert(&self, rows: &[u8], token: &str) -> Result<()> {
        let columns: Vec<String> = self.columns.iter().chain(&self.sign).map(|c| quoted(c)).collect();
        let query = format!("INSERT INTO {} ({}) FORMAT JSONEachRow", quoted(&self.table), columns.join(", "));
        let parameters = [
            ("query", query.as_str()),
            ("database", &self.database),
            ("date_time_input_format", "best_effort"),
            ("insert_deduplication_token", token),
            // With asynchronous inserts, rows have no token, and may be lost after the response.
            ("async_insert", "0"),
        ];
        self.ask(&parameters, rows).map(drop)
    }
}

impl SinkFactory for ClickHouse {
    fn begin(&self, job: &JobIdentity, _mark: Option<CommitMarker>) -> Result<()> {
        *locked(&self.job) = Some(job.clone());
        self.target.check(self.exactly_once)
    }

    fn deliver(&self, mark: CommitMarker, outbox: &[Vec<u8>]) -> Result<()> {
        let Some(job) = locked(&self.job).clone() else { return Ok(()) };
        for (i, block) in outbox.iter().enumerate() {
            failpoint::pass("clickhouse-insert").map_err(io("write to", self.target.table.as_ref()))?;
            // Rows before any of this were given in the same order: the same block has the same token.
            let token = format!("weir-{}-{}-{}-{}-{i}", job.id, job.run, self.name, mark.epoch.0);
            self.target.insert(block, &token)?;
            failpoint::pass("clickhouse-inserted").map_err(io("write to", self.target.table.as_ref()))?;
        }
        Ok(())
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(ClickHouseWriter {
            target: self.target.clone(),
            writer: self.writer.clone(),
            waits: self.waits,
            block: vec![],
            rows: 0,
            full: vec![],
            context,
        }))
    }
}

struct ClickHouseWriter {
    target: ClickHouseTable,
    writer: JsonWriter,
    /// Whether blocks wait until their epoch is durable.
    waits: bool,
    block: Vec<u8>,
    rows: usize,
    full: Vec<Vec<u8>>,
    context: SubtaskContext,
}

impl ClickHouseWriter {
    fn finish(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        self.rows = 0;
        let block = std::mem::take(&mut self.block);
        self.context.metrics.bytes_out.inc_by(block.len() as u64);
        if self.waits {
            self.full.push(block);
            return Ok(());
        }
        let token = format!("weir-{}", uuid::Uuid::new_v4().simple());
        self.target.insert(&block, &token)
    }
}

impl Sink for ClickHouseWriter {
    fn write(&mut self, batch: Batch) -> Result<()> {
        let columns: Vec<usize> = (0..self.target.columns.len()).collect();
        for row in 0..batch.rows() {
            let kind = batch.kind(row);
            if self.target.sign.is_none() {
                match kind {
                    // The row that replaces it follows, and the table's engine keeps the last one.
                    RowKind::UpdateBefore => continue,
                    RowKind::Delete if self.target.ignore_delete => continue,
                    RowKind::Delete => {
                        let e = Error::data(format!("a row goes, which {} cannot be told", self.target.what()));
                        return Err(e.hint(
                            "set 'sink.sign-column' for a CollapsingMergeTree, or 'sink.ignore-delete' = 'true'",
                        ));
                    }
                    _ => {}
                }
            }
            self.writer.encode(&batch, row, &columns, &mut self.block)?;
            if let Some(sign) = &self.target.sign {
                self.block.pop();
                let name = serde_json::Value::from(sign.as_str());
                self.block.extend_from_slice(format!(",{name}:{}}}", kind.sign()).as_bytes());
            }
            self.block.push(b'\n');
            self.rows += 1;
            if self.rows >= self.target.rows || self.block.len() >= BLOCK {
                self.finish()?;
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch, _last: bool) -> Result<SinkCheckpoint> {
        self.finish()?;
        Ok(SinkCheckpoint { outbox: std::mem::take(&mut self.full), ..SinkCheckpoint::default() })
    }

    fn wants_epoch(&self) -> bool {
        self.full.iter().map(Vec::len).sum::<usize>() >= WAITING
    }
}
