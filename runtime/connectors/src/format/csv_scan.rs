//! Finds the records of CSV and their fields, and touches no byte more than it must. It accepts what Jackson's CSV parser accepts as Flink
//! configures it. Files are split with the same scanner that reads them.

use super::LONGEST;
use memchr::{memchr, memchr2, memchr3};

/// The special characters of a table's CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CsvDialect {
    pub delimiter: u8,
    pub quote: Option<u8>,
    pub escape: Option<u8>,
    /// Whether lines that begin with `#` are comments, and blank lines are skipped.
    pub comments: bool,
}

/// What has to be replaced in a field's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tangled {
    /// Nothing.
    No,
    /// Escape sequences.
    Escapes,
    /// Doubled quotes, and escape sequences.
    Quotes,
}

/// The range of a field in the data.
#[derive(Debug, Clone)]
pub(super) struct ScannedField {
    /// The range of its text, without the enclosing quotes.
    pub from: usize,
    pub to: usize,
    pub tangled: Tangled,
}

/// The result of scanning for a record at the front of the data.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ScannedRecord {
    /// A record with this many bytes, including its line break.
    Whole(usize),
    /// The record continues after the data.
    Open,
    /// The record is malformed, for example because a quote is never closed. Reading continues after this many bytes.
    Broken(usize, &'static str),
    /// The record is too long, and its end is not in the data.
    Endless,
}

/// What is at the front of the data.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// A record that begins after this many bytes.
    Record(usize),
    /// A comment or blank line with this many bytes.
    Nothing(usize),
    /// More data is needed to tell.
    Open,
}

const NEVER_CLOSED: &str = "a quote is opened here and never closed";
const BEHIND_QUOTE: &str = "text follows a closing quote";
const ENDS_IN_ESCAPE: &str = "the data ends behind an escape character";

impl CsvDialect {
    /// Looks at the front of the data. If comments are allowed, blanks at the beginning of a line are skipped.
    #[inline]
    pub(super) fn front(&self, data: &[u8], at_end: bool) -> Front {
        if !self.comments {
            return Front::Record(0);
        }
        let blanks = data.iter().position(|b| *b != b' ').unwrap_or(data.len());
        match data.get(blanks) {
            Some(b'#') => match memchr(b'\n', &data[blanks..]) {
                Some(n) => Front::Nothing(blanks + n + 1),
                None if at_end => Front::Nothing(data.len()),
                None => Front::Open,
            },
            Some(b'\n') => Front::Nothing(blanks + 1),
            Some(b'\r') if data.get(blanks + 1) == Some(&b'\n') => Front::Nothing(blanks + 2),
            Some(b'\r') if data.len() == blanks + 1 && !at_end => Front::Open,
            Some(_) => Front::Record(blanks),
            None if at_end => Front::Nothing(data.len()),
            None => Front::Open,
        }
    }

    /// Finds the fields of the record at the front of the data.
    #[inline]
    pub(super) fn scan(&self, data: &[u8], at_end: bool, fields: &mut Vec<ScannedField>) -> ScannedRecord {
        fields.clear();
        let mut at = 0;
        loop {
            if let Some(q) = self.quote
                && data.get(at) == Some(&q)
            {
                let from = at + 1;
                let (close, tangled) = match self.closing(data, from, q, at_end) {
                    Ok(found) => found,
                    Err(record) => return record,
                };
                fields.push(ScannedField { from, to: close, tangled });
                at = close + 1;
                // Blanks after the closing quote are ignored.
                while data.get(at).is_some_and(|b| matches!(b, b' ' | b'\t') && *b != self.delimiter) {
                    at += 1;
                }
                match data.get(at) {
                    Some(c) if *c == self.delimiter => at += 1,
                    Some(b'\n') => return ScannedRecord::Whole(at + 1),
                    Some(b'\r') if data.get(at + 1) == Some(&b'\n') => return ScannedRecord::Whole(at + 2),
                    Some(b'\r') if data.len() == at + 1 && !at_end => return ScannedRecord::Open,
                    None if at_end => return ScannedRecord::Whole(at),
                    None => return ScannedRecord::Open,
                    Some(_) => {
                        return match memchr(b'\n', &data[at..]) {
                            Some(n) => ScannedRecord::Broken(at + n + 1, BEHIND_QUOTE),
                            None if at_end => ScannedRecord::Broken(data.len(), BEHIND_QUOTE),
                            None if data.len() > LONGEST => ScannedRecord::Endless,
                            None => ScannedRecord::Open,
                        };
                    }
                }
                continue;
            }
            // An unquoted field ends at a delimiter or the line's end. Most files have no escapes, and do not pay for them.
            let (mut kept, mut tangled) = (at, Tangled::No);
            let end = match self.escape {
                None => memchr2(self.delimiter, b'\n', &data[at..]).map(|n| at + n),
                Some(e) => match self.escaped_end(data, at, e, at_end) {
                    Ok((end, behind)) => {
                        if behind > at {
                            (kept, tangled) = (behind, Tangled::Escapes);
                        }
                        end
                    }
                    Err(record) => return record,
                },
            };
            match end {
                Some(n) if data[n] == self.delimiter => {
                    fields.push(ScannedField { from: at, to: n, tangled });
                    at = n + 1;
                }
                Some(n) => {
                    let to = if n > kept && data[n - 1] == b'\r' { n - 1 } else { n };
                    fields.push(ScannedField { from: at, to, tangled });
                    return ScannedRecord::Whole(n + 1);
                }
                None if at_end => {
                    let n = data.len();
                    let to = if n > kept && data[n - 1] == b'\r' { n - 1 } else { n };
                    fields.push(ScannedField { from: at, to, tangled });
                    return ScannedRecord::Whole(n);
                }
                None if data.len() > LONGEST => return ScannedRecord::Endless,
                None => return ScannedRecord::Open,
            }
        }
    }

