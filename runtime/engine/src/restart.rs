//! Restart strategies: when a failed job is restarted, and when it fails for good.

use std::time::{Duration, Instant};
use weir_core::{Error, Result};

/// When a failed job is restarted, as Flink's strategies of the same names do.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are named after Flink's options")]
pub enum RestartStrategy {
    /// Never.
    None,
    /// After a fixed delay, for a number of attempts.
    FixedDelay { attempts: u32, delay: Duration },
    /// As long as there are no more than a number of failures in an interval.
    FailureRate { failures: u32, interval: Duration, delay: Duration },
    /// After a growing delay, for a number of attempts. Delay and attempts start anew after a time without a failure.
    ExponentialDelay { initial: Duration, max: Duration, multiplier: f64, attempts: u32, reset: Duration },
}

/// The failures of a job that a strategy takes into account.
#[derive(Default)]
pub(crate) struct Failures(Vec<Instant>);

impl Failures {
    /// Counts a failure of a job, and gives the delay before its restart.
    ///
    /// # Errors
    /// The failure itself, if the job is not restarted.
    pub fn wait(&mut self, strategy: &RestartStrategy, error: &Error, ran: Duration, now: Instant) -> Result<Duration> {
        if matches!(strategy, RestartStrategy::ExponentialDelay { reset, .. } if ran > *reset) {
            self.0.clear();
        }
        self.0.push(now);
        let count = self.0.len() as u32;
        let given_up = || Err(error.clone().context(format!("given up after {count} failures")));
        match strategy {
            RestartStrategy::None => Err(error.clone()),
            RestartStrategy::FixedDelay { attempts, .. } if count > *attempts => given_up(),
            RestartStrategy::FixedDelay { delay, .. } => Ok(*delay),
            RestartStrategy::FailureRate { failures: most, interval, delay } => {
                self.0.retain(|f| now.duration_since(*f) < *interval);
                if self.0.len() > *most as usize { given_up() } else { Ok(*delay) }
            }
            RestartStrategy::ExponentialDelay { attempts, .. } if count > *attempts => given_up(),
            RestartStrategy::ExponentialDelay { initial, max, multiplier, .. } => {
                Ok(grown(*initial, *max, *multiplier, count))
            }
        }
    }
}

/// The delay after a number of failures. It is limited before it becomes a duration, which it might not fit.
fn grown(initial: Duration, max: Duration, multiplier: f64, failures: u32) -> Duration {
    let times = multiplier.powi(i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX));
    let seconds = initial.as_secs_f64() * times;
    if seconds < max.as_secs_f64() { Duration::from_secs_f64(seconds) } else { max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_within_the_interval_count() {
        let (second, start) = (Duration::from_secs(1), Instant::now());
        let strategy = RestartStrategy::FailureRate { failures: 2, interval: 10 * second, delay: second };
        let (mut failures, error) = (Failures::default(), Error::io("away"));
        let mut fails = |at: u32| failures.wait(&strategy, &error, second, start + at * second);
        assert_eq!(fails(0).ok(), Some(second));
        assert_eq!(fails(5).ok(), Some(second));
        // The first is ten seconds old, and out.
        assert_eq!(fails(10).ok(), Some(second));
        assert!(fails(14).is_err_and(|e| e.to_string().contains("given up after")));
    }

    #[test]
    fn distances_begin_anew_after_a_time_without_a_failure() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        let strategy = RestartStrategy::ExponentialDelay {
            initial: second,
            max: 60 * second,
            multiplier: 2.0,
            attempts: 3,
            reset: 100 * second,
        };
        let (mut failures, error) = (Failures::default(), Error::io("away"));
        let mut fails = |ran: u32| failures.wait(&strategy, &error, ran * second, now);
        assert_eq!([fails(1).ok(), fails(1).ok(), fails(1).ok()], [Some(second), Some(2 * second), Some(4 * second)]);
        assert_eq!(fails(101).ok(), Some(second), "counted anew");
        assert!([fails(1), fails(1)].iter().all(Result::is_ok) && fails(1).is_err());
    }

    #[test]
    fn distances_grow_up_to_their_limit() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(grown(second, minute, 1.5, 1), second);
        assert_eq!(grown(second, minute, 1.5, 3), Duration::from_millis(2250));
        for failures in [20, 127, 128, 2_000, u32::MAX] {
            assert_eq!(grown(second, minute, 1.5, failures), minute, "{failures}");
            assert_eq!(grown(second, minute, 1.0, failures), second, "{failures}");
        }
        assert_eq!(grown(second, Duration::MAX, 1e300, 5), Duration::MAX);
    }
}
