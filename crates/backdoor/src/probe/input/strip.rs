//! STRIP: superimpose clean samples on an input and see whether the decision survives.
//!
//! # Idea
//! A clean input that is mixed with other samples is taken for many classes. A trigger that is stronger than what it is
//! mixed with keeps the decision: the entropy of the answers is low.
//!
//! # Maths
//! With clean samples `z_1..z_N` and `m = clip(x + w (z_i − low))` inside the bounds (`low` is the lower bound for images
//! and tables, and 0 for audio), the score is the mean over `i` of `H_i = −Σ_k p_k ln p_k`, `p` the softmax of the scores
//! at `m`: the entropy over the **classes** of one answer, in nats, 0 to ln(classes). Low is suspicious. The `z_i` are
//! drawn from the clean samples that were set aside, by the key of the input.
//!
//! # Reference
//! Gao et al., "STRIP: A Defence Against Trojan Attacks on Deep Neural Networks", ACSAC 2019.
//!
//! # Divergences
//! The authors add with weight 1 and let values leave the bounds; here the sum is clipped, because inputs outside are
//! none that the model is used on. Their threshold is a percentile of a normal fitted to clean entropies; here it is
//! conformal. The implementation of the Adversarial Robustness Toolbox takes the entropy over the samples instead of the
//! classes, which is high for a backdoor, and flags low ones.
//!
//! # Cost
//! `overlays` sample-forwards per input, and as many per clean sample behind the p-values.
//!
//! # When it fails
//! Triggers that cover the whole input or are added faintly (Blended, SIG, `WaNet`) do not survive the superposition.
//! Backdoors that need a certain class of the clean input (source-specific) keep their entropy. A model that is sure of
//! itself everywhere leaves little entropy to compare.
//!
//! # Example
//! ```
//! use proofmark_backdoor::probe::input;
//! let probe = input::build("strip", &"weight = 0.5".parse().unwrap()).unwrap();
//! assert_eq!(probe.meta().id, "strip");
//! ```

use proofmark_domain::{Kind, Needs};
use proofmark_engine::Samples;
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ask::{self, Points};
use super::entry::{Given, InputProbe, InputProbeEntry, InputProbeMeta, Scored, Scores, Tail};
use super::{ProbeError, read, require, written};

/// Parameters of STRIP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Superpositions per input, 1 or more; default 64.
    pub overlays: u32,
    /// Weight of the clean sample that is added, above 0; default 0.5.
    pub weight: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            overlays: 64,
            weight: 0.5,
        }
    }
}

const META: InputProbeMeta = InputProbeMeta {
    id: "strip",
    version: 1,
    summary: "STRIP: entropy of the answers to superpositions with clean samples",
    needs: Needs::Scores,
    tail: Tail::Low,
    reference: true,
    source: "Gao et al. 2019, arXiv:1902.06531",
};

/// STRIP with checked parameters.
#[derive(Debug, Clone)]
pub struct Strip {
    config: Config,
}

impl Config {
    /// Builds the probe, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Strip, ProbeError> {
        require(
            (1..=4096).contains(&self.overlays),
            META.id,
            "overlays",
            self.overlays,
            "1 to 4096",
        )?;
        require(
            self.weight.is_finite() && self.weight > 0.0,
            META.id,
            "weight",
            self.weight,
            "a finite number above 0",
        )?;
        Ok(Strip { config: self })
    }
}

/// Returns the entropy of a distribution over classes in nats; NaN if it is none.
pub fn entropy(probabilities: &[f64]) -> f64 {
    let mut sum = 0.0;
    for &p in probabilities {
        if !p.is_finite() {
            return f64::NAN;
        }
        if p > 0.0 {
            sum -= p * p.ln();
        }
    }
    sum
}

impl Strip {
    /// Returns the superpositions of point `at` with clean samples.
    fn superposed(&self, reference: &Samples, points: &Points, at: usize, seed: u64) -> Points {
        let key = points.keys[at];
        let mut stream = Stream::new(&StreamKey {
            attack: attack_code(META.id),
            ..StreamKey::new(proofmark_domain::Seed(seed), key, Purpose::Transform)
        });
        let n = self.config.overlays as usize;
        let drawn: Vec<usize> = (0..n)
            .map(|_| stream.below(reference.len() as u32) as usize)
            .collect();
        let values = reference
            .modalities
            .iter()
            .enumerate()
            .map(|(block, m)| {
                let f = m.features();
                let own = &points.values[block][at * f..(at + 1) * f];
                let zero = |j: usize| match m.kind {
                    Kind::Audio => 0.0,
                    Kind::Image | Kind::Table => m.bounds.low(j),
                };
                let mix = |z: usize| {
                    let other = &reference.values[block][z * f..(z + 1) * f];
                    own.iter().zip(other).enumerate().map(move |(j, (x, z))| {
                        let sum = x + self.config.weight * (z - zero(j));
                        sum.clamp(m.bounds.low(j), m.bounds.high(j))
                    })
                };
                drawn.iter().flat_map(|z| mix(*z)).collect()
            })
            .collect();
        Points {
            values,
            keys: vec![key; n],
        }
    }
}

