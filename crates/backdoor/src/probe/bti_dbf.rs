//! BTI-DBF: what a model predicts without the features that clean samples need.
//!
//! # Idea
//! Some activations decide about clean samples, others about the trigger. A mask that keeps what clean samples need leaves
//! what they do not need; with that alone, a model with a backdoor predicts its target for every sample.
//!
//! # Maths
//! With `F` the activations of clean samples at a layer through which alone the input reaches the scores and `m` a share
//! per activation, Adam climbs
//!
//! `mean log softmax(h(F m))_y - mean log softmax(h(F (1 - m)))_y - weight mean(1 - m)`.
//!
//! The second term is cut off at the log-probability of chance, so that it ends where clean samples are no longer
//! recognised. Then `c_t = mean_{i: y_i != t} softmax(h(F_i (1 - m)))_t`. The statistic is `ln(c_(1) / c_(2))`: how far the
//! predictions collapse to a single class. A clean model may collapse, too; how far is a matter for the null.
//!
//! # Reference
//! Xu et al., "Towards Reliable and Efficient Backdoor Trigger Inversion via Decoupling Benign Features", ICLR 2024; the
//! mask's weight is that of Xu et al., "BAN: Detecting Backdoors Activated by Adversarial Neuron Noise", `NeurIPS` 2024.
//!
//! # Divergences
//! The authors take the most frequent prediction for the target, so that every model has one; here its share is a
//! statistic, compared with clean models. Their generator of triggers is left out, and so is BAN's noise on the weights,
//! which are not reached through a layer.
//!
//! # Cost
//! `2 steps` forwards and backwards of the part behind the layer per sample, and one forward of the part before it.
//!
//! # When it fails
//! As [`super::free_eagle`]: it needs such a layer. With few samples the mask fits those.
//!
//! # Example
//! ```
//! use proofmark_backdoor::probe::bti_dbf::Config;
//! assert_eq!(Config::default().steps, 80);
//! ```

use std::collections::BTreeMap;

use burn::tensor::activation::log_softmax;
use proofmark_engine::Focus;
use serde::{Deserialize, Serialize};

use super::climb::Climbed;
use super::config;
use super::layer::{Layer, activations};
use super::{Entry, Found, Meta, Probe, ProbeError, Subject};

const ID: &str = "bti_dbf";
/// Fewest clean samples.
const LEAST: usize = 20;

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Steps, 1 or more; 80 by default.
    pub steps: u32,
    /// Learning rate on the logits of the mask, above 0; 0.1 by default.
    pub rate: f64,
    /// Weight of the share that the mask leaves out, at least 0; 0.25 by default.
    pub weight: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 80,
            rate: 0.1,
            weight: 0.25,
        }
    }
}

/// The probe with checked settings.
#[derive(Debug, Clone)]
struct BtiDbf(Config);

fn build(table: &toml::Table) -> Result<Box<dyn Probe>, ProbeError> {
    let c: Config = config::read(ID, table)?;
    config::at_least_one(ID, "steps", c.steps as usize)?;
    config::positive(ID, "rate", c.rate)?;
    config::not_negative(ID, "weight", c.weight)?;
    Ok(Box::new(BtiDbf(c)))
}

/// Registration.
pub const ENTRY: Entry = Entry {
    meta: Meta {
        id: ID,
        about: "class predicted from the features that clean samples do not need",
        reference: "Xu et al. 2024 (ICLR); Xu et al. 2024 (NeurIPS)",
        samples: LEAST,
    },
    build,
};

