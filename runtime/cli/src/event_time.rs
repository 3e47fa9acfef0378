//! Event time of a running job for people: how far each operator is, and which split or input holds time back.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use weir_core::clock::{Clock, SystemClock};
use weir_core::event_time::Watermark;
use weir_core::event_time_report::{EventTimeReport, HeldBack, Holder};
use weir_expr::time::timestamp_text;

/// What each subtask has reported, by operator and number.
pub type Reports = BTreeMap<(String, usize), EventTimeReport>;

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
        "held_back_by": report.and_then(EventTimeReport::held_back).map(|h| holder(&h, operator, subtask)),
    })
}

fn holder(held: &HeldBack, operator: &str, subtask: Option<usize>) -> Value {
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
    })
}

/// How far the job is, at the operator with event time that is furthest behind the sources, and what holds it back in the end: who is
/// waited for is followed to a source. `operators` are in the order of the graph. Null without event time.
pub fn of_job<'a>(reports: &Reports, operators: impl DoubleEndedIterator<Item = &'a str>) -> Value {
    let Some((operator, (mut subtask, mut report))) =
        operators.rev().find_map(|o| least(reports, o).map(|found| (o, found)))
    else {
        return Value::Null;
    };
    let watermark = time(report.watermark());
    let (mut at, mut last) = (operator.to_string(), Value::Null);
    // As many steps as there are subtasks at most: edges point forward.
    while let Some(held) = report.held_back() {
        last = holder(&held, &at, Some(subtask));
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
            None => format!("\nheld back by {what}, of which no row has come"),
            Some(behind) if behind > 0.0 => format!("\nheld back by {what}, {behind:.1} s behind the furthest"),
            Some(_) => format!("\nas far as {what}"),
        };
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::event_time::ChannelTime;
    use weir_core::event_time_report::Sender;
    use weir_core::watermarks::SplitStatus;

    fn source(splits: &[(&str, i64)]) -> EventTimeReport {
        let status = |(name, at): &(&str, i64)| SplitStatus {
            name: (*name).into(),
            watermark: Watermark(*at),
            idle: false,
            paused: false,
        };
        let output = splits.iter().map(|s| Watermark(s.1)).min().unwrap_or_default();
        EventTimeReport { output, splits: splits.iter().map(status).collect(), ..EventTimeReport::default() }
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
        let of = of_operator(&reports, "sink o");
        assert_eq!((&of["held_back_by"]["operator"], &of["held_back_by"]["subtask"]), (&json!("source t"), &json!(1)));
        assert_eq!(of["held_back_by"]["behind_seconds"], 6.5);

        reports.insert(("source t".to_string(), 1), source(&[("t-1", i64::MIN), ("t-2", 32_500)]));
        let words = in_words(&of_job(&reports, ["source t"].into_iter())).expect("event time");
        assert!(
            words.contains("no watermark yet") && words.contains("'t-1' of 'source t', of which no row"),
            "{words}"
        );
        assert!(of_job(&Reports::new(), ["source t"].into_iter()).is_null());
        assert!(of_operator(&reports, "calc").is_null() && in_words(&Value::Null).is_none());
    }
}
