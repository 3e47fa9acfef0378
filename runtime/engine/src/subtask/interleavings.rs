//! Simulates whole jobs of state machines without actors: small networks, whose messages, pieces of work, epochs and failures happen in
//! random order. Whatever the order, every row is committed once, rows of a key stay in order, barriers are aligned, and credits, batches
//! in flight and queued batches always add up to the window. Event time never goes back. It never overtakes its rows, unless their splits
//! were idle. After a kill it continues where it was at the last epoch.
//!
//! `WEIR_INTERLEAVINGS` sets the number of runs (10,000 by default), and `WEIR_SEED` the seed of the first one.

use super::machine::{Action, Activity, Done, Event, Machine, RowBatch, WINDOW, Work};
use crate::coordinator::machine as coordinator;
use crate::messages::{Barrier, Element, SubtaskReport, WorkResult};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::Polled;
use weir_core::watermarks::{SplitId, SplitTracker};
use weir_core::{Error, Result};

/// A row: its sequence, which is also its key, and its number in that sequence, from 0.
type Row = (usize, u64);

impl RowBatch for Vec<Row> {
    fn rows(&self) -> usize {
        self.len()
    }
    fn cut(mut self, at: usize) -> Result<(Self, Self)> {
        let rest = self.split_off(at);
        Ok((self, rest))
    }
}

/// What a node does with its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Source,
    /// Passes them on.
    Pass,
    /// Passes them on at the end of an epoch, as an aggregation does, and requests early epochs.
    Gather,
    Sink,
}

#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    parallelism: usize,
    /// The upstream nodes, each with an input of its own.
    inputs: Vec<usize>,
}

/// A random job graph: nodes in order, with the sources first and one sink at the end.
fn network(random: &mut Rng) -> Vec<Node> {
    let parallelism = |random: &mut Rng| random.usize(1..=3);
    let sources = random.usize(1..=2);
    let mut nodes: Vec<Node> =
        (0..sources).map(|_| Node { kind: Kind::Source, parallelism: parallelism(random), inputs: vec![] }).collect();
    // Nodes without a downstream node so far.
    let mut open: BTreeSet<usize> = (0..sources).collect();
    for more in (0..random.usize(0..=2)).rev() {
        let from: Vec<usize> = open.iter().copied().filter(|_| random.bool()).collect();
        if !from.is_empty() {
            // A node that stays open also feeds the sink directly, so its rows reach the sink on two paths.
            if more > 0 || random.bool() {
                open.retain(|n| !from.contains(n));
            }
            open.insert(nodes.len());
            let kind = if random.bool() { Kind::Pass } else { Kind::Gather };
            nodes.push(Node { kind, parallelism: parallelism(random), inputs: from });
        }
    }
    let inputs = open.into_iter().collect();
    nodes.push(Node { kind: Kind::Sink, parallelism: parallelism(random), inputs });
    nodes
}

/// For each node, which nodes its rows pass through: itself and those downstream.
fn reached(nodes: &[Node]) -> Vec<Vec<bool>> {
    let of = |from: usize| {
        let mut through = vec![false; nodes.len()];
        through[from] = true;
        for node in from + 1..nodes.len() {
            through[node] = nodes[node].inputs.iter().any(|n| through[*n]);
        }
        through
    };
    (0..nodes.len()).map(of).collect()
}

/// For each node, the number of its first subtask.
fn first_subtasks(nodes: &[Node]) -> Vec<usize> {
    let first = nodes.iter().scan(0, |at, n| {
        *at += n.parallelism;
        Some(*at - n.parallelism)
    });
    first.collect()
}

/// For each subtask of a source, on how many paths its rows reach the sink.
fn ways(nodes: &[Node]) -> Vec<usize> {
    let mut ways = vec![0; nodes.len()];
    ways[nodes.len() - 1] = 1;
    for (node, n) in nodes.iter().enumerate().rev() {
        n.inputs.iter().for_each(|from| ways[*from] += ways[node]);
    }
    let sources = nodes.iter().zip(ways).filter(|(n, _)| n.kind == Kind::Source);
    sources.flat_map(|(n, ways)| vec![ways; n.parallelism]).collect()
}

/// A message in flight to a machine.
#[derive(Debug)]
enum Message {
    Element { channel: usize, item: Element<Vec<Row>> },
    Credit { target: usize },
    Asked(Barrier),
    Held,
}

