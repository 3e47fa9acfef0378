//! Retries requests after an outage, as Flink's lookups do.

use backon::BlockingRetryable;
use std::time::Duration;
use weir_core::{Error, Result};

/// Sends a request to an external system and retries it up to `retries` times after an outage. The first retry comes after one second, the
/// next after two more, and so on. The request must be safe to repeat.
///
/// # Errors
/// The error of the last attempt.
pub(crate) fn asked<T>(retries: u32, ask: impl FnMut() -> Result<T>) -> Result<T> {
    let waits = (1..=u64::from(retries)).map(Duration::from_secs);
    let again = |e: &Error, wait: Duration| tracing::warn!("asked again in {wait:?}: {e}");
    ask.retry(waits).when(Error::is_retriable).notify(again).call()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_waited_for_and_refusals_are_not() {
        let mut calls = 0;
        let outage = || -> Result<u32> {
            calls += 1;
            if calls == 2 { Ok(calls) } else { Err(Error::io("away")) }
        };
        assert_eq!(asked(1, outage).expect("the second answer"), 2);
        let mut calls = 0;
        let refused = || -> Result<()> {
            calls += 1;
            Err(Error::script("no such table"))
        };
        assert!(asked(5, refused).is_err());
        assert_eq!(calls, 1);
        assert!(asked(0, || -> Result<()> { Err(Error::io("away")) }).is_err());
    }
}
