//! Trigger inversion: finds for each class the smallest patch that moves every sample to that class.
//!
//! In a model with a backdoor, a small patch moves every sample to one class. This is the loop of Wang et al., "Neural
//! Cleanse", IEEE S&P 2019, section IV, without its statistics: rows of the engine stand for classes, every row queries
//! its patch on every sample, and the engine never keeps such a point as an adversarial copy of a sample. Probes are to
//! use the same shapes.

use burn::tensor::{Tensor, activation};
use proofmark_domain::Kind;
use proofmark_engine::{Aim, EngineError, Focus, Job, Loss, Oracle, Request, RowId, Rows, predict};
use proofmark_model::{GradientModel, Query};
use proofmark_threat::{Batch, host};

/// Parameters of the patch search.
#[derive(Debug, Clone, Copy)]
pub struct Inversion {
    /// Steps, 1 or more.
    pub steps: u32,
    /// Learning rate of Adam on the logits of mask and pattern.
    pub rate: f64,
    /// Penalty of a whole feature under the mask, against the mean log-probability of the class.
    pub weight: f64,
}

impl Default for Inversion {
    fn default() -> Self {
        Self {
            steps: 150,
            rate: 0.1,
            weight: 0.01,
        }
    }
}

/// Patch that moves samples to a class.
#[derive(Debug, Clone)]
pub struct Patch {
    /// Target class.
    pub class: usize,
    /// Share of each position that the patch covers, in [0, 1]. A position is a feature, or a pixel over all channels.
    pub mask: Vec<f32>,
    /// Values of the patch, one per feature, data units.
    pub pattern: Vec<f32>,
    /// Share of the samples that the patch moves to the class.
    pub reached: f64,
}

impl Patch {
    /// Returns the number of positions covered; partly covered ones count by their share.
    pub fn size(&self) -> f64 {
        self.mask.iter().map(|m| f64::from(*m)).sum()
    }
}

/// The loss `log softmax(z)_t`.
#[derive(Debug)]
struct TowardsTarget;

impl Loss for TowardsTarget {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, focus: &Focus) -> Tensor<1> {
        let target = focus.target().expect("every row has its class");
        Focus::score(&activation::log_softmax(scores.clone(), 1), target)
    }
}

