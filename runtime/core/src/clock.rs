//! Clocks: the processing time of operators, which tests can set; the CPU time of operators and functions; and the time in which threads
//! wait for a core, which does not count as theirs.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The clock of processing time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Milliseconds since 1970.
    fn now(&self) -> i64;
    /// How long to wait before checking whether a time has been reached.
    fn until(&self, time: i64) -> Duration {
        Duration::from_millis(time.saturating_sub(self.now()).max(0) as u64)
    }
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
    }
}

/// A clock that only moves when it is set.
///
/// # Examples
/// ```
/// use weir_core::clock::{Clock, ManualClock};
///
/// let clock = ManualClock::new(1_000);
/// clock.turn_to(61_000);
/// assert_eq!(clock.now(), 61_000);
/// ```
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock at a time, in milliseconds since 1970.
    pub fn new(now: i64) -> Self {
        ManualClock(AtomicI64::new(now))
    }
    /// Sets the clock.
    pub fn turn_to(&self, now: i64) {
        self.0.store(now, Ordering::Release);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }
    fn until(&self, time: i64) -> Duration {
        // The clock may be set at any moment.
        Duration::from_millis(u64::from(time > self.now()))
    }
}

/// The CPU time that the calling thread has used since its start.
pub fn thread_cpu() -> Duration {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local of the right type; the call writes nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut t) };
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// How long the calling thread was runnable without a core since its start, as counted by the kernel. None if the kernel does not provide
/// the number.
pub fn thread_queued() -> Option<Duration> {
    thread_local! {
        static STATISTICS: RefCell<Option<File>> = RefCell::new(File::open("/proc/thread-self/schedstat").ok());
    }
    STATISTICS.with_borrow(|file| {
        let mut text = [0; 64];
        let read = file.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..read]).ok()?;
        Some(Duration::from_nanos(text.split(' ').nth(1)?.trim().parse().ok()?))
    })
}

/// The number of cores that the process may use: those of its CPU affinity, limited by the cgroup's quota.
pub fn cores() -> f64 {
    static CORES: OnceLock<f64> = OnceLock::new();
    *CORES.get_or_init(|| {
        let all = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        quota().map_or(all, |q| q.min(all))
    })
}

/// The cgroup's CPU quota in cores, without rounding. The standard library rounds it down.
fn quota() -> Option<f64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|l| l.strip_prefix("0::"))?.trim_start_matches('/').to_string();
    let folders = [format!("/sys/fs/cgroup/{path}"), "/sys/fs/cgroup".to_string()];
    let text = folders.iter().find_map(|f| std::fs::read_to_string(format!("{f}/cpu.max")).ok())?;
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_grow() {
        let (cpu, queued) = (thread_cpu(), thread_queued());
        let mut x = 0_u64;
        while thread_cpu() < cpu + Duration::from_millis(5) {
            x = std::hint::black_box(x + 1);
        }
        assert!(thread_queued() >= queued);
        assert!(cores() > 0.0);
    }
}
