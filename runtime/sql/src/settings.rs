//! The settings: those that there are with what they may be, and those of Flink's that mean nothing here.

use std::collections::BTreeMap;
use weir_core::error::nearest;
use weir_core::{Error, Result, options};

/// What a setting may be.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// A time such as `10 s`.
    Duration,
    /// A size such as `64mb`.
    Size,
    /// A whole number, from and to.
    Count(u64, u64),
    /// A number, from and to.
    Number(f64, f64),
    /// One of these words, in any case.
    OneOf(&'static [&'static str]),
    /// A time zone.
    Zone,
    /// Anything.
    Text,
}
use Takes::*;

/// Subtasks of an operator.
const PARALLELISM: Takes = Count(1, 64);

/// All settings.
const ALL: &[(&str, Takes)] = &[
    ("execution.runtime-mode", OneOf(&["streaming", "batch"])),
    ("execution.checkpointing.interval", Duration),
    ("parallelism.default", PARALLELISM),
    ("pipeline.name", Text),
    ("table.local-time-zone", Zone),
    ("table.exec.state.ttl", Duration),
    ("table.exec.sink.not-null-enforcer", OneOf(&["error", "drop"])),
    ("table.exec.sink.nested-constraint-enforcer", OneOf(&["ignore", "rows", "rows_and_collections"])),
    ("table.exec.sink.type-length-enforcer", OneOf(&["ignore", "trim_pad", "error"])),
    ("table.exec.sink.upsert-materialize", OneOf(&["auto", "none", "force"])),
    ("table.dynamic-table-options.enabled", OneOf(&["true", "false"])),
    ("table.exec.mini-batch.size", Count(1, i64::MAX as u64)),
    ("restart-strategy.type", OneOf(STRATEGIES)),
    ("restart-strategy.fixed-delay.attempts", ATTEMPTS),
    ("restart-strategy.fixed-delay.delay", Duration),
    ("restart-strategy.failure-rate.max-failures-per-interval", ATTEMPTS),
    ("restart-strategy.failure-rate.failure-rate-interval", Duration),
    ("restart-strategy.failure-rate.delay", Duration),
    ("restart-strategy.exponential-delay.initial-backoff", Duration),
    ("restart-strategy.exponential-delay.max-backoff", Duration),
    ("restart-strategy.exponential-delay.backoff-multiplier", Number(1.0, 1e6)),
    ("restart-strategy.exponential-delay.attempts-before-reset-backoff", ATTEMPTS),
    ("restart-strategy.exponential-delay.reset-backoff-threshold", Duration),
    ("job.autoscaler.utilization.target", Number(0.1, 0.95)),
    ("job.autoscaler.metrics.window", Duration),
    ("job.autoscaler.stabilization.interval", Duration),
    ("job.autoscaler.scale-down.interval", Duration),
    ("job.autoscaler.catch-up.duration", Duration),
    ("state.cache-size", Size),
    ("state.savepoints.interval", Duration),
    ("state.savepoints.dir", Text),
    ("state.savepoints.num-retained", Count(1, i64::MAX as u64)),
    ("sql.on-error", OneOf(&["fail", "skip", "null"])),
];

const STRATEGIES: &[&str] = &[
    "none",
    "off",
    "disable",
    "fixed-delay",
    "fixeddelay",
    "failure-rate",
    "failurerate",
    "exponential-delay",
    "exponentialdelay",
];

/// How often; `infinite` is the greatest.
const ATTEMPTS: Takes = Count(0, u32::MAX as u64);

/// Older names of settings, and Flink's for the same.
const RENAMED: &[(&str, &str)] = &[
    ("restart-strategy", "restart-strategy.type"),
    ("table.exec.resource.default-parallelism", "parallelism.default"),
    ("execution.checkpointing.savepoint-dir", "state.savepoints.dir"),
];

