//! A window of observations, and the advice for it.

use crate::advise::{Hint, advise};
use crate::model::JobModel;
use crate::observation::{AdviceSettings, Observation};
use std::collections::VecDeque;
use std::time::Duration;

/// Maintains a window of observations, and gives advice.
#[derive(Debug)]
pub struct Adviser {
    graph: JobModel,
    settings: AdviceSettings,
    window: VecDeque<Observation>,
    /// For each operator, the lower parallelisms that would have been sufficient, and when.
    lower: Vec<VecDeque<(Duration, usize)>>,
    began: Option<Duration>,
}

impl Adviser {
    /// Creates an adviser for a job.
    pub fn new(graph: JobModel, settings: AdviceSettings) -> Self {
        let lower = vec![VecDeque::new(); graph.operators.len()];
        Adviser { graph, settings, window: VecDeque::new(), lower, began: None }
    }

    /// The job.
    pub fn graph(&self) -> &JobModel {
        &self.graph
    }

    /// Starts over after a change of parallelism, since former observations no longer apply.
    pub fn rescaled(&mut self, graph: JobModel) {
        let settings = self.settings.clone();
        *self = Adviser::new(graph, settings);
    }

    /// Adds an observation. If counters have gone back because subtasks were replaced, a new window begins.
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
        // The last observation before the window is kept, so that the whole window is covered.
        while self.window.get(1).is_some_and(|second| second.at + self.settings.window <= now.at) {
            self.window.pop_front();
        }
        self.window.push_back(now);
    }

    /// The current hints. There are none before the stabilization time has passed.
    pub fn hints(&mut self) -> Vec<Hint> {
        let (Some(began), Some(last)) = (self.began, self.window.back()) else { return vec![] };
        let settled = began + self.settings.stabilization;
        if last.at < settled {
            return vec![];
        }
        // Observations before that are ignored once there are enough later ones.
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

    /// The hints for all observations, however few, for the end of a job.
    pub fn at_end(&self) -> Vec<Hint> {
        match (self.window.front(), self.window.back()) {
            (Some(first), Some(last)) if last.at - first.at >= Duration::from_millis(500) => {
                let all = advise(&self.graph, &self.settings, first, last);
                all.into_iter().filter(|h| h.desired >= h.current).collect()
            }
            _ => vec![],
        }
    }

    /// Delays hints for a lower parallelism until it has been sufficient for a while, and advises the greatest one of that time.
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
