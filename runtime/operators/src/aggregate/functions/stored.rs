//! Reading and writing of stored forms: numbers big-endian, bytes behind their length.

use weir_core::{Error, Result};

/// The first `N` bytes, which it moves on from.
pub(super) fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>().ok_or_else(cut)?;
    *from = rest;
    Ok(*head)
}

/// A number.
pub(super) fn long(from: &mut &[u8]) -> Result<i64> {
    take(from).map(i64::from_be_bytes)
}

/// A number of entries, or of bytes.
pub(super) fn length(from: &mut &[u8]) -> Result<u32> {
    take(from).map(u32::from_be_bytes)
}

/// A floating point number.
pub(super) fn double(from: &mut &[u8]) -> Result<f64> {
    take(from).map(|b| f64::from_bits(u64::from_be_bytes(b)))
}

/// Bytes behind their length.
pub(super) fn bytes<'a>(from: &mut &'a [u8]) -> Result<&'a [u8]> {
    let n = length(from)? as usize;
    let (head, rest) = from.split_at_checked(n).ok_or_else(cut)?;
    *from = rest;
    Ok(head)
}

/// Bytes that may not be there.
pub(super) fn maybe<'a>(from: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    match take::<1>(from)? {
        [0] => Ok(None),
        [1] => bytes(from).map(Some),
        [other] => Err(Error::state(format!("a group in the state is damaged: a value begins with {other}"))),
    }
}

/// Appends bytes behind their length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends bytes that may not be there.
pub(super) fn put_maybe(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        put_bytes(out, bytes);
    }
}

fn cut() -> Error {
    Error::state("a group in the state is cut short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_that_is_cut() {
        let mut out = vec![];
        put_maybe(&mut out, Some(b"ab"));
        put_maybe(&mut out, None);
        out.extend_from_slice(&(-5i64).to_be_bytes());
        let mut from = out.as_slice();
        assert_eq!(maybe(&mut from).expect("bytes"), Some(&b"ab"[..]));
        assert_eq!(maybe(&mut from).expect("none"), None);
        assert_eq!(long(&mut from).expect("a number"), -5);
        assert!(from.is_empty());
        for n in 0..out.len() {
            let mut from = &out[..n];
            let all = maybe(&mut from).and_then(|_| maybe(&mut from)).and_then(|_| long(&mut from));
            assert!(all.is_err_and(|e| e.to_string().contains("cut short")), "{n} bytes");
        }
        assert!(maybe(&mut &[2u8, 0][..]).is_err_and(|e| e.to_string().contains("damaged")));
    }
}
