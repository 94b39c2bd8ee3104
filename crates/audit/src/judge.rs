//! Judges figures against requirements: pass, fail or inconclusive.
//!
//! # Idea
//! A policy requires `disparity <= tolerance` (or `>=` for ratios). A figure fails if its whole interval lies beyond
//! the tolerance, passes if its whole interval lies within it, and is inconclusive otherwise.
//!
//! # Maths
//! The `m` figures that a policy gates by their interval form one family: each is judged at Sidak's `level^(1/m)`, so
//! that the probability of *any* false fail in the family, and of any false pass, is at most `1 - level`. Figures that
//! are not gated are exploratory: each gets an interval at `level` and a p-value for equal groups, and their p-values
//! are adjusted together after Benjamini and Hochberg. They do not affect the verdict.
//!
//! `judge = point` compares the value itself, as published rules do (four fifths, impact-ratio tables). Such a rule is
//! about a number and gives no evidence about a model: with two truly equal groups of 30, it reports unfairness more
//! than half of the time.
//!
//! # Reference
//! Sidak, JASA 62 (1967); Benjamini and Hochberg, JRSS B 57 (1995); the four-fifths rule: 29 CFR 1607.4 D.

use proofmark_domain::{Interval, Verdict};
use proofmark_stats::{benjamini_hochberg, further_to_settle, sidak_level, sidak_p};

use crate::evidence::{IntervalInput, Picked, rounding};
use crate::{AuditError, Figure};

/// The side of the tolerance on which the figure must lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The figure is at most the tolerance: differences, distances, indices.
    AtMost,
    /// The figure is at least the tolerance: ratios.
    AtLeast,
}

/// The quantity compared with the tolerance.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "lowercase")]
pub enum By {
    /// The interval: pass and fail hold with a stated confidence.
    #[default]
    Interval,
    /// The value, as in published point rules; it does not account for chance.
    Point,
}

/// One requirement of a policy on one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    /// The metric's id.
    pub metric: String,
    /// The attribute, or attributes joined as in the figures; `None` for every attribute.
    pub attribute: Option<String>,
    /// Required side of the tolerance.
    pub bound: Bound,
    /// The tolerance.
    pub tolerance: f64,
    /// The quantity compared with the tolerance.
    pub by: By,
}

impl Requirement {
    /// Whether this requirement gates the figure, which must be the headline of its metric.
    pub fn gates(&self, figure: &Figure) -> bool {
        figure.comparison.is_headline()
            && self.metric == figure.metric
            && self
                .attribute
                .as_ref()
                .is_none_or(|a| *a == figure.attribute)
    }

    fn rounding(&self) -> f64 {
        rounding(self.tolerance)
    }

    fn passes(&self, i: Interval) -> bool {
        match self.bound {
            Bound::AtMost => i.high <= self.tolerance + self.rounding(),
            Bound::AtLeast => i.low >= self.tolerance - self.rounding(),
        }
    }

    fn fails(&self, i: Interval) -> bool {
        match self.bound {
            Bound::AtMost => i.low > self.tolerance + self.rounding(),
            Bound::AtLeast => i.high < self.tolerance - self.rounding(),
        }
    }

    /// Returns the verdict for an interval, or for a value (`low == high`). NaN is inconclusive.
    pub fn verdict(&self, i: Interval) -> Verdict {
        if self.passes(i) {
            Verdict::Pass
        } else if self.fails(i) {
            Verdict::Fail
        } else {
            Verdict::Inconclusive
        }
    }
}

/// Outcome of one requirement on one figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruling {
    /// Index of the requirement in the policy.
    pub requirement: usize,
    /// Pass, fail or inconclusive. A figure that cannot be estimated, or has no interval, is inconclusive.
    pub verdict: Verdict,
    /// The interval at the family's level; `None` for a point rule, or if there is no interval. A figure with an
    /// interval counts towards the family.
    pub interval: Option<Interval>,
    /// If inconclusive: about how many more rows, distributed over the groups like the existing ones, would settle it
    /// if the estimates stayed the same. `None` if no number would, or more than ten million.
    pub needed: Option<u64>,
}

/// Judgement of one figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The interval of the figure by itself at the policy's level; `None` if it cannot be estimated or has no interval.
    pub interval: Option<Interval>,
    /// The p-value: of the tolerance for a gated figure (the smallest of several), otherwise of equal groups. `None`
    /// for a rate by itself, or for a figure that only point rules gate.
    pub p_value: Option<f64>,
    /// The p-value, adjusted for the gated figures (Sidak) or for the exploratory ones (Benjamini-Hochberg).
    pub p_adjusted: Option<f64>,
    /// One ruling for every requirement that gates the figure; empty if the figure is exploratory.
    pub rulings: Vec<Ruling>,
}

impl Judgement {
    /// Whether no requirement gates it.
    pub fn is_exploratory(&self) -> bool {
        self.rulings.is_empty()
    }
}

