//! A generation: the subtasks of a graph, from their start to their end.

use crate::control::{Control, GenerationContext};
use crate::coordinator::machine::Machine;
use crate::coordinator::{Coordinator, Sources};
use crate::deliver::{Committing, commit_thread, deliver_left_over, ended, marks};
use crate::gate::Gate;
use crate::messages::{Connect, Data, Hold, StartEpoch};
use crate::options::Options;
use crate::routing::Route;
use crate::scale;
use crate::source_time::SourceTime;
use crate::stored_watermarks::StoredWatermarks;
use crate::subtask::{Input, Subtask, Target};
use crate::worker::{OperatorTime, Task, Worker};
use actix::{Actor, Addr, Arbiter, Recipient, System};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir_core::event_time::Watermark;
use weir_core::event_time_report::EventTimeReport;
use weir_core::graph::{CommitMarker, Edge, JobGraph, Partitioning, Role, SubtaskContext};
use weir_core::metrics::Metrics;
use weir_core::state::{Epoch, OperatorId, Outbox, StateBackend, StateHandle};
use weir_core::thread::locked;
use weir_core::watermarks::AlignmentGroups;
use weir_core::{Error, Result};

/// Runs the subtasks until the job ends or is stopped, or parallelisms are to change. Gives true if the job has ended.
pub(crate) fn generation(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    options: &Options,
    metrics: &Metrics,
    control: &Arc<Control>,
) -> Result<bool> {
    let begun = Instant::now();
    let timed = |what: &str| tracing::debug!("{what} after {:.1?}", begun.elapsed());
    let handles: Vec<StateHandle> = graph
        .nodes
        .iter()
        .map(|n| Ok(StateHandle { operator: backend.operator(&n.uid)?, reader: backend.clone() }))
        .collect::<Result<_>>()?;
    timed("names of state known");
    let (marks, next) = settle(graph, backend, options, metrics, &handles)?;
    timed("sinks begun, and what was left is delivered");
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
    let shared = Arc::new(GenerationContext {
        result: Mutex::new(None),
        uids: graph.nodes.iter().map(|n| n.uid.clone()).collect(),
        metrics: metrics.job(),
    });
    let gate = Arc::new(Gate::open());
    let workers = workers(graph, backend, options, metrics, &handles, &gate, control)?;
    graph.nodes.iter().for_each(|n| metrics.parallelism(&n.name, n.parallelism));
    timed("subtasks made");
    // Running out of file handles is an outage like others: the process that holds them may release them.
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
    leave_nothing(&shared, control, &gate, committing)?;
    ran.map_err(|e| Error::internal("the actor system failed").caused_by(e))?;
    let result = locked(&shared.result).take();
    result.unwrap_or_else(|| Err(Error::internal("the job ended without a result")))
}

