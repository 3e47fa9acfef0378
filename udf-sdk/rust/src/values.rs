//! Reads and writes values in columns. Arguments are read without copying texts. Results are written directly into the buffers of the
//! column.

use crate::{Column, DataType, DecimalType, Output, RowError};

/// DATE: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub i32);

/// TIMESTAMP(3): microseconds since 1970-01-01T00:00, without a zone. Digits beyond the milliseconds are cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// TIME(3): milliseconds since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i32);

/// TIMESTAMP_LTZ(3), a point in time: microseconds since 1970-01-01T00:00:00Z. Digits beyond the milliseconds are cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub i64);

/// DECIMAL(P, S): the unscaled value of a number with `P` digits, of which `S` are after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal<const P: u8, const S: u8>(pub i128);

/// Reads the values of an argument from its column.
pub struct Reader<'a> {
    validity: Option<&'a [u8]>,
    offsets: &'a [u8],
    data: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of a column.
    pub fn new(c: &'a Column) -> Self {
        Reader { validity: c.validity.as_deref(), offsets: &c.offsets, data: &c.data }
    }
    fn valid(&self, row: usize) -> bool {
        self.validity.is_none_or(|v| v[row / 8] >> (row % 8) & 1 == 1)
    }
    fn fixed<const N: usize>(&self, row: usize) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.data[row * N..row * N + N]);
        out
    }
    fn slice(&self, row: usize) -> &'a [u8] {
        let at = |i: usize| {
            let b = &self.offsets[i * 4..i * 4 + 4];
            u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize
        };
        &self.data[at(row)..at(row + 1)]
    }
}

/// A type that an argument may have.
pub trait Argument: Sized {
    /// The type to which SQL casts the argument.
    fn dtype() -> DataType;
    #[doc(hidden)]
    type Of<'a>;
    /// The value of a row in a column of the type [`Argument::dtype`]. None if it is NULL and the type is not an `Option`; the function is
    /// then not called for this row.
    ///
    /// # Panics
    /// If the column has no such row.
    fn read<'a>(reader: &Reader<'a>, row: usize) -> Option<Self::Of<'a>>;
}

macro_rules! fixed_argument {
    ($($t:ty => $dtype:expr, |$r:ident, $row:ident| $read:expr;)*) => {$(
        impl Argument for $t {
            fn dtype() -> DataType { $dtype }
            type Of<'a> = $t;
            fn read<'a>($r: &Reader<'a>, $row: usize) -> Option<$t> {
                $r.valid($row).then(|| $read)
            }
        }
    )*};
}

fixed_argument! {
    bool => DataType::Boolean, |r, row| r.data[row / 8] >> (row % 8) & 1 == 1;
    i8 => DataType::Int8, |r, row| i8::from_le_bytes(r.fixed(row));
    i16 => DataType::Int16, |r, row| i16::from_le_bytes(r.fixed(row));
    f32 => DataType::Float32, |r, row| f32::from_le_bytes(r.fixed(row));
    Time => DataType::Time(3), |r, row| Time(i32::from_le_bytes(r.fixed(row)));
    Instant => DataType::TimestampLtz(3), |r, row| Instant(i64::from_le_bytes(r.fixed(row)));
    i32 => DataType::Int32, |r, row| i32::from_le_bytes(r.fixed(row));
    i64 => DataType::Int64, |r, row| i64::from_le_bytes(r.fixed(row));
    f64 => DataType::Float64, |r, row| f64::from_le_bytes(r.fixed(row));
    Date => DataType::Date, |r, row| Date(i32::from_le_bytes(r.fixed(row)));
    Timestamp => DataType::Timestamp(3), |r, row| Timestamp(i64::from_le_bytes(r.fixed(row)));
}

impl<const P: u8, const S: u8> Argument for Decimal<P, S> {
    fn dtype() -> DataType {
        DataType::Decimal(DecimalType { precision: P, scale: S })
    }
    type Of<'a> = Self;
    fn read<'a>(r: &Reader<'a>, row: usize) -> Option<Self> {
        r.valid(row).then(|| Decimal(i128::from_le_bytes(r.fixed(row))))
    }
}

impl Argument for &str {
    fn dtype() -> DataType {
        DataType::Utf8
    }
    type Of<'a> = &'a str;
    fn read<'a>(r: &Reader<'a>, row: usize) -> Option<&'a str> {
        // SAFETY: the host sends columns of its own text type, which are valid UTF-8, and a slice ends where a text ends.
        r.valid(row).then(|| unsafe { std::str::from_utf8_unchecked(r.slice(row)) })
    }
}

impl Argument for &[u8] {
    fn dtype() -> DataType {
        DataType::Binary
    }
    type Of<'a> = &'a [u8];
    fn read<'a>(r: &Reader<'a>, row: usize) -> Option<&'a [u8]> {
        r.valid(row).then(|| r.slice(row))
    }
}

impl<T: Argument> Argument for Option<T> {
    fn dtype() -> DataType {
        T::dtype()
    }
    type Of<'a> = Option<T::Of<'a>>;
    fn read<'a>(r: &Reader<'a>, row: usize) -> Option<Option<T::Of<'a>>> {
        Some(T::read(r, row))
    }
}

/// Builds the column of the results of a call.
pub struct Writer {
    dtype: DataType,
    validity: Vec<u8>,
    nulls: bool,
    offsets: Vec<u8>,
    data: Vec<u8>,
    rows: usize,
    errors: Vec<RowError>,
}

