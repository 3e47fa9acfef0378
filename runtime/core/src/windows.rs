//! Windows over time, and the assignment of times to them. Times are in milliseconds since 1970, as shown by the clock of the windows. A
//! window includes its start and excludes its end. The arithmetic is Flink's: windows are aligned to 1970 plus an offset.

use crate::sortable::{from_sortable, sortable};
use crate::{Error, Result};
use std::fmt;

/// The kind and size of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Windows {
    /// Tumbling windows: consecutive windows of the same size.
    Tumble {
        /// The size of the windows.
        size: i64,
        /// The offset of their starts from 1970.
        offset: i64,
    },
    /// Hopping windows: one begins every `slide`. They overlap if they are longer than that.
    Hop {
        /// The size of the windows.
        size: i64,
        /// The time between the starts of two consecutive windows.
        slide: i64,
        /// The offset of their starts from 1970.
        offset: i64,
    },
    /// Cumulating windows: windows with the same start, each longer than the previous one by a step, up to a maximum size. Then the next
    /// ones begin.
    Cumulate {
        /// The maximum size.
        size: i64,
        /// The step.
        step: i64,
        /// The offset of their starts from 1970.
        offset: i64,
    },
    /// Session windows: rows of a key, as long as the time between consecutive rows does not exceed the gap.
    Session {
        /// The gap that ends a session.
        gap: i64,
    },
}

/// A window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Its first millisecond.
    pub start: i64,
    /// The first millisecond after it.
    pub end: i64,
}

/// The start of the window of this size that contains a time.
fn floor(time: i64, offset: i64, size: i64) -> i64 {
    time - time.wrapping_sub(offset).rem_euclid(size)
}

impl Windows {
    /// Checks that such windows are possible, and returns them.
    ///
    /// # Errors
    /// If the sizes are not valid.
    pub fn checked(self) -> Result<Windows> {
        let positive = |name: &str, n: i64| match n > 0 {
            true => Ok(()),
            false => Err(Error::script(format!("{name} of {self} must be longer than nothing"))),
        };
        let within = |offset: i64, size: i64| match offset.checked_abs().is_some_and(|o| o < size) {
            true => Ok(()),
            false => Err(Error::script(format!("the offset of {self} must be shorter than {}", length(size)))),
        };
        match self {
            Windows::Tumble { size, offset } => {
                positive("the size", size)?;
                within(offset, size)?;
            }
            Windows::Hop { size, slide, offset } => {
                positive("the size", size)?;
                positive("the slide", slide)?;
                within(offset, size)?;
            }
            Windows::Cumulate { size, step, offset } => {
                positive("the size", size)?;
                positive("the step", step)?;
                within(offset, size)?;
                if size % step != 0 {
                    let e = format!("the size of {self} must be a multiple of the step");
                    return Err(Error::script(e));
                }
            }
            Windows::Session { gap } => positive("the gap", gap)?,
        }
        Ok(self)
    }

    /// Calls `each` with the windows that contain a time, ordered by their ends. A session of a single row ends a gap after it.
    pub fn each(self, time: i64, mut each: impl FnMut(Window)) {
        match self {
            Windows::Tumble { size, offset } => {
                let start = floor(time, offset, size);
                each(Window { start, end: start.saturating_add(size) });
            }
            Windows::Hop { size, slide, offset } => {
                let last = floor(time, offset, slide);
                // If the slide is longer than the size, some times are in no window.
                let count = (time - last..size).step_by(slide.unsigned_abs() as usize).count() as i64;
                for n in (0..count).rev() {
                    let start = last.saturating_sub(n * slide);
                    each(Window { start, end: start.saturating_add(size) });
                }
            }
            Windows::Cumulate { size, step, offset } => {
                let start = floor(time, offset, size);
                let mut end = floor(time, offset, step).saturating_add(step);
                while end <= start.saturating_add(size) {
                    each(Window { start, end });
                    end = match end.checked_add(step) {
                        Some(next) => next,
                        None => break,
                    };
                }
            }
            Windows::Session { gap } => each(Window { start: time, end: time.saturating_add(gap) }),
        }
    }
}

