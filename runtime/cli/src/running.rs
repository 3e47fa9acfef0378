//! A running job as others see it: by its socket, by HTTP, in the log, and by its own hand when it scales itself.

use crate::event_time;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};
use weir_core::clock::cores;
use weir_core::graph::{JobGraph, JobIdentity, Role};
use weir_core::metrics::{Metrics, resident};
use weir_core::state::StateBackend;
use weir_core::thread::locked;
use weir_core::{Error, Result};
use weir_engine::Control;
use weir_engine::scale::{TargetParallelism, groups, most};
use weir_hints::{
    AdviceSettings, Adviser, Demand, FunctionCounters, Hint, JobModel, Observation, OperatorCounters, OperatorModel,
    RULES, SubtaskCounters,
};
use weir_state::{Archive, Store};

/// From one look at the counters to the next.
const EVERY: Duration = Duration::from_secs(1);

/// Looks from one advice to the next.
const LOOKS: u32 = 5;

/// How long a change of parallelism may take: an epoch has to come to its end.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running job.
pub struct RunningJob {
    /// Its name.
    pub name: String,
    identity: JobIdentity,
    graph: JobGraph,
    metrics: Metrics,
    control: Arc<Control>,
    store: Weak<Store>,
    started: Instant,
    adviser: Mutex<Adviser>,
    hints: Mutex<Vec<Hint>>,
    /// The last looks, for rates.
    looks: Mutex<VecDeque<Observation>>,
}

impl RunningJob {
    /// A job that is about to run.
    pub fn new(
        graph: &JobGraph,
        identity: JobIdentity,
        metrics: &Metrics,
        control: &Arc<Control>,
        store: &Arc<Store>,
        settings: AdviceSettings,
    ) -> Arc<Self> {
        let shape = shape(graph, &BTreeMap::new(), metrics);
        let running = Arc::new(RunningJob {
            name: graph.name.clone(),
            identity,
            graph: graph.clone(),
            metrics: metrics.clone(),
            control: control.clone(),
            store: Arc::downgrade(store),
            started: Instant::now(),
            adviser: Mutex::new(Adviser::new(shape, settings)),
            hints: Mutex::default(),
            looks: Mutex::default(),
        });
        metrics.name(&graph.name);
        let (store, m) = (Arc::downgrade(store), metrics.clone());
        metrics.before_scrape(Box::new(move || {
            if let Some(s) = store.upgrade() {
                m.job().state_disk.set(s.disk_bytes() as i64);
            }
        }));
        running
    }

    /// Looks at the counters from time to time until the watch is dropped; with `scales`, does what is advised.
    pub fn watch(self: &Arc<Self>, scales: bool) -> Result<Watch> {
        let over = Arc::new(AtomicBool::new(false));
        let (r, o) = (self.clone(), over.clone());
        let work = move || {
            let mut looks = 0;
            while !o.load(Ordering::Relaxed) {
                std::thread::park_timeout(EVERY);
                crate::memory::watch();
                r.look();
                looks += 1;
                if looks % LOOKS == 0 && !o.load(Ordering::Relaxed) {
                    r.advise(scales);
                }
            }
        };
        let thread = weir_core::thread::spawn("weir-hints", work)?;
        Ok(Watch { over, thread: Some(thread) })
    }

    /// Takes the counters as they are.
    pub fn look(&self) {
        if !self.control.running() {
            return;
        }
        let now = self.observe();
        let mut adviser = locked(&self.adviser);
        let sizes = self.control.parallelism();
        if adviser.graph().operators.iter().any(|o| sizes.get(&o.name).is_some_and(|n| *n != o.parallelism)) {
            adviser.rescaled(shape(&self.graph, &sizes, &self.metrics));
        }
        adviser.observe(now.clone());
        let mut looks = locked(&self.looks);
        if looks.len() >= 5 {
            looks.pop_front();
        }
        looks.push_back(now);
    }

