//! A job's life: generations of subtasks, one after another, until it ends, is stopped, or fails for good.

use crate::control::{Control, Shared};
use crate::coordinator::machine::Machine;
use crate::coordinator::{Coordinator, Sources};
use crate::messages::{Connect, Data, Hold, News, StartEpoch};
use crate::routing::Route;
use crate::scale;
use crate::subtask::{Subtask, Target};
use crate::worker::{Task, Worker};
use actix::{Actor, Addr, Arbiter, Recipient, System};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use weir_core::error::Kind;
use weir_core::graph::{JobGraph, JobIdentity, Mark, Partitioning, Role, SubtaskContext};
use weir_core::metrics::Metrics;
use weir_core::state::{Changes, Epoch, OperatorId, Outbox, StateBackend, StateHandle};
use weir_core::thread::{guarded, spawn};
use weir_core::{Error, Result, failpoint};

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

/// How a job is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// From the start of one epoch to that of the next.
    pub epoch_interval: Duration,
    /// When it fails.
    pub restart: RestartStrategy,
    /// Bytes of decoded state in all subtasks together.
    pub cache_bytes: usize,
    /// Rows that a batch of a source has at most.
    pub batch_rows: usize,
    /// The job, as systems outside know it.
    pub job: JobIdentity,
}

/// Runs a job. Gives whether it came to its end, rather than being stopped.
///
/// # Errors
/// What ended it for good.
pub fn run(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    options: &Options,
    metrics: &Metrics,
    control: &Arc<Control>,
) -> Result<bool> {
    // There from the start, so that the first one is an increase.
    metrics.restarts("io");
    let mut failures: Vec<Instant> = vec![];
    let started = Instant::now();
    let sizes = StateHandle { operator: backend.operator(SIZES)?, reader: backend.clone() };
    let mut wanted = sizes_of(&sizes)?;
    control.pause.show(metrics.job().pause);
    let base = graph;
    loop {
        let graph = &scale::resized(base, &scale::kept(base, &wanted));
        let begun = Instant::now();
        let result = generation(graph, backend, options, metrics, control);
        let ended = Instant::now();
        tracing::debug!("a generation of {:.1?} has ended", begun.elapsed());
        let stops = || control.stop.load(Ordering::Relaxed);
        let error = match result {
            Ok(ended) if ended || stops() => return Ok(ended),
            // Only now, so that what was asked for while the last epoch was on its way is not lost. Who asked may have lost patience
            // since: then the job goes on as it was.
            Ok(_) => {
                // An epoch that was given up has left something staged.
                backend.rewind();
                match resize(base, backend, &sizes, &mut wanted, control.take().unwrap_or_default()) {
                    Ok(()) => {
                        tracing::debug!("parallelisms kept after {:.1?}", ended.elapsed());
                        metrics.job().rescales.inc();
                        continue;
                    }
                    Err(e) => e,
                }
            }
            Err(e) => e,
        };
        control.failed(&error);
        // Only what lies outside can be better the next time.
        if error.kind != Kind::Io || !scale::rewinds(graph) || stops() {
            return Err(error);
        }
        backend.rewind();
        if matches!(&options.restart, RestartStrategy::ExponentialDelay { reset, .. } if begun.elapsed() > *reset) {
            failures.clear();
        }
        failures.push(Instant::now());
        let count = failures.len() as u32;
        let delay = match &options.restart {
            RestartStrategy::None => return Err(error),
            RestartStrategy::FixedDelay { attempts, .. } if count > *attempts => {
                return Err(given_up(error, count));
            }
            RestartStrategy::FixedDelay { delay, .. } => *delay,
            RestartStrategy::FailureRate { failures: most, interval, delay } => {
                failures.retain(|f| f.elapsed() < *interval);
                if failures.len() > *most as usize {
                    return Err(given_up(error, count));
                }
                *delay
            }
            RestartStrategy::ExponentialDelay { attempts, .. } if count > *attempts => {
                return Err(given_up(error, count));
            }
            RestartStrategy::ExponentialDelay { initial, max, multiplier, .. } => {
                grown(*initial, *max, *multiplier, count)
            }
        };
        metrics.restarts("io").inc();
        tracing::warn!("the job failed after {:.1?}, and starts again in {delay:.1?}: {error}", started.elapsed());
        let failed = Instant::now();
        while failed.elapsed() < delay {
            if stops() {
                return Err(error);
            }
            std::thread::sleep(delay.saturating_sub(failed.elapsed()).min(Duration::from_millis(50)));
        }
    }
}