/// Messages in flight, in order for each pair of sender and receiver. The coordinator is the sender after the last subtask.
struct Mail {
    receivers: usize,
    queues: Vec<VecDeque<Message>>,
    /// The queues that are not empty.
    full: Vec<usize>,
}

impl Mail {
    fn new(subtasks: usize) -> Self {
        let queues = (0..(subtasks + 1) * subtasks).map(|_| VecDeque::new()).collect();
        Mail { receivers: subtasks, queues, full: vec![] }
    }

    fn post(&mut self, from: usize, to: usize, message: Message) {
        let at = from * self.receivers + to;
        if self.queues[at].is_empty() {
            self.full.push(at);
        }
        self.queues[at].push_back(message);
    }

    fn between(&self, from: usize, to: usize) -> impl Iterator<Item = &Message> {
        self.queues[from * self.receivers + to].iter()
    }

    /// Takes the next message of the `n`th queue that is not empty, and returns its receiver as well.
    fn take(&mut self, n: usize) -> (usize, Message) {
        let at = self.full[n];
        let message = self.queues[at].pop_front().expect("mail");
        if self.queues[at].is_empty() {
            self.full.swap_remove(n);
        }
        (at % self.receivers, message)
    }
}

/// A machine, and what replaces its actor and thread.
struct Subtask {
    node: usize,
    machine: Machine<Vec<Row>>,
    /// The work that its thread has to do.
    work: Option<Work<Vec<Row>>>,
    /// Whether it waits for [`Event::Waited`].
    waits: bool,
    /// For each target, the subtask and its channel. The targets of one node are consecutive.
    targets: Vec<(usize, usize)>,
    /// For each channel, the upstream subtask and the number of the target there.
    senders: Vec<(usize, usize)>,
    /// Rows that wait for the end of the epoch.
    gathered: Vec<Row>,
    /// The last barrier that has passed.
    passed: u64,
    /// For each input, the next expected row of each sequence, to check the order.
    seen: Vec<Vec<Option<u64>>>,
    /// The event time of the operator, and the watermark at which this generation began.
    time: EventTime,
    resumed: Watermark,
    /// The splits of a source, over which its sequence is spread.
    splits: SplitTracker,
    /// Which inputs have ended.
    ended: Vec<bool>,
}

/// The time from the start of one epoch to that of the next.
const INTERVAL: Duration = Duration::from_millis(50);

/// The durable state of the job.
#[derive(Default)]
struct Committed {
    /// How far each sequence has been read.
    positions: Vec<u64>,
    rows: Vec<Row>,
    /// How many rows of each sequence were committed.
    counts: Vec<u64>,
    epoch: u64,
    /// The watermarks of the splits of sources, and the event time of each node.
    watermarks: BTreeMap<(usize, u32), Watermark>,
    times: BTreeMap<usize, EventTime>,
}

/// The number of splits over which the sequence of a source's subtask is spread, in turn.
fn splits_of(sequence: usize) -> u64 {
    1 + sequence as u64 % 3
}

/// The event time to store: the lowest of all subtasks. Ends are left out, since they come again.
fn least(kept: Option<EventTime>, time: &EventTime) -> EventTime {
    let own = |w: &Watermark| if *w == Watermark::END { Watermark::NONE } else { *w };
    let time = EventTime { inputs: time.inputs.iter().map(own).collect(), all: own(&time.all) };
    kept.into_iter().fold(time, |a, b| EventTime {
        inputs: a.inputs.iter().zip(&b.inputs).map(|(a, b)| *a.min(b)).collect(),
        all: a.all.min(b.all),
    })
}

