//! How long no rows flow when new subtasks take the place of others: from the last row that a sink took to the next one.

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
    /// When a sink took rows last. This and the next in microseconds since it began; 0: never.
    last: AtomicU64,
    /// When the pause at hand began.
    from: AtomicU64,
    /// Whether new subtasks have not brought a row yet, and who waits until they have.
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

    /// A sink has taken rows.
    pub fn row_out(&self) {
        let now = self.micros(Instant::now());
        self.last.store(now, Ordering::Relaxed);
        if self.open.load(Ordering::Relaxed) && self.open.swap(false, Ordering::Relaxed) {
            self.set(now);
            self.tell();
            tracing::debug!("rows again {:.3} s after the last ones", self.seconds(now));
        }
    }

    /// When a sink took rows last; the beginning where none has.
    pub fn last_row(&self) -> Instant {
        self.began + Duration::from_micros(self.last.load(Ordering::Relaxed))
    }

    /// The subtasks have come to their end, which was asked for at a time, or was not. Where no rows flowed anyway, nothing pauses
    /// before that.
    pub fn ended(&self, asked: Option<Instant>) {
        let end = self.micros(asked.unwrap_or_else(Instant::now));
        self.from.store(end.max(self.last.load(Ordering::Relaxed)), Ordering::Relaxed);
        tracing::debug!("the last rows were {:.3} s ago", self.seconds(self.micros(Instant::now())));
    }

    /// New subtasks are at work. That is what the pause came to as long as there is no row for them.
    pub fn begun(&self) {
        if self.from.load(Ordering::Relaxed) > 0 {
            self.set(self.micros(Instant::now()));
            self.open.store(true, Ordering::Relaxed);
        }
    }

    /// An epoch went by: if there was no row in it, none was kept waiting.
    pub fn epoch(&self) {
        self.open.store(false, Ordering::Relaxed);
        self.tell();
    }

    /// Waits until the next row makes the pause no longer, or for so long.
    pub fn wait(&self, time: Duration) {
        // Whether it is over by then is seen by the gauge.
        let _ = self.closed.wait_timeout_while(locked(&self.waiting), time, |()| self.open());
    }

    /// Tells those who wait, none of whom is between looking and waiting.
    fn tell(&self) {
        drop(locked(&self.waiting));
        self.closed.notify_all();
    }

    /// Whether the next row may still make the pause longer.
    fn open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Since the pause began.
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
    use std::thread::sleep;

    fn pause() -> (Pause, Gauge) {
        let gauge = Gauge::new("pause", "A pause.").expect("a name");
        let pause = Pause::default();
        pause.show(gauge.clone());
        (pause, gauge)
    }

    #[test]
    fn from_the_last_row_to_the_next() {
        let (pause, gauge) = pause();
        let asked = Instant::now();
        sleep(Duration::from_millis(20));
        pause.row_out();
        let last = Instant::now();
        pause.ended(Some(asked));
        sleep(Duration::from_millis(20));
        pause.begun();
        let provisional = gauge.get();
        assert!(provisional >= 0.02 && pause.open());
        sleep(Duration::from_millis(20));
        pause.row_out();
        assert!(gauge.get() >= provisional + 0.02 && gauge.get() <= last.elapsed().as_secs_f64() + 0.001);
        let first = gauge.get();
        sleep(Duration::from_millis(5));
        pause.row_out();
        assert_eq!(gauge.get(), first, "only the first row counts");
    }

    #[test]
    fn where_nothing_flows_nothing_waits() {
        let (pause, gauge) = pause();
        pause.begun();
        assert!(!pause.open(), "the first subtasks follow nobody");
        pause.row_out();
        sleep(Duration::from_millis(50));
        pause.ended(None);
        pause.begun();
        pause.epoch();
        let told = gauge.get();
        sleep(Duration::from_millis(10));
        pause.row_out();
        assert!(gauge.get() == told && told < 0.04, "{told}");
    }
}