impl Probe for BtiDbf {
    fn run(&self, subject: &Subject<'_>) -> Result<Found, ProbeError> {
        let samples = subject.samples(ID, LEAST)?;
        let layer = Layer::open(subject, ID)?;
        let (n, classes, width) = (samples.len(), subject.classes(), layer.width());
        let seen = activations(subject, &layer.name, &samples.values[0])?;
        let mut mask = Climbed::new(width, 0.0, 0.9);
        let chance = -(classes as f32).ln();
        let mut labels = samples.labels.clone();
        labels.extend(&samples.labels);
        for step in 0..self.0.steps {
            if subject.watch.stop() {
                return Err(ProbeError::Stopped);
            }
            subject.watch.step(step as usize, self.0.steps as usize);
            let shares = mask.shares();
            let kept = seen.iter().enumerate().map(|(i, v)| v * shares[i % width]);
            let left = seen
                .iter()
                .enumerate()
                .map(|(i, v)| v * (1.0 - shares[i % width]));
            let (_, gradient) = layer.gradient(subject, kept.chain(left).collect(), |scores| {
                let own = Focus::score(&log_softmax(scores, 1), &labels);
                let keep = own.clone().slice(0..n);
                let leave = own.slice(n..2 * n).clamp_min(chance);
                Burn1::cat(vec![keep, leave.neg()], 0)
            })?;
            let mut up = vec![0.0; width];
            for (i, v) in seen.iter().enumerate() {
                // d(F m) / dm = F, d(F (1 - m)) / dm = -F.
                up[i % width] +=
                    f64::from(gradient[i] - gradient[seen.len() + i]) * f64::from(*v) / n as f64;
            }
            for g in &mut up {
                *g += self.0.weight / width as f64;
            }
            mask.climb(&up, &shares, self.0.rate);
        }
        let shares = mask.shares();
        let left = seen
            .iter()
            .enumerate()
            .map(|(i, v)| v * (1.0 - shares[i % width]));
        let scores = layer.scores(subject, left.collect())?;
        let kept = f64::from(shares.iter().sum::<f32>()) / width as f64;
        let mut found = judge(&scores, &samples.labels, classes);
        found
            .figures
            .extend([("kept", kept), ("width", width as f64)]);
        Ok(found)
    }
}

type Burn1 = burn::tensor::Tensor<1>;

fn judge(scores: &[f32], labels: &[usize], classes: usize) -> Found {
    let probabilities: Vec<Vec<f64>> = scores
        .chunks(classes)
        .map(|row| {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let each: Vec<f64> = row.iter().map(|s| f64::from(s - top).exp()).collect();
            let sum: f64 = each.iter().sum();
            each.iter().map(|e| e / sum).collect()
        })
        .collect();
    let means: Vec<f64> = (0..classes)
        .map(|t| {
            let others = probabilities.iter().zip(labels).filter(|(_, y)| **y != t);
            let n = others.clone().count().max(1) as f64;
            others.map(|(p, _)| p[t]).sum::<f64>() / n
        })
        .collect();
    let mut order: Vec<usize> = (0..classes).collect();
    order.sort_by(|a, b| means[*b].total_cmp(&means[*a]).then(a.cmp(b)));
    let (first, second) = (means[order[0]], means[order[1]]);
    Found {
        statistic: (first.max(1e-6) / second.max(1e-6)).ln(),
        target: Some(order[0]),
        per_class: means,
        figures: BTreeMap::from([("largest", first), ("second", second)]),
        trigger: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_collapses_to_no_class_has_a_statistic_of_zero() {
        let even = judge(&[0.0; 12], &[0, 1, 2, 0], 3);
        assert!(even.statistic.abs() < 1e-12);
        let to_one = judge(
            &[0.0, 9.0, 0.0, 0.0, 9.0, 0.0, 0.0, 9.0, 0.0],
            &[0, 2, 0],
            3,
        );
        assert_eq!(to_one.target, Some(1));
        assert!(to_one.statistic > 8.0, "{}", to_one.statistic);
        // Samples of the class itself do not count.
        let own = judge(&[0.0, 9.0, 0.0, 0.0, 0.0, 9.0], &[1, 2], 3);
        assert!(own.per_class[1] < 1e-3 && own.per_class[2] < 1e-3);
    }
}
