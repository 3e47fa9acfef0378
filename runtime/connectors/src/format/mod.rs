//! Formats convert bytes to rows and back. Each is in a file of its own.

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
use origin::{LineCounter, StreamOrigin};
pub(crate) use refused::Refused;
pub use rows::RowBuilder;
pub(crate) use rows::without;
use std::sync::Arc;
use weir_core::descriptor::{Changelog, Descriptor};
use weir_core::graph::{Collector, SubtaskContext};
use weir_core::option_spec::{FormatOf, Opt};
use weir_core::origin::Origins;
use weir_core::watermarks::SplitId;
use weir_core::{Batch, Error, Result, Schema, options};
use weir_expr::OnError;

/// Maximum size of a record in bytes. A longer record is bad, and reading continues after its first line.
pub(crate) const LONGEST: usize = 32 << 20;

/// A record that could not be read.
#[derive(Debug)]
pub struct BadRecord {
    /// Its offset in the data that was passed in.
    pub at: usize,
    /// The offset of its end.
    pub end: usize,
    /// Why it could not be read.
    pub message: String,
}

/// Why a record could not be read.
#[derive(Debug)]
pub enum DecodeError {
    /// The record is bad, for this reason.
    Record(String),
    /// The record is not to blame. The error ends the job or makes it restart.
    Job(Error),
}

impl From<String> for DecodeError {
    fn from(why: String) -> Self {
        DecodeError::Record(why)
    }
}

/// Decodes records into rows.
pub trait Decoder: Send {
    /// Decodes a record that stands alone, such as a Kafka message's value, into any number of rows. If it fails, the caller removes the
    /// rows that were appended before.
    ///
    /// # Errors
    /// Why the record is bad, or could not be read.
    fn record(&mut self, record: &[u8], rows: &mut RowBuilder) -> std::result::Result<(), DecodeError>;