/// Settings of Flink's about machinery that there is not here, so that no result can depend on them; one that ends with a dot
/// stands for all that begin so. What would change a result is not among them, and is refused.
const OF_OTHER_MACHINERY: &[&str] = &[
    "table.exec.mini-batch.enabled",
    "table.exec.mini-batch.allow-latency",
    "table.exec.async-",
    "table.exec.spill-",
    "table.exec.sort.",
    "table.exec.disabled-operators",
    "table.exec.operator-fusion-codegen.",
    "table.exec.window-agg.buffer-size-limit",
    "table.exec.rank.topn-cache-size",
    "table.exec.simplify-operator-name-enabled",
    "table.exec.uid.",
    "table.exec.legacy-transformation-uids",
    "table.exec.local-hash-agg.",
    "table.optimizer.",
    "table.generated-code.",
    "table.rtas-ctas.",
    "table.display.",
    "table.dml-sync",
    "table.dml-async",
    "table.plan.",
    "table.resources.",
    "table.column-expansion-strategy",
    "python.",
    "sql-client.",
    "sql-gateway.",
    "taskmanager.",
    "jobmanager.",
    "jobstore.",
    "rest.",
    "web.",
    "akka.",
    "pekko.",
    "heartbeat.",
    "high-availability.",
    "cluster.",
    "slot.",
    "slotmanager.",
    "kubernetes.",
    "yarn.",
    "security.",
    "metrics.",
    "env.",
    "classloader.",
    "client.",
    "historyserver.",
    "io.tmp.dirs",
    "fs.",
    "s3.",
    "$internal.",
    "execution.target",
    "execution.attached",
    "execution.shutdown-on-attached-exit",
    "execution.shutdown-on-application-finish",
    "execution.submit-failed-job-on-application-error",
    "execution.job-listeners",
    "execution.buffer-timeout",
    "execution.buffer-timeout.",
    "execution.batch-shuffle-mode",
    "execution.batch.",
    "execution.sorted-inputs.",
    "execution.async-state.",
    "execution.state-recovery.",
    "execution.checkpointing.mode",
    "execution.checkpointing.timeout",
    "execution.checkpointing.min-pause",
    "execution.checkpointing.max-concurrent-checkpoints",
    "execution.checkpointing.tolerable-failed-checkpoints",
    "execution.checkpointing.externalized-checkpoint-retention",
    "execution.checkpointing.interval-during-backlog",
    "execution.checkpointing.checkpoints-after-tasks-finish",
    "execution.checkpointing.checkpoints-after-tasks-finish.",
    "execution.checkpointing.unaligned",
    "execution.checkpointing.unaligned.",
    "execution.checkpointing.aligned-checkpoint-timeout",
    "execution.checkpointing.incremental",
    "execution.checkpointing.local-backup.",
    "execution.checkpointing.file-merging.",
    "execution.checkpointing.num-retained",
    "execution.checkpointing.storage",
    "execution.checkpointing.dir",
    "execution.checkpointing.data-inline-threshold",
    "execution.checkpointing.write-buffer-size",
    "execution.checkpointing.create-subdir",
    "execution.checkpointing.cleaner.",
    "pipeline.object-reuse",
    "pipeline.auto-generate-uids",
    "pipeline.auto-watermark-interval",
    "pipeline.closure-cleaner-level",
    "pipeline.force-avro",
    "pipeline.force-kryo",
    "pipeline.force-kryo-avro",
    "pipeline.generic-types",
    "pipeline.global-job-parameters",
    "pipeline.operator-chaining",
    "pipeline.operator-chaining.",
    "pipeline.serialization-config",
    "pipeline.cached-files",
    "pipeline.jars",
    "pipeline.classpaths",
    "pipeline.vertex-description-mode",
    "pipeline.vertex-name-include-index-prefix",
    "pipeline.watermark-alignment.",
    "state.backend",
    "state.backend.",
    "state.checkpoint-storage",
    "state.checkpoints.",
    "state.checkpoint.",
    "state.storage.",
    "state.latency-track.",
    "state.size-track.",
    "state.changelog.",
    "restart-strategy.exponential-delay.jitter-factor",
];

/// The parallelism of an operator: `operator.<name>.parallelism`. Gives its name.
pub fn operator_setting(key: &str) -> Option<&str> {
    key.strip_prefix("operator.")?.strip_suffix(".parallelism")
}

/// A setting that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Its name of today.
    pub key: String,
    /// Its value, in the form that it is compared in: words in small letters.
    pub value: String,
    /// Whether it acts.
    pub acts: bool,
}

fn takes(key: &str) -> Option<Takes> {
    let known = ALL.iter().find(|(k, _)| *k == key).map(|(_, t)| *t);
    known.or_else(|| operator_setting(key).map(|_| PARALLELISM))
}

/// The name of today of a setting, and whether there is one that acts.
fn named(key: &str) -> Result<(&str, Option<Takes>)> {
    let key = RENAMED.iter().find(|(old, _)| *old == key).map_or(key, |(_, new)| *new);
    let begins = |of: &str| key.starts_with(of) && (of.ends_with(['.', '-']) || key.len() == of.len());
    match takes(key) {
        Some(t) => Ok((key, Some(t))),
        None if OF_OTHER_MACHINERY.iter().any(|of| begins(of)) => Ok((key, None)),
        None => {
            let e = Error::script(format!("there is no setting '{key}'"));
            let whole = OF_OTHER_MACHINERY.iter().filter(|k| !k.ends_with(['.', '-']));
            let names = ALL.iter().map(|(k, _)| k).chain(RENAMED.iter().map(|(k, _)| k)).chain(whole);
            Err(match nearest(key, names.copied()) {
                Some(n) => e.hint(format!("did you mean '{n}'?")),
                None => e.hint("docs/src/reference/settings.md lists those that there are"),
            })
        }
    }
}

/// Checks a setting's name.
///
/// # Errors
/// When there is none of that name.
pub(crate) fn check_name(key: &str) -> Result<&str> {
    named(key).map(|(key, _)| key)
}

