//! Keyed state beside plain ordered maps, over both stores: values, maps, lists, timers and queues that come and go, with caches of all sizes,
//! epochs that become durable or are given up, and processes that are killed.
//!
//! `WEIR_MODELS` sets the number of runs (20 by default), `WEIR_SEED` the first one's seed.

use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weir_core::clock::{Clock, ManualClock};
use weir_core::event_time::Watermark;
use weir_core::graph::{JobIdentity, SubtaskContext};
use weir_core::key::key_group;
use weir_core::keyed::{Codec, DueValue, KeyedState, ListState, MapState, TimeDomain, TimeQueue, Timers, ValueState};
use weir_core::memory_store::MemoryStore;
use weir_core::metrics::Metrics;
use weir_core::state::{Epoch, StateBackend, StateHandle};
use weir_core::{Error, Result};
use weir_state::{Folder, Store};

/// A number in its decimal form, which is not that of the store.
struct Numbers<const LAYOUT: u32>;

impl<const L: u32> Codec for Numbers<L> {
    type Value = String;
    const LAYOUT: u32 = L;
    const WRITTEN_AT: usize = 4;
    fn encode(&self, _place: u32, value: &String, written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.parse::<u32>().expect("a number").to_be_bytes());
        out.extend_from_slice(&written.to_be_bytes());
    }
    fn decode(&mut self, _place: u32, _key: &[u8], bytes: &[u8], _store: &StateHandle) -> Result<String> {
        let number = bytes.first_chunk().map(|b| u32::from_be_bytes(*b).to_string());
        number.ok_or_else(|| Error::state("cut short"))
    }
    fn bytes(&self, _place: u32, value: &String) -> usize {
        value.len()
    }
}

type State = KeyedState<Numbers<1>>;
type Timed<T> = (T, i64);
/// The time, the key with its length in front, and the number of what waits in a queue.
type Queued = (i64, (usize, Vec<u8>), u64);
/// A key and the name of an entry.
type Place = (Vec<u8>, Vec<u8>);

const VALUE: ValueState = ValueState::new(0);
const MAP: MapState = MapState::new(1);
const LIST: ListState = ListState::new(31);

/// All that is kept, with when it was last written.
#[derive(Clone, Default)]
struct Model {
    decoded: BTreeMap<Vec<u8>, Timed<String>>,
    values: BTreeMap<Vec<u8>, Timed<Vec<u8>>>,
    maps: BTreeMap<Place, Timed<Vec<u8>>>,
    lists: BTreeMap<Vec<u8>, Vec<Timed<Vec<u8>>>>,
    timers: [BTreeSet<(i64, Vec<u8>)>; 2],
    queue: BTreeMap<Queued, Vec<u8>>,
}

struct Running {
    state: State,
    timers: [Timers; 2],
    queue: TimeQueue,
}

fn context(store: &Arc<dyn StateBackend>, clock: &Arc<ManualClock>, cache_bytes: usize) -> SubtaskContext {
    SubtaskContext {
        node: "operator".to_string(),
        subtask: 0,
        parallelism: 1,
        job: JobIdentity { id: String::new(), run: String::new() },
        state: StateHandle { operator: store.operator("operator").expect("a number"), reader: store.clone() },
        resumes_at: Watermark::NONE,
        cache_bytes,
        batch_rows: 8192,
        metrics: Metrics::new().expect("metrics").subtask("operator", 0),
        clock: clock.clone(),
    }
}

fn start(store: &Arc<dyn StateBackend>, clock: &Arc<ManualClock>, cache_bytes: usize, ttl: u64) -> Running {
    let context = context(store, clock, cache_bytes);
    Running {
        state: KeyedState::open(Numbers, &context, ttl).expect("the state"),
        timers: [TimeDomain::Event, TimeDomain::Processing].map(|domain| Timers::new(domain, &context)),
        queue: TimeQueue::new(0, &context),
    }
}

/// Keys of columns, some the begin of others.
const KEYS: [&[u8]; 5] = [&[], &[0], &[1, 0], &[1, 255], &[1, 255, 0]];