    fn advise(&self, scales: bool) {
        let hints = locked(&self.adviser).hints();
        let before = std::mem::replace(&mut *locked(&self.hints), hints.clone());
        self.show(&hints);
        for h in &hints {
            let same = |b: &Hint| b.operator == h.operator && b.rule == h.rule && b.desired == h.desired;
            if !before.iter().any(same) {
                tracing::info!("hint: {}", sentence(h));
            }
        }
        let wanted: TargetParallelism =
            hints.iter().filter(|h| h.desired != h.current).map(|h| (h.operator.clone(), Some(h.desired))).collect();
        if scales && !wanted.is_empty() && !self.control.stops() {
            match self.scale(&wanted) {
                Ok(_) => tracing::info!("scaled as advised: {}", listed(&wanted)),
                Err(e) => tracing::warn!("not scaled as advised: {e}"),
            }
        }
    }

    fn show(&self, hints: &[Hint]) {
        let sizes = self.control.parallelism();
        for (name, n) in &sizes {
            let own: Vec<&Hint> = hints.iter().filter(|h| h.operator == *name).collect();
            let desired = own.iter().map(|h| h.desired).find(|d| d != n).unwrap_or(*n);
            let rules: Vec<&str> = own.iter().map(|h| h.rule.name()).collect();
            self.metrics.hint(name, desired, &rules, RULES);
        }
    }

    fn observe(&self) -> Observation {
        let sizes = self.control.parallelism();
        let work = self.graph.nodes.iter().map(|n| {
            let source = matches!(n.role, Role::Source(_));
            let subtasks = (0..sizes.get(&n.name).copied().unwrap_or(n.parallelism)).map(|i| {
                let m = self.metrics.subtask(&n.name, i);
                SubtaskCounters {
                    rows_in: (if source { m.rows_out.get() } else { m.rows_in.get() }) as f64,
                    rows_out: m.rows_out.get() as f64,
                    busy: m.busy.get(),
                    back_pressured: m.back_pressured.get(),
                    useful: m.useful.get(),
                    cpu: m.cpu.get(),
                    queue: m.queue.get() as f64 / (m.queue_room.get() as f64).max(1.0),
                }
            });
            OperatorCounters {
                subtasks: subtasks.collect(),
                lag: self.metrics.lag(&n.name).map(|l| l as f64),
                delivering: self.metrics.sink_delivery(&n.name).get_sample_sum(),
            }
        });
        let functions = self.graph.nodes.iter().filter_map(|n| match &n.role {
            Role::Operator(o) => Some(o.functions()),
            _ => None,
        });
        let function = |name: String| {
            let m = self.metrics.function(&name);
            let f = FunctionCounters { rows: m.rows.get() as f64, time: m.time.get_sample_sum() };
            (name, f)
        };
        Observation {
            at: self.started.elapsed(),
            work: work.collect(),
            functions: functions.flatten().map(function).collect(),
        }
    }

    /// The hints of now.
    pub fn hints(&self) -> Vec<Hint> {
        locked(&self.hints).clone()
    }

    /// The hints over all that was seen: for a job that has ended.
    pub fn hints_at_end(&self) -> Vec<Hint> {
        locked(&self.adviser).at_end()
    }

    /// Whether rows can flow; what is in the way otherwise.
    pub fn ready(&self) -> std::result::Result<(), String> {
        match (self.control.running(), self.control.stops(), self.control.last_failure()) {
            (_, true, _) => Err("the job stops".to_string()),
            (true, ..) => Ok(()),
            (false, _, Some((_, e))) => Err(format!("the job starts again after a failure: {e}")),
            (false, ..) => Err("the job starts".to_string()),
        }
    }

