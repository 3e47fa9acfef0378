//! Event time of a running job for people: how far each operator is, and which split or input holds time back.

use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use weir_core::clock::{Clock, SystemClock};
use weir_core::event_time::Watermark;
use weir_core::event_time_report::{EventTimeReport, HeldBack, Holder};
use weir_expr::time::timestamp_text;

/// What each subtask has reported, by operator and number.
pub type Reports = BTreeMap<(String, usize), EventTimeReport>;

/// Splits of an operator that are shown at most.
const SPLITS: usize = 20;

/// A split of which no row has come for so long is said to be quiet, in seconds.
const QUIET: f64 = 2.0;

/// Milliseconds since 1970, where a watermark is a time.
fn time(watermark: Watermark) -> Option<i64> {
    (watermark > Watermark::NONE && watermark < Watermark::END).then_some(watermark.0)
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}

/// The subtask of an operator that is least far, with its number.
fn least<'a>(reports: &'a Reports, operator: &str) -> Option<(usize, &'a EventTimeReport)> {
    let own = reports.iter().filter(|((name, _), report)| name == operator && !report.idle);
    own.map(|((_, subtask), report)| (*subtask, report)).min_by_key(|(_, report)| report.watermark())
}

/// An operator's event time; null where there is none.
pub fn of_operator(reports: &Reports, operator: &str) -> Value {
    let own: Vec<&EventTimeReport> = reports.iter().filter(|((name, _), _)| name == operator).map(|(_, r)| r).collect();
    if own.is_empty() {
        return Value::Null;
    }
    let splits = || own.iter().flat_map(|r| &r.splits);
    let (subtask, report) = least(reports, operator).map_or((None, None), |(n, r)| (Some(n), Some(r)));
    let watermark = report.and_then(|r| time(r.watermark()));
    json!({
        "watermark": watermark,
        "output_watermark": own.iter().filter(|r| !r.idle).map(|r| r.output).min().and_then(time),
        "lag_seconds": watermark.map(|w| seconds(SystemClock.now().saturating_sub(w))),
        "idle": report.is_none(),
        "idle_splits": splits().filter(|s| s.idle).count(),
        "paused_splits": splits().filter(|s| s.paused).count(),
        "held_back_by": report.and_then(|r| Some(holder(&r.held_back()?, r, operator, subtask))),
        "splits": shown_splits(&own),
    })
}

/// The splits of a source that are least far, and the idle ones among them first.
fn shown_splits(reports: &[&EventTimeReport]) -> Vec<Value> {
    let mut all: Vec<_> = reports.iter().flat_map(|r| r.splits.iter().map(|s| (s, r.quiet(s)))).collect();
    all.sort_by_key(|(s, _)| (Reverse(s.idle), s.watermark));
    let shown = all.into_iter().take(SPLITS).map(|(s, quiet)| {
        json!({
            "name": s.name.as_ref(),
            "watermark": time(s.watermark),
            "idle": s.idle,
            "paused": s.paused,
            "quiet_seconds": seconds(quiet),
        })
    });
    shown.collect()
}

fn holder(held: &HeldBack, report: &EventTimeReport, operator: &str, subtask: Option<usize>) -> Value {
    let (operator, subtask, split) = match &held.by {
        Holder::Subtask(by, n) => (by.as_ref(), Some(*n), None),
        Holder::Split(name) => (operator, subtask, Some(name.as_ref())),
    };
    json!({
        "operator": operator,
        "subtask": subtask,
        "split": split,
        "watermark": time(held.watermark),
        "behind_seconds": held.behind.map(seconds),
        "quiet_seconds": held.quiet.map(seconds),
        "standing_seconds": held.standing.map(seconds),
        "idle_timeout_seconds": held.quiet.and(report.idle_timeout).map(seconds),
    })
}

