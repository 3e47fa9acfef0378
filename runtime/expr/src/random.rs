//! Random numbers, with a seed as `java.util.Random` makes them, so that RAND(42) gives the numbers that it gives in Flink.
//!
//! Source of the idea: the generator is documented in the class of that name in Java's standard library.

use std::collections::HashMap;

/// A linear congruential generator with 48 bits.
#[derive(Clone)]
pub(crate) struct JavaRandom(i64);

const MULTIPLIER: i64 = 0x5_DEEC_E66D;
const MASK: i64 = (1 << 48) - 1;

impl JavaRandom {
    pub fn new(seed: i64) -> JavaRandom {
        JavaRandom((seed ^ MULTIPLIER) & MASK)
    }

    /// The next so many bits, at most 32, as a signed number.
    fn next(&mut self, bits: u32) -> i32 {
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        (self.0 >> (48 - bits)) as i32
    }

    /// A number from 0 up to, but not including, 1.
    pub fn double(&mut self) -> f64 {
        let high = i64::from(self.next(26)) << 27;
        (high + i64::from(self.next(27))) as f64 / (1u64 << 53) as f64
    }

    /// A number from 0 up to, but not including, a bound, which is at least 1.
    pub fn below(&mut self, bound: i32) -> i32 {
        if bound.count_ones() == 1 {
            return ((i64::from(bound) * i64::from(self.next(31))) >> 31) as i32;
        }
        loop {
            let bits = self.next(31);
            let value = bits % bound;
            // Numbers from the incomplete last range would be more frequent.
            if bits.wrapping_sub(value).wrapping_add(bound - 1) >= 0 {
                return value;
            }
        }
    }
}

/// The generators of calls with a seed, by the call. Each row takes the next number. If the seed is no constant, a row with another seed
/// begins anew, as in Flink.
#[derive(Default)]
pub(crate) struct Seeded(HashMap<usize, (i32, JavaRandom)>);

impl Seeded {
    /// Uses the generator of a call for a row with this seed.
    pub fn of<T>(&mut self, call: usize, seed: i32, draw: impl FnOnce(&mut JavaRandom) -> T) -> T {
        let (first, random) = self.0.entry(call).or_insert_with(|| (seed, JavaRandom::new(i64::from(seed))));
        if *first == seed { draw(random) } else { draw(&mut JavaRandom::new(i64::from(seed))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Java 17 gives for `new Random(42)`.
    #[test]
    fn numbers_are_those_of_java() {
        let mut random = JavaRandom::new(42);
        assert_eq!([random.double(), random.double()], [0.727_563_680_032_868_1, 0.683_223_471_759_845_4]);
        let mut random = JavaRandom::new(42);
        let of = |random: &mut JavaRandom| [1000, 1000, 64, 1, i32::MAX].map(|bound| random.below(bound));
        assert_eq!(of(&mut random), OF_JAVA);
    }

    const OF_JAVA: [i32; 5] = [130, 763, 43, 0, 662_969_970];
}
