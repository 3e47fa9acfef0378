//! Formats: bytes into rows and back, one a file.

mod avro;
mod canal;
mod changes;
pub(crate) mod csv;
pub(crate) mod csv_scan;
pub(crate) mod debezium;
#[cfg(test)]
mod fuzz;
pub(crate) mod json;
mod json_fields;
mod json_text;
mod json_tree;
pub(crate) mod json_writer;
mod maxwell;
pub(crate) mod metadata;
mod ogg;
mod origin;
mod protobuf;
pub(crate) mod raw;
mod refused;
mod rows;
mod scalars;
mod times;

use crate::options::TableSpec;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use origin::{Lines, Records};
pub(crate) use refused::Refused;
pub use rows::Rows;
pub(crate) use rows::without;
use std::sync::Arc;
use weir_core::error::nearest;
use weir_core::graph::{Collector, SubtaskContext};
use weir_core::origin::Origins;
use weir_core::watermarks::SplitId;
use weir_core::{Batch, Error, Result, Schema};
use weir_expr::OnError;

/// Bytes that a record may have; a longer one is bad, and reading goes on behind its first line.
pub(crate) const LONGEST: usize = 32 << 20;

/// A record that could not be read.
#[derive(Debug)]
pub struct Bad {
    /// Where it begins, in bytes from the start of what was handed over.
    pub at: usize,
    /// Where it ends.
    pub end: usize,
    /// What was wrong.
    pub message: String,
}

/// Why a record could not be read.
#[derive(Debug)]
pub enum Failure {
    /// It is wrong, in words.
    Record(String),
    /// Something else is, which ends the job or waits for a restart.
    Job(Error),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Failure::Record(why)
    }
}

/// Reads records into rows.
pub trait Decoder: Send {
    /// Reads a record that stands alone, such as a message's value, into no, one or several rows. What it has appended before
    /// it fails is taken out again by the caller.
    ///
    /// # Errors
    /// What is wrong with the record, or kept it from being read.
    fn record(&mut self, record: &[u8], rows: &mut Rows) -> std::result::Result<(), Failure>;

    /// Reads whole records from the front of `data`, until there are `most` good rows. Gives the bytes used. A record that is
    /// not whole is left, unless nothing follows (`at_end`). A line is a record, where a format does not know better.
    fn decode(&mut self, data: &[u8], at_end: bool, most: usize, rows: &mut Rows, bad: &mut Vec<Bad>) -> usize {
        let mut used = 0;
        while rows.good() < most {
            let Some((next, end)) = line_end(&data[used..], at_end) else {
                if data.len() - used > LONGEST {
                    bad.push(Bad { at: used, end: data.len(), message: TOO_LONG.to_string() });
                    rows.endless = true;
                    used = data.len();
                }
                break;
            };
            let height = rows.height;
            let line = &data[used..used + end];
            let read = if line.len() > LONGEST { Err(TOO_LONG.to_string().into()) } else { self.record(line, rows) };
            rows.close(height, used, read.is_ok());
            match read {
                Ok(()) => {}
                Err(Failure::Record(message)) => bad.push(Bad { at: used, end: used + end, message }),
                Err(Failure::Job(e)) => {
                    rows.failed = Some(e);
                    break;
                }
            }
            used += next;
        }
        used
    }
}

const TOO_LONG: &str = "the record is longer than 32 MB";

/// Makes decoders of one table.
pub(crate) struct DecoderFactory {
    make: Box<dyn Fn() -> Box<dyn Decoder> + Send + Sync>,
    pub schema: Schema,
    pub on_error: OnError,
    pub keeps_records: bool,
    /// The statement that reads, for dead letters.
    pub statement: String,
    /// What says where records end, if they can span lines.
    pub dialect: Option<csv_scan::Dialect>,
    /// Whether records are changes, whose order counts.
    pub changes: bool,
}

impl DecoderFactory {
    pub fn decoder(&self) -> Box<dyn Decoder> {
        (self.make)()
    }
    pub fn make(&self) -> Decoding {
        Decoding {
            decoder: (self.make)(),
            schema: self.schema.clone(),
            on_error: self.on_error,
            keeps_records: self.keeps_records,
            statement: self.statement.clone(),
        }
    }
}

