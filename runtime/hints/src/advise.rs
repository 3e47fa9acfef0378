//! The rules of the advice, with the figures that they are based on.

use crate::model::{Demand, JobModel, OperatorRole};
use crate::observation::{AdviceSettings, Observation, SubtaskCounters};
use serde::Serialize;
use std::collections::BTreeMap;

/// The reason for a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The operator is too slow.
    ScaleUp,
    /// Fewer subtasks would be enough.
    ScaleDown,
    /// The operator is too slow, but its number of partitions or key groups does not allow more subtasks.
    Bounded,
    /// One subtask does most of the work, because its keys or partitions have most of the rows.
    Skew,
    /// All cores are in use.
    Cores,
    /// The external system of a sink or lookup is too slow.
    SlowSystem,
    /// A function takes most of the time.
    Function,
    /// The operator limits a job that runs as fast as it can.
    Bottleneck,
}

/// The names of all rules, as in metrics.
pub const RULES: &[&str] =
    &["scale-up", "scale-down", "bounded", "skew", "cores", "slow-system", "function", "bottleneck"];

impl Rule {
    /// Its name, as in metrics.
    pub fn name(self) -> &'static str {
        RULES[self as usize]
    }
}

/// A hint about an operator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hint {
    /// The operator.
    pub operator: String,
    /// The rule.
    pub rule: Rule,
    /// The current parallelism.
    pub current: usize,
    /// The advised parallelism. It equals the current one if another number does not help.
    pub desired: usize,
    /// The advice as a sentence with figures that can be checked.
    pub reason: String,
    /// The figures on which the hint is based.
    pub figures: BTreeMap<&'static str, f64>,
}

/// The rates of an operator in the window, per second.
struct Rates {
    rows_in: f64,
    rows_out: f64,
    /// The useful time in subtask-seconds per second: 2.0 means two subtasks without a pause.
    useful: f64,
    cpu: f64,
    busiest: f64,
    back_pressured: f64,
    busy: f64,
    queue: f64,
    lag: Option<f64>,
    growing: f64,
    delivering: f64,
}

impl Rates {
    /// Whether one subtask has much more work than the others, because its keys or partitions have most of the rows.
    fn skewed(&self, parallelism: usize) -> bool {
        parallelism > 1 && self.busiest > 1.5 * self.useful / parallelism as f64 && self.busiest > 0.5
    }

    /// The maximum number of rows per second. With skew, the busiest subtask limits it.
    fn capacity(&self, parallelism: usize) -> f64 {
        self.rows_in / self.busiest.max(self.useful / parallelism as f64)
    }
}

fn rates(first: &Observation, last: &Observation, place: usize) -> Option<Rates> {
    let time = (last.at - first.at).as_secs_f64();
    let (a, b) = (first.work.get(place)?, last.work.get(place)?);
    let sum = |f: &dyn Fn(&SubtaskCounters) -> f64| {
        b.subtasks.iter().zip(&a.subtasks).map(|(b, a)| (f(b) - f(a)).max(0.0)).sum::<f64>() / time
    };
    let most = |f: &dyn Fn(&SubtaskCounters) -> f64| {
        b.subtasks.iter().zip(&a.subtasks).map(|(b, a)| (f(b) - f(a)).max(0.0)).fold(0.0, f64::max) / time
    };
    let subtasks = b.subtasks.len().max(1) as f64;
    Some(Rates {
        rows_in: sum(&|s| s.rows_in),
        rows_out: sum(&|s| s.rows_out),
        useful: sum(&|s| s.useful),
        cpu: sum(&|s| s.cpu),
        busiest: most(&|s| s.useful),
        back_pressured: sum(&|s| s.back_pressured) / subtasks,
        busy: sum(&|s| s.busy) / subtasks,
        queue: b.subtasks.iter().map(|s| s.queue).fold(0.0, f64::max),
        lag: b.lag,
        growing: b.lag.zip(a.lag).map_or(0.0, |(b, a)| (b - a) / time),
        delivering: (b.delivering - a.delivering) / time,
    })
}

