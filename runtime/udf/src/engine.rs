//! The wasmtime engine of the process, and the calls that run in it. While there are any, a thread advances the engine's clock, which
//! interrupts guests at their time limits.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use wasmtime::{Config, Engine};
use weir_core::thread::locked;
use weir_core::{Error, Result};

/// The running calls of guests, by number, and their start. The clock is only advanced while there are any.
static CALLS: Mutex<Calls> = Mutex::new(Calls { last: 0, since: BTreeMap::new() });
static TICKER: OnceLock<std::thread::Thread> = OnceLock::new();

struct Calls {
    last: u64,
    since: BTreeMap<u64, Instant>,
}

/// A running call, which ends when this is dropped.
pub(crate) struct Runs(u64);

impl Runs {
    pub fn new() -> Self {
        let mut calls = locked(&CALLS);
        calls.last += 1;
        if calls.since.is_empty() {
            TICKER.get().into_iter().for_each(std::thread::Thread::unpark);
        }
        let number = calls.last;
        calls.since.insert(number, Instant::now());
        Runs(number)
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        locked(&CALLS).since.remove(&self.0);
    }
}

/// How long the longest running call has been running.
pub fn longest_call() -> Duration {
    locked(&CALLS).since.values().map(Instant::elapsed).max().unwrap_or_default()
}

/// The engine of the process.
///
/// # Errors
/// If this machine cannot run it.
pub fn engine() -> Result<&'static Engine> {
    static ENGINE: OnceLock<Result<Engine>> = OnceLock::new();
    let made = ENGINE.get_or_init(|| {
        let mut c = Config::new();
        c.epoch_interruption(true).concurrency_support(false).memory_init_cow(true).max_wasm_stack(1 << 20);
        let engine = Engine::new(&c)
            .map_err(|e| Error::tool(format!("the Wasm engine does not start: {e:#}")).with_source(e))?;
        let weak = engine.weak();
        let ticker = std::thread::Builder::new()
            .name("weir-ticker".to_string())
            .spawn(move || {
                while let Some(e) = weak.upgrade() {
                    if !locked(&CALLS).since.is_empty() {
                        e.increment_epoch();
                        drop(e);
                    } else {
                        drop(e);
                        std::thread::park();
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            })
            .map_err(|e| Error::io("cannot start a thread").caused_by(e))?;
        let _ = TICKER.set(ticker.thread().clone());
        Ok(engine)
    });
    made.as_ref().map_err(Error::clone)
}
