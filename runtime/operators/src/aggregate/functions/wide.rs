//! Sums of decimals.

use arrow::datatypes::i256;

/// A sum of 160 bits. It holds billions of values of 38 digits, so that a sum can exceed 38 digits and become smaller again. It consists of
/// bytes, because the alignment of a wide integer would make every accumulator half as large again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wide {
    low: [u8; 16],
    high: i32,
}

impl Wide {
    /// Adds a value.
    pub fn add(&mut self, v: i128) {
        self.add_parts(v as u128, (v >> 127) as i32);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: Wide) {
        self.add_parts(u128::from_be_bytes(other.low), other.high);
    }

    fn add_parts(&mut self, low: u128, high: i32) {
        let (sum, carry) = u128::from_be_bytes(self.low).overflowing_add(low);
        self.low = sum.to_be_bytes();
        self.high = self.high.wrapping_add(high).wrapping_add(i32::from(carry));
    }

    /// The sum.
    pub fn get(self) -> i256 {
        i256::from_parts(u128::from_be_bytes(self.low), i128::from(self.high))
    }

    /// The stored form.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut out = [0; 20];
        out[..4].copy_from_slice(&self.high.to_be_bytes());
        out[4..].copy_from_slice(&self.low);
        out
    }

    /// Reads the output of [`Wide::to_bytes`] without its [`insignificant`] bytes. Returns none if there are no bytes or too many.
    pub fn from_significant(bytes: &[u8]) -> Option<Wide> {
        let sign = if bytes.first()? & 0x80 == 0 { 0 } else { 0xFF };
        let mut all = [sign; 20];
        all.len().checked_sub(bytes.len()).map(|from| all[from..].copy_from_slice(bytes))?;
        let (mut high, mut low) = ([0; 4], [0; 16]);
        high.copy_from_slice(&all[..4]);
        low.copy_from_slice(&all[4..]);
        Some(Wide { low, high: i32::from_be_bytes(high) })
    }
}

/// The number of leading bytes that only repeat the sign of the byte after them.
pub(super) fn insignificant(bytes: &[u8; 20]) -> usize {
    let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xFF };
    let same = bytes[..19].iter().take_while(|b| **b == sign).count();
    // The next byte may begin with another sign bit. Then one byte of the sign is kept.
    if same > 0 && (bytes[same] ^ sign) & 0x80 != 0 { same - 1 } else { same }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_outgrow_128_bits_and_come_back() {
        let most = 10i128.pow(38) - 1;
        let (mut up, mut down) = (Wide::default(), Wide::default());
        for _ in 0..1000 {
            up.add(most);
            down.add(-most);
        }
        assert_eq!(up.get(), i256::from_i128(most).wrapping_mul(i256::from_i128(1000)));
        assert_eq!(down.get(), up.get().wrapping_neg());
        (0..999).for_each(|_| up.add(-most));
        assert_eq!(up.get(), i256::from_i128(most));
        down.merge(up);
        assert_eq!(down.get(), i256::from_i128(-most).wrapping_mul(i256::from_i128(999)));
    }

    #[test]
    fn sums_come_back_from_as_few_bytes_as_they_need() {
        for (v, length) in
            [(0, 1), (1, 1), (-1, 1), (127, 1), (128, 2), (-128, 1), (-129, 2), (i128::MAX, 16), (i128::MIN, 16)]
        {
            let mut sum = Wide::default();
            sum.add(v);
            let bytes = sum.to_bytes();
            let significant = &bytes[insignificant(&bytes)..];
            assert_eq!(significant.len(), length, "{v}");
            assert_eq!(Wide::from_significant(significant).map(Wide::get), Some(sum.get()));
            sum.add(v);
            let bytes = sum.to_bytes();
            assert_eq!(Wide::from_significant(&bytes[insignificant(&bytes)..]).map(Wide::get), Some(sum.get()));
        }
        assert!(Wide::from_significant(&[]).is_none() && Wide::from_significant(&[0; 21]).is_none());
    }
}
