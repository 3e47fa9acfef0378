//! Byte strings of which there may be millions: short ones need no allocation.

use std::ops::Deref;

/// The most bytes that need no allocation: enough for a key of two BIGINTs, or of any number or time.
const SHORT: usize = 22;

/// A byte string of 24 bytes; one of more than 22 bytes is allocated besides.
#[derive(Debug, Clone)]
pub struct SmallBytes(Form);

#[derive(Debug, Clone)]
enum Form {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

impl Default for SmallBytes {
    fn default() -> SmallBytes {
        SmallBytes(Form::Short(0, [0; SHORT]))
    }
}

impl From<&[u8]> for SmallBytes {
    fn from(bytes: &[u8]) -> SmallBytes {
        let mut short = [0; SHORT];
        match short.get_mut(..bytes.len()) {
            Some(begin) => {
                begin.copy_from_slice(bytes);
                SmallBytes(Form::Short(bytes.len() as u8, short))
            }
            None => SmallBytes(Form::Long(bytes.into())),
        }
    }
}

impl Deref for SmallBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Short(n, bytes) => &bytes[..usize::from(*n)],
            Form::Long(bytes) => bytes,
        }
    }
}

impl SmallBytes {
    /// The bytes that are allocated.
    pub fn heap(&self) -> usize {
        match &self.0 {
            Form::Short(..) => 0,
            Form::Long(bytes) => bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_whatever_their_number() {
        let all: Vec<u8> = (0..=255).collect();
        for n in 0..=all.len() {
            let small = SmallBytes::from(&all[..n]);
            assert_eq!(&*small, &all[..n]);
            assert_eq!(small.heap(), if n > SHORT { n } else { 0 });
        }
        assert_eq!(size_of::<SmallBytes>(), 24);
    }
}