/// A decoder with what it needs to know of its table.
pub(crate) struct Decoding {
    decoder: Box<dyn Decoder>,
    schema: Schema,
    on_error: OnError,
    keeps_records: bool,
    statement: String,
}

fn unknown(table: &TableSpec, format: &str) -> Error {
    let known = [
        "csv",
        "json",
        "raw",
        "debezium-json",
        "canal-json",
        "maxwell-json",
        "ogg-json",
        "avro",
        "avro-confluent",
        "debezium-avro-confluent",
        "protobuf",
    ];
    let e = Error::script(format!("there is no format '{format}', which table '{}' asks for", table.name));
    let e = e.at(table.place_of("format"));
    match nearest(format, known) {
        Some(n) => e.hint(format!("did you mean '{n}'?")),
        None => e.hint(format!("there are {}", known.join(", "))),
    }
}

/// Refuses columns of metadata in a format that has none.
fn no_metadata(table: &TableSpec, format: &str) -> Result<()> {
    match table.metadata.iter().position(Option::is_some) {
        Some(c) => {
            let name = &table.schema.fields[c].name;
            let key = table.metadata[c].as_deref().unwrap_or_default();
            let e = Error::script(format!("the format {format} has no metadata '{key}' (column '{name}')"));
            Err(e.at(table.place))
        }
        None => Ok(()),
    }
}

/// The decoder that a table's options ask for.
pub(crate) fn decoder(table: &TableSpec) -> Result<DecoderFactory> {
    let mut dialect = None;
    let make: Box<dyn Fn() -> Box<dyn Decoder> + Send + Sync> = match table.need("format")? {
        "csv" => {
            let csv = csv::Csv::new(table)?;
            dialect = Some(csv.dialect);
            Box::new(move || Box::new(csv.clone()))
        }
        "json" => {
            let json = json::Json::new(table)?;
            Box::new(move || Box::new(json.clone()))
        }
        "raw" => {
            let raw = raw::Raw::new(table)?;
            Box::new(move || Box::new(raw.clone()))
        }
        "debezium-json" => {
            let debezium = debezium::Debezium::new(table)?;
            Box::new(move || Box::new(debezium.clone()))
        }
        "canal-json" => {
            let canal = canal::Canal::new(table)?;
            Box::new(move || Box::new(canal.clone()))
        }
        "maxwell-json" => {
            let maxwell = maxwell::Maxwell::new(table)?;
            Box::new(move || Box::new(maxwell.clone()))
        }
        "ogg-json" => {
            let ogg = ogg::Ogg::new(table)?;
            Box::new(move || Box::new(ogg.clone()))
        }
        name @ ("avro" | "avro-confluent" | "debezium-avro-confluent") => {
            let avro = avro::AvroReader::new(table, name)?;
            Box::new(move || Box::new(avro.clone()))
        }
        "protobuf" => {
            let protobuf = protobuf::ProtobufReader::new(table)?;
            Box::new(move || Box::new(protobuf.clone()))
        }
        other => return Err(unknown(table, other)),
    };
    let (schema, on_error, keeps_records) = (table.projected(), table.on_error, table.keeps_records);
    let statement = table.statement().to_string();
    let changes = table.options.get("format").is_some_and(|f| takes_changes(f));
    Ok(DecoderFactory { make, schema, on_error, keeps_records, statement, dialect, changes })
}

/// Whether a format says of each row whether it comes or goes.
pub(crate) fn takes_changes(format: &str) -> bool {
    weir_core::options::CHANGE_FORMATS.contains(&format)
}

/// Writes rows as bytes.
pub(crate) trait Encoder: Send {
    /// Appends a row, without anything that divides it from the next one. `columns` says which of the batch's columns the
    /// table's are, in their order.
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()>;
}

/// Makes encoders of one table.
pub(crate) type EncoderFactory = Box<dyn Fn() -> Box<dyn Encoder> + Send + Sync>;

