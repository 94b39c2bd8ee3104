use proofmark_domain::{RunMeta, RunStatus, SampleRecord};

/// Outcome of a sample over every attack and baseline (probes and planted runs do not count).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Correct without attack, and every run attacked it and failed.
    Robust,
    /// Some run broke it.
    Broken,
    /// Misclassified without attack.
    Misclassified,
    /// Not broken, but some run could not finish on it, or its clean scores were not finite.
    Unjudged,
}

/// Whether a run's status leaves open if the sample would have held.
///
/// A stopped run proved nothing; a skipped sample was not attacked.
pub(crate) const fn open(status: RunStatus) -> bool {
    matches!(
        status,
        RunStatus::Invalid | RunStatus::Stopped | RunStatus::Skipped
    )
}

/// Returns the standing of a sample over the runs that `counts` accepts; `sample.runs` is aligned with `runs`.
pub(crate) fn over(
    sample: &SampleRecord,
    runs: &[RunMeta],
    counts: impl Fn(&RunMeta) -> bool,
) -> Standing {
    let mut unjudged = sample.clean_pred.is_none();
    // A randomised model may be right when first queried and wrong when a run queries it; such a sample is not robust.
    let mut wrong = sample.clean_pred.is_some() && !sample.clean_correct;
    for (run, outcome) in runs.iter().zip(&sample.runs) {
        if !run.role.counts() || !counts(run) {
            continue;
        }
        if outcome.status.is_broken() {
            return if sample.clean_pred.is_some() && !sample.clean_correct {
                Standing::Misclassified
            } else {
                Standing::Broken
            };
        }
        unjudged |= open(outcome.status);
        wrong |= outcome.status == RunStatus::Misclassified;
    }
    if wrong {
        Standing::Misclassified
    } else if unjudged {
        Standing::Unjudged
    } else {
        Standing::Robust
    }
}

/// Returns the standing of a sample without attack.
pub(crate) fn clean(sample: &SampleRecord) -> Standing {
    over(sample, &[], |_| true)
}

/// Returns the standing of a sample in the worst case.
pub(crate) fn worst(sample: &SampleRecord, runs: &[RunMeta]) -> Standing {
    over(sample, runs, |_| true)
}
