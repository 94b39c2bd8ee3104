//! Trigger inversion: for each class, the smallest patch that moves samples to it.
//!
//! Rows of the engine stand for classes; every row queries its patch pasted on samples of other classes, and the engine
//! never keeps such a point as an adversarial copy of a sample. [`super::neural_cleanse`] describes the maths.

use proofmark_engine::Samples;
use proofmark_engine::predict;
use proofmark_engine::random::{Purpose, Stream, StreamKey, attack_code};

use super::climb::Climbed;
use super::panel::{Asked, Climb, Desk, Panel};
use super::subject::Positions;
use super::{Patch, ProbeError, Subject};

/// Settings of the search.
#[derive(Debug, Clone, PartialEq)]
pub struct Inversion {
    /// Most steps per class, 1 or more.
    pub steps: u32,
    /// Samples per class and step, 1 or more.
    pub batch: usize,
    /// Learning rate of Adam on the logits of mask and pattern.
    pub rate: f64,
    /// Share of samples that the patch must move to the class, in (0, 1].
    pub success: f64,
    /// First weight of the mask's size, once the patch succeeds; before that it is 0. A mask over everything counts
    /// 1000, whatever the size of the input.
    pub weight: f64,
    /// Factor of that weight: times it after an epoch of success, over its power 1.5 after one without.
    pub factor: f64,
    /// Weight of squared shares beside the shares (TABOR's R1), at least 0.
    pub elastic: f64,
    /// Weight of squared differences between neighbours of the mask (TABOR's R2), at least 0.
    pub smooth: f64,
    /// Weight of the patch by itself, in the middle of the bounds elsewhere (TABOR's R4), at least 0.
    pub alone: f64,
    /// Classes searched at once after all have had their first steps (K-Arm), 1 or more.
    pub arms: usize,
    /// Chance that K-Arm gives steps to a class that is not among the best, in [0, 1].
    pub explore: f64,
}

impl Default for Inversion {
    fn default() -> Self {
        Self {
            steps: 240,
            batch: 16,
            rate: 0.15,
            success: 0.95,
            weight: 1e-3,
            factor: 1.5,
            elastic: 0.1,
            smooth: 0.1,
            alone: 0.05,
            arms: 12,
            explore: 0.3,
        }
    }
}

/// Largest weight of the mask's size.
const HEAVIEST: f64 = 10.0;
/// Size of a mask over everything, in units of the weight.
const WHOLE: f64 = 1000.0;
/// Steps that every class gets before classes are chosen.
const WARM_UP: u32 = 60;
/// Steps of a class between two choices.
const ROUND: u32 = 30;
/// A mask is kept for the last check if it is so much smaller than the last one kept.
const SMALLER: f64 = 0.95;
/// Without a smaller mask in so many steps a class is done.
const PATIENCE: u32 = 90;
/// Code of the random streams.
const CODE: u32 = attack_code("trigger-inversion");

/// Clean samples, cut in two: those that triggers are fitted on and those that measure them.
#[derive(Debug, Clone)]
pub struct Split {
    /// Places of the samples to fit on.
    pub fit: Vec<usize>,
    /// Places of the others, a third of each class.
    pub held_out: Vec<usize>,
}

impl Split {
    /// Cuts samples by their labels and keys, in an order that the seed shuffles: every third of a class is held out.
    pub fn of(samples: &Samples, subject: &Subject<'_>) -> Self {
        let shuffled = |i: &usize| {
            let key = StreamKey {
                attack: CODE,
                ..StreamKey::new(subject.seed, samples.keys[*i], Purpose::Subset)
            };
            (Stream::new(&key).next_u32(), samples.keys[*i], *i)
        };
        let mut order: Vec<usize> = (0..samples.len()).collect();
        order.sort_by_key(shuffled);
        let mut seen = vec![0_usize; samples.labels.iter().max().map_or(0, |m| m + 1)];
        let (mut fit, mut held_out) = (Vec::new(), Vec::new());
        for i in order {
            let count = &mut seen[samples.labels[i]];
            *count += 1;
            if count.is_multiple_of(3) {
                held_out.push(i);
            } else {
                fit.push(i);
            }
        }
        Self { fit, held_out }
    }

    /// Returns those of `places` that are not of a class.
    fn besides(places: &[usize], samples: &Samples, class: usize) -> Vec<usize> {
        let other = |i: &&usize| samples.labels[**i] != class;
        places.iter().filter(other).copied().collect()
    }
}

