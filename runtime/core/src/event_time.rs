//! Event time: the watermarks of channels, inputs and operators.
//!
//! A watermark states that all rows up to a time have arrived. The watermark of several channels is the lowest of theirs. An idle channel
//! does not hold the others back. When it becomes active again, it counts as soon as it has caught up with them, so that time never goes
//! back. These are Flink's rules, with one exception: a channel that has ended while others are idle has no effect.

/// A point in event time, in milliseconds since 1970: all rows of this time or earlier have arrived, except for late ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub i64);

impl Default for Watermark {
    fn default() -> Self {
        Watermark::NONE
    }
}

impl Watermark {
    /// Before all times: there is no watermark yet.
    pub const NONE: Watermark = Watermark(i64::MIN);
    /// After all times: there are no further rows.
    pub const END: Watermark = Watermark(i64::MAX);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// Its watermark counts.
    Active,
    /// It was idle, and has not caught up yet.
    Behind,
    /// It has no rows for a while.
    Idle,
    /// It has no further rows.
    Ended,
}

/// The state of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelTime {
    /// Its watermark.
    pub watermark: Watermark,
    /// Whether the others do not wait for it.
    pub idle: bool,
    /// Whether it has no further rows.
    pub ended: bool,
}

/// Combines the watermarks of several channels.
///
/// # Examples
/// ```
/// use weir_core::event_time::{Combined, Watermark};
///
/// let mut both = Combined::new(2);
/// both.advance(0, Watermark(5_000));
/// assert_eq!(both.watermark(), Watermark::NONE);
/// both.advance(1, Watermark(3_000));
/// assert_eq!(both.watermark(), Watermark(3_000));
/// both.set_idle(1);
/// assert_eq!(both.watermark(), Watermark(5_000));
/// ```
#[derive(Debug, Clone)]
pub struct Combined {
    channels: Vec<(Watermark, Status)>,
    watermark: Watermark,
}

impl Combined {
    /// Creates this many channels without a watermark.
    pub fn new(channels: usize) -> Self {
        Combined { channels: vec![(Watermark::NONE, Status::Active); channels], watermark: Watermark::NONE }
    }
    /// Adds a channel without a watermark, and returns its number. Unless it is the first one, time stands still until it has caught up.
    pub fn add(&mut self) -> usize {
        self.channels.push((Watermark::NONE, Status::Active));
        self.channels.len() - 1
    }
    /// Resumes from an earlier watermark, and never goes back behind it.
    pub fn resume(&mut self, at: Watermark) {
        self.watermark = self.watermark.max(at);
    }
    /// The combined watermark.
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }
    /// Whether all channels that have not ended are idle.
    pub fn is_idle(&self) -> bool {
        let mut waiting = self.channels.iter().filter(|(_, s)| *s != Status::Ended).peekable();
        waiting.peek().is_some() && waiting.all(|(_, s)| *s == Status::Idle)
    }
    /// Whether all channels have ended.
    pub fn has_ended(&self) -> bool {
        self.channels.iter().all(|(_, s)| *s == Status::Ended)
    }
    /// The active channel with the lowest watermark, which holds time back, and that watermark.
    pub fn slowest(&self) -> Option<(usize, Watermark)> {
        let active = self.channels.iter().enumerate().filter(|(_, (_, s))| *s == Status::Active);
        active.map(|(i, (w, _))| (i, *w)).min_by_key(|(_, w)| *w)
    }
    /// Advances the watermark of a channel, which becomes active. An earlier watermark than before has no effect.
    pub fn advance(&mut self, channel: usize, to: Watermark) {
        let (watermark, status) = &mut self.channels[channel];
        if *status == Status::Ended {
            return;
        }
        *watermark = to.max(*watermark);
        if *status == Status::Idle {
            *status = Status::Behind;
        }
        if *status == Status::Behind && *watermark >= self.watermark {
            *status = Status::Active;
        }
        self.combine();
    }
    /// Marks a channel as idle. If all channels are idle, time advances to the latest watermark.
    pub fn set_idle(&mut self, channel: usize) {
        if self.channels[channel].1 == Status::Ended {
            return;
        }
        self.channels[channel].1 = Status::Idle;
        self.combine();
    }
    /// Marks a channel as ended.
    pub fn end(&mut self, channel: usize) {
        self.channels[channel].1 = Status::Ended;
        self.combine();
    }
    fn combine(&mut self) {
        let latest = || self.channels.iter().filter(|(_, s)| *s == Status::Idle).map(|(w, _)| *w).max();
        let now = match self.slowest() {
            _ if self.has_ended() => Some(Watermark::END),
            Some((_, least)) => Some(least),
            None if self.is_idle() => latest(),
            None => None,
        };
        self.watermark = now.map_or(self.watermark, |now| now.max(self.watermark));
    }
}

