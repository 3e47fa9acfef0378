//! What was observed: counters at points in time, of which the advice takes the differences.

use crate::advise::{Hint, advise};
use crate::model::Graph;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What a subtask has done since it began; times in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Subtask {
    /// Rows that it took in; of a source, gave out.
    pub rows_in: f64,
    /// Rows that it gave out.
    pub rows_out: f64,
    /// Time at work, waiting for a core included.
    pub busy: f64,
    /// Time without room downstream.
    pub back_pressured: f64,
    /// Time at work without waiting for a core.
    pub useful: f64,
    /// Processor time.
    pub cpu: f64,
    /// How full its input is now, 0 to 1.
    pub queue: f64,
}

/// What an operator has done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Work {
    /// Its subtasks.
    pub subtasks: Vec<Subtask>,
    /// Of a source that knows it: the records that wait now.
    pub lag: Option<f64>,
    /// Of a sink: the time in which it took over epochs.
    pub delivering: f64,
}

/// What a function has done.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Function {
    /// Rows.
    pub rows: f64,
    /// Seconds.
    pub time: f64,
}

/// All counters at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// When, from any fixed moment.
    pub at: Duration,
    /// The operators, in the graph's order.
    pub work: Vec<Work>,
    /// The functions.
    pub functions: BTreeMap<String, Function>,
}

/// By what the advice is given. The defaults are for a job of one process, whose rescales cost well under a second: where
/// Flink's autoscaler looks back for minutes, because its restarts take minutes, seconds do here.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The utilisation to aim at.
    pub target: f64,
    /// How far from it nothing is done.
    pub boundary: f64,
    /// How far back to look.
    pub window: Duration,
    /// For how long nothing is advised after the start or a rescale: caches are cold.
    pub stabilization: Duration,
    /// For how long less must have been enough before less is advised.
    pub scale_down_delay: Duration,
    /// Within which time what waits should be worked off.
    pub catch_up: Duration,
    /// What waits for longer than this, at the present rate, is a backlog, during which nothing is scaled down.
    pub backlog: Duration,
    /// Cores that the process may use.
    pub cores: f64,
    /// Subtasks of an operator at most.
    pub most: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            target: 0.7,
            boundary: 0.3,
            window: Duration::from_secs(60),
            stabilization: Duration::from_secs(10),
            scale_down_delay: Duration::from_secs(300),
            catch_up: Duration::from_secs(600),
            backlog: Duration::from_secs(300),
            cores: 1.0,
            most: 64,
        }
    }
}

/// Gathers observations and gives advice.
#[derive(Debug)]
pub struct Adviser {
    graph: Graph,
    settings: Settings,
    window: VecDeque<Observation>,
    /// For each operator, the lower parallelisms that would have been enough, and when.
    lower: Vec<VecDeque<(Duration, usize)>>,
    began: Option<Duration>,
}

impl Adviser {
    /// Begins for a job.
    pub fn new(graph: Graph, settings: Settings) -> Self {
        let lower = vec![VecDeque::new(); graph.operators.len()];
        Adviser { graph, settings, window: VecDeque::new(), lower, began: None }
    }

    /// The job that it advises.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The job has other parallelisms now: what was seen before says nothing any more.
    pub fn rescaled(&mut self, graph: Graph) {
        let settings = self.settings.clone();
        *self = Adviser::new(graph, settings);
    }

    /// Takes counters. Those that went back, because subtasks were made anew, begin another window.
    pub fn observe(&mut self, now: Observation) {
        let shape = |o: &Observation| o.work.iter().map(|w| w.subtasks.len()).collect::<Vec<_>>();
        let again = self.window.back().is_some_and(|last| {
            shape(last) != shape(&now)
                || last.work.iter().zip(&now.work).any(|(a, b)| {
                    a.subtasks.iter().zip(&b.subtasks).any(|(a, b)| b.busy < a.busy || b.rows_in < a.rows_in)
                })
        });
        if again {
            self.window.clear();
            self.began = None;
        }
        self.began.get_or_insert(now.at);
        // The oldest one that is kept is the last one outside the window, so that the window is covered.
        while self.window.get(1).is_some_and(|second| second.at + self.settings.window <= now.at) {
            self.window.pop_front();
        }
        self.window.push_back(now);
    }

    /// The advice of now: nothing before the job has been at work for the time of stabilization.
    pub fn hints(&mut self) -> Vec<Hint> {
        let (Some(began), Some(last)) = (self.began, self.window.back()) else { return vec![] };
        let settled = began + self.settings.stabilization;
        if last.at < settled {
            return vec![];
        }
        // What lies before that is left out as soon as there is something behind it.
        let enough = |o: &Observation| o.at >= settled && last.at - o.at >= self.settings.stabilization / 2;
        let first = match self.window.iter().find(|o| enough(o)) {
            Some(o) => o.clone(),
            None => match self.window.front() {
                Some(o) => o.clone(),
                None => return vec![],
            },
        };
        let last = last.clone();
        let advice = advise(&self.graph, &self.settings, &first, &last);
        self.delayed(advice, last.at)
    }

    /// The advice over all that was seen, however short: for the end of a job.
    pub fn at_end(&self) -> Vec<Hint> {
        match (self.window.front(), self.window.back()) {
            (Some(first), Some(last)) if last.at - first.at >= Duration::from_millis(500) => {
                let all = advise(&self.graph, &self.settings, first, last);
                all.into_iter().filter(|h| h.desired >= h.current).collect()
            }
            _ => vec![],
        }
    }

    /// Lets less be advised only when it would have been enough for a while, and then the most of that while.
    fn delayed(&mut self, advice: Vec<Hint>, now: Duration) -> Vec<Hint> {
        let delay = self.settings.scale_down_delay;
        let mut out = vec![];
        for (place, o) in self.graph.operators.iter().enumerate() {
            let seen = &mut self.lower[place];
            let less = advice.iter().find(|h| h.operator == o.name && h.desired < h.current);
            match less {
                None => seen.clear(),
                Some(h) => {
                    seen.push_back((now, h.desired));
                    let long_enough = seen.front().is_some_and(|(since, _)| now.saturating_sub(*since) >= delay);
                    let most = seen.iter().map(|(_, p)| *p).max().unwrap_or(h.desired);
                    if long_enough {
                        while seen.get(1).is_some_and(|(at, _)| *at + delay <= now) {
                            seen.pop_front();
                        }
                        out.push(Hint { desired: most, ..h.clone() });
                    }
                }
            }
        }
        out.extend(advice.into_iter().filter(|h| h.desired >= h.current));
        out
    }
}
