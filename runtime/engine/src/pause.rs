//! Measures how long no rows flow when subtasks are replaced: from the last row that a sink took to the next one.

use prometheus::Gauge;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};
use weir_core::thread::locked;

/// Measures a job's pauses.
#[derive(Debug)]
pub(crate) struct Pause {
    began: Instant,
    gauge: OnceLock<Gauge>,
    /// When a sink last took rows. This and the next are in microseconds since `began`; 0: never.
    last: AtomicU64,
    /// When the current pause began.
    from: AtomicU64,
    /// Whether no row has come through the new subtasks yet, and the means to wait for one.
    open: AtomicBool,
    waiting: Mutex<()>,
    closed: Condvar,
}

impl Default for Pause {
    fn default() -> Self {
        Pause {
            began: Instant::now(),
            gauge: OnceLock::new(),
            last: AtomicU64::new(0),
            from: AtomicU64::new(0),
            open: AtomicBool::new(false),
            waiting: Mutex::new(()),
            closed: Condvar::new(),
        }
    }
}

impl Pause {
    /// Shows pauses in a metric, in seconds.
    pub fn show(&self, gauge: Gauge) {
        let _ = self.gauge.set(gauge);
    }

    fn micros(&self, at: Instant) -> u64 {
        (at.saturating_duration_since(self.began).as_micros() as u64).max(1)
    }

    /// Records that a sink has received rows.
    pub fn row_out(&self, now: Instant) {
        let now = self.micros(now);
        self.last.store(now, Ordering::Relaxed);
        if self.open.load(Ordering::Relaxed) && self.open.swap(false, Ordering::Relaxed) {
            self.set(now);
            self.tell();
            tracing::debug!("rows again {:.3} s after the last ones", self.seconds(now));
        }
    }

    /// When a sink last took rows; when the measurement began if none has.
    pub fn last_row(&self) -> Instant {
        self.began + Duration::from_micros(self.last.load(Ordering::Relaxed))
    }

    /// Records that the subtasks have ended, as requested at `asked` or without a request. The pause begins at the request, or at the last
    /// row after it.
    pub fn ended(&self, asked: Option<Instant>, now: Instant) {
        let end = self.micros(asked.unwrap_or(now));
        self.from.store(end.max(self.last.load(Ordering::Relaxed)), Ordering::Relaxed);
        tracing::debug!("the last rows were {:.3} s ago", self.seconds(self.micros(now)));
    }

    /// Records that new subtasks are running. The pause ends here unless a row passes through them later.
    pub fn begun(&self, now: Instant) {
        if self.from.load(Ordering::Relaxed) > 0 {
            self.set(self.micros(now));
            self.open.store(true, Ordering::Relaxed);
        }
    }

    /// Records the end of an epoch. If no row passed through in it, none was waiting.
    pub fn epoch(&self) {
        self.open.store(false, Ordering::Relaxed);
        self.tell();
    }

    /// Waits until the length of the pause is final, for at most `time`.
    pub fn wait(&self, time: Duration) {
        // The gauge shows whether it is over by then.
        let _ = self.closed.wait_timeout_while(locked(&self.waiting), time, |()| self.open());
    }

    /// Notifies those who wait. The lock makes sure that none of them has checked the condition and does not wait yet.
    fn tell(&self) {
        drop(locked(&self.waiting));
        self.closed.notify_all();
    }

    /// Whether the pause may still become longer.
    fn open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// The seconds since the pause began.
    fn seconds(&self, now: u64) -> f64 {
        now.saturating_sub(self.from.load(Ordering::Relaxed)) as f64 / 1e6
    }

    fn set(&self, now: u64) {
        self.gauge.get().into_iter().for_each(|g| g.set(self.seconds(now)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pause, its metric, and the instant so many milliseconds after its beginning.
    fn pause() -> (Pause, Gauge, impl Fn(u64) -> Instant) {
        let gauge = Gauge::new("pause", "A pause.").expect("a name");
        let pause = Pause::default();
        pause.show(gauge.clone());
        let began = pause.began;
        (pause, gauge, move |millis| began + Duration::from_millis(millis))
    }

    #[test]
    fn from_the_last_row_to_the_next() {
        let (pause, gauge, at) = pause();
        pause.row_out(at(30));
        // Asked for before the last row: the pause begins with that.
        pause.ended(Some(at(10)), at(31));
        pause.begun(at(50));
        assert!(pause.open());
        assert_eq!(gauge.get(), 0.02, "so far");
        pause.row_out(at(75));
        assert!(!pause.open());
        assert_eq!(gauge.get(), 0.045);
        pause.row_out(at(80));
        assert_eq!(gauge.get(), 0.045, "only the first row counts");
    }

    #[test]
    fn where_nothing_flows_nothing_waits() {
        let (pause, gauge, at) = pause();
        pause.begun(at(1));
        assert!(!pause.open(), "the first subtasks follow nobody");
        pause.row_out(at(2));
        pause.ended(None, at(52));
        pause.begun(at(53));
        pause.epoch();
        pause.row_out(at(70));
        assert_eq!(gauge.get(), 0.001, "the next row came long after nobody waited for it");
    }
}