/// Prepares the sinks, delivers the outboxes that the last generation has left, and lets sinks truncate what no epoch refers to. Gives the
/// marks of the sinks and the number of the next epoch.
fn settle(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    options: &Options,
    metrics: &Metrics,
    handles: &[StateHandle],
) -> Result<(BTreeMap<OperatorId, CommitMarker>, u64)> {
    let mut next = backend.last_epoch().0 + 1;
    let marks = marks(graph, handles, &options.job.run)?;
    for (node, state) in graph.nodes.iter().zip(handles) {
        if let Role::Sink(s) = &node.role {
            s.begin(&options.job, marks.get(&state.operator).copied())?;
        }
    }
    deliver_left_over(graph, backend, &marks, metrics)?;
    let mut recovered = false;
    for (node, state) in graph.nodes.iter().zip(handles) {
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
    Ok((marks, next))
}

/// Waits for what must not go on while the next generation runs: sinks that are writing, and the epoch that is being committed and
/// delivered. Threads with a long task can no longer emit anything.
fn leave_nothing(
    shared: &GenerationContext,
    control: &Control,
    gate: &Gate,
    committing: Option<Committing>,
) -> Result<()> {
    let failed = || match &*locked(&shared.result) {
        Some(Err(e)) => format!(" after it failed: {}", e.message),
        _ => String::new(),
    };
    end("a sink that is writing", control, failed, |time| gate.close(time))?;
    if let Some(committing) = committing {
        end("an epoch that is being delivered", control, failed, |time| committing.has_ended_within(time))?;
    }
    Ok(())
}

/// The longest wait for a sink or a commit: longer than an external system takes for an epoch.
const HANGING: Duration = Duration::from_secs(600);

/// The time between two checks whether the process is to end.
const SLICE: Duration = Duration::from_millis(50);

/// Waits until `over` returns true, unless the process is to end. `over` waits for at most the time that it is given.
fn end(what: &str, control: &Control, failed: impl Fn() -> String, over: impl Fn(Duration) -> bool) -> Result<()> {
    let since = Instant::now();
    let mut told = false;
    while !over(SLICE) && !control.stops() {
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
    }
    Ok(())
}

/// Opens the subtasks of every node.
fn workers(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    options: &Options,
    metrics: &Metrics,
    handles: &[StateHandle],
    gate: &Arc<Gate>,
    control: &Arc<Control>,
) -> Result<Vec<Vec<Worker>>> {
    let keeps_state = |n: &&weir_core::graph::Node| matches!(&n.role, Role::Operator(o) if o.keeps_state());
    let stateful = graph.nodes.iter().filter(keeps_state).map(|n| n.parallelism).sum::<usize>();
    let groups = Arc::new(AlignmentGroups::default());
    graph
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| {
            (0..node.parallelism)
                .map(|subtask| {
                    let keeps_state = matches!(&node.role, Role::Operator(f) if f.keeps_state());
                    let stored = || StoredWatermarks::read(&handles[index], subtask, node.parallelism);
                    let (stored_watermarks, resumes) = match keeps_state.then(stored).transpose()? {
                        Some((stored, from)) => (Some(stored), from),
                        None => (None, None),
                    };
                    let context = SubtaskContext {
                        node: node.name.clone(),
                        subtask,
                        parallelism: node.parallelism,
                        job: options.job.clone(),
                        state: handles[index].clone(),
                        resumes_at: resumes.as_ref().map_or(Watermark::NONE, |time| time.all),
                        cache_bytes: options.cache_bytes / stateful.max(1),
                        batch_rows: options.batch_rows.max(1),
                        metrics: metrics.subtask(&node.name, subtask),
                        clock: options.clock.clone(),
                    };
                    let metrics = context.metrics.clone();
                    *locked(&metrics.event_time) = EventTimeReport::default();
                    let mut source_time = None;
                    let task = match &node.role {
                        Role::Source(f) => {
                            let source = f.open(context.clone())?;
                            let time = node.watermarks.as_ref();
                            let time = time.map(|s| SourceTime::new(s, source.as_ref(), &context, &groups));
                            source_time = time.transpose()?;
                            Task::Source(source)
                        }
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
                        gate: gate.clone(),
                        control: control.clone(),
                        clock: options.clock.clone(),
                        time: OperatorTime::nothing(),
                        source_time,
                        stored_watermarks,
                        resumes,
                    })
                })
                .collect()
        })
        .collect()
}

/// What a generation is started with.
struct Begun {
    /// The subtasks of every node.
    workers: Vec<Vec<Worker>>,
    /// The number of its first epoch.
    next: u64,
    /// The sinks' marks.
    marks: BTreeMap<OperatorId, CommitMarker>,
}

/// The error if the system has no file handles or threads left for a runtime.
fn no_runtime(e: std::io::Error) -> Error {
    Error::io(format!("cannot start the actors: {e}"))
        .hint("raise the limits of open files and processes (ulimit -n, -u)")
}