/// Search for the patch of one class.
struct Arm {
    class: usize,
    mask: Climbed,
    pattern: Climbed,
    weight: f64,
    /// Samples it is fitted on.
    fit: Vec<usize>,
    steps: u32,
    /// Hits and points of the epoch.
    epoch: (usize, usize),
    /// Masks and patterns that succeeded in an epoch, from large to small, with their sizes.
    kept: Vec<(f64, Vec<f32>, Vec<f32>)>,
    /// Step of the last one kept.
    improved: u32,
    /// Change of the size by the last choice, per step, and the size then.
    gain: f64,
    before: f64,
}

impl Arm {
    fn new(class: usize, fit: Vec<usize>, positions: usize, features: usize) -> Self {
        Self {
            class,
            // Masks begin small and grow where that helps.
            mask: Climbed::new(positions, -2.0, 0.9),
            pattern: Climbed::new(features, 0.0, 0.9),
            weight: 0.0,
            fit,
            steps: 0,
            epoch: (0, 0),
            kept: Vec::new(),
            improved: 0,
            gain: 0.0,
            before: f64::INFINITY,
        }
    }

    fn size(&self) -> Option<f64> {
        self.kept.last().map(|k| k.0)
    }

    fn is_done(&self, most: u32) -> bool {
        self.steps >= most || (!self.kept.is_empty() && self.steps - self.improved >= PATIENCE)
    }

    /// Samples of the next step: windows over the shuffled samples, one after the other.
    fn window(&self, batch: usize) -> Vec<usize> {
        let n = self.fit.len();
        let from = self.steps as usize * batch.min(n);
        (0..batch.min(n))
            .map(|i| self.fit[(from + i) % n])
            .collect()
    }
}

/// Pastes patches on samples.
struct Paste<'a> {
    subject: &'a Subject<'a>,
    positions: Positions,
    samples: &'a Samples,
}

impl Paste<'_> {
    fn sample(&self, i: usize) -> &[f32] {
        let features = self.positions.of.len();
        &self.samples.values[0][i * features..(i + 1) * features]
    }

    /// Pattern in data units.
    fn pattern(&self, shares: &[f32]) -> Vec<f32> {
        let at = |(f, share): (usize, &f32)| self.subject.at(f, *share);
        shares.iter().enumerate().map(at).collect()
    }

    fn onto<'b>(
        &'b self,
        sample: impl Fn(usize) -> f32 + 'b,
        mask: &'b [f32],
        pattern: &'b [f32],
    ) -> impl Iterator<Item = f32> + 'b {
        self.positions.of.iter().enumerate().map(move |(f, p)| {
            let m = mask[*p];
            (1.0 - m) * sample(f) + m * pattern[f]
        })
    }
}

/// Finds the patch of each class. `None` stands for a class whose patch does not succeed on enough samples.
pub fn invert(
    subject: &Subject<'_>,
    samples: &Samples,
    split: &Split,
    settings: &Inversion,
) -> Result<Vec<Option<Patch>>, ProbeError> {
    let paste = Paste {
        subject,
        positions: subject.grid(),
        samples,
    };
    let desk = Desk::of(subject)?;
    let mut panel = Panel::open(subject, &desk, "trigger-inversion")?;
    let mut arms: Vec<Arm> = Vec::with_capacity(subject.classes());
    for class in 0..subject.classes() {
        let fit = Split::besides(&split.fit, samples, class);
        if fit.is_empty() {
            return Err(ProbeError::Unfit(format!(
                "samples of classes other than {class} to fit on"
            )));
        }
        arms.push(Arm::new(
            class,
            fit,
            paste.positions.len(),
            paste.positions.of.len(),
        ));
    }
    let all = settings.steps as usize * arms.len().min(settings.arms.max(1))
        + WARM_UP.min(settings.steps) as usize * arms.len().saturating_sub(settings.arms.max(1));
    let mut round = 0;
    loop {
        let chosen = choose(&arms, settings, subject, round);
        if chosen.is_empty() {
            break;
        }
        let steps = if round == 0 { WARM_UP } else { ROUND };
        let before: Vec<Option<f64>> = chosen.iter().map(|c| arms[*c].size()).collect();
        for _ in 0..steps {
            if subject.watch.stop() {
                return Err(ProbeError::Stopped);
            }
            let done: u32 = arms.iter().map(|a| a.steps).sum();
            subject.watch.step(done as usize, all.max(done as usize));
            let active: Vec<usize> = (chosen.iter().copied())
                .filter(|c| !arms[*c].is_done(settings.steps))
                .collect();
            if active.is_empty() {
                break;
            }
            step(&mut panel, &paste, &mut arms, &active, settings)?;
        }
        for (c, before) in chosen.iter().zip(before) {
            let arm = &mut arms[*c];
            arm.before = before.unwrap_or(paste.positions.len() as f64);
            arm.gain = (arm.before - arm.size().unwrap_or(arm.before)) / f64::from(steps);
        }
        round += 1;
    }
    arms.iter()
        .map(|arm| finish(&mut panel, &paste, arm, split, settings))
        .collect()
}

