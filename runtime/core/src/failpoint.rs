//! Failpoints: named points before and after every durable step, at which a test can end, delay or fail the process.
//!
//! `WEIR_FAILPOINTS` holds `point=action` pairs, separated by commas: `abort` ends the process there, `full` makes the
//! step fail as on a full disk, `sleep(5)` waits so many milliseconds. `abort@3` and `full@3` act at the third time only,
//! and at the first where no number is given; `sleep` acts every time. Without the variable a point costs one look at a
//! static. (The crate `fail` is compiled away unless everything is built once more, and has no action that ends the process.)

use std::collections::HashMap;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Abort,
    Full,
    Sleep(u64),
}

#[derive(Debug)]
struct Armed {
    action: Action,
    /// At which pass it acts; a sleep without a number acts at each.
    at: Option<u64>,
    hits: AtomicU64,
}

fn parse(text: &str) -> HashMap<String, Armed> {
    let one = |part: &str| {
        let (name, action) = part.trim().split_once('=')?;
        let (action, at) = action.split_once('@').map_or((action, None), |(a, n)| (a, Some(n)));
        let action = match action {
            "abort" => Action::Abort,
            "full" => Action::Full,
            other => Action::Sleep(other.strip_prefix("sleep(")?.strip_suffix(')')?.parse().ok()?),
        };
        let at = match at {
            Some(n) => Some(n.parse().ok()?),
            None if matches!(action, Action::Sleep(_)) => None,
            None => Some(1),
        };
        Some((name.to_string(), Armed { action, at, hits: AtomicU64::new(0) }))
    };
    text.split(',').filter_map(one).collect()
}

fn armed() -> &'static HashMap<String, Armed> {
    static ARMED: OnceLock<HashMap<String, Armed>> = OnceLock::new();
    ARMED.get_or_init(|| std::env::var("WEIR_FAILPOINTS").map(|t| parse(&t)).unwrap_or_default())
}

/// Passes a failpoint.
///
/// # Errors
/// If the failpoint has the action `full`: the error of a write to a full disk.
pub fn pass(name: &str) -> io::Result<()> {
    let Some(a) = armed().get(name) else {
        return Ok(());
    };
    let hit = a.hits.fetch_add(1, Ordering::Relaxed) + 1;
    if a.at.is_some_and(|at| at != hit) {
        return Ok(());
    }
    match a.action {
        Action::Sleep(millis) => std::thread::sleep(Duration::from_millis(millis)),
        Action::Abort => std::process::abort(),
        Action::Full => return Err(io::ErrorKind::StorageFull.into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_with_their_numbers() {
        let a = parse("a=abort,b=full@3, c=sleep(5),d=nonsense,e");
        assert_eq!((a["a"].action, a["a"].at), (Action::Abort, Some(1)));
        assert_eq!((a["b"].action, a["b"].at), (Action::Full, Some(3)));
        assert_eq!((a["c"].action, a["c"].at), (Action::Sleep(5), None));
        assert_eq!(a.len(), 3);
    }
}