impl InputProbe for Strip {
    fn meta(&self) -> &'static InputProbeMeta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.config)
    }

    fn scores(&self, given: &Given<'_>) -> Result<Scored, ProbeError> {
        let model = given.subject.access.scores(META.id)?;
        let classes = model.signature().classes;
        let mut each = Vec::with_capacity(given.n());
        for at in 0..given.n() {
            let mixed = self.superposed(given.reference, given.points, at, given.seed.0);
            let answers = ask::probabilities(model, &mixed)?;
            let entropies = answers.chunks(classes).map(entropy);
            each.push(entropies.sum::<f64>() / f64::from(self.config.overlays));
            given.done(at + 1)?;
        }
        Ok(Scored::Each(Scores {
            each,
            extreme: Some(0.0),
            notes: Vec::new(),
        }))
    }
}

/// Registry entry of STRIP.
pub const ENTRY: InputProbeEntry = InputProbeEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten classes: an answer that is sure at 0.9537 has entropy 0.289, an even one ln 10.
    #[test]
    fn entropies_are_over_the_classes_of_one_answer() {
        let sure = |class: usize| -> Vec<f64> {
            (0..10)
                .map(|k| if k == class { 0.91 } else { 0.01 })
                .collect()
        };
        assert!((entropy(&sure(3)) - (-0.91 * 0.91_f64.ln() - 0.09 * 0.01_f64.ln())).abs() < 1e-6);
        assert!((entropy(&[0.1; 10]) - 10.0_f64.ln()).abs() < 1e-6);
        assert_eq!(entropy(&[1.0, 0.0]), 0.0);
        assert!(entropy(&[f64::NAN, 0.0]).is_nan());
        // A backdoor: ten answers, all of class 3. Over the classes its entropy is low, over the samples as high as can be.
        let backdoor: Vec<Vec<f64>> = (0..10).map(|_| sure(3)).collect();
        // A clean input: ten answers, all of other classes.
        let clean: Vec<Vec<f64>> = (0..10)
            .map(|i| vec![0.05 + 0.01 * f64::from(i); 10])
            .collect();
        let over_classes = |rows: &[Vec<f64>]| {
            let sums = rows.iter().map(|r| {
                let total: f64 = r.iter().sum();
                entropy(&r.iter().map(|p| p / total).collect::<Vec<_>>())
            });
            sums.sum::<f64>() / rows.len() as f64
        };
        let over_samples = |rows: &[Vec<f64>]| {
            let column = |k: usize| {
                let total: f64 = rows.iter().map(|r| r[k]).sum();
                entropy(&rows.iter().map(|r| r[k] / total).collect::<Vec<_>>())
            };
            (0..10).map(column).sum::<f64>() / 10.0
        };
        assert!(over_classes(&backdoor) < 0.51 && over_classes(&clean) > 2.3);
        assert!(over_samples(&backdoor) > over_samples(&clean));
    }

    #[test]
    fn superpositions_are_clipped_and_depend_on_the_key_alone() {
        use proofmark_domain::{Bounds, Modality};
        let modalities = vec![Modality {
            name: "image".into(),
            kind: Kind::Image,
            shape: vec![1, 1, 2],
            bounds: Bounds::uniform(-1.0, 1.0).unwrap(),
        }];
        let reference = Samples {
            modalities: modalities.into(),
            values: vec![vec![1.0, -1.0]],
            labels: vec![0],
            targets: None,
            keys: vec![0],
        };
        let strip = Config {
            overlays: 3,
            weight: 0.5,
        }
        .build()
        .unwrap();
        let points = Points {
            values: vec![vec![0.5, 0.25, -1.0, 0.0]],
            keys: vec![4, 5],
        };
        // x + 0.5 (z + 1): the first feature gains 1 and is clipped, the second gains 0.
        let mixed = strip.superposed(&reference, &points, 0, 1);
        assert_eq!(mixed.values[0], [1.0, 0.25].repeat(3));
        let mixed = strip.superposed(&reference, &points, 1, 1);
        assert_eq!(mixed.values[0], [0.0, 0.0].repeat(3));
        assert_eq!(mixed.keys, [5; 3]);
    }

    #[test]
    fn parameters_out_of_range_are_refused_by_name() {
        for (table, field) in [
            ("overlays = 0", "overlays"),
            ("weight = 0.0", "weight"),
            ("weight = nan", "weight"),
            ("wieght = 1.0", "weight"),
            ("overlays = \"many\"", "overlays"),
        ] {
            let error = (ENTRY.build)(&table.parse().unwrap()).unwrap_err();
            assert!(error.to_string().contains(field), "{table}: {error}");
        }
    }
}
