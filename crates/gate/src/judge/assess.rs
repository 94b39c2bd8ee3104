use std::fmt::Write as _;

use proofmark_domain::{Report, Verdict};

use crate::certified;
use crate::kind::{Comparison, figures, measure, settling};
use crate::metric::Metric;
use crate::trust::own;

/// Result of judging one requirement on one report, without a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// Verdict, with trust flags applied.
    pub verdict: Verdict,
    /// The figures; if the verdict is not a pass, also the reason and what to do next.
    pub message: String,
}

/// Judges whether `metric` is at least `threshold` (in `[0, 1]`) with confidence `level` (in `(0, 1)`).
///
/// Applies the same rules as a policy: the interval decides, and a trust flag that is not cured turns a pass into
/// inconclusive and changes nothing else. Used by test assertions and `--fail-under`.
pub fn assess(report: &Report, metric: Metric, threshold: f64, level: f64) -> Assessment {
    if let Metric::RobustAccuracyOf(id) = &metric
        && !report.attacks.iter().any(|a| a.id == *id)
    {
        let known: Vec<&str> = report.attacks.iter().map(|a| a.id.as_str()).collect();
        let message = format!(
            "no attack `{id}` was run; those run are {}",
            known.join(", ")
        );
        return Assessment {
            verdict: Verdict::Error,
            message,
        };
    }
    if metric == Metric::CertifiedAccuracy && certified::of_model(report).is_empty() {
        return Assessment {
            verdict: Verdict::Error,
            message: "nothing certified the model; run it with a certificate, such as `interval`"
                .to_owned(),
        };
    }
    let own = own(&metric, report);
    let comparison = Comparison { metric, threshold };
    let result = measure(&comparison, level, report);
    let mut message = format!(
        "{} (required: {comparison})",
        figures(&comparison, &result, level, report)
    );
    let shaken: Vec<_> = report
        .trust
        .iter()
        .filter(|f| !f.cured)
        .chain(&own)
        .collect();
    let verdict = match result.verdict {
        Verdict::Pass if !shaken.is_empty() => Verdict::Inconclusive,
        other => other,
    };
    match result.verdict {
        Verdict::Fail => message += "; the whole interval is below the threshold",
        Verdict::Inconclusive => {
            message += "; the threshold lies inside the interval; ";
            message += &settling(&comparison, &result, report);
        }
        Verdict::Pass | Verdict::Error => {}
    }
    for flag in shaken {
        // Writing to a string cannot fail.
        let _ = write!(
            message,
            "\n  {}: {}\n    what to do: {}",
            flag.code,
            flag.message,
            flag.code.remediation()
        );
    }
    Assessment { verdict, message }
}