/// Slices: the disjoint pieces that overlapping windows share, so that each row is aggregated only once. A slice is identified by its end.
/// A window consists of the slices whose ends are after its start and not after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slices {
    /// The windows that are merged from slices.
    pub windows: Windows,
    /// The length of a slice.
    size: i64,
    /// The offset of their starts from 1970.
    offset: i64,
    /// The time between the ends of two consecutive windows, and one such end.
    every: i64,
    end: i64,
}

impl Slices {
    /// The slices of windows, if the windows overlap.
    pub fn of(windows: Windows) -> Option<Slices> {
        match windows {
            Windows::Hop { size, slide, offset } if slide < size => {
                let length = greatest_divisor(size, slide);
                let (offset, end) = (offset.rem_euclid(length), offset.wrapping_add(size).rem_euclid(slide));
                Some(Slices { windows, size: length, offset, every: slide, end })
            }
            Windows::Cumulate { size, step, offset } if step < size => {
                let offset = offset.rem_euclid(step);
                Some(Slices { windows, size: step, offset, every: step, end: offset })
            }
            Windows::Tumble { .. } | Windows::Hop { .. } | Windows::Cumulate { .. } | Windows::Session { .. } => None,
        }
    }

    /// The slices as tumbling windows.
    pub fn shape(self) -> Windows {
        Windows::Tumble { size: self.size, offset: self.offset }
    }

    /// The end of the first window that does not end before a time.
    pub fn first_end(self, moment: i64) -> i64 {
        moment.saturating_add(self.end.wrapping_sub(moment).rem_euclid(self.every))
    }

    /// The end of the last window that contains a slice.
    pub fn last_end(self, slice: i64) -> i64 {
        let first = slice.saturating_sub(self.size);
        match self.windows {
            Windows::Hop { size, .. } => {
                let most = first.saturating_add(size);
                most.saturating_sub(most.wrapping_sub(self.end).rem_euclid(self.every))
            }
            Windows::Cumulate { size, offset, .. } => floor(first, offset, size).saturating_add(size),
            Windows::Tumble { .. } | Windows::Session { .. } => slice,
        }
    }

    /// The start of the window with this end. Windows of CUMULATE that begin together have the same start.
    pub fn start(self, end: i64) -> i64 {
        match self.windows {
            Windows::Hop { size, .. } => end.saturating_sub(size),
            Windows::Cumulate { size, offset, .. } => floor(end.saturating_sub(1), offset, size),
            Windows::Tumble { .. } | Windows::Session { .. } => end.saturating_sub(self.size),
        }
    }

    /// The first slice of the window with this start.
    pub fn first_slice(self, start: i64) -> i64 {
        start.saturating_add(self.size)
    }

    /// Whether windows begin together and contain each other, so that each is the previous one plus a slice.
    pub fn nests(self) -> bool {
        matches!(self.windows, Windows::Cumulate { .. })
    }
}

