use proofmark_domain::{Interval, Report, Verdict};

use super::requirement::Comparison;
use crate::ComparisonResult;
use crate::metric::Counts;
use crate::sequence;

/// Measures one comparison. It passes if the lower end of the interval reaches the threshold, fails if the upper end is
/// below it, and is inconclusive otherwise or without samples. The interval of a sequential report is that of its look.
pub(crate) fn measure(comparison: &Comparison, level: f64, report: &Report) -> ComparisonResult {
    let Comparison { metric, threshold } = comparison;
    let counts = Counts::of(metric, report);
    let sampling = report.sampling.as_ref();
    let estimate = counts.estimate(metric, sequence::level(sampling, level));
    let verdict = if estimate.n == 0 {
        Verdict::Inconclusive
    } else if estimate.ci.low >= *threshold {
        Verdict::Pass
    } else if estimate.ci.high < *threshold {
        Verdict::Fail
    } else {
        Verdict::Inconclusive
    };
    let needed = if verdict == Verdict::Inconclusive && !sequence::ended_early(report) {
        needed(comparison, sequence::level_at_end(sampling, level), &counts)
    } else {
        None
    };
    ComparisonResult {
        requirement: comparison.to_string(),
        verdict,
        observed: estimate.observed,
        ci: Some(estimate.ci),
        threshold: *threshold,
        n: estimate.n,
        needed,
    }
}

/// Returns how many further samples of the whole set are needed. A need for samples of one class is scaled up by the
/// inverse of that class's share of the set.
fn needed(comparison: &Comparison, level: f64, counts: &Counts) -> Option<u64> {
    let Comparison { metric, threshold } = comparison;
    match counts.proportion(metric) {
        Some(share) => proofmark_stats::samples_to_settle(share.hits, share.n, *threshold, level)
            .map(|more| (more as f64 * counts.n() as f64 / share.n as f64).ceil() as u64),
        None => counts.further(metric, *threshold, level),
    }
}

/// Returns a level in percent, rounded, so that 0.95 prints as 95 and not 94.99999999999999.
pub(super) fn percent(level: f64) -> f64 {
    (level * 1e8).round() / 1e6
}

/// Formats the figures as one clause: `robust_accuracy is 0.580 [0.549, 0.611] at 95 % over 1000 samples`.
pub(crate) fn figures(
    comparison: &Comparison,
    result: &ComparisonResult,
    level: f64,
    report: &Report,
) -> String {
    let observed = result
        .observed
        .map_or_else(|| "not defined (0 of 0)".to_owned(), |o| format!("{o:.3}"));
    let ci = result.ci.unwrap_or(Interval {
        low: 0.0,
        high: 1.0,
    });
    let look = sequence::described(report.sampling.as_ref());
    let looks = look.map_or_else(String::new, |look| format!(" ({look})"));
    format!(
        "{} is {observed} [{:.3}, {:.3}] at {} % over {} samples{looks}",
        comparison.metric,
        ci.low,
        ci.high,
        percent(level),
        result.n
    )
}

/// Says what would settle an undecided comparison.
pub(crate) fn settling(
    comparison: &Comparison,
    result: &ComparisonResult,
    report: &Report,
) -> String {
    if result.n == 0 {
        return "no sample counts: there are none, or all belong to the target class of a targeted run".to_owned();
    }
    if sequence::ended_early(report) {
        return "the evidence ends here, since the run was stopped or other requirements were decided".to_owned();
    }
    let left = report.data.total.saturating_sub(report.samples.len()) as u64;
    let unjudged = Counts::of(&comparison.metric, report).unjudged();
    let open = if unjudged > 0 {
        format!("{unjudged} samples could not be judged and hold the interval open; ")
    } else {
        String::new()
    };
    let more = match result.needed {
        Some(needed) if needed <= left => {
            format!("about {needed} further samples would settle it at the rate seen so far (the set has {left} more)")
        }
        Some(needed) => format!(
            "about {needed} further samples would settle it, but the set has only {left} more: this set cannot settle it"
        ),
        None if unjudged > 0 => "this set cannot settle it while they are not judged".to_owned(),
        None => "no number of further samples would settle it at the rate seen so far: this set cannot settle it".to_owned(),
    };
    format!("{open}{more}")
}