fn key(random: &mut Rng) -> Vec<u8> {
    random.choice(KEYS).expect("a key").to_vec()
}

/// Names of entries.
fn entry(random: &mut Rng) -> Vec<u8> {
    (0..random.usize(0..3)).map(|_| random.choice([0, 7, 255]).expect("a byte")).collect()
}

#[expect(clippy::too_many_lines, reason = "one flat match, an arm a change")]
fn change(random: &mut Rng, running: &mut Running, model: &mut Model, now: i64, over: &dyn Fn(i64) -> bool) {
    let Running { state, timers, queue } = running;
    let (key, entry) = (key(random), entry(random));
    let value = vec![random.u8(..); random.usize(0..4)];
    let which = random.usize(0..2);
    let time = random.i64(-20..20);
    match random.u8(0..15) {
        13 | 14 => {
            let number = random.u64(0..4);
            queue.put(state, time, &key, number, value.clone());
            model.queue.insert((time, (key.len(), key), number), value);
        }
        12 => {
            let (group, to) = (key_group(&key), self::key(random));
            for gone in KEYS.into_iter().filter(|k| key_group(k) == group && *k >= &key[..] && *k < &to[..]) {
                state.update(gone, |v| Ok(v.take().is_some())).expect("an update");
                model.decoded.remove(gone);
            }
            state.remove_stored(group, &key, &to);
        }
        0..3 => {
            let next = random.bool().then(|| random.u32(..1000).to_string());
            let old = model.decoded.get(&key).filter(|(_, t)| !over(*t)).map(|(v, _)| v.clone());
            let changes = random.bool();
            let set = |v: &mut Option<String>| {
                assert_eq!(*v, old);
                if changes {
                    *v = next.clone();
                }
                Ok(changes)
            };
            state.update(&key, set).expect("an update");
            if changes {
                model.decoded.remove(&key);
                model.decoded.extend(next.map(|n| (key, (n, now))));
            }
        }
        3 => {
            VALUE.put(state, &key, &value);
            model.values.insert(key, (value, now));
        }
        4 => {
            VALUE.remove(state, &key);
            model.values.remove(&key);
        }
        5 | 6 => {
            MAP.put(state, &key, &entry, &value);
            model.maps.insert((key, entry), (value, now));
        }
        7 => {
            MAP.remove(state, &key, &entry);
            model.maps.remove(&(key, entry));
        }
        8 => match random.u8(0..5) {
            2 => {
                let to = self::entry(random);
                MAP.remove_range(state, &key, &entry, &to);
                model.maps.retain(|(k, e), _| *k != key || *e < entry || *e >= to);
            }
            3 => {
                let (to, limit) = (random.bool().then(|| self::entry(random)), random.usize(1..6));
                let taken = MAP.take(state, &key, &entry, to.as_deref(), limit).expect("entries");
                let within = |e: &[u8]| e >= entry.as_slice() && to.as_deref().is_none_or(|to| e < to);
                let there = model.maps.iter().filter(|((k, e), (_, t))| *k == key && within(e) && !over(*t));
                let wanted: Vec<_> = there.map(|((_, e), (v, _))| (e.clone(), v.clone())).take(limit).collect();
                assert_eq!(taken, wanted);
                taken.into_iter().for_each(|(e, _)| drop(model.maps.remove(&(key.clone(), e))));
            }
            0 => {
                MAP.clear(state, &key);
                model.maps.retain(|(k, _), _| *k != key);
            }
            1 => {
                LIST.clear(state, &key);
                model.lists.remove(&key);
            }
            _ => {
                let there: Vec<(u64, Vec<u8>)> = LIST.iter(state, &key).collect::<Result<_>>().expect("a list");
                if let Some((number, _)) = there.first() {
                    LIST.remove(state, &key, *number);
                    let list = model.lists.get_mut(&key).expect("a list");
                    let at = list.iter().position(|(_, t)| !over(*t)).expect("an element");
                    list.remove(at);
                }
            }
        },
        9 => {
            LIST.push(state, &key, &value).expect("a list");
            model.lists.entry(key).or_default().push((value, now));
        }
        10 => {
            timers[which].set(state, time, &key);
            model.timers[which].insert((time, key));
        }
        _ => {
            timers[which].remove(state, time, &key);
            model.timers[which].remove(&(time, key));
        }
    }
}

