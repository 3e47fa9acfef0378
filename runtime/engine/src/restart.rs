//! When a failed job starts again, and when it is given up.

use std::time::{Duration, Instant};
use weir_core::{Error, Result};

/// How often a failed job is started again.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are named after Flink's options")]
pub enum RestartStrategy {
    /// Never.
    None,
    /// So many times, so far apart.
    FixedDelay { attempts: u32, delay: Duration },
    /// As long as no more than so many failures fall into an interval.
    FailureRate { failures: u32, interval: Duration, delay: Duration },
    /// With growing distance, so many times; counted anew after so long without a failure.
    ExponentialDelay { initial: Duration, max: Duration, multiplier: f64, attempts: u32, reset: Duration },
}

/// The failures of a job, as far as they count.
#[derive(Default)]
pub(crate) struct Failures(Vec<Instant>);

impl Failures {
    /// Counts a failure after the job has run so long, and says how long to wait before it starts again.
    ///
    /// # Errors
    /// The failure itself, where the job is given up.
    pub fn wait(&mut self, strategy: &RestartStrategy, error: &Error, ran: Duration) -> Result<Duration> {
        if matches!(strategy, RestartStrategy::ExponentialDelay { reset, .. } if ran > *reset) {
            self.0.clear();
        }
        self.0.push(Instant::now());
        let count = self.0.len() as u32;
        let given_up = || Err(error.clone().context(format!("given up after {count} failures")));
        match strategy {
            RestartStrategy::None => Err(error.clone()),
            RestartStrategy::FixedDelay { attempts, .. } if count > *attempts => given_up(),
            RestartStrategy::FixedDelay { delay, .. } => Ok(*delay),
            RestartStrategy::FailureRate { failures: most, interval, delay } => {
                self.0.retain(|f| f.elapsed() < *interval);
                if self.0.len() > *most as usize { given_up() } else { Ok(*delay) }
            }
            RestartStrategy::ExponentialDelay { attempts, .. } if count > *attempts => given_up(),
            RestartStrategy::ExponentialDelay { initial, max, multiplier, .. } => {
                Ok(grown(*initial, *max, *multiplier, count))
            }
        }
    }
}

/// The distance after so many failures. What grows without bound is compared before it is a duration, which it may not fit.
fn grown(initial: Duration, max: Duration, multiplier: f64, failures: u32) -> Duration {
    let times = multiplier.powi(i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX));
    let seconds = initial.as_secs_f64() * times;
    if seconds < max.as_secs_f64() { Duration::from_secs_f64(seconds) } else { max }
}

#[cfg(test)]
mod tests {
    use super::*;

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