/// One generation of subtasks.
struct Generation<'a> {
    nodes: &'a [Node],
    /// For each node, the number of its first subtask, and which nodes its rows pass through.
    first: Vec<usize>,
    reached: Vec<Vec<bool>>,
    /// For each subtask of a source, on how many paths its rows reach the sink.
    ways: Vec<usize>,
    subtasks: Vec<Subtask>,
    mail: Mail,
    /// The number of rows of each sequence, and how far each has been read.
    length: u64,
    positions: Vec<u64>,
    /// Where this generation began to read.
    began: Vec<u64>,
    /// The positions and watermarks at the barriers of the current epoch.
    at_barrier: Vec<u64>,
    watermarks: BTreeMap<(usize, u32), Watermark>,
    times: BTreeMap<usize, EventTime>,
    /// The rows that the sink's subtasks have received since their last barriers.
    taken: Vec<Vec<Row>>,
    /// Whether sources become idle, so that rows may be late.
    idles: bool,
    coordinator: coordinator::Machine,
    outside: coordinator::Outside,
    /// The epoch that is being made durable.
    committing: Option<(Barrier, Vec<Vec<u8>>)>,
    /// How the generation ended.
    over: Option<Result<bool>>,
}

impl<'a> Generation<'a> {
    fn new(nodes: &'a [Node], length: u64, idles: bool, committed: &Committed) -> Self {
        let ways = ways(nodes);
        let first = first_subtasks(nodes);
        let mut subtasks = vec![];
        for (node, n) in nodes.iter().enumerate() {
            for _ in 0..n.parallelism {
                let targets: usize = nodes.iter().filter(|o| o.inputs.contains(&node)).map(|o| o.parallelism).sum();
                let inputs = n.inputs.iter().enumerate();
                let inputs: Vec<usize> = inputs.flat_map(|(i, from)| vec![i; nodes[*from].parallelism]).collect();
                let mut machine = match n.kind {
                    Kind::Source => Machine::source(targets),
                    _ => Machine::new(inputs, targets),
                };
                let mut splits = SplitTracker::default();
                if n.kind == Kind::Source {
                    for split in 0..splits_of(subtasks.len()) as u32 {
                        let kept = committed.watermarks.get(&(subtasks.len(), split)).copied();
                        splits.add(SplitId(split), "a split", kept.unwrap_or_default(), 0);
                    }
                    splits.update();
                }
                let kept = committed.times.get(&node);
                kept.iter().for_each(|time| machine.resume(time));
                subtasks.push(Subtask {
                    node,
                    machine,
                    work: None,
                    waits: false,
                    targets: vec![],
                    senders: vec![],
                    gathered: vec![],
                    passed: committed.epoch,
                    seen: vec![vec![None; ways.len()]; n.inputs.len()],
                    time: EventTime { inputs: vec![Watermark::NONE; n.inputs.len()], all: Watermark::NONE },
                    resumed: kept.map_or(Watermark::NONE, |t| t.all),
                    splits,
                    ended: vec![false; n.inputs.len()],
                });
            }
        }
        for (node, n) in nodes.iter().enumerate() {
            for from in &n.inputs {
                for sender in first[*from]..first[*from] + nodes[*from].parallelism {
                    for receiver in first[node]..first[node] + n.parallelism {
                        let (channel, target) = (subtasks[receiver].senders.len(), subtasks[sender].targets.len());
                        subtasks[receiver].senders.push((sender, target));
                        subtasks[sender].targets.push((receiver, channel));
                    }
                }
            }
        }
        let (all, now) = (subtasks.len(), Instant::now());
        Generation {
            nodes,
            first,
            reached: reached(nodes),
            subtasks,
            mail: Mail::new(all),
            length,
            positions: committed.positions.clone(),
            began: committed.positions.clone(),
            at_barrier: vec![0; ways.len()],
            ways,
            watermarks: BTreeMap::new(),
            times: BTreeMap::new(),
            taken: vec![vec![]; all],
            idles,
            coordinator: coordinator::Machine::new(all, INTERVAL, committed.epoch + 1, true, now),
            outside: coordinator::Outside {
                now,
                stop: false,
                rescale: false,
                last_row: now,
                longest_call: Duration::ZERO,
            },
            committing: None,
            over: None,
        }
    }

    /// Passes an event to the coordinator, and carries out its actions.
    fn coordinate(&mut self, event: coordinator::Event) {
        let mut actions = vec![];
        self.coordinator.on(event, &self.outside, &mut actions);
        for action in actions {
            assert!(self.over.is_none(), "the generation is over: {action:?}");
            match action {
                coordinator::Action::Start(barrier) => self.tell_sources(|| Message::Asked(barrier)),
                coordinator::Action::Hold => self.tell_sources(|| Message::Held),
                coordinator::Action::Commit { barrier, outbox, .. } => {
                    assert!(self.committing.is_none(), "two epochs at once");
                    self.committing = Some((barrier, outbox.into_values().flatten().collect()));
                }
                coordinator::Action::Passed { .. } | coordinator::Action::GivenUp(_) => {}
                coordinator::Action::Finish { result, .. } => self.over = Some(result),
            }
        }
    }

