//! What it costs that a million small entries of keyed state expire: the time of the operator, of the epoch, of bringing all into sled,
//! and the bytes of the epoch's file. `cargo bench --workspace --bench expire`; ENTRIES=1000000 by default.

use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::clock::SystemClock;
use weir_core::event_time::Watermark;
use weir_core::graph::{JobIdentity, SubtaskContext};
use weir_core::keyed::{KeyedState, MapState, TimeDomain, Timers};
use weir_core::metrics::Metrics;
use weir_core::sortable::sortable;
use weir_core::state::{Epoch, OperatorId, StateBackend, StateHandle, StateReader};
use weir_state::{Folder, Store};

const ROWS: MapState = MapState::new(0);
const ROW: [u8; 32] = [7; 32];

struct Job {
    store: Arc<Store>,
    operator: OperatorId,
    state: KeyedState<()>,
    timers: Timers,
    epoch: u64,
}

fn start(folder: &Folder) -> Job {
    let store = Arc::new(Store::open(folder, 256 << 20).expect("a store"));
    let operator = store.operator("operator").expect("a number");
    let context = SubtaskContext {
        node: "operator".to_string(),
        subtask: 0,
        parallelism: 1,
        job: JobIdentity { id: String::new(), run: String::new() },
        state: StateHandle { operator, reader: store.clone() },
        resumes_at: Watermark::NONE,
        cache_bytes: 512 << 20,
        batch_rows: 8192,
        metrics: Metrics::new().expect("metrics").subtask("operator", 0),
        clock: Arc::new(SystemClock),
    };
    let state = KeyedState::open((), &context, 0).expect("the state");
    let epoch = store.last_epoch().0;
    Job { store, operator, state, timers: Timers::new(TimeDomain::Event, &context), epoch }
}

impl Job {
    /// Ends an epoch. Gives the bytes of its file.
    fn end_epoch(&mut self) -> u64 {
        self.epoch += 1;
        let changes = self.state.checkpoint().expect("an epoch");
        self.store.stage(self.operator, Epoch(self.epoch), changes);
        let bytes = self.store.commit(Epoch(self.epoch), &vec![], false).expect("an epoch");
        self.store.delivered(Epoch(self.epoch)).expect("a delivery");
        bytes
    }
}

/// A kind of state: how entries come, and how they expire.
struct Kind {
    name: &'static str,
    fill: fn(&mut Job, u64),
    expire: fn(&mut Job, u64),
}

fn put(job: &mut Job, key: &[u8], time: u64) {
    ROWS.put(&mut job.state, key, &[sortable(time as i64), time.to_be_bytes()].concat(), &ROW);
}

/// Takes the entries of a key up to a time away.
fn drop_until(job: &mut Job, key: &[u8], time: u64) {
    let end = sortable(time as i64);
    ROWS.take(&mut job.state, key, &[], Some(&end), usize::MAX).expect("entries");
}

fn sessions(of: u64) -> impl Fn(&mut Job, u64) {
    move |job, entries| {
        for n in 0..entries {
            put(job, format!("key {:06}", n % (entries / of)).as_bytes(), n);
        }
    }
}

fn end_sessions(of: u64) -> impl Fn(&mut Job, u64) {
    move |job, entries| {
        for key in 0..entries / of {
            drop_until(job, format!("key {key:06}").as_bytes(), entries);
        }
    }
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "sort: one key",
        fill: |job, n| (0..n).for_each(|t| put(job, &[], t)),
        expire: |job, n| (1..=100).for_each(|p| drop_until(job, &[], p * n / 100)),
    },
    Kind { name: "sessions of 100", fill: |job, n| sessions(100)(job, n), expire: |job, n| end_sessions(100)(job, n) },
    Kind { name: "sessions of 3", fill: |job, n| sessions(3)(job, n), expire: |job, n| end_sessions(3)(job, n) },
    Kind {
        name: "timers",
        fill: |job, n| (0..n).for_each(|t| job.timers.set(&mut job.state, t as i64, format!("key {t:06}").as_bytes())),
        expire: |job, n| while job.timers.due(&mut job.state, n as i64, 1024).expect("timers").len() == 1024 {},
    },
];

fn main() {
    let entries = std::env::var("ENTRIES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    println!("{:<34} {:>9} {:>9} {:>9} {:>12}", "", "expire ms", "epoch ms", "close ms", "file bytes");
    for kind in &KINDS {
        for (which, (filled, restart)) in
            [("in one epoch", (false, false)), ("in memory", (true, false)), ("on disk", (true, true))]
        {
            let folder = tempfile::tempdir().expect("a folder");
            let folder = Folder::open(folder.path()).expect("a folder of state");
            let mut job = start(&folder);
            (kind.fill)(&mut job, entries);
            if filled {
                job.end_epoch();
            }
            if restart {
                job.store.close().expect("a closed store");
                drop(job);
                job = start(&folder);
            }
            let timed = |f: &mut dyn FnMut()| {
                let since = Instant::now();
                f();
                since.elapsed()
            };
            let expire = timed(&mut || (kind.expire)(&mut job, entries));
            let mut bytes = 0;
            let epoch = timed(&mut || bytes = job.end_epoch());
            let close = timed(&mut || job.store.close().expect("a closed store"));
            let ms = |d: Duration| d.as_millis();
            let name = format!("{}, {which}", kind.name);
            println!("{name:<34} {:>9} {:>9} {:>9} {bytes:>12}", ms(expire), ms(epoch), ms(close));
        }
    }
}
