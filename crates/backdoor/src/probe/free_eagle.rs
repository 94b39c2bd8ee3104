//! `FreeEagle`: which classes activations made for other classes lean to.
//!
//! # Idea
//! Behind some layer, activations that are best for class `s` say how else the head reads them. In a clean model the other
//! classes share what is left; a backdoor makes many classes, or one, lean to the target.
//!
//! # Maths
//! At a layer through which alone the input reaches the scores, activations stay in the range that points without data
//! reach. For each class `s`, Adam climbs `log softmax(z)_s - decay mean(u^2)` over them, from the middle of the range
//! (`u`: the distance from there in half ranges). With `z` the scores at the end,
//!
//! `M_st = (z_t - mean_{i != s} z_i) / std_{i != s} z_i`, `V_t = mean_{s != t} M_st`.
//!
//! The statistic is `V_(1) - V_(2)`, the distance between the largest two; the class is that of the largest. Values per
//! class are `V`. The largest single entry of `M` and its source class are figures: a trigger of one source class shows
//! there.
//!
//! # Reference
//! Fu et al., "`FreeEagle`: Detecting Complex Neural Trojans in Data-Free Cases", USENIX Security 2023.
//!
//! # Divergences
//! The authors use probabilities; rows of logits, standardised, do not depend on their scale and do not saturate. Their
//! limits (activations of 0 or more) are those of one kind of layer. Their metric `(max - Q3) / IQR > 2` flags 4 to 92 %
//! of clean models, depending on the distribution; it is a figure, and the statistic is compared with clean models.
//!
//! # Cost
//! `classes * steps` forwards and backwards of the part behind the layer, and 64 forwards of the part before it.
//!
//! # When it fails
//! A model that does not show such a layer, or whose layer is linear in the scores, where the matrix is that of the last
//! weights.
//!
//! # Example
//! ```
//! use proofmark_backdoor::probe::free_eagle::Config;
//! assert_eq!(Config::default().steps, 100);
//! ```

use std::collections::BTreeMap;

use burn::tensor::activation::log_softmax;
use proofmark_engine::Focus;
use serde::{Deserialize, Serialize};

use super::climb::Climbed;
use super::config;
use super::layer::Layer;
use super::{Entry, Found, Meta, Probe, ProbeError, Subject};

const ID: &str = "free_eagle";

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Steps, 1 or more; 100 by default.
    pub steps: u32,
    /// Learning rate on the logits of the places in the range, above 0; 0.1 by default.
    pub rate: f64,
    /// Weight of the distance from the middle of the range, at least 0; 0.5 by default.
    pub decay: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 100,
            rate: 0.1,
            decay: 0.5,
        }
    }
}

/// The probe with checked settings.
#[derive(Debug, Clone)]
struct FreeEagle(Config);

fn build(table: &toml::Table) -> Result<Box<dyn Probe>, ProbeError> {
    let c: Config = config::read(ID, table)?;
    config::at_least_one(ID, "steps", c.steps as usize)?;
    config::positive(ID, "rate", c.rate)?;
    config::not_negative(ID, "decay", c.decay)?;
    Ok(Box::new(FreeEagle(c)))
}

/// Registration.
pub const ENTRY: Entry = Entry {
    meta: Meta {
        id: ID,
        about: "class that activations made for other classes lean to",
        reference: "Fu et al. 2023",
        samples: 0,
    },
    build,
};

impl Probe for FreeEagle {
    fn run(&self, subject: &Subject<'_>) -> Result<Found, ProbeError> {
        let classes = subject.classes();
        if classes < 3 {
            return Err(ProbeError::Unfit(format!(
                "{ID} needs 3 classes or more; the model has {classes}"
            )));
        }
        let layer = Layer::open(subject, ID)?;
        let scores = self.scores(subject, &layer)?;
        let matrix = standardised(&scores, classes).ok_or_else(|| {
            ProbeError::Unfit(format!("{ID} needs scores that differ between classes"))
        })?;
        Ok(judge(&matrix, classes, layer.width()))
    }
}

impl FreeEagle {
    /// Returns the scores of the activations made for each class, `[classes * classes]`.
    fn scores(&self, subject: &Subject<'_>, layer: &Layer<'_>) -> Result<Vec<f32>, ProbeError> {
        let (classes, width) = (subject.classes(), layer.width());
        let half: Vec<f64> = layer
            .low
            .iter()
            .zip(&layer.high)
            .map(|(l, h)| f64::from(h - l))
            .collect();
        let mut all: Vec<Climbed> = (0..classes)
            .map(|_| Climbed::new(width, 0.0, 0.9))
            .collect();
        let own: Vec<usize> = (0..classes).collect();
        let place = |shares: &[Vec<f32>]| -> Vec<f32> {
            let at = |(i, s): (usize, &f32)| layer.low[i] + s * (layer.high[i] - layer.low[i]);
            shares
                .iter()
                .flat_map(|s| s.iter().enumerate().map(at))
                .collect()
        };
        for step in 0..self.0.steps {
            if subject.watch.stop() {
                return Err(ProbeError::Stopped);
            }
            subject.watch.step(step as usize, self.0.steps as usize);
            let shares: Vec<Vec<f32>> = all.iter().map(Climbed::shares).collect();
            let (_, gradient) = layer.gradient(subject, place(&shares), |scores| {
                Focus::score(&log_softmax(scores, 1), &own)
            })?;
            for ((climbed, shares), gradient) in
                all.iter_mut().zip(&shares).zip(gradient.chunks(width))
            {
                let up: Vec<f64> = (0..width)
                    .map(|i| {
                        let apart = 2.0 * f64::from(shares[i]) - 1.0;
                        f64::from(gradient[i]) * half[i] - self.0.decay * 4.0 * apart / width as f64
                    })
                    .collect();
                climbed.climb(&up, shares, self.0.rate);
            }
        }
        let shares: Vec<Vec<f32>> = all.iter().map(Climbed::shares).collect();
        layer.scores(subject, place(&shares))
    }
}

