//! `weir run`: from a script to a job that has ended.

use crate::arguments::{ReplayArguments, RunArguments, ScriptArguments};
use crate::assemble::{Assembled, assemble, assemble_replay};
use crate::listening::listen;
use crate::local;
use crate::output::line;
use crate::progress::ProgressDisplay;
use crate::registry;
use crate::running::{RunningJob, sentence};
use crate::savepoints;
use crate::script::read;
use crate::state;
use crate::stop_at_end::stop_at_end;
use crate::stored_state::{StoredState, records};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use weir_connectors::REGISTRY;
use weir_core::clock::SystemClock;
use weir_core::graph::JobIdentity;
use weir_core::metrics::Metrics;
use weir_core::state::StateBackend;
use weir_core::{Error, Result};
use weir_engine::{Control, JobMetadata, Options, RestartStrategy, scale};
use weir_hints::AdviceSettings;
use weir_plan::settings::{self, Strategy};
use weir_plan::{Together, share};
use weir_sql::{Compiled, FunctionLoader};
use weir_state::{Folder, Store};

/// Rows of a batch at most, whatever is set.
const BATCH_ROWS: usize = 8192;

/// Has the job finish its epoch at the first signal to end, and leaves at the second, to the end of the process.
fn catch_signals(control: &Arc<Control>) -> Result<()> {
    let caught = Signals::new([SIGINT, SIGTERM]);
    let mut caught = caught.map_err(|e| Error::io("signals cannot be caught").caused_by(e))?;
    let control = control.clone();
    let watch = move || {
        let mut ends = false;
        for _ in caught.forever() {
            if ends {
                // An exit without clean-up is what a crash is, and crashes are survived.
                signal_hook::low_level::exit(130);
            }
            ends = true;
            if control.stop() {
                note!("stopping after this epoch; once more leaves at once");
            }
        }
    };
    weir_core::thread::spawn("weir-signals", watch).map(drop)
}

/// The job's name: as set, or its file's.
pub fn job_name(settings: &BTreeMap<String, String>, stem: Option<&str>) -> Result<String> {
    let name = settings.get(settings::NAME.key()).map(String::as_str).or(stem);
    let name = name.ok_or_else(|| {
        Error::script("a job from standard input needs a name for its state").hint("--set pipeline.name=my-job")
    })?;
    let safe: String = name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    Ok(safe.trim_start_matches('.').to_string())
}

fn writable(folder: &Path) -> bool {
    std::fs::create_dir_all(folder).is_ok() && probe(folder)
}

fn probe(folder: &Path) -> bool {
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    let ok = std::fs::write(&probe, b"").is_ok();
    let _ = std::fs::remove_file(&probe);
    ok
}

/// The folder for a job's state: as asked, `.weir` beside the script, or the user's state folder.
pub fn state_folder(asked: Option<&Path>, base: &Path, name: &str) -> Result<PathBuf> {
    if let Some(f) = asked {
        return Ok(f.join(name));
    }
    let beside = base.join(".weir");
    if writable(&beside) {
        return Ok(beside.join(name));
    }
    let user = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/state")))
        .map(|p| p.join("weir"));
    match user {
        Some(u) if writable(&u) => {
            note!("{} cannot be written, so the state goes to {}", base.display(), u.display());
            Ok(u.join(name))
        }
        _ => Err(Error::state(format!("no folder for the state can be written: not {}", beside.display()))
            .hint("name one by --state FOLDER")),
    }
}

fn restart_strategy(s: &BTreeMap<String, String>) -> Result<RestartStrategy> {
    Ok(match settings::STRATEGY.value(s)? {
        Strategy::Never => RestartStrategy::None,
        Strategy::FixedDelay => RestartStrategy::FixedDelay {
            attempts: settings::FIXED_ATTEMPTS.value(s)?,
            delay: settings::FIXED_DELAY.value(s)?,
        },
        Strategy::FailureRate => RestartStrategy::FailureRate {
            failures: settings::RATE_FAILURES.value(s)?,
            interval: settings::RATE_INTERVAL.value(s)?,
            delay: settings::RATE_DELAY.value(s)?,
        },
        Strategy::ExponentialDelay => {
            let (initial, max) = (settings::INITIAL.value(s)?, settings::LONGEST.value(s)?);
            if initial > max {
                let e = Error::script(format!("the first delay is {initial:?}, and the longest {max:?}"));
                let hint = format!("'{}' is no less than '{}'", settings::LONGEST.key(), settings::INITIAL.key());
                return Err(e.hint(hint));
            }
            RestartStrategy::ExponentialDelay {
                initial,
                max,
                multiplier: settings::MULTIPLIER.value(s)?,
                attempts: settings::ATTEMPTS.value(s)?,
                reset: settings::RESET.value(s)?,
            }
        }
    })
}