    /// Everything about it.
    pub fn describe(&self) -> Value {
        let looks = locked(&self.looks);
        let (first, last) = (looks.front(), looks.back());
        let seconds = first.zip(last).map_or(0.0, |(a, b)| (b.at - a.at).as_secs_f64());
        let (sizes, event_times) = (self.control.parallelism(), self.metrics.event_times());
        let operators = self.graph.nodes.iter().enumerate().map(|(i, n)| {
            let rate = |f: &dyn Fn(&SubtaskCounters) -> f64| {
                let sum = |o: Option<&Observation>| {
                    o.and_then(|o| o.work.get(i)).map_or(0.0, |w| w.subtasks.iter().map(f).sum::<f64>())
                };
                if seconds > 0.0 { ((sum(last) - sum(first)) / seconds).max(0.0) } else { 0.0 }
            };
            let n_subtasks = sizes.get(&n.name).copied().unwrap_or(n.parallelism);
            let part = |f: &dyn Fn(&SubtaskCounters) -> f64| (rate(f) / n_subtasks.max(1) as f64).min(1.0);
            let all = self.metrics.subtasks(&n.name);
            let (busy, back) = (part(&|s| s.busy), part(&|s| s.back_pressured));
            json!({
                "name": n.name,
                "role": match n.role { Role::Source(_) => "source", Role::Operator(_) => "operator", Role::Sink(_) => "sink" },
                "parallelism": n_subtasks,
                "inputs": n.inputs.iter().map(|e| self.graph.nodes[e.from].name.clone()).collect::<Vec<_>>(),
                "rows_in": all.iter().map(|m| m.rows_in.get()).sum::<u64>(),
                "rows_out": all.iter().map(|m| m.rows_out.get()).sum::<u64>(),
                "rows_per_second": rate(&|s| s.rows_in),
                "busy_ratio": busy,
                "back_pressured_ratio": back,
                "idle_ratio": (1.0 - busy - back).max(0.0),
                "useful_ratio": part(&|s| s.useful),
                "cpu_ratio": part(&|s| s.cpu),
                "queue_ratio": last.and_then(|o| o.work.get(i))
                    .map_or(0.0, |w| w.subtasks.iter().map(|s| s.queue).fold(0.0, f64::max)),
                "lag_records": self.metrics.lag(&n.name),
                "event_time": event_time::of_operator(&event_times, &n.name),
                "late_rows": all.iter().map(|m| m.late.get()).sum::<u64>(),
                "row_errors": all.iter().map(|m| m.skipped.get() + m.nulled.get() + m.dead.get()).sum::<u64>(),
            })
        });
        let (m, ready) = (self.metrics.job(), self.ready());
        json!({
            "name": self.name,
            "id": self.identity.id,
            "run": self.identity.run,
            "version": env!("CARGO_PKG_VERSION"),
            "status": if ready.is_ok() { "running" } else { "waiting" },
            "reason": ready.err(),
            "uptime_seconds": self.started.elapsed().as_secs_f64(),
            "cores": cores(),
            "memory_bytes": resident(),
            "epoch": {
                "number": m.epoch_number.get(),
                "age_seconds": self.metrics.epoch_age().as_secs_f64(),
                "count": m.epochs.get(),
                "mean_duration_seconds": m.epoch_duration.get_sample_sum() / (m.epoch_duration.get_sample_count().max(1) as f64),
            },
            "last_failure": self.control.last_failure().map(|(at, message)| json!({
                "at": at.duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64()),
                "message": message,
            })),
            "event_time": event_time::of_job(&event_times, self.graph.nodes.iter().map(|n| n.name.as_str())),
            "operators": operators.collect::<Vec<_>>(),
            "hints": self.hints(),
        })
    }

    /// Gives operators other parallelisms, and says what has become of it.
    pub fn scale(&self, wanted: &TargetParallelism) -> Result<Value> {
        if wanted.is_empty() {
            return Err(Error::script("nothing is to be scaled").hint("name operators and numbers: OPERATOR=4"));
        }
        let before = self.control.parallelism();
        let store = self.store.upgrade().ok_or_else(|| Error::state("the job is ending"))?;
        let _quiet = store.hold();
        let now = self.control.rescale(&self.graph, wanted, PATIENCE)?;
        let changed = now.iter().filter(|(name, n)| before.get(*name) != Some(n));
        Ok(json!({
            "changed": changed.map(|(name, n)| (name.clone(), json!({"from": before.get(name), "to": n})))
                .collect::<serde_json::Map<_, _>>(),
            "pause_seconds": self.metrics.job().pause.get(),
        }))
    }

    /// Has it finish its epoch and leave.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Writes a savepoint into a folder or bucket; gives where it is, and its keys.
    pub fn savepoint(&self, target: &str) -> Result<Value> {
        let ending = || Error::state("the job is ending");
        let store = self.store.upgrade().ok_or_else(ending)?;
        let id = self.identity.id.clone();
        let written =
            Archive::open(target)?.put(&self.name, false, |out| weir_state::export(&store, &id, PATIENCE, out));
        written.map(|(to, keys)| json!({"savepoint": to, "keys": keys}))
    }
}

