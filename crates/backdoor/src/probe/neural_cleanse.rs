//! Neural Cleanse: the smallest patch to each class.
//!
//! # Idea
//! In a model with a patch trigger a small patch moves every sample to the target class. For each class the smallest
//! such patch is searched; the target's stands out, and it is the trigger.
//!
//! # Maths
//! For class `t` with mask `m` (one share per pixel, over all channels) and pattern `p`, both logistic functions of the
//! numbers that Adam moves,
//!
//! `max mean_x log softmax(z((1 - m) x + m p))_t - lambda (|m|_1 + a |m|_2^2 + s TV(m)) 1000 / n + r
//! log softmax(z((1 - m) g + m p))_t`,
//!
//! `n` positions, `g` the middle of the bounds, `TV` the squared differences of neighbours. `lambda` is 0 until an epoch
//! succeeds on `success` of its samples, then `weight`; each epoch with success multiplies it by `factor`, each without
//! divides it by `factor^1.5`. The patch of a class is the smallest that succeeds on all samples it was fitted on, none of
//! the class itself.
//!
//! With more classes than `arms`, all get their first 60 steps; then rounds of 30 steps go to the `arms` classes with the
//! smallest masks if they shrink as they did, each replaced by another class with chance `explore` (K-Arm).
//!
//! The statistic is `ln(v_(2) / v_(1))` of the two smallest sizes: how much smaller the smallest patch is than any other.
//! Classes without a successful patch count with every position. Sizes per class are shares of all positions. A third of
//! the clean samples is not fitted on and measures the success of the patch that is shown.
//!
//! # Reference
//! Wang et al., "Neural Cleanse", IEEE S&P 2019; Guo et al., "TABOR", ICDM 2020 (terms `a`, `s`, `r`); Shen et al.,
//! "Backdoor Scanning for Deep Neural Networks through K-Arm Optimization", ICML 2021.
//!
//! # Divergences
//! The rule "index above 2" flags a third of clean models with ten classes; the index is reported, and the statistic is
//! compared with those of clean models. Sizes are relative to the input, where K-Arm's limits are pixels of 224 x 224.
//! In one library lambda is set back at every step and never grows, in another the smallest mask is kept whether it
//! succeeds or not; neither happens here. TABOR's R3 has weight 0 in its authors' code and is left out; so is the part of
//! R1 and R2 about the pattern outside of the mask, which changes no prediction. The authors take 1000 steps of 1000
//! images, this at most 240 of 16.
//!
//! # Cost
//! At most `classes * steps * (batch + 1)` forwards and backwards; `arms * steps + 60 classes` in place of
//! `classes * steps` where that is less.
//!
//! # When it fails
//! Triggers that are not patches (warps, blends over the whole image, sample-specific ones) need large masks. A class that
//! needs little to be recognised has a small patch in a clean model, too.
//!
//! # Example
//! ```
//! use proofmark_backdoor::probe::neural_cleanse::Config;
//! assert_eq!(Config::default().success, 0.95);
//! ```

use std::collections::BTreeMap;

use proofmark_stats::Tail;
use serde::{Deserialize, Serialize};

use super::config;
use super::index::extreme;
use super::inversion::{Inversion, Split, invert};
use super::{Entry, Found, Meta, Patch, Probe, ProbeError, Subject};

const ID: &str = "neural_cleanse";
/// Fewest clean samples.
const LEAST: usize = 20;

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most steps per class, 1 or more; 240 by default.
    pub steps: u32,
    /// Samples per class and step, 1 or more; 16 by default.
    pub batch: usize,
    /// Learning rate of Adam on the logits of mask and pattern, above 0; 0.15 by default.
    pub rate: f64,
    /// Share of samples that a patch must move, above 0, at most 1; 0.95 by default.
    pub success: f64,
    /// Classes searched at once after the first steps, 1 or more; 12 by default.
    pub arms: usize,
}

impl Default for Config {
    fn default() -> Self {
        let d = Inversion::default();
        Self {
            steps: d.steps,
            batch: d.batch,
            rate: d.rate,
            success: d.success,
            arms: d.arms,
        }
    }
}

/// The probe with checked settings.
#[derive(Debug, Clone)]
struct NeuralCleanse(Inversion);

fn build(table: &toml::Table) -> Result<Box<dyn Probe>, ProbeError> {
    let c: Config = config::read(ID, table)?;
    config::at_least_one(ID, "steps", c.steps as usize)?;
    config::at_least_one(ID, "batch", c.batch)?;
    config::at_least_one(ID, "arms", c.arms)?;
    config::positive(ID, "rate", c.rate)?;
    let share = c.success > 0.0 && c.success <= 1.0;
    config::check(ID, "success", c.success, share, "above 0, at most 1")?;
    Ok(Box::new(NeuralCleanse(Inversion {
        steps: c.steps,
        batch: c.batch,
        rate: c.rate,
        success: c.success,
        arms: c.arms,
        ..Inversion::default()
    })))
}

/// Registration.
pub const ENTRY: Entry = Entry {
    meta: Meta {
        id: ID,
        about: "smallest patch that moves samples to each class; reconstructs the trigger",
        reference: "Wang et al. 2019; Guo et al. 2020; Shen et al. 2021",
        samples: LEAST,
    },
    build,
};

impl Probe for NeuralCleanse {
    fn run(&self, subject: &Subject<'_>) -> Result<Found, ProbeError> {
        let samples = subject.samples(ID, LEAST)?;
        let split = Split::of(samples, subject);
        let patches = invert(subject, samples, &split, &self.0)?;
        let positions = subject.grid().len() as f64;
        let sizes: Vec<f64> = patches
            .iter()
            .map(|p| p.as_ref().map_or(1.0, |p| p.size() / positions))
            .collect();
        Ok(judge(patches, sizes, positions))
    }
}

/// Makes the statistic of the sizes per class.
fn judge(mut patches: Vec<Option<Patch>>, sizes: Vec<f64>, positions: f64) -> Found {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by(|a, b| sizes[*a].total_cmp(&sizes[*b]).then(a.cmp(b)));
    // Less than a hundredth of a position is no size.
    let size = |c: usize| sizes[c].max(0.01 / positions);
    let first = order[0];
    let mut figures = BTreeMap::from([
        ("smallest", sizes[first]),
        ("second", sizes[order[1]]),
        ("reached_classes", patches.iter().flatten().count() as f64),
    ]);
    if let Some(e) = extreme(&sizes, Tail::Low) {
        figures.extend([
            ("index", e.index),
            ("index_p", e.p),
            ("index_standardised", e.standardised),
        ]);
    }
    let logs: Vec<f64> = (0..sizes.len()).map(|c| size(c).ln()).collect();
    if let Some(e) = extreme(&logs, Tail::Low) {
        figures.insert("log_index", e.index);
    }
    let trigger = patches[first].take();
    if let Some((share, n)) = trigger.as_ref().and_then(|t| t.held_out) {
        figures.extend([("held_out_success", share), ("held_out_samples", n as f64)]);
    }
    Found {
        statistic: (size(order[1]) / size(first)).ln(),
        target: trigger.is_some().then_some(first),
        per_class: sizes,
        figures,
        trigger,
    }
}