/// The encoder that a table's options ask for, and its files' extension.
pub(crate) fn encoder(table: &TableSpec) -> Result<(EncoderFactory, &'static str)> {
    match table.need("format")? {
        "csv" => {
            let csv = csv::CsvWriter::new(table)?;
            Ok((Box::new(move || Box::new(csv.clone())), "csv"))
        }
        "json" => {
            let json = json_writer::JsonWriter::new(table)?;
            Ok((Box::new(move || Box::new(json.clone())), "json"))
        }
        "debezium-json" => {
            let writer = debezium::DebeziumWriter::new(table)?;
            Ok((Box::new(move || Box::new(writer.clone())), "json"))
        }
        "canal-json" => {
            let writer = canal::CanalWriter::new(table)?;
            Ok((Box::new(move || Box::new(writer.clone())), "json"))
        }
        "maxwell-json" => {
            let writer = maxwell::MaxwellWriter::new(table)?;
            Ok((Box::new(move || Box::new(writer.clone())), "json"))
        }
        "ogg-json" => {
            let writer = ogg::OggWriter::new(table)?;
            Ok((Box::new(move || Box::new(writer.clone())), "json"))
        }
        "raw" => {
            let raw = raw::RawWriter::new(table)?;
            Ok((Box::new(move || Box::new(raw.clone())), "txt"))
        }
        name @ ("avro" | "avro-confluent" | "debezium-avro-confluent") => {
            let avro = avro::AvroWriter::new(table, name)?;
            Ok((Box::new(move || Box::new(avro.clone())), "avro"))
        }
        "protobuf" => {
            let protobuf = protobuf::ProtobufWriter::new(table)?;
            Ok((Box::new(move || Box::new(protobuf.clone())), "pb"))
        }
        other => Err(unknown(table, other)),
    }
}

/// Puts more columns beside those of records, the same values in every row.
pub(crate) struct Widen {
    pub schema: SchemaRef,
    /// Each column: the place of a record's, or an array with the one value.
    pub columns: Vec<std::result::Result<usize, ArrayRef>>,
}

impl Widen {
    fn batch(&self, batch: Batch) -> Result<Batch> {
        let rows = batch.rows();
        let first = UInt32Array::from(vec![0; rows]);
        let column = |c: &std::result::Result<usize, ArrayRef>| match c {
            Ok(place) => Ok(batch.data.column(*place).clone()),
            Err(one) => take(one, &first, None).map_err(|e| Error::internal(e.to_string()).with_source(e)),
        };
        let columns = self.columns.iter().map(column).collect::<Result<_>>()?;
        let Batch { kinds, origins, .. } = batch;
        Ok(Batch::from_columns(self.schema.clone(), columns, rows)?.with_kinds(kinds).with_origins(origins))
    }
}

/// What a step of reading came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Rows were given out.
    Rows,
    /// There was not enough for a record.
    NeedsMore,
    /// Everything is read.
    End,
}

/// A stream of bytes on its way into rows: the buffer, the decoder, what becomes of bad records.
pub(crate) struct Reading {
    decoding: Decoding,
    buffer: Vec<u8>,
    from: usize,
    /// Bytes before the buffer's present start.
    pub offset: u64,
    lines: Lines,
    /// The split that is read.
    split: SplitId,
    context: SubtaskContext,
    first: bool,
    /// Whether what is there was not enough for a record.
    starved: bool,
    /// Whether the rest of a record that is too long is passed over, up to its line's end.
    passing: bool,
    /// What goes beside the records' columns.
    widen: Option<Widen>,
}

/// How far a stream was read: bytes from its begin, and whether a record that is too long goes on there.
pub(crate) type Position = (u64, bool);

const CHUNK: usize = 1 << 20;

impl Reading {
    pub fn new(decoding: Decoding, name: &str, context: SubtaskContext) -> Self {
        let lines = Lines::new(name);
        Reading {
            decoding,
            buffer: vec![],
            from: 0,
            offset: 0,
            lines,
            split: SplitId::default(),
            context,
            first: true,
            starved: false,
            passing: false,
            widen: None,
        }
    }

    /// Begins with another stream, which is a split or a part of one, from a position.
    pub fn restart(&mut self, name: &str, split: SplitId, (offset, passing): Position) {
        self.split = split;
        self.buffer.clear();
        (self.from, self.offset, self.first, self.starved) = (0, offset, offset == 0, false);
        self.passing = passing;
        self.lines = Lines::new(name);
    }