/// The distance after so many failures. What grows without bound is compared before it is a duration, which it may not fit.
fn grown(initial: Duration, max: Duration, multiplier: f64, failures: u32) -> Duration {
    let times = multiplier.powi(i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX));
    let seconds = initial.as_secs_f64() * times;
    if seconds < max.as_secs_f64() { Duration::from_secs_f64(seconds) } else { max }
}

/// The state of parallelisms that were changed while the job ran, by the operators' uids, which win over the script's.
pub const SIZES: &str = "#parallelism";

fn sizes_of(state: &StateHandle) -> Result<BTreeMap<String, usize>> {
    let entry = |(k, v): (Vec<u8>, Vec<u8>)| {
        let n = v.first_chunk::<4>().map(|n| u32::from_be_bytes(*n) as usize);
        n.map(|n| (String::from_utf8_lossy(&k).into_owned(), n))
            .ok_or_else(|| Error::state("a parallelism in the state is damaged"))
    };
    state.scan(&[])?.into_iter().map(entry).collect()
}

/// Notes other parallelisms, in an epoch of their own.
fn resize(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    state: &StateHandle,
    sizes: &mut BTreeMap<String, usize>,
    changed: scale::Wanted,
) -> Result<()> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut changes = Changes::default();
    let mut fresh = sizes.clone();
    for node in &graph.nodes {
        match changed.get(&node.name) {
            Some(Some(n)) => {
                changes.set(node.uid.as_bytes(), &(*n as u32).to_be_bytes());
                fresh.insert(node.uid.clone(), *n);
            }
            Some(None) => {
                changes.remove(&[node.uid.as_bytes()]);
                fresh.remove(&node.uid);
            }
            None => {}
        }
    }
    let epoch = Epoch(backend.last_epoch().0 + 1);
    failpoint::pass("rescale").map_err(|e| Error::io(e.to_string()))?;
    backend.stage(state.operator, epoch, changes);
    backend.commit(epoch, &vec![], false)?;
    *sizes = fresh;
    failpoint::pass("rescaled").map_err(|e| Error::io(e.to_string()))?;
    backend.delivered(epoch)
}

fn given_up(e: Error, failures: u32) -> Error {
    e.context(format!("given up after {failures} failures"))
}

fn generation(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    options: &Options,
    metrics: &Metrics,
    control: &Arc<Control>,
) -> Result<bool> {
    let begun = Instant::now();
    let timed = |what: &str| tracing::debug!("{what} after {:.1?}", begun.elapsed());
    let mut next = backend.last_epoch().0 + 1;
    let handles: Vec<StateHandle> = graph
        .nodes
        .iter()
        .map(|n| Ok(StateHandle { operator: backend.operator(&n.uid)?, reader: backend.clone() }))
        .collect::<Result<_>>()?;
    timed("names of state known");
    let marks = marks(graph, &handles, &options.job.run)?;
    for (node, state) in graph.nodes.iter().zip(&handles) {
        if let Role::Sink(s) = &node.role {
            s.begin(&options.job, marks.get(&state.operator).copied())?;
        }
    }
    timed("sinks begun");
    deliver_left_over(graph, backend, &marks, metrics)?;
    timed("what was left is delivered");
    let mut recovered = false;
    for (node, state) in graph.nodes.iter().zip(&handles) {
        if let Role::Sink(s) = &node.role {
            let changes = s.recover(state)?;
            recovered |= !changes.is_empty();
            backend.stage(state.operator, Epoch(next), changes);
        }
    }
    if recovered {
        backend.commit(Epoch(next), &vec![], backend.finished())?;
        backend.delivered(Epoch(next))?;
        next += 1;
    }
    if backend.finished() {
        ended(graph);
        return Ok(true);
    }
    for (node, state) in graph.nodes.iter().zip(&handles) {
        if let Role::Source(s) = &node.role {
            s.start(state, node.parallelism)?;
        }
    }
    timed("sources begun");
    let shared = Arc::new(Shared {
        result: Mutex::new(None),
        uids: graph.nodes.iter().map(|n| n.uid.clone()).collect(),
        metrics: metrics.job(),
    });
    let alive = Arc::new(RwLock::new(true));
    let workers = workers(graph, backend, options, metrics, &handles, &alive, control)?;
    graph.nodes.iter().for_each(|n| metrics.parallelism(&n.name, n.parallelism));
    timed("subtasks made");
    // A full table of file handles is an outage like others: whoever fills it may let go.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_runtime)?;
    control.begun(graph);
    let system = System::with_tokio_rt(|| runtime);
    let committing = system.block_on(async {
        let started = start(graph, backend, options, metrics, control, &shared, Begun { workers, next, marks });
        started
            .inspect_err(|e| {
                shared.finish(Err(e.clone()));
                System::current().stop();
            })
            .ok()
    });
    let ran = system.run();
    control.ended();
    // Threads that are still at work on something long must not hand anything over to the next generation's epochs, nor may a sink
    // write behind it, nor an epoch that is being made durable and delivered meet the next one's first.
    let failed = || match &*shared.result.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(Err(e)) => format!(" after it failed: {}", e.message),
        _ => String::new(),
    };
    end("a sink that is writing", control, failed, || match alive.try_write() {
        Ok(mut alive) => {
            *alive = false;
            true
        }
        Err(TryLockError::Poisoned(p)) => {
            *p.into_inner() = false;
            true
        }
        Err(TryLockError::WouldBlock) => false,
    })?;
    if let Some(thread) = committing {
        end("an epoch that is being delivered", control, failed, || thread.is_finished())?;
    }
    ran.map_err(|e| Error::internal(format!("the actor system failed: {e}")))?;
    let result = shared.result.lock().unwrap_or_else(PoisonError::into_inner).take();
    result.unwrap_or_else(|| Err(Error::internal("the job ended without a result")))
}