/// Checks a setting and its value.
///
/// # Errors
/// When there is no such setting, or it cannot have such a value.
pub(crate) fn check(key: &str, value: &str) -> Result<Setting> {
    let (key, takes) = named(key)?;
    let value = value.trim();
    let taken = |value: &str| Setting { key: key.to_string(), value: value.to_string(), acts: takes.is_some() };
    let between = |least: &dyn std::fmt::Display, most: &dyn std::fmt::Display| {
        Error::script(format!("'{key}' is {least} to {most}, not {value}"))
    };
    match takes {
        None | Some(Text) => {}
        Some(Duration) => {
            options::duration(key, value)?;
        }
        Some(Size) => {
            options::bytes(key, value)?;
        }
        Some(Zone) if value == "default" => {}
        Some(Zone) => {
            weir_expr::time::Zone::parse(value).map_err(|e| e.context(key))?;
        }
        Some(Count(_, most)) if most == u64::from(u32::MAX) && value.eq_ignore_ascii_case("infinite") => {
            return Ok(taken("infinite"));
        }
        Some(Count(least, most)) => match options::number::<u64>(key, value) {
            Ok(n) if (least..=most).contains(&n) => {}
            Ok(_) => return Err(between(&least, &most)),
            Err(e) => return Err(e),
        },
        Some(Number(least, most)) => match value.parse::<f64>() {
            Ok(n) if (least..=most).contains(&n) => {}
            _ => return Err(between(&least, &most)),
        },
        Some(OneOf(words)) => {
            let small = value.to_ascii_lowercase();
            if words.contains(&small.as_str()) {
                return Ok(taken(&small));
            }
            let e = Error::script(format!("'{key}' is one of {}, not '{value}'", words.join(", ")));
            return Err(match nearest(&small, words.iter().copied()) {
                Some(n) => e.hint(format!("did you mean '{n}'?")),
                None => e,
            });
        }
    }
    Ok(taken(value))
}

/// Whether results are given once, at the end.
pub(crate) fn is_batch(settings: &BTreeMap<String, String>) -> bool {
    settings.get("execution.runtime-mode").is_some_and(|m| m == "batch")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(key: &str, value: &str) -> (String, String, bool) {
        let s = check(key, value).unwrap_or_else(|e| panic!("{key}: {e}"));
        (s.key, s.value, s.acts)
    }

    fn refused(key: &str, value: &str, words: &str) {
        match check(key, value) {
            Ok(s) => panic!("{s:?} was taken"),
            Err(e) => assert!(e.to_string().contains(words), "{e}"),
        }
    }

    #[test]
    fn what_is_taken_acts_or_is_known_not_to() {
        let of = |k: &str, v: &str, acts| (k.to_string(), v.to_string(), acts);
        assert_eq!(taken("execution.runtime-mode", "BATCH"), of("execution.runtime-mode", "batch", true));
        assert_eq!(taken("restart-strategy", "none"), of("restart-strategy.type", "none", true));
        assert_eq!(taken("pipeline.name", "My Job"), of("pipeline.name", "My Job", true));
        assert_eq!(taken("operator.source a.parallelism", "3"), of("operator.source a.parallelism", "3", true));
        assert!(!taken("table.exec.mini-batch.enabled", "true").2);
        assert!(!taken("state.backend.type", "rocksdb").2);
        assert!(!taken("python.fn-execution.bundle.size", "7").2);
        assert!(!taken("table.exec.async-scalar.max-attempts", "7").2);
    }

    #[test]
    fn what_is_unknown_or_wrong_is_refused() {
        refused("table.exec.state.tll", "1 h", "did you mean 'table.exec.state.ttl'");
        refused("execution.checkpointing.intervall", "1s", "did you mean 'execution.checkpointing.interval'");
        refused("pipeline.nam", "x", "did you mean 'pipeline.name'");
        refused("state.cash-size", "1mb", "did you mean 'state.cache-size'");
        refused("state.backends", "1mb", "there is no setting");
        refused("table.exec.legacy-cast-behaviour", "enabled", "there is no setting");
        refused("restart-strategy.fixed-delay.attemps", "1", "did you mean");
        refused("table.exec.state.ttl", "soon", "duration");
        refused("state.cache-size", "1 pound", "size");
        refused("table.exec.sink.not-null-enforcer", "DROPP", "did you mean 'drop'");
        refused("execution.runtime-mode", "automatic", "streaming, batch");
        refused("parallelism.default", "65", "1 to 64");
        refused("operator.calc.parallelism", "0", "1 to 64");
        refused("restart-strategy.exponential-delay.backoff-multiplier", "NaN", "1 to 1000000");
        refused("restart-strategy.exponential-delay.backoff-multiplier", "-2", "1 to 1000000");
        refused("restart-strategy.fixed-delay.attempts", "-1", "whole number");
        refused("table.local-time-zone", "Mars/Base", "Mars/Base");
        refused("job.autoscaler.utilization.target", "2", "0.1 to 0.95");
    }

    #[test]
    fn the_papers_name_every_setting() {
        let papers = include_str!("../../../docs/src/reference/settings.md");
        for (key, _) in ALL {
            assert!(papers.contains(&format!("`{key}`")), "{key}");
        }
    }
}