/// How far the job is, at the operator that is least far (the one furthest behind the sources, of several), and what holds it back in
/// the end: who is waited for is followed to a source. `operators` are in the order of the graph. Null without event time.
pub fn of_job<'a>(reports: &Reports, operators: impl DoubleEndedIterator<Item = &'a str>) -> Value {
    // The first of equal ones is taken.
    let found = operators.rev().filter_map(|o| least(reports, o).map(|found| (o, found)));
    let Some((operator, (mut subtask, mut report))) = found.min_by_key(|(_, (_, r))| r.watermark()) else {
        return Value::Null;
    };
    let watermark = time(report.watermark());
    let (mut at, mut last, mut behind) = (operator.to_string(), Value::Null, None);
    // As many steps as there are subtasks at most: edges point forward.
    while let Some(held) = report.held_back() {
        last = holder(&held, report, &at, Some(subtask));
        // What is furthest may be another input of an operator on the way.
        behind = behind.max(held.behind);
        last["behind_seconds"] = json!(behind.map(seconds));
        let Holder::Subtask(by, n) = &held.by else { break };
        let Some(next) = reports.get(&(by.to_string(), *n)) else { break };
        (at, subtask, report) = (by.to_string(), *n, next);
    }
    json!({
        "operator": operator,
        "watermark": watermark,
        "lag_seconds": watermark.map(|w| seconds(SystemClock.now().saturating_sub(w))),
        "held_back_by": last,
    })
}

/// A job's event time in a sentence, from what [`of_job`] says.
pub fn in_words(event_time: &Value) -> Option<String> {
    let operator = event_time["operator"].as_str()?;
    let text = |millis: i64| timestamp_text(millis.div_euclid(1_000), millis.rem_euclid(1_000) as u32 * 1_000_000, 3);
    let mut words = match (event_time["watermark"].as_i64(), event_time["lag_seconds"].as_f64()) {
        (Some(at), Some(lag)) => {
            format!("event time at '{operator}': {} UTC, {lag:.1} s behind the time of day", text(at))
        }
        _ => format!("event time at '{operator}': no watermark yet"),
    };
    let held = &event_time["held_back_by"];
    if let Some(by) = held["operator"].as_str() {
        let what = match (held["split"].as_str(), held["subtask"].as_u64()) {
            (Some(split), _) => format!("split '{split}' of '{by}'"),
            (None, Some(n)) => format!("subtask {n} of '{by}'"),
            (None, None) => format!("'{by}'"),
        };
        words += &match held["behind_seconds"].as_f64() {
            None => format!("\nheld back by {what}, which has no watermark yet"),
            Some(behind) if behind > 0.0 => format!("\nheld back by {what}, {behind:.1} s behind the furthest"),
            Some(_) => format!("\nit is the time of {what}; nothing is further"),
        };
        words += &why(held);
    }
    Some(words)
}

/// Why a split does not move on, where it does not.
fn why(held: &Value) -> String {
    let at_least = |key: &str| held[key].as_f64().filter(|s| *s >= QUIET);
    match (at_least("quiet_seconds"), at_least("standing_seconds"), held["idle_timeout_seconds"].as_f64()) {
        (Some(quiet), _, Some(timeout)) => {
            format!("\nno row of it for {quiet:.1} s; it is idle, and holds nothing back, after {timeout} s")
        }
        (Some(quiet), _, None) => format!("\nno row of it for {quiet:.1} s; it is never idle, for the time-out is 0"),
        (None, Some(standing), _) => {
            format!("\nits rows come, and their times have not advanced its watermark for {standing:.1} s")
        }
        (None, None, _) => String::new(),
    }
}