/// How long what hangs is waited for: longer than a system outside takes for an epoch.
const HANGING: Duration = Duration::from_secs(600);

/// Waits for what a generation must not leave to the next one, unless the process is to end anyway.
fn end(what: &str, control: &Control, failed: impl Fn() -> String, mut over: impl FnMut() -> bool) -> Result<()> {
    let since = Instant::now();
    let mut told = false;
    while !over() && !control.stop.load(Ordering::Relaxed) {
        if !told && since.elapsed() > Duration::from_secs(5) {
            told = true;
            tracing::warn!("the job waits for {what} before it starts again");
        }
        if since.elapsed() > HANGING {
            let why = format!("{what} has not come back for {HANGING:?}, so the job cannot start again{}", failed());
            let e = Error::state(why);
            return Err(
                e.hint("look at the system it writes to, and run the job again: it goes on after its last epoch")
            );
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The key under which a sink's mark lies in its state.
const MARK: &[u8] = b"\0\0!mark";

/// The marks of all sinks in this run, once it has an epoch; those of another run, whose state this one began with, say
/// nothing of what this one has written.
fn marks(graph: &JobGraph, handles: &[StateHandle], run: &str) -> Result<BTreeMap<OperatorId, Mark>> {
    let mut marks = BTreeMap::new();
    for (node, state) in graph.nodes.iter().zip(handles) {
        if let (Role::Sink(_), Some(v)) = (&node.role, state.get_many(&[MARK])?.remove(0)) {
            let number = |at: usize| v.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
            let (Some(epoch), Some(previous)) = (number(0), number(8)) else {
                return Err(Error::state(format!("the mark of {} is damaged", node.name)));
            };
            if v.get(16..) == Some(run.as_bytes()) {
                marks.insert(state.operator, Mark { epoch: Epoch(epoch), previous: Epoch(previous) });
            }
        }
    }
    Ok(marks)
}

/// Notes for every sink that an epoch gives something to that it did; and once that the run has begun, so that another one that
/// begins later is known to be newer when this one goes on.
fn mark(
    sinks: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    marks: &mut BTreeMap<OperatorId, Mark>,
    run: &str,
    epoch: Epoch,
    outbox: &Outbox,
) -> Result<()> {
    for node in &sinks.nodes {
        let operator = backend.operator(&node.uid)?;
        let given = outbox.iter().any(|(uid, _)| *uid == node.uid);
        let mark = match (given, marks.get(&operator)) {
            (true, last) => Mark { epoch, previous: last.map_or(Epoch(0), |m| m.epoch) },
            (false, None) => Mark { epoch: Epoch(0), previous: Epoch(0) },
            (false, Some(_)) => continue,
        };
        marks.insert(operator, mark);
        let mut changes = Changes::default();
        let value = [&mark.epoch.0.to_be_bytes()[..], &mark.previous.0.to_be_bytes(), run.as_bytes()].concat();
        changes.set(MARK, &value);
        backend.stage(operator, epoch, changes);
    }
    Ok(())
}

/// Delivers what was durable when the process before this one ended. A sink that was marked with a later epoch has all before it.
fn deliver_left_over(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    marks: &BTreeMap<OperatorId, Mark>,
    metrics: &Metrics,
) -> Result<()> {
    for (epoch, outbox) in backend.undelivered()? {
        deliver(graph, backend, &outbox, metrics, |o| match marks.get(&o) {
            Some(m) if m.epoch > epoch => None,
            Some(m) if m.epoch == epoch => Some(*m),
            _ => Some(Mark { epoch, previous: Epoch(0) }),
        })?;
        backend.delivered(epoch)?;
    }
    Ok(())
}

/// Hands an epoch's outbox to the sinks of the graph; `mark` gives none for a sink that has it.
fn deliver(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    outbox: &Outbox,
    metrics: &Metrics,
    mark: impl Fn(OperatorId) -> Option<Mark>,
) -> Result<()> {
    for (uid, entries) in outbox {
        for node in graph.nodes.iter().filter(|n| n.uid == *uid) {
            if let Role::Sink(s) = &node.role {
                let Some(mark) = mark(backend.operator(uid)?) else { continue };
                let named = |e: Error| e.context(&node.name);
                let begun = Instant::now();
                s.deliver(mark, entries).map_err(named)?;
                metrics.sink_delivery(&node.name).observe(begun.elapsed().as_secs_f64());
            }
        }
    }
    Ok(())
}

/// Waits until what was delivered can be read.
fn ended(graph: &JobGraph) {
    for node in &graph.nodes {
        if let Role::Sink(s) = &node.role
            && let Err(e) = s.ended()
        {
            tracing::warn!("{}: all is delivered, but others may not see the last of it yet: {e}", node.name);
        }
    }
}

/// Makes the subtasks of every node.
fn workers(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    options: &Options,
    metrics: &Metrics,
    handles: &[StateHandle],
    alive: &Arc<RwLock<bool>>,
    control: &Arc<Control>,
) -> Result<Vec<Vec<Worker>>> {
    let keeps_state = |n: &&weir_core::graph::Node| matches!(&n.role, Role::Operator(o) if o.keeps_state());
    let stateful = graph.nodes.iter().filter(keeps_state).map(|n| n.parallelism).sum::<usize>();
    graph
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| {
            (0..node.parallelism)
                .map(|subtask| {
                    let context = SubtaskContext {
                        node: node.name.clone(),
                        subtask,
                        parallelism: node.parallelism,
                        job: options.job.clone(),
                        state: handles[index].clone(),
                        cache_bytes: options.cache_bytes / stateful.max(1),
                        batch_rows: options.batch_rows.max(1),
                        metrics: metrics.subtask(&node.name, subtask),
                    };
                    let metrics = context.metrics.clone();
                    let task = match &node.role {
                        Role::Source(f) => Task::Source(f.open(context)?),
                        Role::Operator(f) => Task::Operator(f.open(context)?),
                        Role::Sink(f) => Task::Sink(f.open(context)?),
                    };
                    let operator = handles[index].operator;
                    Ok(Worker {
                        task,
                        routes: vec![],
                        operator,
                        backend: backend.clone(),
                        metrics,
                        alive: alive.clone(),
                        control: control.clone(),
                    })
                })
                .collect()
        })
        .collect()
}

/// What a generation begins with.
struct Begun {
    /// The subtasks of every node.
    workers: Vec<Vec<Worker>>,
    /// The number of its first epoch.
    next: u64,
    /// The sinks' marks.
    marks: BTreeMap<OperatorId, Mark>,
}

/// The system has no handles or threads left for a runtime.
fn no_runtime(e: std::io::Error) -> Error {
    Error::io(format!("cannot start the actors: {e}"))
        .hint("raise the limits of open files and processes (ulimit -n, -u)")
}

/// Starts the actors, the last node first, so that every one knows whom it sends to. Gives the thread that makes epochs durable
/// and delivers them, which ends with the coordinator.
fn start(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    options: &Options,
    metrics: &Metrics,
    control: &Arc<Control>,
    shared: &Arc<Shared>,
    begun: Begun,
) -> Result<JoinHandle<()>> {
    let Begun { workers, next, marks } = begun;
    let arbiters = std::thread::available_parallelism().map_or(2, usize::from).min(4);
    let arbiters: Vec<Arbiter> =
        (0..arbiters).map(|_| Arbiter::try_new().map_err(no_runtime)).collect::<Result<_>>()?;
    let (sender, receiver) = crossbeam_channel::bounded::<(Epoch, Outbox, bool)>(1);
    let subtasks = graph.nodes.iter().map(|n| n.parallelism).sum();
    let interval = options.epoch_interval;
    let machine = Machine::new(subtasks, interval, next, scale::rewinds(graph), Instant::now());
    let coordinator = Coordinator::new(shared.clone(), control.clone(), sender, machine, interval).start();
    let committing =
        commit_thread(graph, backend, &coordinator, receiver, marks, options.job.run.clone(), metrics.clone())?;
    // For every node: the addresses of its subtasks, once they are started.
    let mut started: BTreeMap<usize, Vec<Addr<Subtask>>> = BTreeMap::new();
    let mut turn = 0;
    for (index, workers) in workers.into_iter().enumerate().rev() {
        let node = &graph.nodes[index];
        let mut addresses = vec![];
        for (subtask, mut worker) in workers.into_iter().enumerate() {
            let mut targets: Vec<Target> = vec![];
            for (to, other) in graph.nodes.iter().enumerate() {
                let mut channel = 0;
                for edge in &other.inputs {
                    if edge.from == index
                        && let Some(receivers) = started.get(&to)
                    {
                        worker.routes.push(Route {
                            port: edge.port,
                            partitioning: edge.partitioning.clone(),
                            first: targets.len(),
                            count: receivers.len(),
                            subtask,
                            next: subtask % receivers.len().max(1),
                        });
                        for r in receivers {
                            let (data, connect): (Recipient<Data>, Recipient<Connect>) =
                                (r.clone().recipient(), r.clone().recipient());
                            targets.push(Target { recipient: data, connect, channel: channel + subtask });
                        }
                    }
                    channel += graph.nodes[edge.from].parallelism;
                }
            }
            let inputs: Vec<usize> = node
                .inputs
                .iter()
                .enumerate()
                .flat_map(|(i, e)| std::iter::repeat_n(i, graph.nodes[e.from].parallelism))
                .collect();
            debug_assert!(node.inputs.iter().all(|e| {
                e.partitioning != Partitioning::Forward || graph.nodes[e.from].parallelism == node.parallelism
            }));
            let (name, coordinator) = (node.name.clone(), coordinator.clone());
            let arbiter = arbiters[turn % arbiters.len()].handle();
            turn += 1;
            addresses.push(Subtask::start_in_arbiter(&arbiter, move |_| {
                Subtask::new(index, name, coordinator, worker, inputs, targets)
            }));
        }
        started.insert(index, addresses);
    }
    let sources: Vec<(Recipient<StartEpoch>, Recipient<Hold>)> = graph
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, n)| matches!(n.role, Role::Source(_)))
        .flat_map(|(i, _)| started.get(&i).cloned().unwrap_or_default())
        .map(|a| (a.clone().recipient(), a.recipient()))
        .collect();
    coordinator.do_send(Sources(sources));
    Ok(committing)
}