fn greatest_divisor(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Bytes of a window's start or end in an encoded key.
pub const BORDER_BYTES: usize = 13;

/// Encodes a window's start or end as a column of a key.
pub fn border_in_key(millis: i64) -> [u8; BORDER_BYTES] {
    let mut border = [1; BORDER_BYTES];
    border[1..9].copy_from_slice(&sortable(millis.div_euclid(1000)));
    border[9..].copy_from_slice(&((millis.rem_euclid(1000) as u32) * 1_000_000).to_be_bytes());
    border
}

/// The window end in an encoded key, of which it is the first column, in milliseconds.
///
/// # Errors
/// If the key does not begin with a window end, which means that the store is corrupt.
pub fn end_in_key(key: &[u8]) -> Result<i64> {
    let damaged = || Error::state("the key of a window in the state is damaged");
    let (seconds, rest) = key.get(1..).and_then(|rest| rest.split_first_chunk::<8>()).ok_or_else(damaged)?;
    let nanos = rest.first_chunk::<4>().ok_or_else(damaged)?;
    let seconds = from_sortable(*seconds);
    Ok(seconds.saturating_mul(1000).saturating_add(i64::from(u32::from_be_bytes(*nanos) / 1_000_000)))
}

/// Formats a duration in the greatest unit in which it is a whole number.
pub(crate) fn length(millis: i64) -> String {
    const UNITS: [(i64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| millis % unit == 0).unwrap_or((1, "ms"));
    format!("{} {name}", millis / unit)
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let behind = |offset: i64| if offset == 0 { String::new() } else { format!(", offset {}", length(offset)) };
        match self {
            Windows::Tumble { size, offset } => write!(f, "TUMBLE({}{})", length(*size), behind(*offset)),
            Windows::Hop { size, slide, offset } => {
                write!(f, "HOP({}, {}{})", length(*slide), length(*size), behind(*offset))
            }
            Windows::Cumulate { size, step, offset } => {
                write!(f, "CUMULATE({}, {}{})", length(*step), length(*size), behind(*offset))
            }
            Windows::Session { gap } => write!(f, "SESSION({})", length(*gap)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(windows: Windows, time: i64) -> Vec<(i64, i64)> {
        let mut found = vec![];
        windows.each(time, |w| found.push((w.start, w.end)));
        found
    }

    #[test]
    fn a_moment_is_in_the_windows_that_a_naive_search_finds() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..2_000 {
            let (slide, time) = (random.i64(1..7), random.i64(-60..60));
            let size = random.i64(1..20);
            let offset = random.i64(1 - size..size);
            let starts = (-100..100).filter(|s: &i64| (s - offset).rem_euclid(slide) == 0);
            let hops: Vec<_> = starts.map(|s| (s, s + size)).filter(|(s, e)| *s <= time && time < *e).collect();
            assert_eq!(all(Windows::Hop { size, slide, offset }, time), hops);
            let tumbles: Vec<_> = (-100..100)
                .filter(|s: &i64| (s - offset).rem_euclid(size) == 0)
                .map(|s| (s, s + size))
                .filter(|(s, e)| *s <= time && time < *e)
                .collect();
            assert_eq!(all(Windows::Tumble { size, offset }, time), tumbles);
            let step = size;
            let size = step * random.i64(1..5);
            let (start, _) = all(Windows::Tumble { size, offset }, time)[0];
            let steps = (1..=size / step).map(|n| (start, start + n * step)).filter(|(_, e)| time < *e);
            assert_eq!(all(Windows::Cumulate { size, step, offset }, time), steps.collect::<Vec<_>>());
        }
        assert_eq!(all(Windows::Session { gap: 5 }, -2), [(-2, 3)]);
        assert_eq!(all(Windows::Hop { size: 2, slide: 5, offset: 0 }, 3), []);
        assert_eq!(all(Windows::Tumble { size: 10, offset: 0 }, i64::MIN + 3).len(), 1);
    }

    #[test]
    fn windows_are_put_together_of_their_slices() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..2_000 {
            let step = random.i64(1..7);
            let offset = random.i64(-6..7);
            let hop = Windows::Hop { size: random.i64(2..25), slide: step, offset };
            let windows = [hop, Windows::Cumulate { size: step * random.i64(2..6), step, offset }];
            let Some(slices) = Slices::of(windows[random.usize(0..2)]) else { continue };
            let time = random.i64(-60..60);
            let (_, slice) = all(slices.shape(), time)[0];
            let of_row = all(slices.windows, time);
            // From the slice, step by step, come exactly the windows that the row is in.
            let (mut found, mut end) = (vec![], slices.first_end(slice));
            while end <= slices.last_end(slice) {
                found.push((slices.start(end), end));
                end = slices.first_end(end + 1);
            }
            assert_eq!(found, of_row, "{slices:?} of {time}");
            let first = slices.first_slice(of_row[0].0);
            assert_eq!(all(slices.shape(), of_row[0].0), [(of_row[0].0, first)]);
        }
        assert_eq!(Slices::of(Windows::Hop { size: 5, slide: 5, offset: 0 }), None);
        assert_eq!(Slices::of(Windows::Tumble { size: 5, offset: 0 }), None);
    }

    #[test]
    fn what_cannot_be_is_told() {
        let wrong = |w: Windows| w.checked().expect_err("windows that cannot be").message;
        assert_eq!(
            wrong(Windows::Tumble { size: 60_000, offset: 90_000 }),
            "the offset of TUMBLE(1 min, offset 90 s) must be shorter than 1 min"
        );
        assert_eq!(
            wrong(Windows::Cumulate { size: 3_600_000, step: 7_000, offset: 0 }),
            "the size of CUMULATE(7 s, 1 h) must be a multiple of the step"
        );
        assert_eq!(wrong(Windows::Session { gap: 0 }), "the gap of SESSION(0 d) must be longer than nothing");
        assert!(Windows::Hop { size: 10, slide: 20, offset: -9 }.checked().is_ok());
    }
}