fn compare(random: &mut Rng, running: &mut Running, model: &mut Model, over: &dyn Fn(i64) -> bool) {
    let Running { state, timers, queue } = running;
    let keys: Vec<Vec<u8>> = (0..4).map(|_| key(random)).collect();
    if random.bool() {
        state.prefetch(keys.iter().map(Vec::as_slice)).expect("keys");
        MAP.prefetch(state, keys.iter().map(|k| (k.as_slice(), &[7][..]))).expect("entries");
    }
    for key in keys {
        let wanted = model.decoded.get(&key).filter(|(_, t)| !over(*t)).map(|(v, _)| v);
        assert_eq!(state.get(&key).expect("a value"), wanted);
        let wanted = model.values.get(&key).filter(|(_, t)| !over(*t)).map(|(v, _)| v.clone());
        assert_eq!(VALUE.get(state, &key).expect("a value"), wanted);
        let one = entry(random);
        let wanted = model.maps.get(&(key.clone(), one.clone())).filter(|(_, t)| !over(*t)).map(|(v, _)| v.clone());
        assert_eq!(MAP.get(state, &key, &one).expect("an entry"), wanted);
        let (from, to) = (entry(random), random.bool().then(|| entry(random)));
        let within = |k: &[u8]| k >= from.as_slice() && to.as_deref().is_none_or(|to| k < to);
        let wanted = model.maps.iter().filter(|((k, e), (_, t))| *k == key && within(e) && !over(*t));
        let wanted: Vec<(Vec<u8>, Vec<u8>)> = wanted.map(|((_, e), (v, _))| (e.clone(), v.clone())).collect();
        let found = MAP.range(state, &key, &from, to.as_deref()).collect::<Result<Vec<_>>>();
        assert_eq!(found.expect("entries"), wanted, "{from:?} to {to:?}");
        let wanted = model.lists.get(&key).into_iter().flatten().filter(|(_, t)| !over(*t));
        let found = LIST.iter(state, &key).map(|e| e.map(|(_, v)| v)).collect::<Result<Vec<_>>>();
        assert_eq!(found.expect("elements"), wanted.map(|(v, _)| v.clone()).collect::<Vec<_>>());
    }
    if random.u8(0..4) == 0 {
        let (up_to, limit) = (random.i64(-20..20), random.usize(1..5));
        let mut wanted: Vec<DueValue> = vec![];
        for ((time, (_, key), number), value) in model.queue.iter().take_while(|((time, ..), _)| *time <= up_to) {
            let others = wanted.last().is_none_or(|last| (last.time, &last.key) != (*time, key));
            if wanted.len() >= limit && others {
                break;
            }
            wanted.push(DueValue { time: *time, key: key.clone(), number: *number, value: value.clone() });
        }
        assert_eq!(queue.take(state, up_to, limit).expect("a queue"), wanted);
        wanted.into_iter().for_each(|due| drop(model.queue.remove(&(due.time, (due.key.len(), due.key), due.number))));
        for (timers, model) in timers.iter_mut().zip(&mut model.timers) {
            let (up_to, limit) = (random.i64(-20..20), random.usize(1..5));
            assert!(model.first().is_none_or(|(first, _)| timers.next().is_some_and(|next| next <= *first)));
            let wanted: Vec<(i64, Vec<u8>)> =
                model.iter().take_while(|(t, _)| *t <= up_to).take(limit).cloned().collect();
            assert_eq!(timers.due(state, up_to, limit).expect("timers"), wanted);
            model.retain(|timer| !wanted.contains(timer));
        }
    }
}

