//! Sequential runs: samples in a seeded order, looks declared beforehand, an end at the first look that decides.

use proofmark_data::sequence;
use proofmark_domain::{Report, SampleRecord, Sampling, Seed, Shard};
use proofmark_stats::{doubling_looks, level_at_look};

use crate::kind::{Comparison, measure};
use crate::summary::{apart, summarise};

/// Sizes at which a sequential run may end, besides all its samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Looks {
    /// All samples, half of them, a quarter, …, as long as a look has at least 50.
    #[default]
    Doubling,
    /// These numbers of samples, in increasing order; those above the number of samples are left out.
    At(Vec<usize>),
}

impl Looks {
    /// Returns the looks on the way to `n` samples, `n` included.
    ///
    /// ```
    /// use proofmark_gate::Looks;
    /// assert_eq!(Looks::Doubling.sizes(400), [50, 100, 200, 400]);
    /// assert_eq!(Looks::At(vec![100, 1000]).sizes(400), [100, 400]);
    /// ```
    pub fn sizes(&self, n: usize) -> Vec<usize> {
        match self {
            Self::Doubling => doubling_looks(n),
            Self::At(sizes) => {
                let mut looks: Vec<usize> = sizes.iter().copied().filter(|s| *s < n).collect();
                looks.push(n);
                looks
            }
        }
    }
}

/// Returns how a run was sampled, with the looks that a report of `samples` samples has made.
pub(crate) fn made(sampling: Sampling, samples: usize, shard: Option<Shard>) -> Sampling {
    let Sampling::Sequential { looks, .. } = sampling;
    let made = match shard {
        // A shard cannot know what the others find, so it goes through all of its samples.
        Some(_) => looks.len(),
        None => looks.iter().filter(|l| **l <= samples).count(),
    };
    let made = made.max(1);
    Sampling::Sequential { looks, made }
}

/// Returns the level of an interval that, with those of all other looks, holds at `level`.
pub(crate) fn level(sampling: Option<&Sampling>, level: f64) -> f64 {
    match sampling {
        None => level,
        Some(Sampling::Sequential { looks, made }) => {
            level_at_look(level, looks, made.saturating_sub(1))
        }
    }
}

/// Returns the level of the interval at the last look, where a sequential run that was not decided ends.
pub(crate) fn level_at_end(sampling: Option<&Sampling>, level: f64) -> f64 {
    match sampling {
        None => level,
        Some(Sampling::Sequential { looks, .. }) => {
            level_at_look(level, looks, looks.len().saturating_sub(1))
        }
    }
}

/// Says which look a report ends at: `look 2 of 6`. `None` if its number of samples was fixed.
pub(crate) fn described(sampling: Option<&Sampling>) -> Option<String> {
    let Sampling::Sequential { looks, made } = sampling?;
    Some(format!("look {made} of {}", looks.len()))
}

/// Whether a sequential run ended before all its looks were made.
pub(crate) fn ended_early(report: &Report) -> bool {
    match &report.sampling {
        None => false,
        Some(Sampling::Sequential { looks, made }) => *made < looks.len(),
    }
}

/// Whether every one of `comparisons` passes or fails on a report by its interval at `level`.
pub(crate) fn decided(comparisons: &[Comparison], level: f64, report: &Report) -> bool {
    let settled = |c: &Comparison| measure(c, level, report).is_decided();
    comparisons.iter().all(settled)
}

/// Returns the part of a sequential report up to its first look at which `decided` holds, or up to the last look that it
/// covers: results beyond it count in no figure. A report of a fixed number of samples, or of a shard, is returned
/// whole. Everything is computed again from the samples.
pub(crate) fn up_to_end(report: Report, decided: impl Fn(&Report) -> bool) -> Report {
    let (head, runs, samples) = apart(report);
    let Some(Sampling::Sequential { looks, .. }) = &head.sampling else {
        return summarise(head, runs, samples);
    };
    if head.shard.is_some() {
        return summarise(head, runs, samples);
    }
    let rank = sequence(samples.iter().map(|s| &s.id), Seed(head.seed));
    let mut samples: Vec<(u64, SampleRecord)> = rank.into_iter().zip(samples).collect();
    samples.sort_by_key(|(rank, _)| *rank);
    let samples: Vec<SampleRecord> = samples.into_iter().map(|(_, s)| s).collect();
    for look in looks.iter().filter(|l| **l < samples.len()) {
        let part = summarise(head.clone(), runs.clone(), samples[..*look].to_vec());
        if decided(&part) {
            return part;
        }
    }
    summarise(head, runs, samples)
}

/// Joins the report of a sequential run with that of the samples up to its next look.
pub fn extend(earlier: Report, next: Report) -> Report {
    let (mut head, mut runs, mut samples) = apart(earlier);
    head.seconds += next.seconds;
    for (run, more) in runs.iter_mut().zip(&next.attacks) {
        run.cost += more.cost;
        if run.failed.is_none() {
            run.failed.clone_from(&more.failed);
        }
    }
    samples.extend(next.samples);
    summarise(head, runs, samples)
}

/// Whether a sequential run may end: every requirement (a metric and the least value it must reach) passes or fails by
/// its interval at `level`, over all looks. Trust flags have no say, so that no run goes on until they vanish.
pub fn is_decided(report: &Report, requirements: &[(crate::Metric, f64)], level: f64) -> bool {
    let comparison = |(metric, threshold): &(crate::Metric, f64)| Comparison {
        metric: metric.clone(),
        threshold: *threshold,
    };
    let comparisons: Vec<Comparison> = requirements.iter().map(comparison).collect();
    decided(&comparisons, level, report)
}
