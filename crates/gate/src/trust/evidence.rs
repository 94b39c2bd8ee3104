use proofmark_domain::{
    Observation, Reading, Role, RunMeta, RunOutcome, RunStatus, SampleRecord, ThreatRecord,
};

use crate::proportion::lower;
use crate::standing::{self, Standing};

/// The runs and samples that a figure rests on; trust rules look only at these.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// Every run on every sample.
    All,
    /// One attack, by id, on every sample, with all baselines and probes.
    Attack(&'a str),
    /// One run, by key, on every sample, with all baselines and probes.
    Run(&'a str),
    /// Every run on the samples of one class.
    Class(usize),
}

impl Scope<'_> {
    fn takes_run(&self, run: &RunMeta) -> bool {
        match self {
            Self::All | Self::Class(_) => true,
            Self::Attack(id) => run.role != Role::Attack || run.id == *id,
            Self::Run(key) => run.role != Role::Attack || run.key == *key,
        }
    }

    fn takes_sample(&self, sample: &SampleRecord) -> bool {
        match self {
            Self::Class(label) => sample.label == *label,
            Self::All | Self::Attack(_) | Self::Run(_) => true,
        }
    }
}

/// Input of the trust rules.
pub(crate) struct TrustInput<'a> {
    pub runs: Vec<&'a RunMeta>,
    pub samples: Vec<&'a SampleRecord>,
    pub classes: usize,
    /// Another reading of the values on which the model is accurate.
    pub reading: Option<&'a Reading>,
    /// Index of each run's outcome in `SampleRecord::runs`.
    columns: Vec<usize>,
    standings: Vec<Standing>,
}

impl<'a> TrustInput<'a> {
    /// Selects the runs and samples in scope; `samples[i].runs` must be aligned with `runs`.
    pub(crate) fn new(
        runs: &'a [RunMeta],
        samples: &'a [SampleRecord],
        classes: usize,
        reading: Option<&'a Reading>,
        scope: &Scope<'_>,
    ) -> Self {
        let columns: Vec<usize> = (0..runs.len())
            .filter(|r| scope.takes_run(&runs[*r]))
            .collect();
        let samples: Vec<_> = samples.iter().filter(|s| scope.takes_sample(s)).collect();
        let standings = samples
            .iter()
            .map(|s| standing::over(s, runs, |r| scope.takes_run(r)))
            .collect();
        Self {
            runs: columns.iter().map(|r| &runs[*r]).collect(),
            samples,
            classes,
            reading,
            columns,
            standings,
        }
    }

    /// Whether any run, probes included, uses gradients.
    pub(crate) fn follows_gradients(&self) -> bool {
        self.runs.iter().any(|r| r.gradient)
    }

    /// Returns the indices of the samples that are correct without attack and not broken: those that a pass rests on.
    pub(crate) fn unbroken(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.samples.len()).filter(|&s| {
            self.samples[s].clean_correct
                && !self.samples[s].is_of_target()
                && matches!(self.standings[s], Standing::Robust | Standing::Unjudged)
        })
    }

    /// Whether one change for all samples was fitted in a run: it may miss what a change of a sample's own finds.
    pub(crate) fn is_universal(&self, run: usize) -> bool {
        (0..self.samples.len()).any(|s| self.run_saw(s, run, Observation::Fitted))
    }

    /// Whether `what` was observed on the sample, without attack or in any run.
    pub(crate) fn saw(&self, sample: usize, what: Observation) -> bool {
        self.samples[sample].observed.contains(&what)
            || (0..self.runs.len()).any(|r| self.run_saw(sample, r, what))
    }

    /// Whether `what` was observed on the sample in one run.
    pub(crate) fn run_saw(&self, sample: usize, run: usize, what: Observation) -> bool {
        self.outcome(sample, run).observed.contains(&what)
    }

    pub(crate) fn status(&self, sample: usize, run: usize) -> RunStatus {
        self.outcome(sample, run).status
    }

    /// Returns the queries of the model, forwards, that one run spent on the sample.
    pub(crate) fn forwards(&self, sample: usize, run: usize) -> u64 {
        self.outcome(sample, run).forward
    }

    fn outcome(&self, sample: usize, run: usize) -> &'a RunOutcome {
        &self.samples[sample].runs[self.columns[run]]
    }

    /// Returns the indices of the runs that were requested as attacks and use gradients.
    pub(crate) fn gradient_attacks(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.runs.len()).filter(|&r| self.runs[r].role == Role::Attack && self.runs[r].gradient)
    }

    /// Whether any of these runs broke the sample.
    pub(crate) fn broken_by_any(&self, sample: usize, runs: &[usize]) -> bool {
        runs.iter().any(|&r| self.status(sample, r).is_broken())
    }
}

impl TrustInput<'_> {
    /// Returns the indices of the samples on which the attack itself was tested: those of the unbounded probe.
    pub(crate) fn probed(&self) -> impl Iterator<Item = usize> + '_ {
        let probes: Vec<usize> = (0..self.runs.len())
            .filter(|&r| self.runs[r].role == Role::Probe)
            .collect();
        let unattacked = [RunStatus::Skipped, RunStatus::Misclassified];
        (0..self.samples.len()).filter(move |&s| {
            probes
                .iter()
                .any(|&p| !unattacked.contains(&self.status(s, p)))
        })
    }

    /// Counts the probed samples, and those among them on which `what` was observed without attack.
    pub(crate) fn probed_with(&self, what: Observation) -> (usize, usize) {
        let seen = |s: &usize| self.samples[*s].observed.contains(&what);
        (self.probed().filter(seen).count(), self.probed().count())
    }

    /// Whether a run is a suite, whose members are runs of their own.
    pub(crate) fn is_suite(&self, run: usize) -> bool {
        let prefix = format!("{}/", self.runs[run].id);
        self.runs.iter().any(|r| r.key.starts_with(&prefix))
    }

    /// Whether the same sample gave different outputs anywhere.
    pub(crate) fn is_random(&self) -> bool {
        (0..self.samples.len()).any(|s| self.saw(s, Observation::OutputChanged))
    }

    /// Whether an adversarial of a run's gradient path was none on the plain path of a model that repeats its answers.
    pub(crate) fn failed_to_transfer(&self, sample: usize) -> bool {
        let rejected = |r: usize| self.run_saw(sample, r, Observation::WitnessRejected);
        let any = (0..self.runs.len()).any(|r| self.runs[r].gradient && rejected(r));
        any && !self.is_random()
    }
}

/// Share of the samples that a rule about single samples tolerates.
pub(crate) const TOLERATED: f64 = 0.1;

/// Whether more samples than [`TOLERATED`] are affected: the lower end of the share's 95 % interval is above it.
pub(crate) fn is_common(part: usize, whole: usize) -> bool {
    lower(part as u64, whole as u64, 0.95) > TOLERATED
}

/// Whether two runs had exactly the same threat, however epsilon was written.
pub(crate) fn same_threat(a: &ThreatRecord, b: &ThreatRecord) -> bool {
    a.norm == b.norm
        && a.eps.to_bits() == b.eps.to_bits()
        && a.budgets == b.budgets
        && a.coupling == b.coupling
}

/// Formats a share, such as `12 of 64 samples (18.8 %)`.
pub(crate) fn share(part: usize, whole: usize) -> String {
    let percent = if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    };
    format!("{part} of {whole} samples ({percent:.1} %)")
}