/// Returns the classes that get the next steps: all of them at first, then those whose masks are small and still shrink,
/// and now and then another one.
fn choose(arms: &[Arm], settings: &Inversion, subject: &Subject<'_>, round: u32) -> Vec<usize> {
    let mut open: Vec<usize> = (0..arms.len())
        .filter(|c| !arms[*c].is_done(settings.steps))
        .collect();
    if round == 0 || open.len() == arms.len() && arms.len() <= settings.arms {
        return open;
    }
    // Classes not yet reached come last; those done leave their place to nobody.
    let taken = arms.len() - open.len();
    let places = settings.arms.max(1).saturating_sub(taken);
    if places == 0 || open.len() <= places {
        open.truncate(if arms.len() <= settings.arms {
            open.len()
        } else {
            places
        });
        return open;
    }
    let promise = |c: &usize| {
        let arm = &arms[*c];
        arm.size()
            .map_or(f64::INFINITY, |s| s - f64::from(ROUND) * arm.gain)
    };
    open.sort_by(|a, b| promise(a).total_cmp(&promise(b)).then(a.cmp(b)));
    let mut stream = Stream::new(&StreamKey {
        attack: CODE,
        step: round,
        ..StreamKey::new(subject.seed, 0, Purpose::Direction)
    });
    let mut rest = open.split_off(places);
    for place in &mut open {
        if f64::from(stream.uniform()) < settings.explore && !rest.is_empty() {
            let other = stream.below(rest.len() as u32) as usize;
            std::mem::swap(place, &mut rest[other]);
        }
    }
    open.sort_unstable();
    open
}

/// Takes one step of the classes `active`.
fn step(
    panel: &mut Panel<'_>,
    paste: &Paste<'_>,
    arms: &mut [Arm],
    active: &[usize],
    settings: &Inversion,
) -> Result<(), ProbeError> {
    let subject = paste.subject;
    let features = paste.positions.of.len();
    let mut points = Vec::new();
    let mut asked = Vec::new();
    let mut shares = Vec::new();
    for c in active {
        let arm = &arms[*c];
        let (mask, own) = (arm.mask.shares(), arm.pattern.shares());
        let pattern = paste.pattern(&own);
        let window = arm.window(settings.batch);
        for i in &window {
            let sample = paste.sample(*i);
            points.extend(paste.onto(|f| sample[f], &mask, &pattern));
            asked.push(Asked {
                class: arm.class,
                key: paste.samples.keys[*i],
                draw: 0,
            });
        }
        // The patch by itself.
        points.extend(paste.onto(|f| subject.at(f, 0.5), &mask, &pattern));
        asked.push(Asked {
            class: arm.class,
            key: arm.class as u64,
            draw: 0,
        });
        shares.push((mask, own, pattern, window));
    }
    let answer = panel.gradient(&points, &asked, Climb::LogProbability)?;
    let classes = subject.classes();
    let mut from = 0;
    for (c, (mask, own, pattern, window)) in active.iter().zip(shares) {
        let arm = &mut arms[*c];
        let n = window.len();
        let (mut by_mask, mut by_pattern) = (vec![0.0; mask.len()], vec![0.0; features]);
        // The samples, then the patch by itself.
        let places = window.iter().map(Some).chain([None]);
        for (at, place) in (from..).zip(places) {
            let scale = place.map_or(settings.alone, |_| 1.0 / n as f64);
            let sample = place.map(|i| paste.sample(*i));
            let gradient = &answer.gradient[at * features..(at + 1) * features];
            for (f, (g, p)) in gradient.iter().zip(&paste.positions.of).enumerate() {
                let g = f64::from(*g) * scale;
                let under = sample.map_or_else(|| subject.at(f, 0.5), |s| s[f]);
                by_mask[*p] += g * f64::from(pattern[f] - under);
                by_pattern[f] += g * f64::from(mask[*p] * subject.width(f));
            }
        }
        let scores = &answer.scores[from * classes..(from + n) * classes];
        let hits = scores
            .chunks(classes)
            .filter(|s| predict(s) == Some(arm.class));
        arm.epoch.0 += hits.count();
        arm.epoch.1 += n;
        from += n + 1;
        penalise(&mut by_mask, &mask, &paste.positions, arm.weight, settings);
        end_epoch(arm, &mask, &pattern, settings);
        arm.mask.climb(&by_mask, &mask, settings.rate);
        arm.pattern.climb(&by_pattern, &own, settings.rate);
        arm.steps += 1;
    }
    Ok(())
}