/// Runs over a store; `open` opens it, in the place of one that was killed.
fn run(seed: u64, mut open: impl FnMut(Option<Arc<dyn StateBackend>>) -> Arc<dyn StateBackend>) {
    let random = &mut Rng::with_seed(seed);
    let ttl = random.choice([0, 0, 5, 200]).expect("a time");
    let clock = Arc::new(ManualClock::new(1_000_000));
    let mut store = open(None);
    let cache = |random: &mut Rng| random.choice([1, 500, 2000, 1 << 20]).expect("a size");
    let mut running = start(&store, &clock, cache(random), ttl);
    let (mut durable, mut seen) = (Model::default(), Model::default());
    let mut epoch = 1;
    for _ in 0..60 {
        for _ in 0..random.usize(0..30) {
            clock.turn_to(clock.now() + random.i64(0..2));
            let now = clock.now();
            let over = |written: i64| ttl > 0 && (now - written) as u64 > ttl;
            running.state.prefetch(std::iter::empty()).expect("nothing");
            change(random, &mut running, &mut seen, now, &over);
            if random.u8(0..5) == 0 {
                compare(random, &mut running, &mut seen, &over);
            }
        }
        let changes = running.state.checkpoint().expect("an epoch");
        store.stage(store.operator("operator").expect("a number"), Epoch(epoch), changes);
        match random.u8(0..10) {
            0 | 1 => {
                // An epoch is given up, or the process ends: both begin again with what is durable.
                store.discard_staged();
                if random.bool() {
                    drop(running);
                    store = open(Some(store));
                }
                seen.clone_from(&durable);
                running = start(&store, &clock, cache(random), ttl);
            }
            n => {
                store.commit(Epoch(epoch), &vec![], false).expect("an epoch");
                store.delivered(Epoch(epoch)).expect("an epoch");
                durable.clone_from(&seen);
                epoch += 1;
                if n == 2 {
                    running = start(&store, &clock, cache(random), ttl);
                }
            }
        }
    }
}

fn models(run: fn(u64), runs: u64) {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let first = number("WEIR_SEED", 1);
    for seed in first..first + number("WEIR_MODELS", runs) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed}: WEIR_SEED={seed} WEIR_MODELS=1 shows it again");
    }
}

#[test]
fn keyed_state_on_disk_is_plain_maps() {
    models(
        |seed| {
            let folder = tempfile::tempdir().expect("a folder");
            let folder = Folder::open(folder.path()).expect("a folder of state");
            run(seed, |killed| {
                drop(killed);
                Arc::new(Store::open(&folder, 1 << 20).expect("a store"))
            });
        },
        10,
    );
}

#[test]
fn keyed_state_in_memory_is_plain_maps() {
    models(
        |seed| {
            let first = MemoryStore::default();
            run(seed, |_| Arc::new(first.reopened()));
        },
        500,
    );
}

#[test]
fn another_layout_is_refused() {
    fn open<const L: u32>(store: &Arc<dyn StateBackend>) -> Result<KeyedState<Numbers<L>>> {
        KeyedState::open(Numbers, &context(store, &Arc::new(ManualClock::new(1)), 1), 0)
    }
    fn write<const L: u32>(store: &Arc<dyn StateBackend>, epoch: u64) {
        let mut state = open::<L>(store).expect("the state");
        let set = |v: &mut Option<String>| {
            *v = Some(epoch.to_string());
            Ok(true)
        };
        state.update(&[1, 2], set).expect("an update");
        let changes = state.checkpoint().expect("an epoch");
        store.stage(store.operator("operator").expect("a number"), Epoch(epoch), changes);
        store.commit(Epoch(epoch), &vec![], false).expect("an epoch");
    }
    for first in [1, 2] {
        let store: Arc<dyn StateBackend> = Arc::new(MemoryStore::default());
        for epoch in 1..3 {
            if first == 1 { write::<1>(&store, epoch) } else { write::<2>(&store, epoch) }
        }
        let refused = if first == 1 { open::<2>(&store).err() } else { open::<1>(&store).err() };
        let text = refused.expect("a refusal").to_string();
        let theirs = format!("has layout {first}, and this version of Weir reads layout {}", 3 - first);
        assert!(text.contains(&theirs), "{text}");
    }
}
