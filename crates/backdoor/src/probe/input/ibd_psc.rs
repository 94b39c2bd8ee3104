//! IBD-PSC: amplify the batch norms of the model and see whether its confidence stays.
//!
//! # Idea
//! Scaling up the last layers of a model ruins its answers to clean inputs. A trigger that the model was trained on
//! stays: the confidence in the original decision is consistent under scaling of the parameters.
//!
//! # Maths
//! `f_k` is the model whose last `k` batch norms have scale and shift multiplied by `factor`. `k_0` is the smallest `k` at
//! which the error of `f_k` on the clean samples exceeds `error`. The score of an input with decision `y` is the mean of
//! `softmax(f_k(x))_y` over `k = k_0..k_0 + models − 1`, as far as there are batch norms. High is suspicious.
//!
//! # Reference
//! Hou et al., "IBD-PSC: Input-level Backdoor Detection via Parameter-oriented Scaling Consistency", ICML 2024; code
//! `IBD_PSC.py` of `BackdoorBox`.
//!
//! # Divergences
//! The authors flag above 0.9; here the threshold is calibrated, or given. Where the error never exceeds `error`, their
//! `prob_start` returns `None` and the run fails; here the probe says so and what the largest error was. The error is
//! that of labels if the clean samples have some, otherwise the share of decisions that change.
//!
//! # Cost
//! One sample-forward of every clean sample it compares with per batch norm, until the error is reached; then `models`
//! per input.
//!
//! # When it fails
//! Models without batch norms, or whose batch norms were folded into the convolutions when they were exported (as most
//! converters for inference do): the probe says so. Triggers that the model is not sure of.
//!
//! # Example
//! ```
//! use proofmark_backdoor::probe::input;
//! let error = input::build("ibd_psc", &"factor = 1.0".parse().unwrap()).unwrap_err().to_string();
//! assert_eq!(error, "probe `ibd_psc`: factor = 1; expected a finite number above 1");
//! ```

use proofmark_domain::Needs;
use proofmark_model::ScoreModel;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ask::{self, Points};
use super::entry::{
    BatchNorms, Given, InputProbe, InputProbeEntry, InputProbeMeta, Scored, Scores, Tail,
};
use super::{ProbeError, read, require, written};

/// Parameters of IBD-PSC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Factor of scale and shift, above 1; default 1.5.
    pub factor: f32,
    /// Error on clean samples, between 0 and 1, that the first amplified model must exceed; default 0.6.
    pub error: f64,
    /// Amplified models, 1 or more; default 5.
    pub models: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            factor: 1.5,
            error: 0.6,
            models: 5,
        }
    }
}

const META: InputProbeMeta = InputProbeMeta {
    id: "ibd_psc",
    version: 1,
    summary: "IBD-PSC: confidence that stays when batch norms are amplified",
    needs: Needs::Scores,
    tail: Tail::High,
    reference: true,
    source: "Hou et al. 2024, arXiv:2405.09786",
};

/// IBD-PSC with checked parameters.
#[derive(Debug, Clone)]
pub struct IbdPsc {
    config: Config,
}

impl Config {
    /// Builds the probe, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<IbdPsc, ProbeError> {
        require(
            self.factor.is_finite() && self.factor > 1.0,
            META.id,
            "factor",
            self.factor,
            "a finite number above 1",
        )?;
        require(
            self.error > 0.0 && self.error < 1.0,
            META.id,
            "error",
            self.error,
            "a number between 0 and 1",
        )?;
        require(
            (1..=100).contains(&self.models),
            META.id,
            "models",
            self.models,
            "1 to 100",
        )?;
        Ok(IbdPsc { config: self })
    }
}

/// Returns the share of points whose decision is not the expected one; a point without decision is an error.
fn error(model: &dyn ScoreModel, points: &Points, expected: &[usize]) -> Result<f64, ProbeError> {
    let decided = ask::decisions(model, points)?;
    let wrong = decided
        .iter()
        .zip(expected)
        .filter(|(d, e)| **d != Some(**e))
        .count();
    Ok(wrong as f64 / expected.len() as f64)
}

/// Where the amplification starts: the number of batch norms and the model, or the largest error seen.
type Start = Result<(usize, Box<dyn ScoreModel>), f64>;

impl IbdPsc {
    fn start(
        &self,
        norms: &dyn BatchNorms,
        points: &Points,
        expected: &[usize],
    ) -> Result<Start, ProbeError> {
        let mut largest = 0.0_f64;
        for k in 1..=norms.count() {
            let model = norms.amplified(k, self.config.factor)?;
            let error = error(model.as_ref(), points, expected)?;
            if error > self.config.error {
                return Ok(Ok((k, model)));
            }
            largest = largest.max(error);
        }
        Ok(Err(largest))
    }
}

impl InputProbe for IbdPsc {
    fn meta(&self) -> &'static InputProbeMeta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.config)
    }

    fn scores(&self, given: &Given<'_>) -> Result<Scored, ProbeError> {
        let norms = match given.subject.norms {
            Ok(norms) if norms.count() > 0 => norms,
            Ok(_) => {
                return Ok(Scored::Unfit(
                    "the model has no batch norms, or they were folded into other layers when it was exported".to_owned(),
                ));
            }
            Err(why) => return Ok(Scored::Unfit(why.to_owned())),
        };
        let points = Points::of(given.reference);
        let own = given.subject.access.scores(META.id)?;
        let expected: Vec<usize> = if given.labelled {
            given.reference.labels.clone()
        } else {
            // A clean sample without decision agrees with no class.
            let decided = ask::decisions(own, &points)?;
            decided.iter().map(|d| d.unwrap_or(usize::MAX)).collect()
        };
        let (first, model) = match self.start(norms, &points, &expected)? {
            Ok(start) => start,
            Err(largest) => {
                return Ok(Scored::Unfit(format!(
                    "with all {} batch norms amplified by {}, the error on clean samples is at most {largest:.3} and never exceeds {}: raise factor or lower error",
                    norms.count(),
                    self.config.factor,
                    self.config.error
                )));
            }
        };
        let last = (first + self.config.models as usize - 1).min(norms.count());
        let used = last - first + 1;
        let classes = own.signature().classes;
        let mut sums = vec![0.0_f64; given.n()];
        let mut next = Some(model);
        for (i, k) in (first..=last).enumerate() {
            let model = match next.take() {
                Some(model) => model,
                None => norms.amplified(k, self.config.factor)?,
            };
            let answers = ask::probabilities(model.as_ref(), given.points)?;
            for ((sum, answer), class) in sums
                .iter_mut()
                .zip(answers.chunks(classes))
                .zip(given.decided)
            {
                *sum += class.map_or(f64::NAN, |c| answer[c]);
            }
            given.done((i + 1) * given.n() / used)?;
        }
        Ok(Scored::Each(Scores {
            each: sums.into_iter().map(|s| s / used as f64).collect(),
            extreme: Some(1.0),
            notes: vec![format!(
                "{used} models, with the last {first} to {last} of {} batch norms amplified by {}",
                norms.count(),
                self.config.factor
            )],
        }))
    }
}

/// Registry entry of IBD-PSC.
pub const ENTRY: InputProbeEntry = InputProbeEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