impl Writer {
    /// A writer for a column of this type with `rows` rows, which are written one after the other.
    pub fn new(dtype: DataType, rows: usize) -> Self {
        let text = matches!(dtype, DataType::Utf8 | DataType::Binary);
        let mut offsets = Vec::with_capacity(if text { (rows + 1) * 4 } else { 0 });
        if text {
            offsets.extend_from_slice(&[0; 4]);
        }
        let bits = rows.div_ceil(8);
        let data = match dtype {
            DataType::Boolean => vec![0; bits],
            _ => Vec::with_capacity(rows * 16),
        };
        Writer { dtype, validity: vec![0xFF; bits], nulls: false, offsets, data, rows: 0, errors: vec![] }
    }
    fn width(&self) -> usize {
        match self.dtype {
            DataType::Int8 => 1,
            DataType::Int16 => 2,
            DataType::Int32 | DataType::Float32 | DataType::Date | DataType::Time(_) => 4,
            DataType::Int64 | DataType::Float64 | DataType::Timestamp(_) | DataType::TimestampLtz(_) => 8,
            DataType::Decimal(_) => 16,
            _ => 0,
        }
    }
    /// Appends NULL.
    ///
    /// # Panics
    /// If more rows are written than the writer has room for.
    pub fn null(&mut self) {
        self.nulls = true;
        self.validity[self.rows / 8] &= !(1 << (self.rows % 8));
        let width = self.width();
        self.data.resize(self.data.len() + width, 0);
        if matches!(self.dtype, DataType::Utf8 | DataType::Binary) {
            self.offsets.extend_from_slice(&(self.data.len() as u32).to_le_bytes());
        }
        self.rows += 1;
    }
    fn fixed<const N: usize>(&mut self, b: [u8; N]) {
        self.data.extend_from_slice(&b);
        self.rows += 1;
    }
    fn bytes(&mut self, b: &[u8]) {
        self.data.extend_from_slice(b);
        self.offsets.extend_from_slice(&(self.data.len() as u32).to_le_bytes());
        self.rows += 1;
    }
    fn bit(&mut self, b: bool) {
        if b {
            self.data[self.rows / 8] |= 1 << (self.rows % 8);
        }
        self.rows += 1;
    }
    fn error(&mut self, row: u32, message: String) {
        self.errors.push(RowError { row, message });
        self.null();
    }
    /// The column, with the errors of the rows that failed.
    pub fn finish(self) -> Output {
        let values = Column {
            dtype: self.dtype,
            validity: self.nulls.then_some(self.validity),
            offsets: self.offsets,
            data: self.data,
        };
        Output { values, errors: self.errors }
    }
}

/// A type that a result may have.
pub trait Answer {
    /// The type of the result in SQL.
    fn dtype() -> DataType;
    /// Appends the value as the result of the row `row`. An error is recorded with this number, and the result is NULL.
    fn write(self, row: u32, out: &mut Writer);
}

macro_rules! answer {
    ($($t:ty => $dtype:expr, |$v:ident, $out:ident| $write:expr;)*) => {$(
        impl Answer for $t {
            fn dtype() -> DataType { $dtype }
            fn write(self, _row: u32, $out: &mut Writer) {
                let $v = self;
                $write
            }
        }
    )*};
}

answer! {
    bool => DataType::Boolean, |v, out| out.bit(v);
    i8 => DataType::Int8, |v, out| out.fixed(v.to_le_bytes());
    i16 => DataType::Int16, |v, out| out.fixed(v.to_le_bytes());
    f32 => DataType::Float32, |v, out| out.fixed(v.to_le_bytes());
    Time => DataType::Time(3), |v, out| out.fixed(v.0.to_le_bytes());
    Instant => DataType::TimestampLtz(3), |v, out| out.fixed(v.0.to_le_bytes());
    i32 => DataType::Int32, |v, out| out.fixed(v.to_le_bytes());
    i64 => DataType::Int64, |v, out| out.fixed(v.to_le_bytes());
    f64 => DataType::Float64, |v, out| out.fixed(v.to_le_bytes());
    Date => DataType::Date, |v, out| out.fixed(v.0.to_le_bytes());
    Timestamp => DataType::Timestamp(3), |v, out| out.fixed(v.0.to_le_bytes());
    String => DataType::Utf8, |v, out| out.bytes(v.as_bytes());
    &'static str => DataType::Utf8, |v, out| out.bytes(v.as_bytes());
    Vec<u8> => DataType::Binary, |v, out| out.bytes(&v);
}

impl<const P: u8, const S: u8> Answer for Decimal<P, S> {
    fn dtype() -> DataType {
        DataType::Decimal(DecimalType { precision: P, scale: S })
    }
    fn write(self, _row: u32, out: &mut Writer) {
        out.fixed(self.0.to_le_bytes());
    }
}

impl<T: Answer> Answer for Option<T> {
    fn dtype() -> DataType {
        T::dtype()
    }
    fn write(self, row: u32, out: &mut Writer) {
        match self {
            Some(v) => v.write(row, out),
            None => out.null(),
        }
    }
}

impl<T: Answer, E: std::fmt::Display> Answer for Result<T, E> {
    fn dtype() -> DataType {
        T::dtype()
    }
    fn write(self, row: u32, out: &mut Writer) {
        match self {
            Ok(v) => v.write(row, out),
            Err(e) => out.error(row, e.to_string()),
        }
    }
}