/// Starts the actors, the last node first, since each needs the addresses of its targets. Gives the thread that commits and delivers
/// epochs, which ends with the coordinator.
fn start(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    options: &Options,
    metrics: &Metrics,
    control: &Arc<Control>,
    shared: &Arc<GenerationContext>,
    begun: Begun,
) -> Result<Committing> {
    let Begun { workers, next, marks } = begun;
    let arbiters = std::thread::available_parallelism().map_or(2, usize::from).min(4);
    let arbiters: Vec<Arbiter> =
        (0..arbiters).map(|_| Arbiter::try_new().map_err(no_runtime)).collect::<Result<_>>()?;
    let (sender, receiver) = crossbeam_channel::bounded::<(Epoch, Outbox, bool)>(1);
    let subtasks = graph.nodes.iter().map(|n| n.parallelism).sum();
    let machine = Machine::new(subtasks, options.epoch_interval, next, scale::replayable(graph), Instant::now());
    let coordinator = Coordinator::new(shared.clone(), control.clone(), sender, machine).start();
    let committing =
        commit_thread(graph, backend, &coordinator, receiver, marks, options.job.run.clone(), metrics.clone())?;
    // For every node: the addresses of its subtasks, once they are started.
    let mut started: BTreeMap<usize, Vec<Addr<Subtask>>> = BTreeMap::new();
    let mut turn = 0;
    let names: Vec<Arc<str>> = graph.nodes.iter().map(|n| n.name.as_str().into()).collect();
    for (index, workers) in workers.into_iter().enumerate().rev() {
        let node = &graph.nodes[index];
        let torn =
            |e: &&Edge| e.partitioning == Partitioning::Forward && graph.nodes[e.from].parallelism != node.parallelism;
        if let Some(e) = node.inputs.iter().find(torn) {
            let (from, name) = (&graph.nodes[e.from], &node.name);
            let (here, there) = (from.parallelism, node.parallelism);
            return Err(Error::internal(format!("rows are forwarded from {} x{here} to {name} x{there}", from.name)));
        }
        let mut addresses = vec![];
        for (subtask, mut worker) in workers.into_iter().enumerate() {
            let targets = connect(graph, index, subtask, &started, &mut worker)?;
            let edges = node.inputs.iter();
            let channels = edges.flat_map(|e| (0..graph.nodes[e.from].parallelism).map(move |subtask| (e, subtask)));
            let inputs: Vec<Input> = channels
                .map(|(e, subtask)| Input { input: e.input, operator: names[e.from].clone(), subtask })
                .collect();
            let (name, coordinator) = (node.name.clone(), coordinator.clone());
            let arbiter = arbiters[turn % arbiters.len()].handle();
            turn += 1;
            addresses.push(Subtask::start_in_arbiter(&arbiter, move |_| {
                Subtask::new(index, name, coordinator, worker, inputs, targets)
            }));
        }
        started.insert(index, addresses);
    }
    let mut sources: Vec<(Recipient<StartEpoch>, Recipient<Hold>)> = vec![];
    for (index, node) in graph.nodes.iter().enumerate().filter(|(_, n)| matches!(n.role, Role::Source(_))) {
        let lost = || Error::internal(format!("the source '{}' was not started", node.name));
        let addresses = started.remove(&index).ok_or_else(lost)?;
        sources.extend(addresses.into_iter().map(|a| (a.clone().recipient(), a.recipient())));
    }
    coordinator.do_send(Sources(sources));
    Ok(committing)
}

/// The routes of a subtask to the nodes downstream, whose subtasks have started, and their targets.
fn connect(
    graph: &JobGraph,
    index: usize,
    subtask: usize,
    started: &BTreeMap<usize, Vec<Addr<Subtask>>>,
    worker: &mut Worker,
) -> Result<Vec<Target>> {
    let mut targets: Vec<Target> = vec![];
    for (to, other) in graph.nodes.iter().enumerate() {
        let mut channel = 0;
        for edge in &other.inputs {
            if edge.from == index {
                let receivers = started.get(&to).ok_or_else(|| {
                    Error::internal(format!(
                        "'{}' is before what it reads from: '{}'",
                        other.name, graph.nodes[index].name
                    ))
                })?;
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
    Ok(targets)
}
