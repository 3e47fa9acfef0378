//! Reads and writes stored forms: whole numbers as varints, and bytes after their length.

use weir_core::{Error, Result, varint};

/// Takes the first `N` bytes.
pub(super) fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>().ok_or_else(cut)?;
    *from = rest;
    Ok(*head)
}

/// Takes a number.
pub(in crate::aggregate) fn long(from: &mut &[u8]) -> Result<i64> {
    varint::take_signed(from).ok_or_else(cut)
}

/// Takes a number of entries or bytes.
pub(super) fn length(from: &mut &[u8]) -> Result<u32> {
    varint::take(from).and_then(|n| n.try_into().ok()).ok_or_else(cut)
}

/// Takes a floating point number.
pub(super) fn double(from: &mut &[u8]) -> Result<f64> {
    take(from).map(|b| f64::from_bits(u64::from_be_bytes(b)))
}

/// Takes bytes that follow their length.
pub(super) fn bytes<'a>(from: &mut &'a [u8]) -> Result<&'a [u8]> {
    let n = length(from)? as usize;
    let (head, rest) = from.split_at_checked(n).ok_or_else(cut)?;
    *from = rest;
    Ok(head)
}

/// Takes optional bytes.
pub(super) fn maybe<'a>(from: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    match take::<1>(from)? {
        [0] => Ok(None),
        [1] => bytes(from).map(Some),
        [other] => Err(Error::state(format!("a group in the state is damaged: a value begins with {other}"))),
    }
}

/// Appends a number.
pub(in crate::aggregate) fn put_long(out: &mut Vec<u8>, n: i64) {
    varint::put_signed(out, n);
}

/// Appends a number of entries or bytes.
pub(super) fn put_length(out: &mut Vec<u8>, n: usize) {
    varint::put(out, n as u64);
}

/// Appends a floating point number.
pub(super) fn put_double(out: &mut Vec<u8>, n: f64) {
    out.extend_from_slice(&n.to_bits().to_be_bytes());
}

/// Appends bytes after their length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends optional bytes.
pub(super) fn put_maybe(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        put_bytes(out, bytes);
    }
}

/// Appends values with their counts.
pub(super) fn put_counts<'a>(out: &mut Vec<u8>, counts: impl Iterator<Item = (&'a [u8], i64)> + Clone) {
    put_length(out, counts.clone().count());
    for (value, count) in counts {
        put_bytes(out, value);
        put_long(out, count);
    }
}

/// Reads the output of [`put_counts`], and calls `each` with each value and its count.
pub(super) fn counts(from: &mut &[u8], mut each: impl FnMut(&[u8], i64)) -> Result<()> {
    for _ in 0..length(from)? {
        let (value, count) = (bytes(from)?, long(from)?);
        each(value, count);
    }
    Ok(())
}

pub(in crate::aggregate) fn cut() -> Error {
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
        put_long(&mut out, -5);
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
