//! The settings, with their types and defaults, and Flink's settings that have no effect.

use std::collections::BTreeMap;
use std::time::Duration;
use weir_core::error::nearest;
use weir_core::option_spec::{Opt, OptionSpec, Parsed, Type};
use weir_core::{Error, Result, choice, options};
use weir_expr::time::Zone;

choice! {
    /// When results are emitted.
    pub enum Mode {
        /// Continuously, and again when they change.
        Streaming = "streaming",
        /// Once, when the sources have ended.
        Batch = "batch",
    }
}

choice! {
    /// What happens to a NULL for a NOT NULL column.
    pub enum NotNull {
        /// The job ends.
        Error = "error",
        /// The row is dropped.
        Drop = "drop",
    }
}

choice! {
    /// How deep inside values NOT NULL is enforced.
    pub enum Nested {
        /// For columns only.
        Ignore = "ignore",
        /// Also for fields of rows.
        Rows = "rows",
        /// Also for elements of collections.
        Collections = "rows_and_collections",
    }
}

choice! {
    /// What happens to values that are too long or too short for their type.
    pub enum Length {
        /// They are written as they are.
        Ignore = "ignore",
        /// They are trimmed or padded.
        TrimPad = "trim_pad",
        /// The job ends.
        Error = "error",
    }
}

choice! {
    /// Whether state keeps all rows with the same sink key.
    pub enum Materialize {
        /// If the query's key is another one.
        Auto = "auto",
        /// Never.
        Never = "none",
        /// Always.
        Force = "force",
    }
}

choice! {
    /// What happens to rows that built-in functions and casts fail on.
    pub enum Failing {
        /// The job ends.
        Fail = "fail",
        /// They are dropped.
        Skip = "skip",
        /// The result is NULL.
        Null = "null",
    }
}

choice! {
    /// When a job restarts after a failure.
    pub enum Strategy {
        /// Never.
        Never = "none" | "off" | "disable",
        /// A number of times, always after the same delay.
        FixedDelay = "fixed-delay" | "fixeddelay",
        /// While there are not too many failures in an interval.
        FailureRate = "failure-rate" | "failurerate",
        /// After delays that grow.
        ExponentialDelay = "exponential-delay" | "exponentialdelay",
    }
}

options! {
    /// The settings of a job.
    JOB:
    /// The name of the job.
    pub NAME: String =
        Opt::text("pipeline.name", "the name of the job and of its state folder; by default the script's file name");
    /// When results are emitted.
    pub MODE: Mode = Opt::one_of(
        "execution.runtime-mode",
        "`streaming` emits results and their changes continuously, `batch` emits results once, when the sources have ended",
    )
    .default("streaming");
    /// The checkpoint interval.
    pub INTERVAL: Duration = Opt::duration(
        "execution.checkpointing.interval",
        "the time from the start of one epoch (a checkpoint) to that of the next",
    )
    .default("1 s");
    /// The default parallelism.
    pub PARALLELISM: usize = Opt::whole("parallelism.default", 1, 64, "how many subtasks each operator has; by default the machine's cores")
        .older(&["table.exec.resource.default-parallelism"]);
    /// The parallelism of one operator.
    pub OPERATOR: usize = Opt::whole(
        "operator.#.parallelism",
        1,
        64,
        "how many subtasks the operator `#` has, by its name in `weir explain`, `weir top` and the summary; overrides `parallelism` of \
         tables and functions",
    );
}

