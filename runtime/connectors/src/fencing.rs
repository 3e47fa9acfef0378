//! Fencing: compares the commit marker in an external system with the state. An epoch that is durable here may or may not have been
//! delivered there. Any other difference means that one side was changed by somebody else, and the job ends rather than guesses.

use std::sync::LazyLock;
use weir_core::graph::{CommitMarker, JobIdentity};
use weir_core::{Error, Result};

/// The commit marker that was found in an external system: its owner, and the last epoch that was delivered.
pub(crate) type FoundMarker = Option<(String, u64)>;

/// The owner in a commit marker: the run, and the process of that run that writes. A process that slept while another one took over finds
/// that process's id there.
pub(crate) fn owner(job: &JobIdentity) -> String {
    static PROCESS: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string()[..16].to_string());
    format!("{} {}", job.run, *PROCESS)
}

/// The run of an owner.
pub(crate) fn run_of(owner: &str) -> &str {
    owner.split(' ').next().unwrap_or(owner)
}

/// How far an external system is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// It has this epoch of this run; 0 if it has none yet.
    UpTo(u64),
    /// It has no marker of this run, as expected when the run begins.
    Nothing,
}

/// Compares the marker that was found with the one in the state. `what` names the system, as in `the topic 'x' at host`.
///
/// # Errors
/// If they do not belong to the same history.
pub(crate) fn reconcile(
    what: &str,
    job: &JobIdentity,
    found: FoundMarker,
    mark: Option<CommitMarker>,
) -> Result<Delivered> {
    match (found.as_ref().map(|(owner, epoch)| (run_of(owner), *epoch)), mark) {
        (Some((run, epoch)), Some(m)) if run == job.run => {
            if epoch == m.epoch.0 || epoch == m.previous.0 {
                return Ok(Delivered::UpTo(epoch));
            }
            let says = format!("it has epoch {epoch}, and the state says {} after {}", m.epoch, m.previous);
            Err(strange(what, &says))
        }
        (Some((run, 0)), None) if run == job.run => Ok(Delivered::UpTo(0)),
        (Some((run, epoch)), None) if run == job.run => {
            Err(strange(what, &format!("it has epoch {epoch}, and the state knows of none")))
        }
        (_, None) => Ok(Delivered::Nothing),
        // The run has begun, and has delivered nothing yet.
        (None, Some(m)) if m.epoch.0 == 0 => Ok(Delivered::Nothing),
        (None, Some(m)) => {
            Err(strange(what, &format!("its mark is gone, and the state says that it was given epoch {}", m.epoch)))
        }
        (Some(_), Some(_)) => Err(another_run(what)),
    }
}

/// Checks that a run may write to an external system that records its last writer, but no epoch. `begun` says whether the run has written
/// there before.
///
/// # Errors
/// If another run has written there since.
pub(crate) fn may_write(what: &str, job: &JobIdentity, found: Option<&str>, begun: bool) -> Result<()> {
    match found {
        Some(other) if begun && run_of(other) != job.run => Err(another_run(what)),
        _ => Ok(()),
    }
}

/// Warns that an external system is written to without a marker, so other writers go unnoticed.
pub(crate) fn unwatched(what: &str, why: &Error) {
    tracing::warn!("nothing will tell whether another run writes to {what} as well: {}", why.message);
}

fn another_run(what: &str) -> Error {
    strange(what, "another run of this job has written to it since")
}

/// The error if the external system and the state belong to different histories.
pub(crate) fn strange(what: &str, why: &str) -> Error {
    Error::state(format!("{what} and the state are not of one history: {why}")).hint(
        "the state is older or newer than what was delivered; take the right one, or start anew with --fresh, which delivers \
         everything again",
    )
}

/// The error of a process that was replaced by another one.
pub(crate) fn replaced(what: &str) -> Error {
    Error::state(format!("another process has taken this job over: it writes to {what} now"))
        .hint("this process has written nothing since; leave the job to the other one")
}

/// The error if another process begins at the same time. The restart reads the marker, which then names the process that came last.
pub(crate) fn contested(what: &str) -> Error {
    Error::io(format!("another process began to write to {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::state::Epoch;

    #[test]
    fn only_one_history_is_taken() {
        let job = JobIdentity { id: "j".to_string(), run: "r".to_string() };
        let mark = Some(CommitMarker { epoch: Epoch(7), previous: Epoch(4) });
        let has = |run: &str, epoch| Some((run.to_string(), epoch));
        let ask = |found, mark| reconcile("it", &job, found, mark).map_err(|e| e.message);
        assert_eq!(ask(has("r", 7), mark), Ok(Delivered::UpTo(7)));
        assert_eq!(ask(has("r", 4), mark), Ok(Delivered::UpTo(4)));
        assert_eq!(ask(Some((owner(&job), 7)), mark), Ok(Delivered::UpTo(7)));
        assert_eq!(ask(has("r", 0), None), Ok(Delivered::UpTo(0)));
        assert_eq!(ask(None, None), Ok(Delivered::Nothing));
        assert_eq!(ask(has("older", 9), None), Ok(Delivered::Nothing));
        let begun = Some(CommitMarker { epoch: Epoch(0), previous: Epoch(0) });
        assert_eq!(ask(has("r", 0), begun), Ok(Delivered::UpTo(0)));
        assert_eq!(ask(None, begun), Ok(Delivered::Nothing));
        assert!(ask(has("x", 0), begun).is_err(), "a newer run has begun");
        for (found, mark) in
            [(has("r", 5), mark), (has("r", 8), mark), (has("r", 3), None), (None, mark), (has("x", 7), mark)]
        {
            assert!(ask(found.clone(), mark).is_err(), "{found:?}");
        }
    }
}
