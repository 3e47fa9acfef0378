//! The stores, on disk and in memory, beside a plain ordered map: whatever is staged, made durable, applied, given up and opened
//! again, both say the same.
//!
//! `WEIR_MODELS` sets the number of runs (20 by default), `WEIR_SEED` the first one's seed.

use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use weir_core::memory_store::MemoryStore;
use weir_core::state::{Changes, Epoch, KeyRange, OperatorId, Pair, StateBackend, StateReader};
use weir_state::{Folder, Store};

type Model = BTreeMap<(u32, Vec<u8>), Vec<u8>>;

/// Keys that share beginnings, and end with the bytes that are hardest to put in order.
fn key(random: &mut Rng) -> Vec<u8> {
    let mut key = vec![0, random.u8(0..3)];
    key.extend((0..random.usize(0..4)).map(|_| random.choice([0, 1, 7, 254, 255]).expect("a byte")));
    key
}

fn changes(random: &mut Rng, operator: u32, model: &mut Model) -> Changes {
    let mut changes = Changes::default();
    for _ in 0..random.usize(0..40) {
        let key = key(random);
        if random.u8(0..20) == 0 {
            // A range comes before the changes of single keys, whenever it is noted: those in it are of the same epoch and stay.
            let to = self::key(random);
            changes.remove_range(&key, &to);
            let own: BTreeSet<Vec<u8>> = changes.iter().map(|(k, _)| k.to_vec()).collect();
            model.retain(|(o, k), _| *o != operator || *k < key || *k >= to || own.contains(k));
        } else if random.u8(0..3) == 0 {
            changes.remove(&[&key]);
            model.remove(&(operator, key));
        } else {
            let value = vec![random.u8(..); random.usize(0..5)];
            changes.set(&key, &value);
            model.insert((operator, key), value);
        }
    }
    changes
}

/// Reads keys and ranges of both.
fn compare(store: &dyn StateBackend, model: &Model, random: &mut Rng) {
    for operator in 1..=2_u32 {
        let keys: Vec<Vec<u8>> = (0..20).map(|_| key(random)).collect();
        let refs: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let wanted: Vec<Option<Vec<u8>>> = keys.iter().map(|k| model.get(&(operator, k.clone())).cloned()).collect();
        assert_eq!(store.get_many(OperatorId(operator), &refs).expect("keys"), wanted);
        for _ in 0..5 {
            let (from, to) = (key(random), random.bool().then(|| key(random)));
            let range = KeyRange { from: &from, to: to.as_deref() };
            let limit = random.usize(1..30);
            let within = |k: &[u8]| k >= from.as_slice() && to.as_deref().is_none_or(|to| k < to);
            let all = model.iter().filter(|((o, k), _)| *o == operator && within(k));
            let wanted: Vec<Pair> = all.map(|((_, k), v)| (k.clone(), v.clone())).take(limit).collect();
            assert_eq!(store.range(OperatorId(operator), range, limit).expect("a range"), wanted, "{range:?}");
        }
    }
}

/// Runs a store; `open` opens it, in the place of one that was killed.
fn run(seed: u64, mut open: impl FnMut(Option<Box<dyn StateBackend>>) -> Box<dyn StateBackend>) {
    let random = &mut Rng::with_seed(seed);
    let mut store = open(None);
    assert_eq!([store.operator("a"), store.operator("b")].map(|o| o.expect("a number")), [1, 2].map(OperatorId));
    let (mut durable, mut seen) = (Model::new(), Model::new());
    let mut epoch = 1;
    for _ in 0..60 {
        for operator in 1..=2 {
            // Two subtasks, whose keys have groups of their own; here they only come one after the other.
            for _ in 0..2 {
                let changes = changes(random, operator, &mut seen);
                store.stage(OperatorId(operator), Epoch(epoch), changes);
            }
        }
        compare(store.as_ref(), &seen, random);
        match random.u8(0..10) {
            0 => {
                store.discard_staged();
                seen.clone_from(&durable);
            }
            1 => {
                // What is not durable goes with the process.
                store = open(Some(store));
                seen.clone_from(&durable);
                assert_eq!(store.last_epoch(), Epoch(epoch - 1));
            }
            _ => {
                store.commit(Epoch(epoch), &vec![], false).expect("an epoch");
                store.delivered(Epoch(epoch)).expect("an epoch");
                durable.clone_from(&seen);
                epoch += 1;
            }
        }
        compare(store.as_ref(), &seen, random);
    }
}

fn on_disk(seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(folder.path()).expect("a folder of state");
    run(seed, |killed| {
        drop(killed);
        Box::new(Store::open(&folder, 1 << 20).expect("a store"))
    });
}

fn in_memory(seed: u64) {
    let first = MemoryStore::default();
    run(seed, |_| Box::new(first.reopened()));
}

fn models(run: fn(u64)) {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let first = number("WEIR_SEED", 1);
    for seed in first..first + number("WEIR_MODELS", 20) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed}: WEIR_SEED={seed} WEIR_MODELS=1 shows it again");
    }
}

#[test]
fn the_store_is_a_plain_ordered_map() {
    models(on_disk);
}

#[test]
fn the_store_in_memory_is_a_plain_ordered_map() {
    models(in_memory);
}

#[test]
fn a_copy_has_what_the_other_has_and_goes_its_own_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(folder.path()).expect("a folder");
    // More keys than are copied at a time.
    let keys: Vec<[u8; 4]> = (0..70_000_u32).map(u32::to_be_bytes).collect();
    let set = |store: &Store, name: &str, epoch: u64, keys: &[[u8; 4]], value: &[u8]| {
        let mut changes = Changes::default();
        keys.iter().for_each(|k| changes.set(k, value));
        store.stage(store.operator(name).expect("an operator"), Epoch(epoch), changes);
        store.commit(Epoch(epoch), &vec![], false).expect("an epoch");
        store.delivered(Epoch(epoch)).expect("a delivery");
    };
    let store = Store::open(&folder, 16 << 20).expect("a store");
    set(&store, "one", 1, &keys, b"1");
    set(&store, "two", 2, &[*b"old "], b"gone");
    store.close().expect("the end");
    drop(store);
    for opened in 0..2 {
        let store = Store::open(&folder, 16 << 20).expect("a store");
        if opened == 0 {
            store.copy_operator("one", "two").expect("a copy");
            set(&store, "one", 3, &keys[..1], b"2");
        }
        let all = |name: &str| {
            let operator = store.operator(name).expect("an operator");
            store.range(operator, KeyRange { from: &[], to: None }, usize::MAX).expect("all")
        };
        let wanted: Vec<Pair> = keys.iter().map(|k| (k.to_vec(), b"1".to_vec())).collect();
        assert_eq!(all("two"), wanted);
        assert_eq!((all("one").len(), all("one")[0].1.as_slice()), (keys.len(), &b"2"[..]));
        let some: Vec<&[u8]> = keys.iter().step_by(1000).map(|k| &k[..]).collect();
        let found = store.get_many(store.operator("two").expect("an operator"), &some).expect("keys");
        assert!(found.iter().all(|v| v.as_deref() == Some(b"1")));
        store.close().expect("the end");
    }
}