options! {
    /// The settings of tables and SQL.
    TABLES:
    ZONE: String = Opt::checked("table.local-time-zone", "a time zone", time_zone, "the session's time zone").default("UTC");
    /// The time to live of state.
    pub TTL: Duration = Opt::duration(
        "table.exec.state.ttl",
        "how long the state of a key is kept without a new row: groups, rows of upsert tables, rows kept in front of a sink. With 0, and \
         in batch mode, it does not expire",
    )
    .default("0");
    /// The maximum number of rows in a source's batch.
    pub BATCH_ROWS: usize =
        Opt::whole("table.exec.mini-batch.size", 1, i64::MAX, "how many rows a source's batch has at most; more than 8192 has no effect")
            .default("8192");
    /// How often sources emit watermarks.
    pub AUTO_WATERMARK_INTERVAL: Duration = Opt::duration(
        "pipeline.auto-watermark-interval",
        "how often watermarks are emitted; one that has advanced by more than this in event time is emitted at once",
    )
    .default("200 ms");
    /// When a split becomes idle.
    pub IDLE_TIMEOUT: Duration = Opt::duration(
        "table.exec.source.idle-timeout",
        "after this time without rows a split, such as a partition, is idle and no longer holds the watermark back; with 0 it never is, \
         which is Flink's default",
    )
    .default("1 min");
    /// Whether windows emit results before they are complete.
    pub EARLY_FIRE: bool = Opt::boolean(
        "table.exec.emit.early-fire.enabled",
        "whether windows emit early results, before they are complete; not supported for SESSION",
    )
    .default("false");
    /// The interval of early results.
    pub EARLY_DELAY: Duration = Opt::duration(
        "table.exec.emit.early-fire.delay",
        "how often a window emits early results, in processing time; with 0 after each row, or batch of rows",
    );
    /// Whether windows accept late rows.
    pub LATE_FIRE: bool = Opt::boolean(
        "table.exec.emit.late-fire.enabled",
        "whether complete windows accept late rows and emit their results again; not supported for SESSION",
    )
    .default("false");
    /// The interval of results for late rows.
    pub LATE_DELAY: Duration = Opt::duration(
        "table.exec.emit.late-fire.delay",
        "how often a window emits results for late rows, in processing time; with 0 after each late row, or batch of rows",
    );
    /// The allowed lateness.
    pub ALLOW_LATENESS: Duration = Opt::duration(
        "table.exec.emit.allow-lateness",
        "how long after its end a window accepts late rows, with `table.exec.emit.late-fire.enabled`; by default `table.exec.state.ttl`",
    );
    /// What happens to a NULL for a NOT NULL column.
    pub NOT_NULL: NotNull = Opt::one_of(
        "table.exec.sink.not-null-enforcer",
        "what happens to a NULL for a NOT NULL or key column of a sink: `error` ends the job, `drop` drops the row",
    )
    .default("error");
    /// Where else NOT NULL is enforced.
    pub NESTED: Nested = Opt::one_of(
        "table.exec.sink.nested-constraint-enforcer",
        "where else NOT NULL is enforced: `ignore` means columns only, `rows` adds fields of rows, `rows_and_collections` also elements of \
         collections",
    )
    .default("ignore");
    /// What happens to values whose length does not fit.
    pub LENGTH: Length = Opt::one_of(
        "table.exec.sink.type-length-enforcer",
        "what happens to a value whose length does not fit the sink's CHAR, VARCHAR, BINARY or VARBINARY: `ignore` writes it as it is, \
         `trim_pad` trims or pads it, `error` ends the job",
    )
    .default("ignore");
    /// Whether rows are kept for sinks whose key is not the query's.
    pub MATERIALIZE: Materialize = Opt::one_of(
        "table.exec.sink.upsert-materialize",
        "whether state keeps all rows with the same sink key: `auto` if the query's key is another one, `force` for every upsert sink, \
         `none` never",
    )
    .default("auto");
    /// Whether equal relations are computed once.
    pub SUB_PLANS: bool = Opt::boolean(
        "table.optimizer.reuse-sub-plan-enabled",
        "whether equal parts of the plans are computed once, within a statement and across statements; a table or view that a statement \
         names several times always is",
    )
    .default("true");
    /// Whether statements share sources.
    pub SOURCES: bool = Opt::boolean(
        "table.optimizer.reuse-source-enabled",
        "whether statements that read the same table share one source, if `table.optimizer.reuse-sub-plan-enabled` is true; with `false` \
         a slow sink does not slow down the other statements",
    )
    .default("true");
    /// Whether hints with options are accepted.
    pub HINTS: bool = Opt::boolean(
        "table.dynamic-table-options.enabled",
        "whether hints `/*+ OPTIONS('k' = 'v') */` are accepted",
    )
    .default("true");
    /// What happens to rows that built-in functions and casts fail on.
    pub ON_ERROR: Failing = Opt::one_of(
        "sql.on-error",
        "what happens to a row that a built-in function or cast fails on: `fail` ends the job, `skip` drops the row, `null` makes the \
         result NULL",
    )
    .default("fail");
}

