//! Values of the engine and of connectors in the state, such as positions and watermarks: one form for all, which begins with the number of
//! its layout, so that what another version of Weir has written is refused and never misread. What operators keep of keys has
//! [`Codec`](crate::keyed::Codec)s.

use crate::{Error, Result, varint};

/// A value that has a form in the state.
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
    /// The number of the form, from 1; another one for each change of it. Forms of before there were numbers begin with 0, 0x80 or 0xFF.
    const LAYOUT: u8;
    /// What it is, for errors.
    const NAME: &'static str;
    /// Appends the form, without the number.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads the form that [`Stored::write`] gives; none when it is not one.
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

/// What is left of a stored form.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// What [`put`] has written; none when that is cut short.
    pub fn number(&mut self) -> Option<u64> {
        varint::take(&mut self.0)
    }
    /// What [`put_signed`] has written; none when that is cut short.
    pub fn signed(&mut self) -> Option<i64> {
        varint::take_signed(&mut self.0)
    }
    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// A value's form in the state.
pub fn encode<T: Stored>(value: &T) -> Vec<u8> {
    let mut out = vec![T::LAYOUT];
    value.write(&mut out);
    out
}

/// The value of a form in the state.
///
/// # Errors
/// When it has another layout, or is damaged.
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