/// The splits of a job that are idle, in a line for each source; from what [`of_operator`] says of its operators.
pub fn idle_in_words(operators: &[Value]) -> String {
    let mut out = String::new();
    for o in operators {
        let (name, event_time) = (o["name"].as_str().unwrap_or_default(), &o["event_time"]);
        let all = event_time["idle_splits"].as_u64().unwrap_or(0) as usize;
        let shown = event_time["splits"].as_array().into_iter().flatten().filter(|s| s["idle"] == true).take(5);
        let shown: Vec<String> = shown
            .map(|s| {
                let quiet = s["quiet_seconds"].as_f64().unwrap_or_default();
                format!("'{}' (no row for {quiet:.0} s)", s["name"].as_str().unwrap_or_default())
            })
            .collect();
        if !shown.is_empty() {
            let more = if all > shown.len() { format!(" and {} more", all - shown.len()) } else { String::new() };
            out += &format!("idle splits of '{name}', which hold nothing back: {}{more}\n", shown.join(", "));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::event_time::ChannelTime;
    use weir_core::event_time_report::Sender;
    use weir_core::watermarks::SplitStatus;

    /// Of splits of which the last row came 9 seconds ago.
    fn source(splits: &[(&str, i64)]) -> EventTimeReport {
        let status = |(name, at): &(&str, i64)| SplitStatus {
            name: (*name).into(),
            watermark: Watermark(*at),
            idle: false,
            paused: false,
            heard: 1_000,
            advanced: 500,
        };
        let output = splits.iter().map(|s| Watermark(s.1)).min().unwrap_or_default();
        EventTimeReport {
            output,
            splits: splits.iter().map(status).collect(),
            reported: 10_000,
            ..EventTimeReport::default()
        }
    }

    #[test]
    fn what_holds_time_back_is_followed_to_the_split() {
        let channel = |at| ChannelTime { watermark: Watermark(at), idle: false, ended: false };
        let sender = |subtask, at| Sender { operator: "source t".into(), subtask, time: channel(at) };
        let sink = EventTimeReport {
            input: Watermark(2_500),
            senders: vec![sender(0, 9_000), sender(1, 2_500)],
            ..EventTimeReport::default()
        };
        let mut reports = Reports::new();
        reports.insert(("source t".to_string(), 0), source(&[("t-0", 9_000)]));
        reports.insert(("source t".to_string(), 1), source(&[("t-1", 2_500), ("t-2", 32_500)]));
        reports.insert(("sink o".to_string(), 0), sink);
        let job = of_job(&reports, ["source t", "sink o"].into_iter());
        assert_eq!(job["operator"], "sink o");
        assert_eq!(job["held_back_by"]["split"], "t-1");
        let words = in_words(&job).expect("event time");
        assert!(words.contains("1970-01-01 00:00:02.500 UTC"), "{words}");
        assert!(words.contains("held back by split 't-1' of 'source t', 30.0 s behind the furthest"), "{words}");
        assert!(words.contains("no row of it for 9.0 s; it is never idle"), "{words}");
        let of = of_operator(&reports, "sink o");
        assert_eq!((&of["held_back_by"]["operator"], &of["held_back_by"]["subtask"]), (&json!("source t"), &json!(1)));
        assert_eq!(of["held_back_by"]["behind_seconds"], 6.5);

        reports.insert(("source t".to_string(), 1), source(&[("t-1", i64::MIN), ("t-2", 32_500)]));
        let words = in_words(&of_job(&reports, ["source t"].into_iter())).expect("event time");
        assert!(
            words.contains("no watermark yet") && words.contains("'t-1' of 'source t', which has no watermark"),
            "{words}"
        );
        let mut rows_come = source(&[("t-1", 2_500)]);
        (rows_come.splits[0].heard, rows_come.idle_timeout) = (9_900, Some(60_000));
        reports.insert(("source t".to_string(), 1), rows_come.clone());
        let words = in_words(&of_job(&reports, ["source t"].into_iter())).expect("event time");
        assert!(words.contains("nothing is further"), "{words}");
        assert!(words.contains("its rows come, and their times have not advanced its watermark for 9.5 s"), "{words}");
        (rows_come.splits[0].heard, rows_come.splits[0].idle) = (1_000, true);
        rows_come.splits.extend(source(&[("t-2", 4_000)]).splits);
        reports.insert(("source t".to_string(), 1), rows_come);
        let words = in_words(&of_job(&reports, ["source t"].into_iter())).expect("event time");
        assert!(words.contains("no row of it for 9.0 s; it is idle, and holds nothing back, after 60 s"), "{words}");
        let operator = json!({"name": "source t", "event_time": of_operator(&reports, "source t")});
        let idle = "idle splits of 'source t', which hold nothing back: 't-1' (no row for 9 s)\n";
        assert_eq!(idle_in_words(&[operator, json!({"name": "calc", "event_time": null})]), idle);

        assert!(of_job(&Reports::new(), ["source t"].into_iter()).is_null());
        assert!(of_operator(&reports, "calc").is_null() && in_words(&Value::Null).is_none());
    }
}