/// Formats a number for users.
fn short(n: f64) -> String {
    match n {
        n if n >= 1e6 => format!("{:.1} M", n / 1e6),
        n if n >= 1e4 => format!("{:.0} k", n / 1e3),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n if n >= 10.0 => format!("{n:.0}"),
        n => format!("{n:.1}"),
    }
}

fn percent(part: f64) -> String {
    format!("{:.0} %", 100.0 * part)
}

/// Formats a time per row.
fn cost(seconds: f64) -> String {
    match seconds {
        s if s >= 1e-3 => format!("{:.1} ms", s * 1e3),
        s if s >= 1e-6 => format!("{:.1} µs", s * 1e6),
        s => format!("{:.0} ns", s * 1e9),
    }
}

/// The speedup by a number of subtasks if the work consists of equal parts. For 4 parts, 3 subtasks are no better than 2.
fn effective(subtasks: usize, parts: usize) -> f64 {
    parts as f64 / parts.div_ceil(subtasks.max(1)) as f64
}

/// The required input rate of each operator, and the rate for catching up. They follow from the rates of the sources and the output of each
/// operator per row. None if a source has no required rate.
fn targets(graph: &JobModel, rates: &[Option<Rates>], settings: &AdviceSettings) -> Vec<Option<(f64, f64)>> {
    let mut targets: Vec<Option<(f64, f64)>> = vec![];
    for (place, o) in graph.operators.iter().enumerate() {
        let Some(r) = &rates[place] else {
            targets.push(None);
            continue;
        };
        let catch_up = settings.catch_up.as_secs_f64();
        targets.push(match (o.role, o.demand) {
            (OperatorRole::Source, Demand::Lag) => {
                let lag = r.lag.unwrap_or(0.0);
                Some(((r.rows_in + r.growing).max(0.0), lag / catch_up))
            }
            (OperatorRole::Source, Demand::Rate(rate)) => Some((rate, 0.0)),
            (OperatorRole::Source, Demand::Unbounded) => None,
            _ => o.inputs.iter().try_fold((0.0, 0.0), |(rate, late), u| {
                let (from, (target, behind)) = (rates[*u].as_ref()?, targets[*u]?);
                // One output row per input row is assumed until rows have been seen.
                let made = if from.rows_in > 0.0 { from.rows_out / from.rows_in } else { 1.0 };
                Some((rate + target * made, late + behind * made))
            }),
        });
    }
    targets
}

/// The maximum parallelism of an operator.
fn most_of(o: &crate::model::OperatorModel, settings: &AdviceSettings) -> usize {
    o.most.min(settings.most).max(1)
}

/// The share of the required rate that can pass through the job. An operator that cannot be scaled limits all others, which need not be
/// faster than it.
fn passable(
    graph: &JobModel,
    rates: &[Option<Rates>],
    targets: &[Option<(f64, f64)>],
    settings: &AdviceSettings,
) -> f64 {
    let all = graph.operators.iter().zip(rates).zip(targets);
    let parts = all.filter_map(|((o, r), t)| {
        let (r, (rate, behind)) = (r.as_ref().filter(|r| r.rows_in > 0.0 && r.useful > 0.0)?, (*t)?);
        let most = most_of(o, settings);
        let more =
            if r.skewed(o.parallelism) { 1.0 } else { effective(most, o.most) / effective(o.parallelism, o.most) };
        Some(r.capacity(o.parallelism) * more.max(1.0) / (rate + behind).max(1e-9))
    });
    parts.fold(1.0, f64::min)
}