/// By what the hints are given, under the names of Flink's autoscaler.
fn scaling(s: &BTreeMap<String, String>) -> Result<AdviceSettings> {
    let (d, target) = (AdviceSettings::default(), settings::TARGET.value(s)?);
    Ok(AdviceSettings {
        target,
        boundary: d.boundary.min(1.0 - target),
        window: settings::WINDOW.value(s)?,
        stabilization: settings::STABILIZATION.value(s)?,
        scale_down_delay: settings::SCALE_DOWN.value(s)?,
        catch_up: settings::CATCH_UP.value(s)?.max(Duration::from_secs(1)),
        cores: weir_core::clock::cores(),
        ..d
    })
}

/// Makes what loads a job's functions: they count into the metrics, and their paths start from the folder.
pub type Loading = dyn Fn(&Metrics, &Path) -> Box<dyn FunctionLoader>;

/// Runs a script anew to its end, as `weir run --fresh` does, with functions that `loading` gives instead of sandboxed ones.
///
/// # Errors
/// What `weir run` would say.
pub fn run_with(script: &Path, state: &Path, loading: &Loading) -> Result<()> {
    crate::memory::settle();
    let script = ScriptArguments { script: Some(script.to_path_buf()), file: None, config: None, set: vec![] };
    let state = Some(state.to_path_buf());
    run(&RunArguments { fresh: true, ..RunArguments::new(script, state) }, loading)
}

/// Runs a job.
pub fn run(a: &RunArguments, loading: &Loading) -> Result<()> {
    run_as(a, loading, false)
}

/// Feeds a stopped job its dead letters, to the last one that there is, and leaves it as it was stopped.
pub fn replay(a: &ReplayArguments, loading: &Loading) -> Result<()> {
    run_as(&RunArguments::new(a.script.clone(), a.state.clone()), loading, true)
}