    fn tell_sources(&mut self, message: impl Fn() -> Message) {
        // Sources have the first numbers.
        for source in 0..self.ways.len() {
            self.mail.post(self.subtasks.len(), source, message());
        }
    }

    fn event(&mut self, at: usize, event: Event<Vec<Row>>) {
        let mut actions = vec![];
        self.subtasks[at].machine.on(event, &mut actions);
        for action in actions {
            match action {
                Action::Send { target, item } => {
                    let (to, channel) = self.subtasks[at].targets[target];
                    self.mail.post(at, to, Message::Element { channel, item });
                }
                Action::Credit { channel } => {
                    let (to, target) = self.subtasks[at].senders[channel];
                    self.mail.post(at, to, Message::Credit { target });
                }
                Action::Work(work) => {
                    assert!(self.subtasks[at].work.is_none(), "two pieces of work at once");
                    self.subtasks[at].work = Some(work);
                }
                Action::Tell(report) => self.coordinate(coordinator::Event::Report(report)),
                Action::Ack { epoch, outbox } => {
                    let node = self.subtasks[at].node;
                    self.coordinate(coordinator::Event::Ack { node, epoch, outbox });
                }
                Action::WakeAfter(_) => self.subtasks[at].waits = true,
                Action::TickAt(_) => panic!("nobody asks for a time of day"),
                Action::Stop => panic!("nothing fails here"),
            }
        }
        let s = &self.subtasks[at];
        assert_eq!(s.work.is_some(), s.machine.activity() == Activity::Busy, "busy without work");
        self.adds_up(at);
    }

    /// Does the work of a subtask's thread.
    #[expect(clippy::too_many_lines, reason = "one flat match, an arm a kind of work")]
    fn work(&mut self, at: usize, work: Work<Vec<Row>>, random: &mut Rng) {
        let kind = self.nodes[self.subtasks[at].node].kind;
        let mut out: Vec<Row> = vec![];
        let mut behind = vec![];
        let outcome = match work {
            Work::Poll { .. } => {
                let position = &mut self.positions[at];
                let rows = random.u64(0..=(self.length - *position).min(9));
                out.extend((*position..*position + rows).map(|n| (at, n)));
                *position += rows;
                // The time of a row is its number.
                let splits = &mut self.subtasks[at].splits;
                for (_, n) in &out {
                    splits.advance(SplitId((n % splits_of(at)) as u32), Watermark(*n as i64), 0);
                }
                let idle = self.idles && random.bool();
                if idle {
                    splits.find_idle(0, 0);
                }
                if random.bool() && splits.watermark() > Watermark::NONE {
                    behind.push(Element::Watermark(splits.watermark()));
                }
                match random.u8(0..4) {
                    0 => {
                        behind.extend(idle.then_some(Element::Idle));
                        WorkResult::Polled(Polled::Wait(Duration::from_millis(1)))
                    }
                    _ if *position == self.length => {
                        behind.push(Element::End);
                        WorkResult::Polled(Polled::End)
                    }
                    _ => WorkResult::Polled(Polled::More),
                }
            }
            Work::Process(input, batches) => {
                let rows: Vec<Row> = batches.into_iter().flatten().collect();
                self.in_order(at, input, &rows);
                match kind {
                    Kind::Sink => {
                        self.taken[at].extend(rows);
                        self.outside.last_row = self.outside.now;
                    }
                    Kind::Gather => self.subtasks[at].gathered.extend(rows),
                    _ => out = rows,
                }
                WorkResult::Processed
            }
            Work::Advance(time) => {
                self.time_is_true(at, &time);
                self.subtasks[at].time = time;
                behind.extend((kind == Kind::Pass).then_some(Element::Watermark(self.subtasks[at].time.all)));
                WorkResult::Notified
            }
            Work::InputEnded { input, last } => {
                let s = &mut self.subtasks[at];
                assert!(!std::mem::replace(&mut s.ended[input], true), "an input ends twice");
                assert_eq!(s.time.inputs[input], Watermark::END, "time stands still behind the end");
                assert_eq!(last, s.ended.iter().all(|ended| *ended));
                assert!(!last || s.time.all == Watermark::END, "time stands still behind the end of all");
                behind.extend((kind == Kind::Pass && last).then_some(Element::End));
                WorkResult::Notified
            }
            Work::Tick => panic!("nobody asked for a time of day"),
            Work::Checkpoint(barrier) => {
                let s = &mut self.subtasks[at];
                assert_eq!(barrier.epoch.0, s.passed + 1, "a barrier is missing");
                s.passed = barrier.epoch.0;
                out = std::mem::take(&mut s.gathered);
                if kind == Kind::Gather {
                    // The rows that held the watermark back leave with the epoch.
                    behind.push(Element::Watermark(s.time.all));
                    behind.extend(barrier.end.then_some(Element::End));
                }
                if barrier.end && kind != Kind::Source {
                    assert!(s.ended.iter().all(|ended| *ended), "the end of an input was not told");
                }
                if kind != Kind::Source {
                    let kept = self.times.remove(&s.node);
                    self.times.insert(s.node, least(kept, &s.time));
                }
                if kind == Kind::Source {
                    let splits = s.splits.splits().map(|(id, status)| ((at, id.0), status.watermark));
                    self.watermarks.extend(splits);
                    self.at_barrier[at] = self.positions[at];
                }
                let taken = std::mem::take(&mut self.taken[at]);
                let outbox = taken.into_iter().map(|(key, n)| [key as u64, n].map(u64::to_le_bytes).concat());
                WorkResult::Checkpointed { barrier, outbox: outbox.collect() }
            }
        };
        let mut outputs = self.dealt(at, &out, random);
        let targets = self.subtasks[at].targets.len();
        for item in behind {
            outputs.extend((0..targets).map(|target| (target, item.clone())));
        }
        let took = Duration::from_micros(random.u64(1..3_000_000));
        let preferred_rows = if random.bool() { random.usize(0..20) } else { 0 };
        let wants_epoch = self.subtasks[at].gathered.len() > 20;
        self.event(at, Event::Done(Done { outcome, outputs, took, preferred_rows, wants_epoch, tick: None }));
    }