    /// The end of an unquoted field that may have escapes, and the end of its last escape.
    #[inline(never)]
    fn escaped_end(
        &self,
        data: &[u8],
        at: usize,
        escape: u8,
        at_end: bool,
    ) -> Result<(Option<usize>, usize), ScannedRecord> {
        let mut next = at;
        loop {
            let Some(n) = memchr3(self.delimiter, b'\n', escape, &data[next..]) else { return Ok((None, next)) };
            if data[next + n] != escape {
                return Ok((Some(next + n), next));
            }
            next += n + 2;
            if next > data.len() {
                return Err(if at_end {
                    ScannedRecord::Broken(data.len(), ENDS_IN_ESCAPE)
                } else {
                    ScannedRecord::Open
                });
            }
        }
    }

    /// The closing quote of a quoted field, whose first quote is before `from`.
    #[inline]
    fn closing(&self, data: &[u8], from: usize, q: u8, at_end: bool) -> Result<(usize, Tangled), ScannedRecord> {
        let mut tangled = Tangled::No;
        let mut i = from;
        loop {
            let next = match self.escape {
                Some(e) => memchr2(q, e, &data[i..]),
                None => memchr(q, &data[i..]),
            };
            let Some(n) = next else {
                if at_end || data.len() > LONGEST {
                    // Reading continues after the line with the opening quote.
                    let line = memchr(b'\n', &data[from..]).map_or(data.len(), |n| from + n + 1);
                    return Err(ScannedRecord::Broken(line, NEVER_CLOSED));
                }
                return Err(ScannedRecord::Open);
            };
            let p = i + n;
            if Some(data[p]) == self.escape && data[p] != q {
                tangled = Tangled::Quotes;
                i = (p + 2).min(data.len());
                continue;
            }
            match data.get(p + 1) {
                Some(c) if *c == q => {
                    tangled = Tangled::Quotes;
                    i = p + 2;
                }
                None if !at_end => return Err(ScannedRecord::Open),
                _ => return Ok((p, tangled)),
            }
        }
    }

    /// A field's text with doubled quotes and escapes replaced.
    pub(super) fn untangled(&self, text: &[u8], tangled: Tangled) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text.iter().copied().peekable();
        let quote = self.quote.filter(|_| tangled == Tangled::Quotes);
        let escape = self.escape.filter(|e| Some(*e) != quote);
        while let Some(b) = rest.next() {
            if Some(b) == escape {
                out.extend(rest.next().map(|c| match c {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'0' => 0,
                    c => c,
                }));
            } else {
                if Some(b) == quote && rest.peek() == Some(&b) {
                    rest.next();
                }
                out.push(b);
            }
        }
        out
    }

    /// Whether the data has a character that lets records span lines. Without one, each line break ends a record.
    pub(crate) fn may_span(&self, data: &[u8]) -> bool {
        let has = |sign: Option<u8>| sign.is_some_and(|s| memchr(s, data).is_some());
        has(self.quote) || has(self.escape)
    }

    /// The number of bytes of the record, comment or blank line at the front of the data, or none if its end is not in the data.
    pub(crate) fn pass(&self, data: &[u8], at_end: bool, scratch: &mut Scratch) -> Option<usize> {
        let from = match self.front(data, at_end) {
            Front::Nothing(n) => return Some(n),
            Front::Open => return None,
            Front::Record(n) => n,
        };
        match self.scan(&data[from..], at_end, &mut scratch.0) {
            ScannedRecord::Whole(n) | ScannedRecord::Broken(n, _) => Some(from + n),
            ScannedRecord::Open => None,
            // It ends with its first line, as it does for the reader.
            ScannedRecord::Endless => memchr(b'\n', &data[from..]).map(|n| from + n + 1),
        }
    }
}

/// A vector for the fields of a record, kept to reuse its memory.
#[derive(Default)]
pub(crate) struct Scratch(Vec<ScannedField>);