/// Adds a hint if all cores are in use, and returns whether they are. Operators that compute do not get faster then by more subtasks.
fn cores(
    graph: &JobModel,
    rates: &[Option<Rates>],
    targets: &[Option<(f64, f64)>],
    settings: &AdviceSettings,
    hints: &mut Vec<Hint>,
) -> bool {
    let used: f64 = rates.iter().flatten().map(|r| r.cpu).sum();
    let wanted: f64 = rates
        .iter()
        .zip(targets)
        .flat_map(|(r, t)| r.as_ref().zip(*t))
        .filter(|(r, _)| r.rows_in > 0.0)
        .map(|(r, (rate, _))| r.cpu / r.rows_in * rate)
        .sum();
    let full = used > 0.9 * settings.cores || wanted > settings.cores;
    if full && let Some((_, o, r)) = by_most(graph, rates, |r| r.cpu) {
        let need = if wanted > settings.cores { format!("; what comes needs {wanted:.1}") } else { String::new() };
        hints.push(Hint {
            operator: o.name.clone(),
            rule: Rule::Cores,
            current: o.parallelism,
            desired: o.parallelism,
            reason: format!(
                "{used:.1} of {:.1} cores are in use{need}: more subtasks of what computes will not help; this operator takes \
                 {} of them",
                settings.cores,
                percent(r.cpu / used.max(1e-9)),
            ),
            figures: BTreeMap::from([("cores_used", used), ("cores", settings.cores), ("cores_wanted", wanted)]),
        });
    }
    full
}

/// The circumstances of an operator's advice.
struct Around<'a> {
    settings: &'a AdviceSettings,
    /// The share of the required rate that can pass through the job.
    passable: f64,
    /// Whether all cores are in use.
    full: bool,
    /// Whether a source has a larger backlog than the settings allow.
    in_backlog: bool,
}

/// Describes the required rate and the capacity of an operator.
fn has_to(o: &crate::model::OperatorModel, r: &Rates, (rate, behind): (f64, f64), settings: &AdviceSettings) -> String {
    let capacity = r.capacity(o.parallelism);
    let mean = r.useful / o.parallelism as f64;
    format!(
        "{} rows/s come{}, and {} subtask{} can do {} (useful {} of the time, input queue {} full)",
        short(rate),
        if behind > 0.0 {
            format!(" and {} wait", short(r.lag.unwrap_or(behind * settings.catch_up.as_secs_f64())))
        } else {
            String::new()
        },
        o.parallelism,
        if o.parallelism == 1 { "" } else { "s" },
        short(capacity),
        percent(mean),
        percent(r.queue),
    )
}

/// The hint for an operator, given its required rate and the rate for catching up.
fn of_operator(o: &crate::model::OperatorModel, r: &Rates, target: (f64, f64), around: &Around<'_>) -> Option<Hint> {
    let (rate, behind) = target;
    let p = o.parallelism as f64;
    let (mean, skewed, capacity) = (r.useful / p, r.skewed(o.parallelism), r.capacity(o.parallelism));
    let need = |utilization: f64| {
        if around.passable < 1.0 {
            around.passable * (behind + rate) / utilization
        } else {
            behind + rate / utilization
        }
    };
    let (upper, lower) =
        (around.settings.target + around.settings.boundary, around.settings.target - around.settings.boundary);
    let mut figures = BTreeMap::from([
        ("rows_per_second", r.rows_in),
        ("target_rows_per_second", rate + behind),
        ("capacity_rows_per_second", capacity),
        ("useful_ratio", mean),
        ("busiest_useful_ratio", r.busiest),
        ("cpu_ratio", r.cpu / p),
        ("queue_ratio", r.queue),
    ]);
    figures.extend(r.lag.map(|l| ("lag_records", l)));
    let hint = |rule, desired, reason| {
        Some(Hint { operator: o.name.clone(), rule, current: o.parallelism, desired, reason, figures: figures.clone() })
    };
    if capacity < behind + rate / upper && skewed {
        return hint(
            Rule::Skew,
            o.parallelism,
            format!(
                "one of {} subtasks is at work {} of the time, all on the mean {}: a few {} have most of the rows, and more \
                     subtasks will not help",
                o.parallelism,
                percent(r.busiest),
                percent(mean),
                if o.role == OperatorRole::Source { "partitions" } else { "keys" },
            ),
        );
    }
    let has_to = has_to(o, r, target, around.settings);
    let most = most_of(o, around.settings);
    let at_most = o.parallelism >= most;
    let wanted = need(around.settings.target) / capacity * effective(o.parallelism, o.most.max(1));
    if capacity < need(upper) || at_most && capacity < behind + rate / upper {
        let desired = (o.parallelism..=most).find(|n| effective(*n, o.most) >= wanted).unwrap_or(most);
        let waits = r.cpu < 0.5 * r.useful;
        if desired <= o.parallelism || o.parallelism >= most {
            let bound = match o.role {
                OperatorRole::Source => format!("there are {} partitions: make more of them", o.most),
                _ if o.most == 1 => "it has no key by which its rows could be divided".to_string(),
                _ => format!("{most} is the most that it can have"),
            };
            return hint(Rule::Bounded, o.parallelism, format!("{has_to}; {bound}"));
        } else if around.full && !waits {
            // This is reported once for the whole job.
        } else if waits && o.role == OperatorRole::Sink {
            return hint(
                Rule::SlowSystem,
                desired,
                format!(
                    "{has_to}; {} of its time it waits for the system behind it: {desired} would ask it at once, if it can",
                    percent(1.0 - r.cpu / r.useful),
                ),
            );
        } else {
            return hint(Rule::ScaleUp, desired, format!("{has_to}: it needs {desired}"));
        }
    } else if capacity > need(lower) && o.parallelism > 1 && !around.in_backlog && !skewed {
        let desired = (1..o.parallelism).find(|n| effective(*n, o.most) >= wanted).unwrap_or(o.parallelism);
        if desired < o.parallelism {
            return hint(Rule::ScaleDown, desired, format!("{has_to}: {desired} would be enough"));
        }
    }
    None
}