    /// Distributes rows to the targets of a subtask. In each downstream node, all rows of a key go to one subtask, in one or two batches.
    fn dealt(&self, at: usize, out: &[Row], random: &mut Rng) -> Vec<(usize, Element<Vec<Row>>)> {
        let mut outputs = vec![];
        let mut first = 0;
        for n in self.nodes.iter().filter(|n| n.inputs.contains(&self.subtasks[at].node)) {
            let mut parts = [vec![], vec![], vec![]];
            out.iter().for_each(|row| parts[row.0 % n.parallelism].push(*row));
            for (i, mut rows) in parts.into_iter().take(n.parallelism).enumerate() {
                if random.bool() {
                    let rest = rows.split_off(rows.len() / 2);
                    outputs.push((first + i, Element::Batch(std::mem::replace(&mut rows, rest))));
                }
                outputs.push((first + i, Element::Batch(rows)));
            }
            first += n.parallelism;
        }
        outputs.retain(|(_, item)| !matches!(item, Element::Batch(rows) if rows.is_empty()));
        outputs
    }

    /// Checks that the rows of each sequence come in order and without gaps.
    fn in_order(&mut self, at: usize, input: usize, rows: &[Row]) {
        let s = &mut self.subtasks[at];
        assert!(!s.ended[input], "rows behind the end");
        for (key, n) in rows {
            // A sequence that arrives on two paths is in order on each.
            let seen = s.seen[input][*key].get_or_insert(*n);
            assert_eq!(*seen, *n, "rows of a key are out of order");
            *seen += 1;
        }
    }