#[expect(clippy::too_many_lines, reason = "the steps of a run, in their order")]
fn run_as(a: &RunArguments, loading: &Loading, replays: bool) -> Result<()> {
    let source = read(&a.script)?;
    let metrics = Metrics::new()?;
    let loader = loading(&metrics, &source.base);
    let place = |e: Error| match e.place {
        Some(_) => e.context(&source.path),
        None => e,
    };
    let mut compiled =
        weir_sql::compile(&source.text, &source.base, source.settings.clone(), &*loader, REGISTRY).map_err(place)?;
    compiled.answers.iter().filter(|t| !t.is_empty()).for_each(|t| line(weir_core::secrets::shown(t, true)));
    if compiled.inserts.is_empty() {
        if compiled.answers.is_empty() {
            note!("{}: nothing to run: there is no INSERT and no SELECT", source.path);
        }
        return Ok(());
    }
    tell_idle(&compiled);
    let name = job_name(&compiled.settings, source.stem.as_deref())?;
    let assemble = if replays { assemble_replay } else { assemble };
    let mut assembled = assemble(&compiled, &source.base).map_err(place)?;
    let interval = settings::INTERVAL.value(&compiled.settings)?;
    let cache = settings::CACHE.value(&compiled.settings)?;
    let batch_rows = settings::BATCH_ROWS.value(&compiled.settings)?.min(BATCH_ROWS);
    let restart = restart_strategy(&compiled.settings)?;
    let control = Arc::new(Control::default());
    let _ = control.calls.set(weir_udf_host::longest_call);
    catch_signals(&control)?;
    let folder = Folder::open(&state_folder(a.state.as_deref(), &source.base, &name)?)?;
    let (run, fresh) = if replays { resume(&folder, &name)? } else { begin(a, &folder, &name, &assembled)? };
    let store = Arc::new(Store::open(&folder, cache / 8)?);
    if !fresh {
        let mut kept = StoredState::read(&store)?;
        if !replays {
            kept.compare(&assembled, a.allow_state_drop)?;
        }
        let other = go_on(&mut compiled, &assembled, &store, &kept, replays)?;
        if other {
            assembled = assemble(&compiled, &source.base).map_err(place)?;
        }
    }
    assembled.graph.name.clone_from(&name);
    if replays {
        stop_at_end(&mut assembled.graph, &control);
    }
    if store.finished() && replays {
        return Err(ended(&name));
    }
    if store.finished() {
        note!("its last run was cut short when all rows were done: only what is left to deliver is delivered");
    }
    let id = folder.job_id()?;
    let identity = JobIdentity { id: id.clone(), run: run.clone() };
    let advice = scaling(&compiled.settings)?;
    let running = RunningJob::new(&assembled.graph, identity.clone(), &metrics, &control, &store, advice);
    let answering = local::answer(folder.path(), &store, &id, &running)?;
    let listed = registry::enter(&name, folder.path());
    if let Some(address) = &a.listen {
        listen(address, &running, &folder)?;
    }
    let watch = running.watch(a.autoscale)?;
    let saving = savepoints::start(&compiled.settings, &source.base, &store, &name, &id)?;
    let backend: Arc<dyn StateBackend> = store;
    let progress = ProgressDisplay::start(&assembled.graph, &metrics);
    let options = Options {
        epoch_interval: interval.max(Duration::from_millis(1)),
        restart,
        cache_bytes: cache / 2,
        batch_rows,
        job: identity,
        clock: Arc::new(SystemClock),
        // A replay is not all of the job.
        records: if replays { JobMetadata::new() } else { records(&assembled) },
    };
    let result = weir_engine::run(&assembled.graph, &backend, &options, &metrics, &control);
    // For those who still wait for it to do something.
    control.stop();
    running.look();
    drop((answering, saving, listed, watch));
    metrics.job().state_disk.set(backend.disk_bytes() as i64);
    // What failed first is what the user must hear.
    let closed = backend.close();
    let ended = result?;
    closed?;
    drop(backend);
    progress.finish(ended);
    running.hints_at_end().iter().for_each(|h| note!("  hint: {}", sentence(h)));
    if ended {
        // The very last step: a process that is killed before it finds the job complete, not new, when it is run again.
        return folder.note(&name, &run, true);
    }
    tell_skipped_dead_letters(&assembled);
    note!(
        "{}",
        if replays { "all dead letters are read; run the job to go on" } else { "run it again to go on from here" }
    );
    Ok(())
}

/// Says which settings and hints of Flink's mean nothing here.
fn tell_idle(compiled: &Compiled) {
    if !compiled.idle_settings.is_empty() {
        let idle: Vec<&str> = compiled.idle_settings.iter().map(String::as_str).collect();
        tracing::info!("settings of Flink's that mean nothing here: {}", idle.join(", "));
    }
    if !compiled.idle_hints.is_empty() {
        let idle: Vec<&str> = compiled.idle_hints.iter().copied().collect();
        tracing::info!("hints of Flink's that mean nothing here: {}", idle.join(", "));
    }
}

/// Says which dead letters a replay has left alone.
fn tell_skipped_dead_letters(assembled: &Assembled) {
    for (table, statement, n) in assembled.skipped_dead_letters.all() {
        let many = if n == 1 { "a dead letter".to_string() } else { format!("{n} dead letters") };
        note!(
            "skipped in '{table}': {many} of the statement {statement}, which takes none from there in this script: one that was \
             changed is another; replay them with the script as it was"
        );
    }
}