/// The hints from the differences of two observations.
pub(crate) fn advise(
    graph: &JobModel,
    settings: &AdviceSettings,
    first: &Observation,
    last: &Observation,
) -> Vec<Hint> {
    let rates: Vec<Option<Rates>> = (0..graph.operators.len()).map(|i| rates(first, last, i)).collect();
    let targets = targets(graph, &rates, settings);
    let mut hints = vec![];
    let full = cores(graph, &rates, &targets, settings, &mut hints);
    let in_backlog = rates
        .iter()
        .flatten()
        .any(|r| r.lag.is_some_and(|l| l > 0.0 && l / r.rows_in.max(1e-9) > settings.backlog.as_secs_f64()));
    let passable = passable(graph, &rates, &targets, settings);
    let around = Around { settings, passable, full, in_backlog };
    for (place, o) in graph.operators.iter().enumerate() {
        let (Some(r), Some(target)) = (&rates[place], targets[place]) else { continue };
        if r.rows_in > 0.0 && r.useful > 0.0 {
            hints.extend(of_operator(o, r, target, &around));
        }
    }
    bottleneck(graph, &rates, &targets, &mut hints);
    slow_deliveries(graph, &rates, &mut hints);
    costly_functions(graph, &rates, first, last, &mut hints);
    in_groups(graph, &mut hints);
    hints
}

/// The operator with the greatest value of `of`, and its index.
fn by_most<'a>(
    graph: &'a JobModel,
    rates: &'a [Option<Rates>],
    of: impl Fn(&Rates) -> f64,
) -> Option<(usize, &'a crate::model::OperatorModel, &'a Rates)> {
    let all = graph.operators.iter().zip(rates).enumerate().filter_map(|(at, (o, r))| Some((at, o, r.as_ref()?)));
    all.max_by(|(_, _, a), (_, _, b)| of(a).total_cmp(&of(b)))
}

/// If sources run as fast as they can, no rate is sufficient. The slowest operator is reported without a number.
fn bottleneck(graph: &JobModel, rates: &[Option<Rates>], targets: &[Option<(f64, f64)>], hints: &mut Vec<Hint>) {
    let any = graph.operators.iter().zip(targets).any(|(o, t)| o.role == OperatorRole::Source && t.is_none());
    let most = by_most(graph, rates, |r| r.busiest).filter(|(_, _, r)| any && r.busiest > 0.6);
    let Some((place, o, r)) = most else { return };
    let above = o.inputs.iter().filter_map(|i| rates[*i].as_ref()).map(|r| r.back_pressured).fold(0.0, f64::max);
    if targets[place].is_some() {
        return;
    }
    let upstream = match o.inputs.is_empty() {
        true => String::new(),
        false => format!(", input queue {} full, upstream back-pressured {}", percent(r.queue), percent(above)),
    };
    hints.push(Hint {
        operator: o.name.clone(),
        rule: Rule::Bottleneck,
        current: o.parallelism,
        desired: o.parallelism,
        reason: format!(
            "it holds the job back, which goes as fast as it can: busiest subtask useful {}, busy {}{upstream}",
            percent(r.busiest),
            percent(r.busy),
        ),
        figures: BTreeMap::from([
            ("busiest_useful_ratio", r.busiest),
            ("busy_ratio", r.busy),
            ("queue_ratio", r.queue),
            ("upstream_back_pressured_ratio", above),
        ]),
    });
}

