//! Early and late results of windows, as requested by the settings `table.exec.emit.*`, which are Flink's.

use crate::fingerprint;
use crate::logical::{Insert, Plan, Rewritten};
use crate::settings::{ALLOW_LATENESS, EARLY_DELAY, EARLY_FIRE, LATE_DELAY, LATE_FIRE, Mode, TTL};
use std::collections::BTreeMap;
use std::time::Duration;
use weir_core::emit::Emit;
use weir_core::keyed::TimeDomain;
use weir_core::option_spec::Opt;
use weir_core::{Error, Result};

/// The interval between results in milliseconds, if the setting enables them.
fn delay(enabled: &Opt<bool>, delay: &Opt<Duration>, settings: &BTreeMap<String, String>) -> Result<Option<i64>> {
    if !enabled.value(settings)? {
        return Ok(None);
    }
    let given = delay.given(settings)?.ok_or_else(|| {
        let e = Error::script(format!("'{}' is set, and '{}' is not", enabled.key(), delay.key()));
        e.hint(format!("SET '{}' = '10 s' gives results every ten seconds, '0 s' with each row", delay.key()))
    })?;
    Ok(Some(i64::try_from(given.as_millis()).unwrap_or(i64::MAX)))
}

/// The emit strategy of the settings, or none if each result is emitted once.
fn of_settings(settings: &BTreeMap<String, String>) -> Result<Option<Emit>> {
    let early = delay(&EARLY_FIRE, &EARLY_DELAY, settings)?;
    let late = delay(&LATE_FIRE, &LATE_DELAY, settings)?;
    let lateness = match (late, ALLOW_LATENESS.given(settings)?) {
        (None, _) => Duration::ZERO,
        (Some(_), Some(given)) => given,
        (Some(_), None) => TTL.value(settings)?,
    };
    let lateness = i64::try_from(lateness.as_millis()).unwrap_or(i64::MAX);
    if late.is_some() && lateness == 0 {
        let e = Error::script(format!("'{}' is set, and windows take no late rows", LATE_FIRE.key()));
        return Err(e.hint(format!("say how late rows may be: SET '{}' = '1 h'", ALLOW_LATENESS.key())));
    }
    if late.is_some_and(|late| late > lateness) {
        let e = Error::script(format!("'{}' is longer than '{}'", LATE_DELAY.key(), ALLOW_LATENESS.key()));
        return Err(e.hint("a window would be gone before its late results are due"));
    }
    Ok((early.is_some() || late.is_some()).then_some(Emit { early, late, lateness }))
}

/// Makes the windows of statements emit early and late results, if the settings of the whole script request it. It has no effect in batch
/// mode. Such a statement gets another fingerprint than one whose windows emit each result once.
///
/// # Errors
/// If the settings contradict each other, or a statement has sessions.
pub fn emit_early_and_late(inserts: &mut [Insert], settings: &BTreeMap<String, String>, mode: Mode) -> Result<()> {
    let Some(emit) = of_settings(settings)?.filter(|_| mode != Mode::Batch) else { return Ok(()) };
    for insert in inserts {
        if insert.plan.any(|p| matches!(p, Plan::Aggregate { window: Some(w), .. } if w.sessions)) {
            let table = insert.table.name.rsplit('.').next().unwrap_or(&insert.table.name);
            let e = Error::script(format!("sessions give no early or late results: those that go into '{table}'"));
            let settings = format!("'{}' and '{}'", EARLY_FIRE.key(), LATE_FIRE.key());
            return Err(e.hint(format!("leave {settings} out; TUMBLE, HOP and CUMULATE heed them")));
        }
        let (mut changed, plan) = (false, std::mem::replace(&mut insert.plan, Plan::nothing()));
        insert.plan = emitting(plan, &mut Rewritten::default(), emit, &mut changed);
        if changed {
            insert.fingerprint = fingerprint::emitting(insert.fingerprint);
        }
    }
    Ok(())
}

fn emitting(plan: Plan, done: &mut Rewritten, emit: Emit, changed: &mut bool) -> Plan {
    let mut plan = plan.map_inputs(done, &mut |plan, done| emitting(plan, done, emit, changed));
    if let Plan::Aggregate { window: Some(window), .. } = &mut plan {
        window.emit = match window.domain {
            TimeDomain::Event => Some(emit),
            // No row is late in processing time.
            TimeDomain::Processing => emit.early.map(|early| Emit { early: Some(early), late: None, lateness: 0 }),
        };
        *changed |= window.emit.is_some();
    }
    plan
}
