//! The encoding of values of the engine and of connectors in the state, such as positions and watermarks. It begins with the number of its
//! layout, so that a value of another version of Weir is rejected and never misread. Operators' keyed state has
//! [`Codec`](crate::keyed::Codec)s instead.

use crate::{Error, Result, varint};

/// A value that can be stored in the state.
///
/// # Examples
/// ```
/// use weir_core::stored::{self, Reader, Stored};
///
/// struct Position {
///     offset: u64,
/// }
///
/// impl Stored for Position {
///     const LAYOUT: u8 = 1;
///     const NAME: &'static str = "the position of a file";
///     fn write(&self, out: &mut Vec<u8>) {
///         stored::put(out, self.offset);
///     }
///     fn read(from: &mut Reader<'_>) -> Option<Self> {
///         Some(Position { offset: from.number()? })
///     }
/// }
///
/// let bytes = stored::encode(&Position { offset: 300 });
/// assert_eq!(stored::decode::<Position>(&bytes)?.offset, 300);
/// assert!(stored::decode::<Position>(&[2, 0]).is_err_and(|e| e.message.contains("layout 2")));
/// assert!(stored::decode::<Position>(&bytes[..2]).is_err_and(|e| e.message.contains("damaged")));
/// # Ok::<(), weir_core::Error>(())
/// ```
pub trait Stored: Sized {
    /// The number of the layout, from 1. Every change of the layout needs a new number. Layouts without a number, of older versions, begin
    /// with 0, 0x80 or 0xFF.
    const LAYOUT: u8;
    /// The name of the value, for errors.
    const NAME: &'static str;
    /// Appends the encoded value, without the number of the layout.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads the output of [`Stored::write`]; none if it is not valid.
    fn read(from: &mut Reader<'_>) -> Option<Self>;
}

/// Appends a number.
pub fn put(out: &mut Vec<u8>, n: u64) {
    varint::put(out, n);
}

/// Appends a signed number.
pub fn put_signed(out: &mut Vec<u8>, n: i64) {
    varint::put_signed(out, n);
}

/// The remaining bytes of an encoded value.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads the output of [`put`]; none if it is truncated.
    pub fn number(&mut self) -> Option<u64> {
        varint::take(&mut self.0)
    }
    /// Reads the output of [`put_signed`]; none if it is truncated.
    pub fn signed(&mut self) -> Option<i64> {
        varint::take_signed(&mut self.0)
    }
    /// Takes all remaining bytes.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Encodes a value with the number of its layout.
pub fn encode<T: Stored>(value: &T) -> Vec<u8> {
    let mut out = vec![T::LAYOUT];
    value.write(&mut out);
    out
}

/// Decodes a value.
///
/// # Errors
/// If it has another layout, or is corrupt.
pub fn decode<T: Stored>(bytes: &[u8]) -> Result<T> {
    let damaged = || Error::state(format!("{} in the state is damaged", T::NAME)).hint("start with --fresh");
    let (layout, rest) = bytes.split_first().ok_or_else(damaged)?;
    if *layout != T::LAYOUT {
        let wrong = format!("{} in the state has layout {layout}, and this version of Weir reads layout", T::NAME);
        let hint = "run the version that wrote it, or start with --fresh";
        return Err(Error::state(format!("{wrong} {}", T::LAYOUT)).hint(hint));
    }
    let mut from = Reader(rest);
    T::read(&mut from).filter(|_| from.0.is_empty()).ok_or_else(damaged)
}