/// Subtracts the gradient of size and roughness of a mask.
fn penalise(
    gradient: &mut [f64],
    mask: &[f32],
    positions: &Positions,
    weight: f64,
    settings: &Inversion,
) {
    let unit = weight * WHOLE / mask.len() as f64;
    for (g, m) in gradient.iter_mut().zip(mask) {
        *g -= unit * (1.0 + settings.elastic * 2.0 * f64::from(*m));
    }
    let (rows, columns) = (positions.rows, positions.columns);
    let mut pair = |a: usize, b: usize| {
        let slope = unit * settings.smooth * 2.0 * f64::from(mask[a] - mask[b]);
        gradient[a] -= slope;
        gradient[b] += slope;
    };
    // Features that are not pixels have no neighbours.
    if rows > 1 {
        for p in 0..rows * columns {
            if p % columns + 1 < columns {
                pair(p, p + 1);
            }
            if p + columns < rows * columns {
                pair(p, p + columns);
            }
        }
    }
}

/// At the end of an epoch, keeps the mask if it succeeded and is smaller, and changes the weight of its size.
fn end_epoch(arm: &mut Arm, mask: &[f32], pattern: &[f32], settings: &Inversion) {
    if arm.epoch.1 < arm.fit.len().min(4 * settings.batch) {
        return;
    }
    let success = arm.epoch.0 as f64 / arm.epoch.1 as f64;
    arm.epoch = (0, 0);
    if success < settings.success {
        arm.weight /= settings.factor.powf(1.5);
        if arm.weight < settings.weight {
            // Never back to 0: the size stays a term once it is one.
            arm.weight = if arm.weight > 0.0 {
                settings.weight
            } else {
                0.0
            };
        }
        return;
    }
    arm.weight = if arm.weight == 0.0 {
        settings.weight
    } else {
        (arm.weight * settings.factor).min(HEAVIEST)
    };
    let size: f64 = mask.iter().map(|m| f64::from(*m)).sum();
    if arm.size().is_none_or(|kept| size < SMALLER * kept) {
        arm.kept.push((size, mask.to_vec(), pattern.to_vec()));
        arm.improved = arm.steps;
    }
}

/// Returns the smallest patch that succeeds on all samples it was fitted on, measured on those held out.
fn finish(
    panel: &mut Panel<'_>,
    paste: &Paste<'_>,
    arm: &Arm,
    split: &Split,
    settings: &Inversion,
) -> Result<Option<Patch>, ProbeError> {
    for (_, mask, pattern) in arm.kept.iter().rev() {
        let reached = success(panel, paste, arm.class, mask, pattern, &arm.fit)?;
        if reached < settings.success {
            continue;
        }
        let others = Split::besides(&split.held_out, paste.samples, arm.class);
        let held_out = if others.is_empty() {
            None
        } else {
            let share = success(panel, paste, arm.class, mask, pattern, &others)?;
            Some((share, others.len()))
        };
        return Ok(Some(Patch {
            class: arm.class,
            mask: mask.clone(),
            pattern: pattern.clone(),
            reached,
            held_out,
        }));
    }
    Ok(None)
}

/// Returns the share of samples that a patch moves to a class.
fn success(
    panel: &mut Panel<'_>,
    paste: &Paste<'_>,
    class: usize,
    mask: &[f32],
    pattern: &[f32],
    places: &[usize],
) -> Result<f64, ProbeError> {
    let mut points = Vec::new();
    let mut asked = Vec::new();
    for i in places {
        let sample = paste.sample(*i);
        points.extend(paste.onto(|f| sample[f], mask, pattern));
        asked.push(Asked {
            class,
            key: paste.samples.keys[*i],
            draw: 0,
        });
    }
    let scores = panel.scores(&points, &asked)?;
    let width = paste.subject.classes();
    let hits = scores.chunks(width).filter(|s| predict(s) == Some(class));
    Ok(hits.count() as f64 / places.len() as f64)
}