options! {
    /// The settings of state.
    STATE:
    /// The memory for state.
    pub CACHE: usize = Opt::size(
        "state.cache-size",
        "memory for state: half caches decoded values, the rest is for the store's pages and for changes that are not applied to it yet",
    )
    .default("512mb");
    /// How often savepoints are written.
    pub SAVEPOINTS_INTERVAL: Duration =
        Opt::duration("state.savepoints.interval", "how often a savepoint is written automatically; by default never");
    /// The destination of automatic savepoints.
    pub SAVEPOINTS: String =
        Opt::text("state.savepoints.dir", "where automatic savepoints go: a folder, or `s3://`, `gs://`, `az://` with bucket and prefix")
        .older(&["execution.checkpointing.savepoint-dir"]);
    /// The number of automatic savepoints that are kept.
    pub SAVEPOINTS_KEPT: usize =
        Opt::whole("state.savepoints.num-retained", 1, i64::MAX, "how many automatic savepoints are kept").default("3");
}

options! {
    /// The settings of restarts.
    RESTART:
    /// The restart strategy.
    pub STRATEGY: Strategy = Opt::one_of(
        "restart-strategy.type",
        "whether, and after which delays, the job restarts when a file, pipe or server has failed",
    )
    .default("exponential-delay")
    .older(&["restart-strategy"]);
    /// The maximum number of restarts with a fixed delay.
    pub FIXED_ATTEMPTS: u32 =
        Opt::attempts("restart-strategy.fixed-delay.attempts", "how often the job restarts before it gives up, or `infinite`").default("1");
    /// The fixed delay.
    pub FIXED_DELAY: Duration = Opt::duration("restart-strategy.fixed-delay.delay", "the delay before each restart").default("1 s");
    /// The maximum number of failures in an interval.
    pub RATE_FAILURES: u32 =
        Opt::attempts("restart-strategy.failure-rate.max-failures-per-interval", "how many failures in an interval end in a restart")
            .default("1");
    /// The interval in which failures are counted.
    pub RATE_INTERVAL: Duration =
        Opt::duration("restart-strategy.failure-rate.failure-rate-interval", "the interval in which failures count").default("1 min");
    /// The delay before a restart with a failure rate.
    pub RATE_DELAY: Duration = Opt::duration("restart-strategy.failure-rate.delay", "the delay before each restart").default("1 s");
    /// The initial delay.
    pub INITIAL: Duration =
        Opt::some_time("restart-strategy.exponential-delay.initial-backoff", "the delay before the first restart").default("1 s");
    /// The maximum delay.
    pub LONGEST: Duration =
        Opt::duration("restart-strategy.exponential-delay.max-backoff", "the longest delay before a restart").default("1 min");
    /// The factor by which the delay grows.
    pub MULTIPLIER: f64 =
        Opt::number("restart-strategy.exponential-delay.backoff-multiplier", 1.0, 1e6, "the factor by which the delay grows")
            .default("1.5");
    /// The maximum number of restarts with a growing delay.
    pub ATTEMPTS: u32 = Opt::attempts(
        "restart-strategy.exponential-delay.attempts-before-reset-backoff",
        "how often the job restarts before it gives up, or `infinite`",
    )
    .default("10");
    /// When the delay and the number of restarts start over.
    pub RESET: Duration = Opt::duration(
        "restart-strategy.exponential-delay.reset-backoff-threshold",
        "after this time without a failure, the delay and the number of restarts start over",
    )
    .default("1 h");
}

options! {
    /// The settings of the autoscaler.
    AUTOSCALER:
    /// The target utilization.
    pub TARGET: f64 = Opt::number(
        "job.autoscaler.utilization.target",
        0.1,
        0.95,
        "the utilization (the share of useful time) to aim at; nothing is advised within 0.3 of it",
    )
    .default("0.7");
    /// The length of the period whose metrics are used.
    pub WINDOW: Duration =
        Opt::duration("job.autoscaler.metrics.window", "the length of the recent period whose metrics advice is based on").default("60 s");
    /// How long nothing is advised after a start or a change.
    pub STABILIZATION: Duration = Opt::duration(
        "job.autoscaler.stabilization.interval",
        "how long nothing is advised after the start or a change of parallelism",
    )
    .default("10 s");
    /// How long fewer subtasks must have been enough.
    pub SCALE_DOWN: Duration =
        Opt::duration("job.autoscaler.scale-down.interval", "how long fewer subtasks must have been enough before they are advised")
            .default("5 min");
    /// The time in which a backlog should be processed.
    pub CATCH_UP: Duration = Opt::duration(
        "job.autoscaler.catch-up.duration",
        "the time within which a backlog should be processed",
    )
    .default("10 min");
}

