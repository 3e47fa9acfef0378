//! Catches panics, and reports them as errors instead of printing them.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<usize> = const { Cell::new(0) };
    static WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a function that may panic. A panic is not printed; its message and its place in the source code are returned.
///
/// # Errors
/// The message of the panic.
pub fn caught<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |info| {
            if CATCHING.get() == 0 {
                return others(info);
            }
            let payload = info.payload();
            let words = payload.downcast_ref::<&str>().map(|s| (*s).to_string());
            let words = words.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
            let words: String = words.chars().take(300).collect();
            let place = info.location().map_or(String::new(), |l| {
                let file = l.file().rsplit('/').next().unwrap_or_default();
                format!(" ({file}:{})", l.line())
            });
            WORDS.set(format!("{words}{place}"));
        }));
    });
    CATCHING.set(CATCHING.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(f));
    CATCHING.set(CATCHING.get() - 1);
    result.map_err(|_| WORDS.take())
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_and_place_come_back() {
        assert_eq!(super::caught(|| 1), Ok(1));
        let words = super::caught(|| panic!("no {}", 7)).unwrap_err();
        assert!(words.starts_with("no 7 (panics.rs:"), "{words}");
    }
}
