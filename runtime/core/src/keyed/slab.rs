//! A vector in chunks. Growing moves no elements, and never needs twice the memory.

use std::ops::{Index, IndexMut};

/// The elements of a chunk, as a power of two.
const SHIFT: u32 = 12;
const PIECE: usize = 1 << SHIFT;

/// A vector in chunks, indexed from 0.
#[derive(Debug, Clone)]
pub struct Slab<T> {
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { pieces: vec![] }
    }
}

impl<T> Slab<T> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
    /// Appends an element.
    pub fn push(&mut self, element: T) {
        if self.pieces.last().is_none_or(|last| last.len() == PIECE) {
            // The first chunk grows as needed, since most slabs have few elements.
            let room = if self.pieces.is_empty() { 0 } else { PIECE };
            self.pieces.push(Vec::with_capacity(room));
        }
        if let Some(last) = self.pieces.last_mut() {
            last.push(element);
        }
    }
    /// All elements, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }
    /// All elements, in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pieces.iter_mut().flatten()
    }
    /// Drops all elements.
    pub fn clear(&mut self) {
        self.pieces = vec![];
    }
}

impl<T: Default> Slab<T> {
    /// Appends default elements until there are at least `len`.
    pub fn grow(&mut self, len: usize) {
        (self.len()..len).for_each(|_| self.push(T::default()));
    }
}

impl<T> Index<usize> for Slab<T> {
    type Output = T;
    fn index(&self, at: usize) -> &T {
        &self.pieces[at >> SHIFT][at & (PIECE - 1)]
    }
}

impl<T> IndexMut<usize> for Slab<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.pieces[at >> SHIFT][at & (PIECE - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_under_their_numbers() {
        let mut slab: Slab<usize> = Slab::default();
        assert!(slab.is_empty());
        (0..3 * PIECE).for_each(|n| slab.push(n));
        slab.grow(3 * PIECE + 5);
        slab.grow(7);
        slab[PIECE] += 1;
        assert_eq!(slab.len(), 3 * PIECE + 5);
        assert_eq!((slab[PIECE - 1], slab[PIECE], slab[3 * PIECE]), (PIECE - 1, PIECE + 1, 0));
        slab.iter_mut().for_each(|n| *n = 1);
        assert_eq!(slab.iter().sum::<usize>(), slab.len());
        slab.clear();
        assert_eq!(slab.len(), 0);
    }
}
