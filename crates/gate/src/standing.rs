use proofmark_domain::{Role, RunMeta, RunStatus, SampleRecord};

/// What a sample is after every attack and baseline (probes do not count).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Right without attack, and every run attacked it and failed.
    Robust,
    /// Some run broke it.
    Broken,
    /// Wrong without attack.
    Misclassified,
    /// Nothing broke it, but some run could not finish on it, or its clean scores were not finite.
    Unjudged,
}

/// Whether a run leaves it open if the sample would have held.
///
/// A stopped run proved nothing; a skipped sample was not even tried.
pub(crate) const fn open(status: RunStatus) -> bool {
    matches!(
        status,
        RunStatus::Invalid | RunStatus::Stopped | RunStatus::Skipped
    )
}

/// The standing of a sample over the runs `counts` lets through; `sample.runs` is aligned with `runs`.
pub(crate) fn over(
    sample: &SampleRecord,
    runs: &[RunMeta],
    counts: impl Fn(&RunMeta) -> bool,
) -> Standing {
    let mut unjudged = sample.clean_pred.is_none();
    // A random model may be right when first asked and wrong when the run asks: that is not a robust sample.
    let mut wrong = sample.clean_pred.is_some() && !sample.clean_correct;
    for (run, outcome) in runs.iter().zip(&sample.runs) {
        if run.role == Role::Probe || !counts(run) {
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

/// The standing of a sample without attack.
pub(crate) fn clean(sample: &SampleRecord) -> Standing {
    over(sample, &[], |_| true)
}

/// The standing of a sample in the worst case.
pub(crate) fn worst(sample: &SampleRecord, runs: &[RunMeta]) -> Standing {
    over(sample, runs, |_| true)
}