/// Event time at an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTime {
    /// The watermark of each input.
    pub inputs: Vec<Watermark>,
    /// The watermark of all inputs together.
    pub all: Watermark,
}

/// The watermarks of an operator's channels, each of which feeds one of its inputs.
#[derive(Debug, Clone)]
pub struct WatermarkProgress {
    /// The input of each channel, and its index there.
    channels: Vec<(usize, usize)>,
    inputs: Vec<Combined>,
    all: Combined,
}

impl WatermarkProgress {
    /// Creates it. `inputs` has the input of each channel.
    pub fn new(inputs: &[usize]) -> Self {
        let count = inputs.iter().max().map_or(0, |m| m + 1);
        let mut combined: Vec<Combined> = (0..count).map(|_| Combined::new(0)).collect();
        let channels = inputs.iter().map(|i| (*i, combined[*i].add())).collect();
        WatermarkProgress { channels, inputs: combined, all: Combined::new(count) }
    }
    /// Resumes from an earlier event time, and never goes back behind it.
    pub fn resume(&mut self, at: &EventTime) {
        for (input, (combined, watermark)) in self.inputs.iter_mut().zip(&at.inputs).enumerate() {
            combined.resume(*watermark);
            self.all.advance(input, combined.watermark());
        }
        self.all.resume(at.all);
    }
    /// The state of each channel.
    pub fn channels(&self) -> impl Iterator<Item = ChannelTime> {
        self.channels.iter().map(|(input, at)| {
            let (watermark, status) = self.inputs[*input].channels[*at];
            // A channel that was idle and has not caught up does not count either.
            let idle = matches!(status, Status::Idle | Status::Behind);
            ChannelTime { watermark, idle, ended: status == Status::Ended }
        })
    }
    /// The event time for the operator.
    pub fn event_time(&self) -> EventTime {
        EventTime { inputs: self.inputs.iter().map(Combined::watermark).collect(), all: self.all.watermark() }
    }
    /// Whether all channels that have not ended are idle.
    pub fn is_idle(&self) -> bool {
        self.all.is_idle()
    }
    /// Whether an input has ended.
    pub fn has_ended(&self, input: usize) -> bool {
        self.inputs[input].has_ended()
    }
    /// Whether all inputs have ended.
    pub fn all_ended(&self) -> bool {
        self.all.has_ended()
    }
    /// See [`Combined::advance`].
    pub fn advance(&mut self, channel: usize, to: Watermark) {
        let (input, at) = self.channels[channel];
        self.inputs[input].advance(at, to);
        self.all.advance(input, self.inputs[input].watermark());
    }
    /// See [`Combined::set_idle`].
    pub fn set_idle(&mut self, channel: usize) {
        let (input, at) = self.channels[channel];
        self.inputs[input].set_idle(at);
        self.all.advance(input, self.inputs[input].watermark());
        if self.inputs[input].is_idle() {
            self.all.set_idle(input);
        }
    }
    /// See [`Combined::end`]. Returns the input if this has ended it.
    pub fn end(&mut self, channel: usize) -> Option<usize> {
        let (input, at) = self.channels[channel];
        self.inputs[input].end(at);
        if self.inputs[input].has_ended() {
            self.all.end(input);
            return Some(input);
        }
        self.all.advance(input, self.inputs[input].watermark());
        if self.inputs[input].is_idle() {
            self.all.set_idle(input);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(progress: &WatermarkProgress) -> (Vec<i64>, i64) {
        let time = progress.event_time();
        (time.inputs.into_iter().map(|w| w.0).collect(), time.all.0)
    }

    const NONE: i64 = Watermark::NONE.0;
    const END: i64 = Watermark::END.0;

    #[test]
    fn the_least_of_an_input_and_the_least_of_all_inputs_hold() {
        let mut p = WatermarkProgress::new(&[0, 0, 1]);
        p.advance(0, Watermark(10));
        p.advance(2, Watermark(7));
        assert_eq!(at(&p), (vec![NONE, 7], NONE));
        p.advance(1, Watermark(8));
        assert_eq!(at(&p), (vec![8, 7], 7));
        p.advance(2, Watermark(20));
        p.advance(1, Watermark(3));
        assert_eq!(at(&p), (vec![8, 20], 8));
    }

    #[test]
    fn what_is_idle_holds_nobody_back_and_comes_back_without_turning_time_back() {
        let mut p = WatermarkProgress::new(&[0, 0]);
        p.advance(0, Watermark(10));
        p.set_idle(1);
        assert_eq!(at(&p), (vec![10], 10));
        p.advance(1, Watermark(4));
        assert!(!p.is_idle());
        p.advance(0, Watermark(12));
        assert_eq!(at(&p), (vec![12], 12), "the one behind does not count yet");
        p.advance(1, Watermark(12));
        p.advance(0, Watermark(15));
        assert_eq!(at(&p), (vec![12], 12), "it has caught up");
        p.set_idle(0);
        p.set_idle(1);
        assert!(p.is_idle());
        assert_eq!(at(&p), (vec![15], 15), "all idle: the latest");
    }

    #[test]
    fn an_input_that_has_ended_holds_nobody_back_and_decides_nothing() {
        let mut p = WatermarkProgress::new(&[0, 1, 1]);
        p.advance(1, Watermark(5));
        p.advance(2, Watermark(6));
        assert_eq!(p.end(0), Some(0));
        assert_eq!(at(&p), (vec![END, 5], 5));
        p.set_idle(1);
        p.set_idle(2);
        assert_eq!(at(&p), (vec![END, 6], 6), "what is idle may go on");
        assert!(p.is_idle() && !p.all_ended());
        let mut c = Combined::new(2);
        c.advance(0, Watermark(3));
        c.advance(1, Watermark(7));
        c.set_idle(1);
        c.end(0);
        assert_eq!(c.watermark(), Watermark(7), "what is left is idle");
        assert_eq!(p.end(1), None);
        assert_eq!(p.end(2), Some(1));
        assert!(p.all_ended() && p.has_ended(1) && !p.is_idle());
        assert_eq!(at(&p), (vec![END, END], END));
    }

    #[test]
    fn whatever_comes_time_never_goes_back_and_is_never_ahead_of_an_active_channel() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let mut c = Combined::new(random.usize(1..4));
            // What a naive reader of the rules knows of each channel: its watermark, whether it is idle, whether it has ended, and
            // whether it was idle since it was last in front.
            let mut naive = vec![(NONE, false, false, false); c.channels.len()];
            for _ in 0..40 {
                let (before, channel) = (c.watermark(), random.usize(0..naive.len()));
                let n = &mut naive[channel];
                match random.u8(0..10) {
                    0 => {
                        c.end(channel);
                        n.2 = true;
                    }
                    1 | 2 => {
                        c.set_idle(channel);
                        (n.1, n.3) = (true, true);
                    }
                    _ => {
                        let to = random.i64(0..100);
                        c.advance(channel, Watermark(to));
                        (n.0, n.1) = (n.0.max(to), false);
                        n.3 &= n.0 < before.0;
                    }
                }
                assert!(c.watermark() >= before);
                let counts = naive.iter().filter(|n| !n.1 && !n.2 && !n.3).map(|n| n.0);
                if let Some(least) = counts.min() {
                    assert_eq!(c.watermark().0, before.0.max(least));
                }
                assert_eq!(c.has_ended(), naive.iter().all(|n| n.2));
            }
        }
    }
}
