use proofmark_domain::{Grid, Modality, Seed};
use proofmark_engine::Samples;
use proofmark_model::{Numbers, WhiteBox};

use super::ProbeError;

/// Follows the work of probes.
pub trait Watch: Sync {
    /// Called between steps: `done` of `all` steps of the probe that is at work.
    fn step(&self, done: usize, all: usize);
    /// Whether to stop. What is finished is kept.
    fn stop(&self) -> bool;
}

/// Watches nothing and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Watch for Silent {
    fn step(&self, _: usize, _: usize) {}

    fn stop(&self) -> bool {
        false
    }
}

/// A model to probe, and what probes may use.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The model, with one input.
    pub model: &'a dyn WhiteBox,
    /// Clean samples with their labels; none if there are none.
    pub clean: Option<&'a Samples>,
    /// Seed of every random number.
    pub seed: Seed,
    /// Layer that probes of features read, by name; `None` lets them choose.
    pub layer: Option<&'a str>,
    /// Points in one request, at least 1. It changes speed and memory, never a result.
    pub batch: usize,
    /// Follows the run.
    pub watch: &'a dyn Watch,
}

impl std::fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject")
            .field("model", &self.model.signature().name)
            .field("clean", &self.clean.map(Samples::len))
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl<'a> Subject<'a> {
    /// Points in one request where nothing else is said.
    pub const BATCH: usize = 256;

    /// A subject without samples.
    pub fn new(model: &'a dyn WhiteBox) -> Self {
        Self {
            model,
            clean: None,
            seed: Seed(0),
            layer: None,
            batch: Self::BATCH,
            watch: &Silent,
        }
    }

    /// Refuses models on which no probe is defined: several inputs, an input of whole numbers, a single output.
    pub fn check(&self) -> Result<(), ProbeError> {
        let signature = self.model.signature();
        let problem = match (&signature.modalities[..], &signature.numbers[..]) {
            ([_], [Numbers::Real]) if signature.classes >= 2 => None,
            ([_], [Numbers::Real]) => Some(format!(
                "it has {} output; expected a score for each of 2 classes or more",
                signature.classes
            )),
            ([one], _) => Some(format!(
                "its input `{}` takes whole numbers; expected real numbers",
                one.name
            )),
            (several, _) => Some(format!(
                "it has {} inputs; expected one (fix the others, as in --fix sr=16000)",
                several.len()
            )),
        };
        if let Some(problem) = problem {
            return Err(ProbeError::Setting(format!(
                "model `{}` cannot be probed: {problem}",
                signature.name
            )));
        }
        let input = self.input();
        let flat = (0..input.features()).find(|f| !self.is_proper(*f));
        if let Some(f) = flat {
            return Err(ProbeError::Setting(format!(
                "input `{}`: bounds {},{} of feature {f}; expected two finite numbers, the first below the second",
                input.name,
                input.bounds.low(f),
                input.bounds.high(f)
            )));
        }
        Ok(())
    }

    fn is_proper(&self, f: usize) -> bool {
        let (low, high) = (self.input().bounds.low(f), self.input().bounds.high(f));
        low.is_finite() && high.is_finite() && low < high
    }

    /// Returns the only input.
    pub fn input(&self) -> &'a Modality {
        &self.model.signature().modalities[0]
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.model.signature().classes
    }

    /// Returns the values of a feature as a share of its bounds is mapped to data units.
    pub(super) fn at(&self, feature: usize, share: f32) -> f32 {
        let bounds = &self.input().bounds;
        let (low, high) = (bounds.low(feature), bounds.high(feature));
        (low + share * (high - low)).clamp(low, high)
    }

    /// Returns the width of a feature's bounds.
    pub(super) fn width(&self, feature: usize) -> f32 {
        let bounds = &self.input().bounds;
        bounds.high(feature) - bounds.low(feature)
    }

    /// Returns how positions of a mask lie: channels that share a position, rows and columns.
    pub(super) fn grid(&self) -> Positions {
        let input = self.input();
        match Grid::of(input) {
            Some(grid) => Positions {
                of: (0..input.features())
                    .map(|f| match grid.pixel_step {
                        1 => f % grid.pixels(),
                        step => f / step,
                    })
                    .collect(),
                rows: grid.height,
                columns: grid.width,
            },
            None => Positions {
                of: (0..input.features()).collect(),
                rows: 1,
                columns: input.features(),
            },
        }
    }

    /// Returns the clean samples, or why a probe that needs `least` of two classes or more cannot have them.
    pub(super) fn samples(&self, probe: &str, least: usize) -> Result<&'a Samples, ProbeError> {
        let unfit = |text: String| ProbeError::Unfit(format!("{probe} needs {text}"));
        let Some(clean) = self.clean else {
            return Err(unfit(format!(
                "{least} clean samples; there are none (--data)"
            )));
        };
        if clean.labels.is_empty() && !clean.keys.is_empty() {
            return Err(unfit("labels of the clean samples".to_owned()));
        }
        if clean.len() < least {
            return Err(unfit(format!(
                "{least} clean samples; there are {}",
                clean.len()
            )));
        }
        if clean.labels.iter().all(|l| *l == clean.labels[0]) {
            return Err(unfit(format!(
                "clean samples of 2 classes or more; all have class {}",
                clean.labels[0]
            )));
        }
        Ok(clean)
    }
}

/// How the positions of a mask lie.
#[derive(Debug, Clone)]
pub(super) struct Positions {
    /// Position of each feature, row by row.
    pub(super) of: Vec<usize>,
    /// Rows of positions; 1 if the input is no image.
    pub(super) rows: usize,
    /// Columns.
    pub(super) columns: usize,
}

impl Positions {
    /// Returns the number of positions.
    pub(super) const fn len(&self) -> usize {
        self.rows * self.columns
    }
}