    /// Checks that event time does not go back, and that all rows up to it have arrived.
    fn time_is_true(&self, at: usize, time: &EventTime) {
        let s = &self.subtasks[at];
        assert!(time.inputs.iter().zip(&s.time.inputs).all(|(now, before)| now >= before), "time goes back");
        assert!(time.all >= s.time.all, "time goes back");
        assert!(time.all >= *time.inputs.iter().min().expect("an input"), "the time of all stands still");
        if self.idles {
            return;
        }
        assert_eq!(time.all, s.resumed.max(*time.inputs.iter().min().expect("an input")));
        let parallelism = self.nodes[s.node].parallelism;
        let own = at - self.first[s.node];
        for (input, watermark) in time.inputs.iter().enumerate() {
            for source in (own..self.ways.len()).step_by(parallelism) {
                if !self.reached[self.subtasks[source].node][self.nodes[s.node].inputs[input]] {
                    continue;
                }
                let there = s.seen[input][source].unwrap_or(self.began[source]);
                let wanted = (watermark.0.saturating_add(1)).clamp(0, self.length as i64) as u64;
                assert!(there >= wanted, "time {watermark:?} comes before its rows: {there}");
            }
        }
    }

    /// Checks that credits, batches in flight and queued batches add up on all channels of a subtask. An event changes only the channels of
    /// its subtask.
    fn adds_up(&self, at: usize) {
        for (target, (to, channel)) in self.subtasks[at].targets.iter().enumerate() {
            self.channel_adds_up((at, target), (*to, *channel));
        }
        for (channel, (from, target)) in self.subtasks[at].senders.iter().enumerate() {
            self.channel_adds_up((*from, *target), (at, channel));
        }
    }

    fn channel_adds_up(&self, (from, target): (usize, usize), (to, channel): (usize, usize)) {
        let items = self.mail.between(from, to);
        let on_its_way = items
            .filter(|m| matches!(m, Message::Element { channel: c, item: Element::Batch(_) } if *c == channel))
            .count();
        let back = self.mail.between(to, from);
        let back = back.filter(|m| matches!(m, Message::Credit { target: t } if *t == target)).count();
        let queued = self.subtasks[to].machine.queued_batches(channel);
        let credits = self.subtasks[from].machine.credits(target);
        assert_eq!(credits + on_its_way + back + queued, WINDOW, "credits {from} to {to}");
    }

    /// Runs the generation until it ends or is killed. Returns whether the job has come to its end.
    fn run(&mut self, committed: &mut Committed, random: &mut Rng) -> bool {
        for s in 0..self.subtasks.len() {
            self.event(s, Event::Started);
        }
        self.coordinate(coordinator::Event::Ready { sources: self.ways.len() });
        let (asked, dies) = (random.u8(0..4), random.u8(0..10) == 0);
        for step in 0.. {
            assert!(step < 1_000_000, "it does not come to an end");
            if let Some(result) = self.over.take() {
                return result.expect("no error");
            }
            if dies && random.u16(0..300) == 0 {
                // The process is killed. Everything after the last epoch is repeated.
                return false;
            }
            self.step(committed, random, asked);
        }
        false
    }

    /// Lets one of the possible events happen.
    fn step(&mut self, committed: &mut Committed, random: &mut Rng, asked: u8) {
        let mail = self.mail.full.len();
        let working = || (0..self.subtasks.len()).filter(|s| self.subtasks[*s].work.is_some());
        let waiting = || (0..self.subtasks.len()).filter(|s| self.subtasks[*s].waits);
        let (work, waits) = (working().count(), waiting().count());
        let commits = usize::from(self.committing.is_some());
        let choices = mail + work + waits + commits;
        assert!(choices > 0 || self.coordinator.due(self.outside.now).is_some(), "an epoch stands still");
        match random.usize(0..=choices) {
            n if n < mail => {
                let (to, message) = self.mail.take(n);
                let event = match message {
                    Message::Element { channel, item } => Event::Arrived { channel, item },
                    Message::Credit { target } => Event::Credited { target },
                    Message::Asked(barrier) => Event::EpochAsked(barrier),
                    Message::Held => Event::Held,
                };
                self.event(to, event);
            }
            n if n < mail + work => {
                let at = working().nth(n - mail).expect("a subtask that works");
                let work = self.subtasks[at].work.take().expect("work");
                self.work(at, work, random);
            }
            n if n < choices - commits => {
                let at = waiting().nth(n - mail - work).expect("a subtask that waits");
                self.subtasks[at].waits = false;
                self.event(at, Event::Waited);
            }
            n if n < choices => {
                let (barrier, outbox) = self.committing.take().expect("an epoch");
                self.commit(committed, barrier, &outbox);
                let report = SubtaskReport::Committed { epoch: barrier.epoch, bytes: 0 };
                self.coordinate(coordinator::Event::Report(report));
            }
            _ => {
                // Now and then, so much time passes that an epoch is given up.
                let most = if random.u8(0..50) == 0 { 25_000 } else { 20 };
                self.outside.now += Duration::from_millis(random.u64(0..most));
                self.outside.stop |= asked == 1 && random.u8(0..20) == 0;
                self.outside.rescale |= asked == 2 && random.u8(0..20) == 0;
                self.outside.longest_call = Duration::from_secs(random.u64(0..3));
                self.coordinate(coordinator::Event::Look);
            }
        }
    }