/// All settings, grouped by subject.
pub const ALL: &[(&str, &[OptionSpec])] = &[
    ("Job", JOB),
    ("Tables and SQL", TABLES),
    ("State", STATE),
    ("Restart strategy", RESTART),
    ("Autoscaler", AUTOSCALER),
];

fn all() -> impl Iterator<Item = &'static OptionSpec> {
    ALL.iter().flat_map(|(_, group)| group.iter())
}

fn time_zone(name: &str) -> Result<()> {
    if name == "default" { Ok(()) } else { Zone::parse(name).map(drop) }
}

/// The session's time zone.
///
/// # Errors
/// If there is no such zone.
pub fn zone(settings: &BTreeMap<String, String>) -> Result<Zone> {
    match ZONE.value(settings)?.as_str() {
        "default" => Ok(Zone::UTC),
        zone => Zone::parse(zone),
    }
}

/// Flink's settings for components that do not exist here, so that no result depends on them. An entry that ends with a dot or hyphen
/// stands for all settings with that prefix. Settings that would change a result are not listed, and are rejected.
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

/// The name of the operator whose parallelism this setting defines, if it does.
pub fn operator_setting(key: &str) -> Option<&str> {
    let (begin, end) = OPERATOR.key().split_once('#')?;
    key.strip_prefix(begin)?.strip_suffix(end).filter(|name| !name.is_empty())
}

/// An accepted setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its current name, if it was given by an older one.
    pub key: String,
    /// Its value. For a choice, this is the canonical spelling of the word.
    pub value: String,
    /// Whether it has an effect.
    pub acts: bool,
}

/// The current name of a setting, and its specification if it has an effect.
fn named(key: &str) -> Result<(&str, Option<&'static OptionSpec>)> {
    let key = all().find(|o| o.older.contains(&key)).map_or(key, |o| o.key);
    let begins = |of: &str| key.starts_with(of) && (of.ends_with(['.', '-']) || key.len() == of.len());
    match all().find(|o| o.is(key)) {
        Some(option) => Ok((key, Some(option))),
        None if OF_OTHER_MACHINERY.iter().any(|of| begins(of)) => Ok((key, None)),
        None => {
            let e = Error::script(format!("there is no setting '{key}'"));
            let whole = OF_OTHER_MACHINERY.iter().filter(|k| !k.ends_with(['.', '-'])).copied();
            let names = all().flat_map(|o| o.older.iter().copied().chain([o.key])).chain(whole);
            Err(match nearest(key, names) {
                Some(n) => e.hint(format!("did you mean '{n}'?")),
                None => e.hint("weir describe settings lists those that there are"),
            })
        }
    }
}

/// Checks the name of a setting.
///
/// # Errors
/// If there is no setting with that name.
pub fn check_name(key: &str) -> Result<&str> {
    named(key).map(|(key, _)| key)
}

/// Checks a setting and its value.
///
/// # Errors
/// If there is no such setting, or the value is not valid for it.
pub fn check(key: &str, value: &str) -> Result<Setting> {
    let (key, option) = named(key)?;
    let value = value.trim();
    let parsed = option.map(|o| o.parse(key, value)).transpose()?;
    let value = match (option.map(|o| o.ty), parsed) {
        (Some(Type::OneOf(words)), Some(Parsed::Word(at))) => words[at][0].to_string(),
        (Some(Type::Boolean | Type::Attempts), _) => value.to_ascii_lowercase(),
        _ => value.to_string(),
    };
    Ok(Setting { key: key.to_string(), value, acts: option.is_some() })
}

/// The runtime mode.
///
/// # Errors
/// If the value is not a mode.
pub fn mode(settings: &BTreeMap<String, String>) -> Result<Mode> {
    MODE.value(settings)
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
        refused("execution.runtime-mode", "automatic", "streaming or batch");
        refused("parallelism.default", "65", "1 to 64");
        refused("operator.calc.parallelism", "0", "1 to 64");
        refused("restart-strategy.exponential-delay.backoff-multiplier", "NaN", "1 to 1000000");
        refused("restart-strategy.exponential-delay.backoff-multiplier", "-2", "1 to 1000000");
        refused("restart-strategy.fixed-delay.attempts", "-1", "whole number");
        refused("table.local-time-zone", "Mars/Base", "Mars/Base");
        refused("job.autoscaler.utilization.target", "2", "0.1 to 0.95");
    }

    #[test]
    fn every_default_is_a_value() {
        for o in all() {
            assert!(o.default.is_none_or(|d| o.parse(o.key, d).is_ok()), "{}", o.key);
        }
    }
}