/// Makes one job of the statements by the state that there is. Gives whether that is another one than if it started anew.
fn go_on(
    compiled: &mut Compiled,
    anew: &Assembled,
    store: &Store,
    kept: &StoredState<'_>,
    replays: bool,
) -> Result<bool> {
    let Together { inserts, places, copies, apart } = share(&compiled.statements, &compiled.settings, kept.places())?;
    compiled.inserts = inserts;
    if replays && !copies.is_empty() {
        return Err(Error::state(
            "statements that shared state no longer do: the script is not the one that the job ran with",
        )
        .hint("run the job with it first, or replay with the script as it was"));
    }
    for table in &apart {
        let table = table.rsplit('.').next().unwrap_or(table);
        note!(
            "'{table}' has several readers: the statements that read it are not at one place in it, for some came later; --fresh has \
             them share one"
        );
    }
    copies.iter().try_for_each(|(from, to)| store.copy_operator(from, to))?;
    Ok(places.iter().any(|(name, uid)| anew.places.get(name) != Some(uid)))
}

fn ended(name: &str) -> Error {
    Error::state(format!("the job '{name}' came to its end, and its results are told"))
        .hint("mend the input and run it anew: weir run")
}

/// The run of a stopped job.
fn resume(folder: &Folder, name: &str) -> Result<(String, bool)> {
    match folder.status()? {
        Some(s) if s.job != name => Err(Error::state(format!(
            "{} holds the state of the job '{}', not '{name}'",
            folder.path().display(),
            s.job
        ))),
        Some(s) if s.finished => Err(ended(name)),
        Some(s) => Ok((s.run, false)),
        None => Err(Error::state(format!(
            "the job '{name}' has not run yet: there is no state in {}",
            folder.path().display()
        ))),
    }
}

/// Settles whether the job goes on or starts anew, and says so.
fn begin(a: &RunArguments, folder: &Folder, name: &str, job: &Assembled) -> Result<(String, bool)> {
    let at = folder.path().display();
    let status = if a.fresh { folder.status().unwrap_or(None) } else { folder.status()? };
    if let Some(s) = &status
        && s.job != name
    {
        return Err(Error::state(format!("{at} holds the state of the job '{}', not '{name}'", s.job)));
    }
    let anew = |why: &str| -> Result<(String, bool)> {
        folder.clear()?;
        let run = state::new_run();
        folder.note(name, &run, false)?;
        note!("job '{name}' starts anew{why}; its state is in {at}");
        Ok((run, true))
    };
    if let Some(file) = &a.from {
        if !scale::replayable(&job.graph) {
            return Err(
                Error::script("standard input cannot be read again, so no savepoint helps").hint("leave --from out")
            );
        }
        if let Some(s) = status.as_ref().filter(|s| !s.finished && !a.fresh) {
            return Err(Error::state(format!("{at} holds the state of run {} already, which has not ended", s.run))
                .hint("run it without --from to go on there, or let go of it: --fresh --from …"));
        }
        let (from, mut text) = weir_state::open_savepoint(file, name)?;
        let (keys, run) = state::import(folder, name, &mut *text)?;
        note!("job '{name}' starts from {from}: {keys} keys; its state is in {at}");
        return Ok((run, false));
    }
    match status {
        None => anew(""),
        Some(_) if a.fresh => anew(", as asked"),
        Some(_) if !scale::replayable(&job.graph) => anew(", for standard input cannot be read again"),
        Some(s) if s.finished => anew(", for its last run came to its end"),
        Some(s) => {
            note!("job '{name}' goes on after its last epoch; its state is in {at}");
            Ok((s.run, false))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_that_are_none_are_refused() {
        let of = |key: &str, value: &str| {
            let key = format!("restart-strategy.exponential-delay.{key}");
            restart_strategy(&BTreeMap::from([(key, value.to_string())])).map_err(|e| e.message)
        };
        assert!(of("backoff-multiplier", "1").is_ok());
        for multiplier in ["NaN", "inf", "-1.5", "0.5", "-NaN", "x"] {
            let refused = of("backoff-multiplier", multiplier).expect_err(multiplier);
            assert!(refused.contains("backoff-multiplier"), "{refused}");
        }
        for (key, value) in [("initial-backoff", "0 s"), ("initial-backoff", "2 min"), ("max-backoff", "-1 s")] {
            assert!(of(key, value).is_err(), "{key} {value}");
        }
    }
}
