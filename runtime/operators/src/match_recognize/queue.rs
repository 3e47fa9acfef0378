//! A priority queue whose order among equals is that of Java's `PriorityQueue`. Flink keeps matches in such queues, and which of two
//! matches of the same first row comes first is decided by their places in them.

use std::cmp::Ordering;

/// An element with a priority. The least comes first.
pub(super) trait Priority {
    /// The priority.
    fn priority(&self) -> u64;
}

/// The queue: a heap in a vector.
#[derive(Debug, Clone)]
pub(super) struct Queue<T>(Vec<T>);

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue(vec![])
    }
}

impl<T: Priority> Queue<T> {
    /// The elements in the order in which they are stored, which is that in which Flink visits them.
    pub fn elements(&self) -> &[T] {
        &self.0
    }

    /// The first element.
    pub fn first(&self) -> Option<&T> {
        self.0.first()
    }

    /// Adds an element.
    pub fn add(&mut self, element: T) {
        self.0.push(element);
        let mut at = self.0.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.compare(at, parent) != Ordering::Less {
                break;
            }
            self.0.swap(at, parent);
            at = parent;
        }
    }

    /// Removes the first element.
    pub fn take_first(&mut self) -> Option<T> {
        if self.0.is_empty() {
            return None;
        }
        let first = self.0.swap_remove(0);
        self.sink(0);
        Some(first)
    }

    /// Removes the elements that `stays` does not hold for.
    pub fn retain(&mut self, stays: impl Fn(&T) -> bool) {
        let before = self.0.len();
        self.0.retain(stays);
        if self.0.len() < before {
            (0..self.0.len() / 2).rev().for_each(|at| self.sink(at));
        }
    }

    /// Takes all elements out, in the order in which they are stored.
    pub fn drain(&mut self) -> Vec<T> {
        std::mem::take(&mut self.0)
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        self.0[a].priority().cmp(&self.0[b].priority())
    }

    fn sink(&mut self, mut at: usize) {
        while at < self.0.len() / 2 {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let right_first = right < self.0.len() && self.compare(left, right) == Ordering::Greater;
            let child = if right_first { right } else { left };
            if self.compare(at, child) != Ordering::Greater {
                break;
            }
            self.0.swap(at, child);
            at = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Priority for (u64, usize) {
        fn priority(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn equals_come_in_the_order_of_java() {
        let mut queue = Queue::default();
        [5, 1, 5, 1, 3, 1].into_iter().enumerate().for_each(|(n, priority)| queue.add((priority, n)));
        assert_eq!(queue.elements(), [(1, 1), (1, 3), (1, 5), (5, 0), (3, 4), (5, 2)]);
        assert_eq!(queue.take_first(), Some((1, 1)));
        assert_eq!(queue.elements(), [(1, 3), (3, 4), (1, 5), (5, 0), (5, 2)]);
        queue.retain(|(_, n)| *n != 3);
        assert_eq!(queue.elements(), [(1, 5), (3, 4), (5, 0), (5, 2)]);
        let mut all = vec![];
        while let Some((priority, _)) = queue.take_first() {
            all.push(priority);
        }
        assert_eq!(all, [1, 3, 5, 5]);
    }
}