/// Sinks that deliver epochs in the background. This time is not part of any subtask's time.
fn slow_deliveries(graph: &JobModel, rates: &[Option<Rates>], hints: &mut Vec<Hint>) {
    for (o, r) in graph.operators.iter().zip(rates) {
        let Some(r) = r.as_ref().filter(|r| o.role == OperatorRole::Sink && r.delivering > 0.6) else { continue };
        hints.push(Hint {
            operator: o.name.clone(),
            rule: Rule::SlowSystem,
            current: o.parallelism,
            desired: o.parallelism,
            reason: format!(
                "{} of the time its system takes over epochs, {} rows/s: no operator is to blame; make it faster, or the epochs longer \
                 (execution.checkpointing.interval) so that more rows share a transaction",
                percent(r.delivering.min(1.0)),
                short(r.rows_in),
            ),
            figures: BTreeMap::from([("delivering_ratio", r.delivering), ("rows_per_second", r.rows_in)]),
        });
    }
}

/// Functions that take most of an operator's time, if that is most of a subtask's time.
fn costly_functions(
    graph: &JobModel,
    rates: &[Option<Rates>],
    first: &Observation,
    last: &Observation,
    hints: &mut Vec<Hint>,
) {
    let seconds = (last.at - first.at).as_secs_f64();
    for (o, r) in graph.operators.iter().zip(rates) {
        let Some(r) = r.as_ref().filter(|r| r.busiest > 0.5) else { continue };
        for name in &o.functions {
            let (Some(b), a) = (last.functions.get(name), first.functions.get(name).copied().unwrap_or_default())
            else {
                continue;
            };
            let (time, rows) = ((b.time - a.time) / seconds, b.rows - a.rows);
            if rows > 0.0 && time > 0.5 * r.useful {
                let row = time * seconds / rows;
                hints.push(Hint {
                    operator: o.name.clone(),
                    rule: Rule::Function,
                    current: o.parallelism,
                    desired: o.parallelism,
                    reason: format!(
                        "the function {name} takes {} of this operator's time, {} a row",
                        percent((time / r.useful).min(1.0)),
                        cost(row)
                    ),
                    figures: BTreeMap::from([("function_ratio", time / r.useful), ("seconds_per_row", row)]),
                });
            }
        }
    }
}

/// Operators without an exchange between them must have the same parallelism: the greatest that one of them needs.
fn in_groups(graph: &JobModel, hints: &mut Vec<Hint>) {
    let group = |name: &str| graph.operators.iter().find(|o| o.name == name).map(|o| o.group);
    let snapshot = hints.clone();
    hints.retain_mut(|h| {
        let own = group(&h.operator);
        let others: Vec<&Hint> = snapshot.iter().filter(|x| group(&x.operator) == own).collect();
        if h.desired < h.current {
            // A lower parallelism must be sufficient for all of them.
            let members = graph.operators.iter().filter(|o| Some(o.group) == own);
            let wanted = members.map(|m| {
                others
                    .iter()
                    .find(|x| x.operator == m.name && x.desired < x.current)
                    .map_or(m.parallelism, |x| x.desired)
            });
            h.desired = wanted.max().unwrap_or(h.current);
            return h.desired < h.current;
        }
        if h.desired > h.current {
            h.desired = others.iter().map(|x| x.desired).max().unwrap_or(h.desired);
        }
        true
    });
}
