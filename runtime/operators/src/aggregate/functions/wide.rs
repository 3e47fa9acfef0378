//! Sums of decimals.

use arrow::datatypes::i256;

/// A sum of 160 bits: enough for billions of values of 38 digits, so that a sum that has outgrown them can come back. In bytes,
/// for a number of such a size would widen every accumulator by half.
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

    /// Its form for the store.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut out = [0; 20];
        out[..4].copy_from_slice(&self.high.to_be_bytes());
        out[4..].copy_from_slice(&self.low);
        out
    }

    /// The sum that [`Wide::to_bytes`] gave.
    pub fn from_bytes(bytes: [u8; 20]) -> Wide {
        let (mut high, mut low) = ([0; 4], [0; 16]);
        high.copy_from_slice(&bytes[..4]);
        low.copy_from_slice(&bytes[4..]);
        Wide { low, high: i32::from_be_bytes(high) }
    }
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
        assert_eq!(Wide::from_bytes(down.to_bytes()).get(), down.get());
        (0..999).for_each(|_| up.add(-most));
        assert_eq!(up.get(), i256::from_i128(most));
        down.merge(up);
        assert_eq!(down.get(), i256::from_i128(-most).wrapping_mul(i256::from_i128(999)));
    }
}