impl weir_server::JobControl for RunningJob {
    fn metrics(&self) -> String {
        self.metrics.text()
    }
    fn ready(&self) -> std::result::Result<(), String> {
        RunningJob::ready(self)
    }
    fn describe(&self) -> Value {
        RunningJob::describe(self)
    }
    fn stop(&self) {
        RunningJob::stop(self);
    }
    fn savepoint(&self, target: &str) -> Result<Value> {
        RunningJob::savepoint(self, target)
    }
    fn scale(&self, wanted: BTreeMap<String, Option<usize>>) -> Result<Value> {
        RunningJob::scale(self, &wanted)
    }
}

/// The thread that looks at a job; it ends when this is dropped.
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(t) = self.thread.take() {
            t.thread().unpark();
            // It only reads counters: if it panicked there is nothing to clean up.
            let _ = t.join();
        }
    }
}

/// A hint in a line.
pub fn sentence(h: &Hint) -> String {
    line(&h.operator, h.rule.name(), h.current, h.desired, &h.reason)
}

/// The same of its parts.
pub fn line(operator: &str, rule: &str, current: usize, desired: usize, reason: &str) -> String {
    let number = if desired == current { format!("x{current}") } else { format!("x{current} -> x{desired}") };
    format!("{operator} {number} ({rule}): {reason}")
}

/// What is wanted, in a line.
fn listed(wanted: &TargetParallelism) -> String {
    let one =
        |(name, n): (&String, &Option<usize>)| format!("{name}={}", n.map_or("script".to_string(), |n| n.to_string()));
    wanted.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The job as the advice sees it.
fn shape(graph: &JobGraph, sizes: &BTreeMap<String, usize>, metrics: &Metrics) -> JobModel {
    let (groups, most) = (groups(graph), most(graph));
    let operators = graph.nodes.iter().enumerate().map(|(i, n)| {
        let (role, demand, functions) = match &n.role {
            Role::Source(s) if s.partitions().is_some() || metrics.lag(&n.name).is_some() => {
                (weir_hints::OperatorRole::Source, Demand::Lag, vec![])
            }
            Role::Source(s) => {
                (weir_hints::OperatorRole::Source, s.rate().map_or(Demand::Unbounded, Demand::Rate), vec![])
            }
            Role::Operator(o) => (weir_hints::OperatorRole::Operator, Demand::Unbounded, o.functions()),
            Role::Sink(_) => (weir_hints::OperatorRole::Sink, Demand::Unbounded, vec![]),
        };
        OperatorModel {
            name: n.name.clone(),
            role,
            parallelism: sizes.get(&n.name).copied().unwrap_or(n.parallelism),
            inputs: n.inputs.iter().map(|e| e.from).collect(),
            most: most[i],
            demand,
            functions,
            group: groups[i],
        }
    });
    JobModel { operators: operators.collect() }
}
