//! The advice, followed blindly, on made-up loads whose true needs are known. Prints the table of docs/src/reference/hints.md:
//! `cargo test --release --workspace --test loads -- --nocapture`.

use std::time::Duration;
use weir_hints::{
    AdviceSettings, Adviser, Demand, FunctionCounters, JobModel, Observation, OperatorCounters, OperatorModel,
    OperatorRole, Rule, SubtaskCounters,
};

/// Seconds between decisions.
const EVERY: usize = 5;

/// What an operator can really do.
#[derive(Clone)]
struct Truth {
    /// Rows a second of a subtask that does nothing else.
    rate: f64,
    /// Rows that come of a row.
    makes: f64,
    /// The part of its useful time that is processor time.
    cpu: f64,
    /// The part of all rows that the busiest key has.
    hottest: f64,
}

fn truth(rate: f64) -> Truth {
    Truth { rate, makes: 1.0, cpu: 1.0, hottest: 0.0 }
}

struct World {
    graph: JobModel,
    truth: Vec<Truth>,
    work: Vec<OperatorCounters>,
    waiting: f64,
    function: FunctionCounters,
}

impl World {
    fn new(graph: JobModel, truth: Vec<Truth>) -> Self {
        let work = vec![OperatorCounters::default(); truth.len()];
        let mut w = World { graph, truth, work, waiting: 0.0, function: FunctionCounters::default() };
        w.make();
        w
    }

    /// Subtasks anew, all counters at nothing.
    fn make(&mut self) {
        for (o, w) in self.graph.operators.iter().zip(&mut self.work) {
            w.subtasks = vec![SubtaskCounters::default(); o.parallelism];
        }
    }

    /// The part of the rows that each subtask gets.
    fn shares(&self, i: usize) -> Vec<f64> {
        let (o, t) = (&self.graph.operators[i], &self.truth[i]);
        let n = o.parallelism;
        let parts = match o.role {
            OperatorRole::Source => {
                (0..n).map(|s| (0..o.most).filter(|p| p % n == s).count() as f64 / o.most as f64).collect()
            }
            _ => vec![1.0 / n as f64; n],
        };
        let mut parts: Vec<f64> = parts;
        if t.hottest > 0.0 {
            parts.iter_mut().for_each(|p| *p *= 1.0 - t.hottest);
            parts[0] += t.hottest;
        }
        parts
    }

    /// Rows a second that the operator can take.
    fn capacity(&self, i: usize) -> f64 {
        self.truth[i].rate / self.shares(i).into_iter().fold(0.0, f64::max)
    }

    /// Rows at each operator for a row at the source.
    fn share_of_source(&self) -> Vec<f64> {
        let mut all: Vec<f64> = vec![];
        for o in &self.graph.operators {
            all.push(match o.role {
                OperatorRole::Source => 1.0,
                _ => o.inputs.iter().map(|u| all[*u] * self.truth[*u].makes).sum(),
            });
        }
        all
    }

    /// A second in which `come` rows come to each source; gives the rows that were done.
    fn second(&mut self, come: f64, paused: bool) -> f64 {
        let share = self.share_of_source();
        let room = (0..share.len()).map(|i| self.capacity(i) / share[i]).fold(f64::INFINITY, f64::min);
        let done = if paused { 0.0 } else { room.min(come + self.waiting) };
        self.waiting = (self.waiting + come - done).max(0.0);
        let limited = self.waiting > 1e-6;
        for (i, share) in share.into_iter().enumerate() {
            let (parts, t, rows) = (self.shares(i), self.truth[i].clone(), done * share);
            let is_slowest = self.capacity(i) / share <= room * 1.000_001;
            if !self.graph.operators[i].functions.is_empty() {
                self.function.rows += rows;
                self.function.time += 0.9 * rows / t.rate;
            }
            for (s, part) in self.work[i].subtasks.iter_mut().zip(parts) {
                let useful = rows * part / t.rate;
                s.rows_in += rows * part;
                s.rows_out += rows * part * t.makes;
                s.useful += useful;
                s.busy += useful;
                s.cpu += useful * t.cpu;
                s.back_pressured += if limited && !is_slowest && !paused { 1.0 - useful } else { 0.0 };
                s.queue = if limited && is_slowest { 1.0 } else { 0.1 };
            }
            if self.graph.operators[i].role == OperatorRole::Source {
                self.work[i].lag = Some(self.waiting);
            }
        }
        done
    }
}