fn commit_thread(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    coordinator: &Addr<Coordinator>,
    epochs: crossbeam_channel::Receiver<(Epoch, Outbox, bool)>,
    mut marks: BTreeMap<OperatorId, Mark>,
    run: String,
    metrics: Metrics,
) -> Result<JoinHandle<()>> {
    let job = metrics.job();
    let mut sinks = graph.clone();
    sinks.nodes.retain(|n| matches!(n.role, Role::Sink(_)));
    let (backend, coordinator) = (backend.clone(), coordinator.clone());
    let work = move || {
        while let Ok((epoch, outbox, end)) = epochs.recv() {
            let durable = || {
                mark(&sinks, &backend, &mut marks, &run, epoch, &outbox)?;
                let begun = Instant::now();
                let bytes = backend.commit(epoch, &outbox, end)?;
                job.write.observe(begun.elapsed().as_secs_f64());
                let known = |o| Some(marks.get(&o).copied().unwrap_or(Mark { epoch, previous: Epoch(0) }));
                let begun = Instant::now();
                deliver(&sinks, &backend, &outbox, &metrics, known)?;
                backend.delivered(epoch)?;
                if end {
                    ended(&sinks);
                }
                job.deliver.observe(begun.elapsed().as_secs_f64());
                Ok(bytes)
            };
            match guarded("the thread that commits epochs", durable) {
                Ok(bytes) => coordinator.do_send(News::Committed { epoch, bytes }),
                Err(e) => {
                    coordinator.do_send(News::Failed(e));
                    return;
                }
            }
        }
    };
    spawn("weir-commit", work)
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
