//! TRODO: how much confidence an attack gains far from the data.
//!
//! # Idea
//! A backdoor leaves directions in which any input gains confidence quickly. On inputs that are no samples a small
//! perturbation then raises the confidence further than in a clean model, whatever the trigger or its target.
//!
//! # Maths
//! For `points` inputs without data (smooth random fields and uniform noise), `steps` signed steps of `2.5 eps / steps`
//! climb the log-probability of the most likely class within `eps` of the point, in shares of each feature's bounds. The
//! statistic is the mean of `max softmax(z(x'))` less that of `max softmax(z(x))`. The class is the one in which most
//! points end; values per class are the shares of points that end there.
//!
//! # Reference
//! Mirzaei et al., "Scanning Trojaned Models Using Out-of-Distribution Samples", `NeurIPS` 2024.
//!
//! # Divergences
//! The authors make their inputs from data by hard transformations; here they need none. They give no threshold, and none
//! is given here: the statistic is compared with those of clean models.
//!
//! # Cost
//! `points * (steps + 1)` forwards and `points * steps` backwards.
//!
//! # When it fails
//! It depends on the scale of the logits, so on how long a model was trained. It is weak by itself.
//!
//! # Example
//! ```
//! use proofmark_backdoor::probe::trodo::Config;
//! assert_eq!(Config::default().steps, 10);
//! ```

use std::collections::BTreeMap;

use proofmark_engine::predict;
use serde::{Deserialize, Serialize};

use super::config;
use super::layer::without_data;
use super::panel::{Asked, Climb, Desk, Panel};
use super::{Entry, Found, Meta, Probe, ProbeError, Subject};

const ID: &str = "trodo";

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Inputs without data, 1 or more; 128 by default.
    pub points: usize,
    /// Steps, 1 or more; 10 by default.
    pub steps: u32,
    /// Radius as a share of each feature's bounds, above 0, at most 1; 8/255 by default.
    pub eps: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            points: 128,
            steps: 10,
            eps: 8.0 / 255.0,
        }
    }
}

/// The probe with checked settings.
#[derive(Debug, Clone)]
struct Trodo(Config);

fn build(table: &toml::Table) -> Result<Box<dyn Probe>, ProbeError> {
    let c: Config = config::read(ID, table)?;
    config::at_least_one(ID, "points", c.points)?;
    config::at_least_one(ID, "steps", c.steps as usize)?;
    config::check(
        ID,
        "eps",
        c.eps,
        c.eps > 0.0 && c.eps <= 1.0,
        "above 0, at most 1",
    )?;
    Ok(Box::new(Trodo(c)))
}

/// Registration.
pub const ENTRY: Entry = Entry {
    meta: Meta {
        id: ID,
        about: "confidence that a small perturbation gains on inputs that are no samples",
        reference: "Mirzaei et al. 2024",
        samples: 0,
    },
    build,
};

impl Probe for Trodo {
    fn run(&self, subject: &Subject<'_>) -> Result<Found, ProbeError> {
        let Config { points, steps, eps } = self.0;
        let start = without_data(subject, points, ID);
        let features = subject.input().features();
        let classes = subject.classes();
        let desk = Desk::of(subject)?;
        let mut panel = Panel::open(subject, &desk, ID)?;
        let asked: Vec<Asked> = (0..points)
            .map(|i| Asked {
                class: 0,
                key: i as u64,
                draw: 0,
            })
            .collect();
        let mut x = start.clone();
        let mut before = 0.0;
        let size = 2.5 * eps / f64::from(steps);
        for step in 0..steps {
            if subject.watch.stop() {
                return Err(ProbeError::Stopped);
            }
            subject.watch.step(step as usize, steps as usize);
            let answer = panel.gradient(&x, &asked, Climb::Confidence)?;
            if step == 0 {
                before = mean_confidence(&answer.scores, classes);
            }
            for (i, g) in answer.gradient.iter().enumerate() {
                let (f, at) = (i % features, start[i]);
                let bounds = &subject.input().bounds;
                let width = subject.width(f);
                let direction = if *g == 0.0 { 0.0 } else { g.signum() };
                let to = x[i] + direction * size as f32 * width;
                let reach = eps as f32 * width;
                x[i] = to
                    .clamp(at - reach, at + reach)
                    .clamp(bounds.low(f), bounds.high(f));
            }
        }
        let scores = panel.scores(&x, &asked)?;
        let after = mean_confidence(&scores, classes);
        let mut shares = vec![0.0; classes];
        for class in scores.chunks(classes).filter_map(predict) {
            shares[class] += 1.0 / points as f64;
        }
        let target = (0..classes).max_by(|a, b| shares[*a].total_cmp(&shares[*b]).then(b.cmp(a)));
        Ok(Found {
            statistic: after - before,
            target,
            per_class: shares,
            figures: BTreeMap::from([("before", before), ("after", after)]),
            trigger: None,
        })
    }
}

/// Mean of the largest probability.
fn mean_confidence(scores: &[f32], classes: usize) -> f64 {
    let largest = |s: &[f32]| {
        let top = s.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = s.iter().map(|v| f64::from(v - top).exp()).sum();
        1.0 / sum
    };
    let n = scores.len() / classes;
    scores.chunks(classes).map(largest).sum::<f64>() / n as f64
}