fn operator(name: &str, role: OperatorRole, inputs: &[usize], most: usize, group: usize) -> OperatorModel {
    OperatorModel {
        name: name.to_string(),
        role,
        parallelism: 1,
        inputs: inputs.to_vec(),
        most,
        demand: Demand::Lag,
        functions: vec![],
        group,
    }
}

/// Topic, function, GROUP BY, table.
fn job(partitions: usize) -> JobModel {
    let mut calc = operator("calc", OperatorRole::Operator, &[0], 64, 1);
    calc.functions = vec!["f".to_string()];
    JobModel {
        operators: vec![
            operator("source", OperatorRole::Source, &[], partitions, 0),
            calc,
            operator("aggregate", OperatorRole::Operator, &[1], 128, 2),
            operator("sink", OperatorRole::Sink, &[2], 64, 3),
        ],
    }
}

struct Outcome {
    decisions: usize,
    turns: usize,
    behind: usize,
    lag: f64,
    parallelism: Vec<usize>,
    rules: Vec<(String, Rule)>,
}

/// Lets a load come for some seconds and does what is advised.
fn follow(mut world: World, seconds: usize, cores: f64, change: impl Fn(usize, &mut World) -> f64) -> Outcome {
    let settings = AdviceSettings { cores, catch_up: Duration::from_secs(120), ..AdviceSettings::default() };
    let mut adviser = Adviser::new(world.graph.clone(), settings);
    let mut out = Outcome { decisions: 0, turns: 0, behind: 0, lag: 0.0, parallelism: vec![], rules: vec![] };
    let mut paused = 0_usize;
    let mut directions: Vec<i64> = vec![0; world.graph.operators.len()];
    let mut run = 0;
    for t in 0..seconds {
        let come = change(t, &mut world);
        let done = world.second(come, paused > 0);
        paused = paused.saturating_sub(1);
        run = if done < come * 0.999 { run + 1 } else { 0 };
        out.behind = out.behind.max(run);
        adviser.observe(Observation {
            at: Duration::from_secs(t as u64),
            work: world.work.clone(),
            functions: [("f".to_string(), world.function)].into(),
        });
        if t % EVERY != 0 {
            continue;
        }
        let hints = adviser.hints();
        for h in &hints {
            if !out.rules.iter().any(|(o, r)| *o == h.operator && *r == h.rule) {
                out.rules.push((h.operator.clone(), h.rule));
            }
        }
        let mut acted = false;
        for h in hints.iter().filter(|h| h.desired != h.current) {
            for (i, o) in world.graph.operators.iter_mut().enumerate().filter(|(_, o)| o.name == h.operator) {
                let direction = (h.desired as i64 - o.parallelism as i64).signum();
                out.turns += usize::from(directions[i] * direction < 0);
                directions[i] = direction;
                o.parallelism = h.desired;
                acted = true;
            }
        }
        if acted {
            out.decisions += 1;
            paused = 1;
            world.make();
            adviser.rescaled(world.graph.clone());
        }
    }
    out.lag = world.waiting;
    out.parallelism = world.graph.operators.iter().map(|o| o.parallelism).collect();
    out
}

fn base(partitions: usize) -> World {
    World::new(job(partitions), vec![truth(100_000.0), truth(20_000.0), truth(50_000.0), truth(40_000.0)])
}

