use proofmark_domain::{
    Observation, Reading, Role, RunMeta, RunStatus, SampleRecord, ThreatRecord,
};

use crate::standing::{self, Standing};

/// What a rule may look at: `samples[i].runs` is aligned with `runs`.
pub(crate) struct Evidence<'a> {
    pub runs: &'a [RunMeta],
    pub samples: &'a [SampleRecord],
    pub classes: usize,
    /// Another reading of the values under which the model is right.
    pub reading: Option<&'a Reading>,
    standings: Vec<Standing>,
}

impl<'a> Evidence<'a> {
    pub(crate) fn new(
        runs: &'a [RunMeta],
        samples: &'a [SampleRecord],
        classes: usize,
        reading: Option<&'a Reading>,
    ) -> Self {
        let standings = samples.iter().map(|s| standing::worst(s, runs)).collect();
        Self {
            runs,
            samples,
            classes,
            reading,
            standings,
        }
    }

    /// Whether any run, probes included, followed gradients.
    pub(crate) fn follows_gradients(&self) -> bool {
        self.runs.iter().any(|r| r.gradient)
    }

    /// Indices of the samples that are right without attack and that nothing broke: the ones a pass rests on.
    pub(crate) fn unbroken(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.samples.len()).filter(|&s| {
            self.samples[s].clean_correct
                && matches!(self.standings[s], Standing::Robust | Standing::Unjudged)
        })
    }

    pub(crate) fn saw(&self, sample: usize, what: Observation) -> bool {
        self.samples[sample].observed.contains(&what)
    }

    pub(crate) fn status(&self, sample: usize, run: usize) -> RunStatus {
        self.samples[sample].runs[run].status
    }

    /// Indices of the runs that were asked for as attacks and follow gradients.
    pub(crate) fn gradient_attacks(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.runs.len()).filter(|&r| self.runs[r].role == Role::Attack && self.runs[r].gradient)
    }

    /// Whether any of these runs broke the sample.
    pub(crate) fn broken_by_any(&self, sample: usize, runs: &[usize]) -> bool {
        runs.iter()
            .any(|&r| self.status(sample, r) == RunStatus::Broken)
    }
}

/// Whether two runs were allowed exactly the same changes, however epsilon was written.
pub(crate) fn same_threat(a: &ThreatRecord, b: &ThreatRecord) -> bool {
    a.norm == b.norm
        && a.eps.to_bits() == b.eps.to_bits()
        && a.budgets == b.budgets
        && a.coupling == b.coupling
}

/// `12 of 64 samples (18.8 %)`.
pub(crate) fn share(part: usize, whole: usize) -> String {
    let percent = if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    };
    format!("{part} of {whole} samples ({percent:.1} %)")
}