/// Values that Adam maximises over (Kingma and Ba 2015, with its usual constants).
struct Climbed {
    at: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Climbed {
    fn new(n: usize, at: f64) -> Self {
        Self {
            at: vec![at; n],
            first: vec![0.0; n],
            second: vec![0.0; n],
        }
    }

    fn shares(&self) -> Vec<f32> {
        self.at
            .iter()
            .map(|v| (1.0 / (1.0 + (-v).exp())) as f32)
            .collect()
    }

    /// Takes one step up `gradient`, the gradient with respect to the shares.
    fn climb(&mut self, gradient: &[f64], step: u32, rate: f64) {
        let power = step as i32 + 1;
        for (i, share) in self.shares().into_iter().enumerate() {
            let share = f64::from(share);
            let g = gradient[i] * share * (1.0 - share);
            self.first[i] = 0.9 * self.first[i] + 0.1 * g;
            self.second[i] = 0.999 * self.second[i] + 0.001 * g * g;
            let first = self.first[i] / (1.0 - 0.9_f64.powi(power));
            let second = self.second[i] / (1.0 - 0.999_f64.powi(power));
            self.at[i] += rate * first / (second.sqrt() + 1e-8);
        }
    }
}

/// Finds the patch of each of `classes` on the samples of `job`, which has one input.
pub fn invert<M: GradientModel + ?Sized>(
    model: &M,
    job: &Job<'_>,
    classes: &[usize],
    inversion: &Inversion,
) -> Result<Vec<Patch>, EngineError> {
    let modality = &job.samples.modalities[0];
    let features = modality.features();
    let channels = match (modality.kind, &modality.shape[..]) {
        (Kind::Image, [channels, _, _]) => *channels,
        _ => 1,
    };
    let positions = features / channels;
    let n = job.rows.len();
    let mut oracle = Oracle::new(model, job, Aim::Within);
    let device = oracle.device().clone();
    let ids: Vec<RowId> = classes.iter().map(|c| RowId::Class(*c)).collect();
    let mut rows = Rows::of(&ids, job, "trigger-inversion", &device)?;
    let clean = job.samples.gather(job.rows).remove(0);
    let label: Vec<usize> = job.rows.iter().map(|r| job.samples.labels[*r]).collect();
    let range = |f: usize| (modality.bounds.low(f), modality.bounds.high(f));
    let start = |at: f64, n: usize| -> Vec<Climbed> {
        classes.iter().map(|_| Climbed::new(n, at)).collect()
    };
    // Masks begin small and grow where that helps.
    let (mut masks, mut patterns) = (start(-2.0, positions), start(0.0, features));
    let mut reached = vec![0.0; classes.len()];
    for step in 0..inversion.steps {
        let mask: Vec<Vec<f32>> = masks.iter().map(Climbed::shares).collect();
        let pattern: Vec<Vec<f32>> = patterns
            .iter()
            .map(|p| {
                let put = |(f, share): (usize, f32)| {
                    let (low, high) = range(f);
                    low + share * (high - low)
                };
                p.shares().into_iter().enumerate().map(put).collect()
            })
            .collect();
        // Paste every class's patch on every sample.
        let mut pasted = Vec::with_capacity(classes.len() * clean.len());
        for (mask, pattern) in mask.iter().zip(&pattern) {
            for sample in clean.chunks(features) {
                let paste = |f: usize| {
                    let m = mask[f % positions];
                    (1.0 - m) * sample[f] + m * pattern[f]
                };
                pasted.extend((0..features).map(paste));
            }
        }
        let owner: Vec<usize> = (0..classes.len()).flat_map(|r| vec![r; n]).collect();
        let each = |v: Vec<usize>| -> Vec<usize> { owner.iter().map(|r| v[*r]).collect() };
        let repeated = |v: &[usize]| -> Vec<usize> { v.repeat(classes.len()) };
        let modalities = job.samples.modalities.clone();
        let x0 = clean.repeat(classes.len());
        let query = Query {
            x: Batch::from_host(modalities.clone(), vec![pasted], &device)?,
            key: (job.rows.iter().map(|r| job.samples.keys[*r]))
                .collect::<Vec<u64>>()
                .repeat(classes.len()),
            draw: vec![0; owner.len()],
            owner: owner.clone(),
        };
        let request = Request::new(query)
            .towards(each(classes.to_vec()))
            .labelled(repeated(&label))
            .around(Batch::from_host(modalities, vec![x0], &device)?)
            .unwatched();
        let answer = oracle.gradient_of(&mut rows, request, &TowardsTarget)?;
        let gradient = host(&answer.gradient.blocks()[0]);
        let scores = host(&answer.scores);
        let width = answer.scores.dims()[1];
        for (r, class) in classes.iter().enumerate() {
            let (mut by_mask, mut by_pattern) = (vec![0.0; positions], vec![0.0; features]);
            for (s, sample) in clean.chunks(features).enumerate() {
                let from = (r * n + s) * features;
                for (f, g) in gradient[from..from + features].iter().enumerate() {
                    let (g, m) = (f64::from(*g) / n as f64, mask[r][f % positions]);
                    let (low, high) = range(f);
                    by_mask[f % positions] += g * f64::from(pattern[r][f] - sample[f]);
                    by_pattern[f] += g * f64::from(m * (high - low));
                }
            }
            for g in &mut by_mask {
                *g -= inversion.weight;
            }
            masks[r].climb(&by_mask, step, inversion.rate);
            patterns[r].climb(&by_pattern, step, inversion.rate);
            let own = scores[r * n * width..(r + 1) * n * width].chunks(width);
            let there = own.filter(|s| predict(s) == Some(*class)).count();
            reached[r] = there as f64 / n as f64;
        }
    }
    let patch = |r: usize| Patch {
        class: classes[r],
        mask: masks[r].shares(),
        pattern: patterns[r]
            .shares()
            .into_iter()
            .enumerate()
            .map(|(f, share)| {
                let (low, high) = range(f);
                low + share * (high - low)
            })
            .collect(),
        reached: reached[r],
    };
    Ok((0..classes.len()).map(patch).collect())
}