/// Whether both ends are numbers, infinite ones included.
fn is_known(i: &Interval) -> bool {
    !i.low.is_nan() && !i.high.is_nan()
}

/// Refuses a confidence too close to 0 or 1: thousands of contrasts share it, and the level of each must still differ
/// from 0 and 1.
pub(crate) fn check_level(level: f64) -> Result<(), AuditError> {
    const LEAST: f64 = 1e-9;
    if (LEAST..=1.0 - LEAST).contains(&level) {
        return Ok(());
    }
    Err(AuditError::Option {
        option: "level",
        value: level.to_string(),
        expected: "a confidence between 0 and 1, at least 1e-9 away from either, such as 0.95"
            .to_owned(),
    })
}

/// Judges figures, in their order. `level` is the confidence of the family, in `(0, 1)`. `elsewhere` is the number of
/// figures of the same family that other calls judge, since one policy may gate several tables.
pub fn judge(
    figures: &[Figure],
    requirements: &[Requirement],
    level: f64,
    elsewhere: usize,
) -> Vec<Judgement> {
    let picked = Picked::new(figures);
    let evidence: Vec<Option<IntervalInput>> = figures
        .iter()
        .map(|f| IntervalInput::of(f, picked.among(f)))
        .collect();
    let by_interval = |r: &Requirement, f: &Figure| r.by == By::Interval && r.gates(f);
    let family = figures
        .iter()
        .zip(&evidence)
        .filter(|(f, e)| e.is_some() && requirements.iter().any(|r| by_interval(r, f)))
        .count()
        + elsewhere;
    let family_level = sidak_level(level, family);
    let mut judgements: Vec<Judgement> = figures
        .iter()
        .zip(&evidence)
        .map(|(figure, evidence)| {
            let evidence = evidence.as_ref();
            let gating = || {
                requirements
                    .iter()
                    .enumerate()
                    .filter(|(_, r)| r.gates(figure))
            };
            let rulings: Vec<Ruling> = gating()
                .map(|(at, r)| rule(at, r, figure, evidence, family_level))
                .collect();
            let tested = |r: &&Requirement| r.by == By::Interval;
            let at_tolerance = gating().map(|(_, r)| r).filter(tested);
            let p_value = evidence.and_then(|e| {
                if rulings.is_empty() {
                    return e.equality().map(|equal| e.p_value(equal));
                }
                at_tolerance
                    .map(|r| e.p_value(r.tolerance))
                    .reduce(f64::min)
            });
            Judgement {
                interval: evidence.map(|e| e.interval(level)).filter(is_known),
                p_value,
                p_adjusted: p_value.map(|p| sidak_p(p, family)),
                rulings,
            }
        })
        .collect();
    let exploratory = |j: &Judgement| match j.p_value {
        Some(p) if j.is_exploratory() => p,
        _ => f64::NAN,
    };
    let p: Vec<f64> = judgements.iter().map(exploratory).collect();
    for (judgement, adjusted) in judgements.iter_mut().zip(benjamini_hochberg(&p)) {
        if !adjusted.is_nan() {
            judgement.p_adjusted = Some(adjusted);
        }
    }
    judgements
}

/// Returns the interval of each figure by itself; `None` if it cannot be estimated or has no interval.
pub(crate) fn intervals(figures: &[Figure], level: f64) -> Vec<Option<Interval>> {
    let picked = Picked::new(figures);
    let evidence = figures
        .iter()
        .map(|f| IntervalInput::of(f, picked.among(f)));
    let interval = |e: Option<IntervalInput>| Some(e?.interval(level)).filter(is_known);
    evidence.map(interval).collect()
}

fn rule(
    place: usize,
    requirement: &Requirement,
    figure: &Figure,
    evidence: Option<&IntervalInput>,
    level: f64,
) -> Ruling {
    let open = Ruling {
        requirement: place,
        verdict: Verdict::Inconclusive,
        interval: None,
        needed: None,
    };
    match (requirement.by, evidence) {
        (By::Point, _) => match figure.value() {
            Some(v) => Ruling {
                verdict: requirement.verdict(Interval { low: v, high: v }),
                ..open
            },
            None => open,
        },
        (By::Interval, None) => open,
        (By::Interval, Some(evidence)) => {
            let at = evidence.criticals(level);
            let interval = evidence.interval_at(&at);
            if !is_known(&interval) {
                return open;
            }
            let verdict = requirement.verdict(interval);
            let settled = |factor: f64| {
                requirement.verdict(evidence.scaled(factor).interval_at(&at))
                    != Verdict::Inconclusive
            };
            let undecided = verdict == Verdict::Inconclusive;
            Ruling {
                verdict,
                interval: Some(interval),
                needed: undecided
                    .then(|| further_to_settle(figure.persons, settled))
                    .flatten(),
                ..open
            }
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