    fn commit(&mut self, committed: &mut Committed, barrier: Barrier, outbox: &[Vec<u8>]) {
        assert!(self.subtasks.iter().all(|s| s.passed == barrier.epoch.0), "an epoch that has not passed everywhere");
        for bytes in outbox {
            let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
            committed.rows.push((number(0) as usize, number(8)));
            committed.counts[number(0) as usize] += 1;
        }
        committed.positions.clone_from(&self.at_barrier);
        committed.watermarks = std::mem::take(&mut self.watermarks);
        committed.times = std::mem::take(&mut self.times);
        committed.epoch = barrier.epoch.0;
        // The epoch is a consistent cut: exactly what was read before it is committed.
        let read: Vec<u64> = self.ways.iter().zip(&committed.positions).map(|(ways, n)| n * *ways as u64).collect();
        assert_eq!(committed.counts, read, "epoch {} is no cut", barrier.epoch);
    }
}

/// Runs a job from start to end, over as many generations as it takes.
fn job(random: &mut Rng) {
    let mut nodes = network(random);
    let (length, sources) = (random.u64(0..40), nodes.iter().filter(|n| n.kind == Kind::Source).count());
    let sequences = ways(&nodes).len();
    let mut committed = Committed { positions: vec![0; sequences], counts: vec![0; sequences], ..Committed::default() };
    let idles = random.u8(0..4) == 0;
    loop {
        if Generation::new(&nodes, length, idles, &committed).run(&mut committed, random) {
            break;
        }
        // Changes the parallelisms, except those of sources, whose subtasks have a sequence each.
        for n in nodes.iter_mut().skip(sources) {
            n.parallelism = random.usize(1..=3);
        }
    }
    let mut rows = committed.rows;
    rows.sort_unstable();
    let all = ways(&nodes).into_iter().enumerate();
    let wanted: Vec<Row> = all.flat_map(|(k, ways)| (0..length).flat_map(move |n| vec![(k, n); ways])).collect();
    assert_eq!(rows, wanted, "rows are lost, or there twice");
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn every_row_is_committed_once_in_any_order_of_events() {
    let (runs, first) = (number("WEIR_INTERLEAVINGS", 10_000), number("WEIR_SEED", 1));
    for seed in first..first + runs {
        let outcome = std::panic::catch_unwind(|| job(&mut Rng::with_seed(seed)));
        assert!(outcome.is_ok(), "seed {seed}: WEIR_SEED={seed} WEIR_INTERLEAVINGS=1 shows it again");
    }
}

#[test]
fn after_an_error_nothing_happens_any_more() {
    let mut machine: Machine<Vec<Row>> = Machine::new(vec![0], 1);
    let mut actions = vec![];
    machine.on(Event::Arrived { channel: 0, item: Element::Batch(vec![(0, 0)]) }, &mut actions);
    assert!(matches!(actions.as_slice(), [Action::Credit { channel: 0 }, Action::Work(Work::Process(0, _))]));
    actions.clear();
    let outcome = WorkResult::Failed(Error::data("a bad row"));
    let done =
        Done { outcome, outputs: vec![], took: Duration::ZERO, preferred_rows: 0, wants_epoch: false, tick: None };
    machine.on(Event::Done(done), &mut actions);
    assert!(matches!(actions.as_slice(), [Action::Tell(SubtaskReport::Failed(_)), Action::Stop]));
    actions.clear();
    machine.on(Event::Arrived { channel: 0, item: Element::Batch(vec![(0, 1)]) }, &mut actions);
    machine.on(Event::Credited { target: 0 }, &mut actions);
    assert!(actions.is_empty());
}