/// The fewest subtasks that hold a rate at the utilisation that is aimed at.
fn oracle(rate: f64, world: &World) -> Vec<usize> {
    let need = |t: &Truth| (rate / t.rate / 0.7).ceil() as usize;
    world.truth.iter().map(need).collect()
}

fn show(name: &str, o: &Outcome, wanted: &str) {
    let p = o.parallelism.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
    println!("| {name} | {wanted} | {p} | {} | {} | {} | {:.0} |", o.decisions, o.turns, o.behind, o.lag);
}

fn listed(p: &[usize]) -> String {
    p.iter().map(usize::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn made_up_loads() {
    println!(
        "| load | true need | settled at | decisions | turns | longest below demand, s | rows waiting at the end |"
    );
    println!("|---|---|---|---|---|---|---|");
    let at = |rate| oracle(rate, &base(16));
    // A load from nothing to its full height at once.
    let o = follow(base(16), 900, 1e9, |_, _| 100_000.0);
    show("step", &o, &listed(&at(100_000.0)));
    assert!(o.decisions <= 3 && o.turns == 0 && o.behind <= 60 && o.lag < 1.0);
    for (got, need) in o.parallelism.iter().zip(at(100_000.0)) {
        assert!(*got >= need && *got <= need * 2, "{:?}", o.parallelism);
    }
    // Ten times as much within a quarter of an hour.
    let o = follow(base(16), 1_500, 1e9, |t, _| 10_000.0 * (1.0 + 9.0 * (t.min(900) as f64 / 900.0)));
    show("ramp", &o, &listed(&at(100_000.0)));
    assert!(o.turns == 0 && o.behind <= 60 && o.lag < 1.0);
    // A day's wave in an hour.
    let o =
        follow(base(16), 7_200, 1e9, |t, _| 60_000.0 + 40_000.0 * (t as f64 / 3_600.0 * std::f64::consts::TAU).sin());
    show("sine", &o, &format!("{} to {}", listed(&at(20_000.0)), listed(&at(100_000.0))));
    // Four operators, two waves, up and down: each turn of the wave may turn each operator once.
    assert!(o.turns <= 16 && o.behind <= 60, "{} turns", o.turns);
    // Half of all rows have one key.
    let mut w = base(16);
    w.truth[2].hottest = 0.5;
    let o = follow(w, 900, 1e9, |_, _| 100_000.0);
    show("skew", &o, "no number helps");
    assert!(o.rules.contains(&("aggregate".into(), Rule::Skew)) && o.decisions <= 3, "{:?}", o.rules);
    // A function that costs five times as much from one moment on.
    let o = follow(base(16), 1_800, 1e9, |t, w| {
        w.truth[1].rate = if t < 600 { 20_000.0 } else { 4_000.0 };
        50_000.0
    });
    show("slow function", &o, "1 18 2 2");
    assert!(o.rules.contains(&("calc".into(), Rule::Function)), "{:?}", o.rules);
    assert!((18..=36).contains(&o.parallelism[1]) && o.decisions <= 6 && o.lag < 1.0, "{:?}", o.parallelism);
    // A database that takes 2 ms a batch, whoever asks.
    let mut w = base(16);
    w.truth[3] = Truth { rate: 4_000.0, cpu: 0.05, ..truth(0.0) };
    let o = follow(w, 900, 1e9, |_, _| 20_000.0);
    show("slow sink", &o, &format!("1 2 1 {}", (20_000.0_f64 / 4_000.0 / 0.7).ceil()));
    assert!(o.rules.contains(&("sink".into(), Rule::SlowSystem)), "{:?}", o.rules);
    assert!(o.decisions <= 3 && o.turns == 0 && o.lag < 1.0);
    // Four partitions, and a source that would need six subtasks.
    let mut w = base(4);
    w.truth[0].rate = 25_000.0;
    let o = follow(w, 900, 1e9, |_, _| 110_000.0);
    show("four partitions", &o, "6, and 4 is the most");
    assert!(o.rules.contains(&("source".into(), Rule::Bounded)) && o.parallelism[0] == 4, "{:?}", o.parallelism);
    // Two cores, and work for eight: what is advised is not more subtasks.
    let mut w = base(16);
    w.truth.iter_mut().for_each(|t| t.rate /= 4.0);
    let o = follow(w, 600, 2.0, |_, _| 50_000.0);
    show("two cores", &o, "no number helps");
    assert!(o.rules.iter().any(|(_, r)| *r == Rule::Cores) && o.parallelism.iter().all(|p| *p == 1), "{:?}", o.rules);
}

/// A hundred operators in ten branches, thousands of subtasks: one decision or two, and nothing waits.
#[test]
fn a_large_job() {
    let mut operators = vec![];
    let mut truths = vec![];
    for branch in 0..10 {
        let from = operators.len();
        operators.push(operator(&format!("source {branch}"), OperatorRole::Source, &[], 64, from));
        truths.push(truth(400_000.0));
        for step in 1..10 {
            let role = if step == 9 { OperatorRole::Sink } else { OperatorRole::Operator };
            operators.push(operator(&format!("{branch}/{step}"), role, &[from + step - 1], 128, from + step));
            truths.push(Truth { makes: if step == 4 { 0.5 } else { 1.0 }, ..truth(12_000.0 + 1_000.0 * step as f64) });
        }
    }
    let world = World::new(JobModel { operators }, truths);
    let o = follow(world, 900, 1e9, |_, _| 400_000.0);
    let subtasks: usize = o.parallelism.iter().sum();
    println!("a hundred operators: {subtasks} subtasks after {} decisions", o.decisions);
    assert!(subtasks > 2_000 && o.decisions <= 3 && o.lag < 1.0 && o.turns == 0, "{subtasks} {}", o.lag);
}

#[test]
fn files_have_a_bottleneck_and_no_number() {
    let mut graph = job(4);
    graph.operators[0].demand = Demand::Unbounded;
    let mut world =
        World::new(graph.clone(), vec![truth(100_000.0), truth(20_000.0), truth(50_000.0), truth(40_000.0)]);
    world.waiting = 1e9;
    let mut adviser = Adviser::new(graph, AdviceSettings { cores: 16.0, ..AdviceSettings::default() });
    for t in 0..30 {
        world.second(0.0, false);
        let functions = [("f".to_string(), world.function)].into();
        adviser.observe(Observation { at: Duration::from_secs(t), work: world.work.clone(), functions });
    }
    let hints = adviser.hints();
    let named: Vec<_> = hints.iter().map(|h| (h.operator.as_str(), h.rule)).collect();
    assert_eq!(named, [("calc", Rule::Bottleneck), ("calc", Rule::Function)]);
    let said = &hints[0].reason;
    assert!(said.contains("useful 100 %") && said.contains("upstream back-pressured 80 %"), "{said}");
    assert!(hints.iter().all(|h| h.current == h.desired));
}

#[test]
fn nothing_is_said_before_anything_is_known() {
    let mut adviser = Adviser::new(job(4), AdviceSettings::default());
    assert!(adviser.hints().is_empty() && adviser.at_end().is_empty());
    let mut world = base(4);
    world.second(100_000.0, false);
    adviser.observe(Observation { at: Duration::ZERO, work: world.work.clone(), functions: [].into() });
    assert!(adviser.hints().is_empty());
    // Counters that went back are another window.
    for t in 1..20 {
        world.second(100_000.0, false);
        adviser.observe(Observation { at: Duration::from_secs(t), work: world.work.clone(), functions: [].into() });
    }
    assert!(!adviser.hints().is_empty());
    world.make();
    adviser.observe(Observation { at: Duration::from_secs(20), work: world.work.clone(), functions: [].into() });
    assert!(adviser.hints().is_empty());
}