    /// Decodes whole records from the front of `data`, until there are `most` good rows, and returns the number of bytes used. An
    /// incomplete record is left, unless it is the last one (`at_end`). By default each line is a record.
    fn decode(
        &mut self,
        data: &[u8],
        at_end: bool,
        most: usize,
        rows: &mut RowBuilder,
        bad: &mut Vec<BadRecord>,
    ) -> usize {
        let mut used = 0;
        while rows.good() < most {
            let Some((next, end)) = line_end(&data[used..], at_end) else {
                if data.len() - used > LONGEST {
                    bad.push(BadRecord { at: used, end: data.len(), message: TOO_LONG.to_string() });
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
                Err(DecodeError::Record(message)) => bad.push(BadRecord { at: used, end: used + end, message }),
                Err(DecodeError::Job(e)) => {
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

/// Creates decoders of one table.
pub(crate) struct DecoderFactory {
    make: Decoders,
    pub schema: Schema,
    pub on_error: OnError,
    pub keeps_records: bool,
    /// The statement that reads the table, for dead letters.
    pub statement: String,
    /// How to find the ends of records, if they can span lines.
    pub dialect: Option<csv_scan::CsvDialect>,
    /// Whether records are changes, whose order matters.
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

/// A decoder, and what it needs to know about its table.
pub(crate) struct Decoding {
    decoder: Box<dyn Decoder>,
    schema: Schema,
    on_error: OnError,
    keeps_records: bool,
    statement: String,
}

/// Creates a decoder for each subtask.
pub(crate) type Decoders = Box<dyn Fn() -> Box<dyn Decoder> + Send + Sync>;

/// Creates copies of a decoder.
fn decoders<D: Decoder + Clone + Sync + 'static>(decoder: D) -> Decoders {
    Box::new(move || Box::new(decoder.clone()))
}

/// Creates copies of an encoder.
fn encoders<E: Encoder + Clone + Sync + 'static>(encoder: E) -> EncoderFactory {
    Box::new(move || Box::new(encoder.clone()))
}

/// A format: its descriptor, and the functions that create its decoders and encoders from a table's options.
pub(crate) struct Format {
    pub descriptor: &'static Descriptor,
    decoder: fn(&TableSpec) -> Result<Decoders>,
    encoder: fn(&TableSpec) -> Result<EncoderFactory>,
    /// How to find the ends of records, if they can span lines.
    dialect: Option<fn(&TableSpec) -> Result<csv_scan::CsvDialect>>,
    /// The extension of its files.
    extension: &'static str,
}

/// All formats.
pub(crate) const FORMATS: [Format; 11] = [
    csv::FORMAT,
    json::FORMAT,
    raw::FORMAT,
    debezium::FORMAT,
    canal::FORMAT,
    maxwell::FORMAT,
    ogg::FORMAT,
    avro::PLAIN,
    avro::CONFLUENT,
    avro::DEBEZIUM,
    protobuf::FORMAT,
];

/// A format of records that are lines of a file.
pub(crate) const FILES: FormatOf = FormatOf { prefix: "", value: true, lines: true };
/// A format of whole records.
pub(crate) const RECORDS: FormatOf = FormatOf { prefix: "", value: true, lines: false };

options! {
    /// The option of every format that can skip what it cannot parse.
    pub(crate) IGNORING:
    pub(crate) IGNORE_ERRORS: bool = Opt::boolean(
        "ignore-parse-errors",
        "whether to ignore bad input: a bad field becomes NULL where the format knows which one it is; otherwise the record is skipped and counted",
    )
    .default("false").how();
}

fn format(name: &str) -> Result<&'static Format> {
    const ALL: &[Format] = &FORMATS;
    ALL.iter()
        .find(|f| f.descriptor.name == name)
        .ok_or_else(|| Error::internal(format!("there is no format '{name}'")))
}

/// Creates decoders of some of a table's columns, in a format whose options may begin with `prefix`.
pub(crate) fn decoder(table: &TableSpec, name: &str, prefix: &str, fields: &[usize]) -> Result<DecoderFactory> {
    decoder_of(format(name)?, &table.part(format(name)?.descriptor, prefix, fields))
}

/// Creates decoders of a table as its format sees it.
pub(crate) fn decoder_of(format: &Format, table: &TableSpec) -> Result<DecoderFactory> {
    Ok(DecoderFactory {
        make: (format.decoder)(table)?,
        schema: table.projected(),
        on_error: table.on_error,
        keeps_records: table.keeps_records,
        statement: table.statement().to_string(),
        dialect: format.dialect.map(|d| d(table)).transpose()?,
        changes: format.descriptor.reads == Some(Changelog::All),
    })
}

/// Encodes rows as bytes.
pub(crate) trait Encoder: Send {
    /// Appends a row, without a separator. `columns` maps each column of the table to one of the batch.
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()>;
}

/// Creates encoders of one table.
pub(crate) type EncoderFactory = Box<dyn Fn() -> Box<dyn Encoder> + Send + Sync>;

/// Creates encoders of some of a table's columns, in a format whose options may begin with `prefix`, and returns the extension of its
/// files.
pub(crate) fn encoder(
    table: &TableSpec,
    name: &str,
    prefix: &str,
    fields: &[usize],
) -> Result<(EncoderFactory, &'static str)> {
    encoder_of(format(name)?, &table.part(format(name)?.descriptor, prefix, fields))
}

/// Creates encoders of a table as its format sees it, and returns the extension of its files.
pub(crate) fn encoder_of(format: &Format, table: &TableSpec) -> Result<(EncoderFactory, &'static str)> {
    Ok(((format.encoder)(table)?, format.extension))
}

/// Creates a decoder or encoder of the key's columns, whose names have the prefix `begin` in the table.
pub(crate) fn of_key<T>(
    table: &TableSpec,
    name: &str,
    fields: &[usize],
    begin: &str,
    make: impl FnOnce(&Format, &TableSpec) -> Result<T>,
) -> Result<T> {
    let format = format(name)?;
    make(format, &table.part(format.descriptor, "key.", fields).renamed(begin))
}

/// Whether a format can write changes, rather than insertions only.
pub(crate) fn has_changes(name: &str) -> Result<bool> {
    Ok(format(name)?.descriptor.writes == Some(Changelog::All))
}

/// Adds columns with one value for all rows to the columns of records.
pub(crate) struct Widen {
    pub schema: SchemaRef,
    /// Each column: the index of a record's column, or an array with the only value.
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

/// The result of a decoding step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeProgress {
    /// Rows were emitted.
    Rows,
    /// More data is needed for a record.
    NeedsMore,
    /// Everything was read.
    End,
}

/// A stream of bytes that is decoded into rows: the buffer, the decoder, and the treatment of bad records.
pub(crate) struct StreamDecoder {
    decoding: Decoding,
    buffer: Vec<u8>,
    from: usize,
    /// The offset of the buffer's unread data in the stream.
    pub offset: u64,
    lines: LineCounter,
    /// The split that the stream belongs to.
    split: SplitId,
    context: SubtaskContext,
    first: bool,
    /// Whether the buffer did not have a complete record.
    starved: bool,
    /// Whether the rest of a record that is too long is being skipped, up to the end of its line.
    passing: bool,
    /// Columns to add to those of the records.
    widen: Option<Widen>,
}

/// How far a stream was read: the offset in bytes, and whether it is within a record that is too long.
pub(crate) type StreamPosition = (u64, bool);

const CHUNK: usize = 1 << 20;

impl StreamDecoder {
    pub fn new(decoding: Decoding, name: &str, context: SubtaskContext) -> Self {
        let lines = LineCounter::new(name);
        StreamDecoder {
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

    /// Continues with another stream, a split or part of one, from a position.
    pub fn restart(&mut self, name: &str, split: SplitId, (offset, passing): StreamPosition) {
        self.split = split;
        self.buffer.clear();
        (self.from, self.offset, self.first, self.starved) = (0, offset, offset == 0, false);
        self.passing = passing;
        self.lines = LineCounter::new(name);
    }

    /// Adds columns to all rows from now on.
    pub fn widen(&mut self, widen: Widen) {
        self.widen = Some(widen);
    }

    /// How far the stream was read.
    pub fn position(&self) -> StreamPosition {
        (self.offset, self.passing)
    }

    /// Whether so little is left that more should be read.
    pub fn wants_more(&self) -> bool {
        self.starved || self.buffer.len() - self.from < CHUNK / 2
    }

    /// Number of bytes in the buffer that were not decoded.
    pub fn left(&self) -> usize {
        self.buffer.len() - self.from
    }

    /// Reads more bytes into the buffer.
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

    /// Decodes the buffer's records into a batch.
    pub fn decode(&mut self, at_end: bool, out: &mut Collector) -> Result<DecodeProgress> {
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
            return Ok(if at_end { DecodeProgress::End } else { DecodeProgress::NeedsMore });
        }
        let schema = &self.decoding.schema;
        let mut rows = RowBuilder::new(schema);
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
        refused.finish(&*self.context.clock, out)?;
        let (starts, dropped) = (std::mem::take(&mut rows.starts), std::mem::take(&mut rows.dropped));
        let records = StreamOrigin {
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
            0 if at_end => DecodeProgress::End,
            0 => DecodeProgress::NeedsMore,
            _ => DecodeProgress::Rows,
        })
    }
}

/// Bytes as text, if they are valid UTF-8. The check is vectorised.
pub(crate) fn utf8(bytes: &[u8]) -> std::result::Result<&str, String> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| "the text is not UTF-8".to_string())
}

/// Where the line at the front of the data ends: with its line break, and without it.
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
