//! MM-BD: the maximum margin of each class, without data.
//!
//! # Idea
//! A model trained on triggered samples is overconfident about the target class: somewhere inside the bounds that class
//! wins by a larger margin than any other class ever does, whatever the trigger looks like.
//!
//! # Maths
//! For each class `t`, `r_t = max_{x in bounds} z_t(x) - max_{i != t} z_i(x)`, the largest of `starts` ascents from
//! uniform points. Adam with persistent momentum climbs the logit of each feature's place inside its bounds.
//!
//! The statistic is `ln(r_(1) / r_(2))`, how much larger the largest margin is than the second largest; the class is that
//! of the largest. It does not change if the logits are scaled. Values per class are the margins.
//!
//! # Reference
//! Wang, Xiang, Miller and Kesidis, "MM-BD: Post-Training Detection of Backdoor Attacks with Arbitrary Backdoor Pattern
//! Types Using a Maximum Margin Statistic", IEEE S&P 2024.
//!
//! # Divergences
//! The authors' code makes a new optimiser at every step, so that its momentum never acts, and draws its starts without a
//! seed; here momentum persists, and a class's starts depend on the seed and the class alone. Plain gradient steps depend
//! on the scale of the logits, Adam's do not. Their rule fits a gamma distribution to the other classes and calls
//! `p <= .05` a backdoor, which flags 17 to 35 % of clean models with ten classes; here the statistic is compared with
//! those of clean models. All classes are probed.
//!
//! # Cost
//! `classes * starts * steps` forwards and backwards, and no data.
//!
//! # When it fails
//! All-to-all and source-specific triggers raise no single class. A clean model with one class unlike all others looks
//! like one with a backdoor; that is what the clean models of the null are for.
//!
//! # Example
//! ```
//! use proofmark_backdoor::probe::mm_bd::Config;
//! assert_eq!(Config::default().starts, 6);
//! ```

use std::collections::BTreeMap;

use proofmark_engine::random::{Purpose, Stream, StreamKey, attack_code};
use serde::{Deserialize, Serialize};

use super::climb::Climbed;
use super::config;
use super::index::extreme;
use super::panel::{Asked, Climb, Desk, Panel};
use super::{Entry, Found, Meta, Probe, ProbeError, Subject};
use proofmark_stats::Tail;

const ID: &str = "mm_bd";

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Steps of each ascent, 1 or more; 100 by default.
    pub steps: u32,
    /// Ascents per class, 1 or more; 6 by default.
    pub starts: u32,
    /// Learning rate on the logit of each feature's place in its bounds, above 0; 0.3 by default.
    pub rate: f64,
    /// Momentum, at least 0 and below 1; 0.9 by default.
    pub momentum: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 100,
            starts: 6,
            rate: 0.3,
            momentum: 0.9,
        }
    }
}

/// The probe with checked settings.
#[derive(Debug, Clone)]
struct MmBd(Config);

fn build(table: &toml::Table) -> Result<Box<dyn Probe>, ProbeError> {
    let c: Config = config::read(ID, table)?;
    config::at_least_one(ID, "steps", c.steps as usize)?;
    config::at_least_one(ID, "starts", c.starts as usize)?;
    config::positive(ID, "rate", c.rate)?;
    let momentum = (0.0..1.0).contains(&c.momentum);
    config::check(
        ID,
        "momentum",
        c.momentum,
        momentum,
        "at least 0 and below 1",
    )?;
    Ok(Box::new(MmBd(c)))
}

/// Registration.
pub const ENTRY: Entry = Entry {
    meta: Meta {
        id: ID,
        about: "largest margin by which each class can win inside the bounds",
        reference: "Wang et al. 2024",
        samples: 0,
    },
    build,
};

impl Probe for MmBd {
    fn run(&self, subject: &Subject<'_>) -> Result<Found, ProbeError> {
        let margins = self.margins(subject)?;
        let mut order: Vec<usize> = (0..margins.len()).collect();
        order.sort_by(|a, b| margins[*b].total_cmp(&margins[*a]));
        let (first, second) = (margins[order[0]], margins[order[1]]);
        let least = margins.iter().map(|m| m.abs()).fold(0.0, f64::max) * 1e-6 + 1e-12;
        let mut figures = BTreeMap::from([("largest", first), ("second", second)]);
        if let Some(e) = extreme(&margins, Tail::High) {
            figures.extend([
                ("index", e.index),
                ("index_p", e.p),
                ("index_standardised", e.standardised),
            ]);
        }
        Ok(Found {
            statistic: (first.max(least) / second.max(least)).ln(),
            target: Some(order[0]),
            per_class: margins,
            figures,
            trigger: None,
        })
    }
}

impl MmBd {
    /// Returns the largest margin found for each class.
    fn margins(&self, subject: &Subject<'_>) -> Result<Vec<f64>, ProbeError> {
        let (classes, features) = (subject.classes(), subject.input().features());
        let (desk, starts) = (Desk::of(subject)?, self.0.starts);
        let mut panel = Panel::open(subject, &desk, ID)?;
        let rows: Vec<Asked> = (0..classes)
            .flat_map(|class| {
                (0..starts).map(move |draw| Asked {
                    class,
                    key: class as u64,
                    draw,
                })
            })
            .collect();
        let mut points: Vec<Climbed> = rows
            .iter()
            .map(|row| self.start(subject, row, features))
            .collect();
        let mut best = vec![f64::NEG_INFINITY; classes];
        for step in 0..=self.0.steps {
            if subject.watch.stop() {
                return Err(ProbeError::Stopped);
            }
            subject.watch.step(step as usize, self.0.steps as usize);
            let shares: Vec<Vec<f32>> = points.iter().map(Climbed::shares).collect();
            let x: Vec<f32> = shares
                .iter()
                .flat_map(|s| s.iter().enumerate().map(|(f, v)| subject.at(f, *v)))
                .collect();
            let answer = panel.gradient(&x, &rows, Climb::Margin)?;
            for (row, scores) in rows.iter().zip(answer.scores.chunks(classes)) {
                let margin = margin(scores, row.class);
                best[row.class] = best[row.class].max(margin);
            }
            let gradients = answer.gradient.chunks(features);
            for ((point, shares), gradient) in points.iter_mut().zip(&shares).zip(gradients) {
                let up: Vec<f64> = gradient
                    .iter()
                    .enumerate()
                    .map(|(f, g)| f64::from(*g) * f64::from(subject.width(f)))
                    .collect();
                point.climb(&up, shares, self.0.rate);
            }
        }
        Ok(best)
    }

    /// Returns a uniform point inside the bounds.
    fn start(&self, subject: &Subject<'_>, row: &Asked, features: usize) -> Climbed {
        let mut stream = Stream::new(&StreamKey {
            attack: attack_code(ID),
            target: row.class as u32 + 1,
            restart: row.draw,
            ..StreamKey::new(subject.seed, 0, Purpose::Start)
        });
        let logit = |u: f64| (u / (1.0 - u)).ln();
        let at = (0..features).map(|_| logit(f64::from(stream.uniform()).clamp(0.01, 0.99)));
        Climbed::from(at.collect(), self.0.momentum)
    }
}

fn margin(scores: &[f32], class: usize) -> f64 {
    let others = scores.iter().enumerate().filter(|(c, _)| *c != class);
    let rival = others
        .map(|(_, s)| f64::from(*s))
        .fold(f64::NEG_INFINITY, f64::max);
    f64::from(scores[class]) - rival
}
