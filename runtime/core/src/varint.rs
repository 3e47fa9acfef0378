//! Numbers in as few bytes as they need: seven bits per byte, the lowest first, as in LEB128. Signed numbers have the zigzag encoding, in
//! which numbers near 0 are short.
//!
//! # Examples
//! ```
//! use weir_core::varint;
//!
//! let mut bytes = vec![];
//! varint::put(&mut bytes, 300);
//! varint::put_signed(&mut bytes, -1);
//! assert_eq!(bytes, [0xAC, 0x02, 0x01]);
//! let mut from = bytes.as_slice();
//! assert_eq!((varint::take(&mut from), varint::take_signed(&mut from)), (Some(300), Some(-1)));
//! assert_eq!(varint::take(&mut from), None);
//! ```

/// Appends a number.
#[inline]
pub fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Reads a number from the front of some bytes, and advances them. None if it is truncated, or has more than 64 bits.
#[inline]
pub fn take(from: &mut &[u8]) -> Option<u64> {
    let (mut n, mut shift) = (0, 0);
    loop {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7F);
        if shift > 63 || bits << shift >> shift != bits {
            return None;
        }
        n |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
        shift += 7;
    }
}

/// Appends a signed number.
#[inline]
pub fn put_signed(out: &mut Vec<u8>, n: i64) {
    put(out, (n << 1 ^ n >> 63) as u64);
}

/// Does the same as [`take`] for a signed number.
#[inline]
pub fn take_signed(from: &mut &[u8]) -> Option<i64> {
    take(from).map(|n| (n >> 1) as i64 ^ -((n & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_nothing_that_is_cut_or_too_long() {
        let around = (0..64).flat_map(|bit| [0, 1, 2].map(|n| (1u64 << bit).wrapping_add(n).wrapping_sub(1)));
        for n in around.chain([0, u64::MAX]) {
            let mut bytes = vec![];
            put(&mut bytes, n);
            put_signed(&mut bytes, n as i64);
            let mut from = bytes.as_slice();
            assert_eq!((take(&mut from), take_signed(&mut from)), (Some(n), Some(n as i64)));
            assert!(from.is_empty());
            bytes.clear();
            put(&mut bytes, n);
            for cut in 0..bytes.len() {
                assert_eq!(take(&mut &bytes[..cut]), None, "{n}, {cut} bytes");
            }
            assert_eq!(bytes.len(), (64 - n.leading_zeros() as usize).div_ceil(7).max(1), "{n}");
        }
        assert_eq!(take(&mut &[0xFF; 9].iter().copied().chain([2]).collect::<Vec<_>>()[..]), None, "65 bits");
        assert_eq!(take(&mut &[0x80; 11][..]), None);
    }
}