    /// Gives rows more columns from here on.
    pub fn widen(&mut self, widen: Widen) {
        self.widen = Some(widen);
    }

    /// How far the stream is read.
    pub fn position(&self) -> Position {
        (self.offset, self.passing)
    }

    /// Whether so little is left that reading more makes sense.
    pub fn wants_more(&self) -> bool {
        self.starved || self.buffer.len() - self.from < CHUNK / 2
    }

    /// Bytes that are there and not used.
    pub fn left(&self) -> usize {
        self.buffer.len() - self.from
    }

    /// Reads more into the buffer.
    pub fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> std::io::Result<usize>) -> std::io::Result<usize> {
        if self.from > 0 {
            self.buffer.drain(..self.from);
            self.from = 0;
        }
        let at = self.buffer.len();
        self.buffer.resize(at + CHUNK, 0);
        let n = read(&mut self.buffer[at..]);
        self.buffer.truncate(at + n.as_ref().copied().unwrap_or(0));
        let n = n?;
        self.starved = false;
        self.context.metrics.bytes_in.inc_by(n as u64);
        if self.first && self.buffer.len() >= 3 {
            self.first = false;
            if self.buffer.starts_with(b"\xEF\xBB\xBF") {
                self.from = 3;
                self.offset += 3;
            }
        }
        Ok(n)
    }

    /// Turns what is there into a batch.
    pub fn decode(&mut self, at_end: bool, out: &mut Collector) -> Result<Progress> {
        if self.passing {
            let data = &self.buffer[self.from..];
            let n = memchr::memchr(b'\n', data).map(|n| n + 1);
            self.passing = n.is_none();
            let n = n.unwrap_or(data.len());
            self.from += n;
            self.offset += n as u64;
        }
        let data = &self.buffer[self.from..];
        if data.is_empty() {
            return Ok(if at_end { Progress::End } else { Progress::NeedsMore });
        }
        let schema = &self.decoding.schema;
        let mut rows = Rows::new(schema);
        let mut bad = vec![];
        let used = self.decoding.decoder.decode(data, at_end, self.context.batch_rows, &mut rows, &mut bad);
        if let Some(e) = rows.failed.take() {
            return Err(e);
        }
        let m = &self.context.metrics;
        m.nulled.inc_by(rows.nulled);
        m.skipped.inc_by(rows.skipped);
        self.passing = rows.endless && !at_end;
        let mut refused = Refused::new(self.decoding.on_error, m, &self.decoding.statement);
        for b in bad {
            let record = &data[b.at..b.end.min(data.len())];
            refused.add(b.message, record, || self.lines.place(self.offset + b.at as u64))?;
        }
        refused.finish(out)?;
        let (starts, dropped) = (std::mem::take(&mut rows.starts), std::mem::take(&mut rows.dropped));
        let records = Records {
            lines: self.lines.clone(),
            offset: self.offset,
            starts,
            bytes: self.decoding.keeps_records.then(|| data[..used].to_vec()),
            split: self.split,
        };
        let batch = without(rows.finish(schema)?.with_origins(Some(Origins::new(Arc::new(records)))), &dropped)?;
        self.from += used;
        self.starved = used == 0;
        self.offset += used as u64;
        out.emit(match &self.widen {
            Some(w) => w.batch(batch)?,
            None => batch,
        });
        Ok(match used {
            0 if at_end => Progress::End,
            0 => Progress::NeedsMore,
            _ => Progress::Rows,
        })
    }
}

/// Bytes as text, where they are UTF-8; the check is vectorised.
pub(crate) fn utf8(bytes: &[u8]) -> std::result::Result<&str, String> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| "the text is not UTF-8".to_string())
}

/// Where the line at the front of the data ends: after its line break, and without it.
pub(crate) fn line_end(data: &[u8], at_end: bool) -> Option<(usize, usize)> {
    match memchr::memchr(b'\n', data) {
        Some(n) => Some((n + 1, if n > 0 && data[n - 1] == b'\r' { n - 1 } else { n })),
        None if at_end && !data.is_empty() => {
            let n = data.len();
            Some((n, if data[n - 1] == b'\r' { n - 1 } else { n }))
        }
        None => None,
    }
}