/// Standardises each row without its own class, which becomes NaN. `None` if a row has no spread.
fn standardised(scores: &[f32], classes: usize) -> Option<Vec<f64>> {
    let mut matrix = Vec::with_capacity(scores.len());
    for (s, row) in scores.chunks(classes).enumerate() {
        let others: Vec<f64> = (0..classes)
            .filter(|c| *c != s)
            .map(|c| f64::from(row[c]))
            .collect();
        let n = others.len() as f64;
        let mean = others.iter().sum::<f64>() / n;
        let spread = (others.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        if !spread.is_finite() || spread <= 0.0 {
            return None;
        }
        matrix.extend((0..classes).map(|c| {
            if c == s {
                f64::NAN
            } else {
                (f64::from(row[c]) - mean) / spread
            }
        }));
    }
    Some(matrix)
}

fn judge(matrix: &[f64], classes: usize, width: usize) -> Found {
    let entry = |s: usize, t: usize| matrix[s * classes + t];
    let lean: Vec<f64> = (0..classes)
        .map(|t| {
            let sum: f64 = (0..classes).filter(|s| *s != t).map(|s| entry(s, t)).sum();
            sum / (classes - 1) as f64
        })
        .collect();
    let mut order: Vec<usize> = (0..classes).collect();
    order.sort_by(|a, b| lean[*b].total_cmp(&lean[*a]).then(a.cmp(b)));
    let mut pairs = (0..classes).flat_map(|s| (0..classes).map(move |t| (s, t)));
    let first = pairs.find(|(s, t)| s != t).unwrap_or_default();
    let pair = pairs.filter(|(s, t)| s != t).fold(first, |best, at| {
        if entry(at.0, at.1) > entry(best.0, best.1) {
            at
        } else {
            best
        }
    });
    let sorted: Vec<f64> = order.iter().rev().map(|c| lean[*c]).collect();
    let quartile = |share: f64| {
        let at = share * (classes - 1) as f64;
        let (low, rest) = (at.floor() as usize, at.fract());
        sorted[low] + rest * (sorted[(low + 1).min(classes - 1)] - sorted[low])
    };
    let (q1, q3) = (quartile(0.25), quartile(0.75));
    let mut figures = BTreeMap::from([
        ("width", width as f64),
        ("largest_entry", entry(pair.0, pair.1)),
        ("largest_entry_source", pair.0 as f64),
        ("largest_entry_target", pair.1 as f64),
    ]);
    if q3 > q1 {
        figures.insert("quartile_metric", (lean[order[0]] - q3) / (q3 - q1));
    }
    Found {
        statistic: lean[order[0]] - lean[order[1]],
        target: Some(order[0]),
        per_class: lean,
        figures,
        trigger: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_to_which_all_others_lean_is_found_by_hand() {
        // Classes 0 to 3; scores of 1 for others, 3 for class 2.
        let scores = [
            9.0, 1.0, 3.0, 1.0, 1.0, 9.0, 3.0, 1.0, 1.0, 0.0, 9.0, 2.0, 1.0, 1.0, 3.0, 9.0,
        ];
        let matrix = standardised(&scores, 4).unwrap();
        // Row 0: others 1, 3, 1 have mean 5/3 and deviation sqrt(8)/3.
        assert!((matrix[2] - 2.0_f64.sqrt()).abs() < 1e-12);
        let found = judge(&matrix, 4, 7);
        assert_eq!(found.target, Some(2));
        assert!((found.per_class[2] - 2.0_f64.sqrt()).abs() < 1e-12);
        assert!(standardised(&[1.0; 9], 3).is_none());
    }

    #[test]
    fn the_scale_of_the_scores_changes_nothing() {
        let scores: Vec<f32> = (0..25).map(|i| ((i * 7) % 11) as f32).collect();
        let larger: Vec<f32> = scores.iter().map(|s| 8.0 * s + 3.0).collect();
        let [a, b] = [scores, larger].map(|s| judge(&standardised(&s, 5).unwrap(), 5, 1));
        assert!((a.statistic - b.statistic).abs() < 1e-6);
        assert_eq!(a.target, b.target);
    }
}
