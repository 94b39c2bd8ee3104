use std::fmt::Write as _;

use proofmark_audit::render::text::{grid, plain};
use proofmark_domain::{
    AttackSummary, CertificateSummary, Certifies, CurvePoint, DataFacts, Finding, FindingStatus,
    Interval, Report, Role, Verdict,
};

use super::{Document, Renderer};
use crate::GateReport;

/// Table format, for people: aligned columns, then the findings and what to do next.
#[derive(Debug)]
pub(super) struct Table;

impl Renderer for Table {
    fn id(&self) -> &'static str {
        "table"
    }

    fn about(&self) -> &'static str {
        "aligned text for a terminal"
    }

    fn render(&self, document: Document<'_>, colour: bool) -> Option<String> {
        Some(table(document, colour))
    }
}

/// Renders a document for people.
pub fn table(document: Document<'_>, colour: bool) -> String {
    match document {
        Document::Attack(attacked) => report(attacked, colour),
        Document::Audit(audit) => proofmark_audit::render::table(audit, colour),
        Document::Gate(judged) => gate(judged, colour),
    }
}

fn gate(report: &GateReport, colour: bool) -> String {
    let header = [
        "verdict",
        "check",
        "requirement",
        "observed",
        "interval",
        "n",
    ];
    let mut rows = Vec::new();
    for check in &report.checks {
        let verdict = |v: Verdict| {
            if v == Verdict::Pass || check.counts_as == v || check.counts_as != Verdict::Pass {
                v.to_string()
            } else {
                let waived = |f: &Finding| f.check == check.id && f.waived_by.is_some();
                let why = if report.findings.iter().any(waived) {
                    "waived"
                } else {
                    "warn only"
                };
                format!("{v} ({why})")
            }
        };
        if check.comparisons.is_empty() {
            let none = || "-".to_owned();
            rows.push(vec![
                verdict(check.verdict),
                plain(&check.id),
                plain(&check.requirement),
                none(),
                none(),
                none(),
            ]);
        }
        for c in &check.comparisons {
            let observed = c
                .observed
                .map_or_else(|| "-".to_owned(), |o| format!("{o:.3}"));
            let row = [
                verdict(c.verdict),
                plain(&check.id),
                plain(&c.requirement),
                observed,
                c.ci.map_or_else(|| "-".to_owned(), interval),
                match crate::sequence::described(check.sampling.as_ref()) {
                    Some(look) => format!("{} ({look})", c.n),
                    None => c.n.to_string(),
                },
            ];
            rows.push(row.to_vec());
        }
    }
    let mut text = grid(&header, rows);
    if !report.findings.is_empty() {
        text.push_str("\nfindings\n");
    }
    for finding in &report.findings {
        let place = if finding.check.is_empty() {
            "policy".to_owned()
        } else {
            plain(&finding.check)
        };
        let word = status(finding.status);
        let waived = finding
            .waived_by
            .as_ref()
            .map_or_else(String::new, |o| format!(" (waived by {})", plain(o)));
        let _ = writeln!(
            text,
            "  {}{waived} {place}/{}: {}",
            paint(word, shade(finding.status), colour),
            plain(&finding.code),
            plain(&finding.message)
        );
        let _ = writeln!(text, "    next: {}", plain(&finding.remediation));
        if let Some(at) = &finding.location {
            let file = plain(&at.file);
            let _ = writeln!(text, "    at: {file}:{}:{}", at.line, at.column);
        }
    }
    let _ = writeln!(
        text,
        "\nverdict: {}",
        paint(&report.verdict.to_string(), tone(report.verdict), colour)
    );
    text
}

/// Returns the units of the data's values, one line per modality, and the image transforms.
fn read_as(data: &DataFacts) -> String {
    let mut text = String::new();
    for (name, units) in &data.read_as.units {
        // With a single input, the bounds are listed under the model's name for it.
        let only = data
            .bounds
            .values()
            .next()
            .filter(|_| data.bounds.len() == 1);
        let within = data.bounds.get(name).or(only);
        let within = within.map_or_else(String::new, |b| format!(", within {b}"));
        let _ = writeln!(text, "{}: {}{}", plain(name), plain(units), plain(&within));
    }
    if !data.read_as.transforms.is_empty() {
        let _ = writeln!(
            text,
            "images: {}",
            plain(&data.read_as.transforms.join(", "))
        );
    }
    text
}

/// Says what success is and what accuracy means then; nothing for misclassification.
fn criterion(report: &Report) -> String {
    let field = |name: &str| report.config.get("criterion")?.get(name)?.as_str();
    let (Some(name), Some(success)) = (field("text"), field("success")) else {
        return String::new();
    };
    if name == "misclassification" {
        return String::new();
    }
    let reference = match field("reference") {
        Some("clean-outputs") => "; references are the model's own outputs without attack",
        Some(_) => "; references are those of the data",
        None => "",
    };
    format!(
        "criterion {}: an attack succeeds where {}{reference}\naccuracy: the share of samples on which that is not so, without attack and under attack\n",
        plain(name),
        plain(success)
    )
}

fn report(report: &Report, colour: bool) -> String {
    let mut text = format!(
        "{} on {}: {} of {} samples, {}, seed {}\n",
        plain(&report.model.name),
        plain(&report.data.name),
        report.clean.n,
        report.data.total,
        plain(&report.device),
        report.seed
    );
    if let Some(look) = crate::sequence::described(report.sampling.as_ref()) {
        let _ = writeln!(text, "sequential, {look}: intervals hold at all looks");
    }
    text.push_str(&read_as(&report.data));
    text.push_str(&criterion(report));
    text.push('\n');
    let header = [
        "attack",
        "threat",
        "accuracy",
        "95 % interval",
        "success",
        "forward",
        "computed",
        "backward",
    ];
    let mut rows = Vec::new();
    let blank = String::new;
    let clean = &report.clean;
    rows.push(vec![
        "clean".to_owned(),
        blank(),
        percent(clean.accuracy),
        interval(clean.ci95),
        blank(),
        blank(),
        blank(),
        blank(),
    ]);
    for a in &report.attacks {
        rows.push(figures(a));
    }
    let worst = &report.worst_case;
    if !report.attacks.is_empty() {
        let accuracy = percent(worst.robust_accuracy);
        rows.push(vec![
            "worst case".to_owned(),
            blank(),
            accuracy,
            interval(worst.ci95),
            success(worst.attack_success_rate),
            blank(),
            blank(),
        ]);
    }
    text.push_str(&grid(&header, rows));
    text.push_str(&universal(report));
    text.push_str(&surrogate(report));
    text.push_str(&certificates(report));
    if worst.invalid > 0 {
        let _ = writeln!(
            text,
            "\n{} of {} samples could not be judged; the interval counts them both ways",
            worst.invalid, worst.n
        );
    }
    text.push_str(&trust(report, colour));
    text
}

/// Returns how often each universal change succeeds on samples that it was not fitted on; empty without one.
fn universal(report: &Report) -> String {
    let mut text = String::new();
    for a in &report.attacks {
        let Some(h) = &a.held_out else { continue };
        let undecided = match h.invalid {
            0 => String::new(),
            n => format!("; {n} could not be judged, which the interval counts both ways"),
        };
        let _ = writeln!(
            text,
            "\n{} at {} {}: one change for all samples. Fitted on {}, of which it breaks {}; of the {} held out it breaks {}: fooling rate {}, 95 % interval {}{undecided}",
            plain(name(a)),
            a.threat.norm,
            plain(&a.threat.text),
            h.fitted,
            h.fitted_broken,
            h.n,
            h.broken,
            percent(h.fooling_rate),
            interval(h.ci95)
        );
    }
    text
}

/// Returns the surrogate of a report, its queries and its models; empty if there is none.
fn surrogate(report: &Report) -> String {
    let Some(s) = &report.model.surrogate else {
        return String::new();
    };
    let sum = |of: fn(&AttackSummary) -> u64| report.attacks.iter().map(of).sum::<u64>();
    let ways = if s.transfer {
        "transfer: final points alone are asked of the model"
    } else {
        "gradients alone"
    };
    let mut text = format!(
        "\nsurrogate: {} ({ways}), {} forward, {} backward\n",
        plain(&s.name),
        sum(|a| a.surrogate_forward),
        sum(|a| a.surrogate_backward)
    );
    for model in &s.models {
        let (name, sha256) = (plain(&model.name), plain(&model.sha256));
        let _ = writeln!(text, "  {name} sha256 {sha256}");
    }
    text
}

/// Returns the flags of a report, those that take a pass away with what to do next, and the codes that do not apply.
fn trust(report: &Report, colour: bool) -> String {
    let mut text = String::new();
    if !report.trust.is_empty() || !report.trust_not_applicable.is_empty() {
        text.push_str("\ntrust\n");
    }
    for flag in &report.trust {
        let (word, shade) = if flag.cured {
            ("note", DIM)
        } else {
            ("do not trust", YELLOW)
        };
        let _ = writeln!(
            text,
            "  {} {}: {}",
            paint(word, shade, colour),
            flag.code,
            plain(&flag.message)
        );
        if !flag.cured {
            let _ = writeln!(text, "    next: {}", flag.code.remediation());
        }
    }
    let reasons = [
        (
            true,
            format!("this model gives {}, no gradients", report.model.gives),
        ),
        (
            false,
            "the layer before the scores is not known, or the norm is l0".to_owned(),
        ),
    ];
    for (too_much, reason) in reasons {
        let codes = report.trust_not_applicable.iter();
        let codes: Vec<&str> = codes
            .filter(|c| (c.needs() > report.model.gives) == too_much)
            .map(|c| c.as_str())
            .collect();
        if !codes.is_empty() {
            let _ = writeln!(
                text,
                "  {} ({reason}): {}",
                paint("not applicable", DIM, colour),
                codes.join(", ")
            );
        }
    }
    text
}

/// Returns the certificates: between clean accuracy and certified accuracy lies what is neither broken nor proven.
fn certificates(report: &Report) -> String {
    if report.certified.is_empty() {
        return String::new();
    }
    let header = [
        "certificate",
        "of",
        "certified",
        "95 % interval",
        "attacked",
        "open",
    ];
    let attacked = |c: &CertificateSummary| {
        let same = |p: &&CurvePoint| p.norm == c.meta.threat.norm && p.eps == c.meta.threat.eps;
        let is_own = c.meta.certifies == Certifies::Model;
        report.curve.iter().find(same).filter(|_| is_own)
    };
    let row = |c: &CertificateSummary| {
        // Not broken by the attacks of the report, or by those on the smoothed model.
        let held = attacked(c).map(|p| p.correct).or(c.not_broken);
        vec![
            plain(&c.meta.key),
            match c.meta.certifies {
                Certifies::Model => "the model".to_owned(),
                Certifies::SmoothedModel => "the smoothed model".to_owned(),
            },
            percent(c.certified_accuracy),
            interval(c.ci95),
            held.map_or_else(|| "-".to_owned(), |h| percent(h as f64 / c.n.max(1) as f64)),
            held.map_or_else(
                || "-".to_owned(),
                |h| h.saturating_sub(c.certified).to_string(),
            ),
        ]
    };
    let mut text = String::from("\n");
    text.push_str(&grid(&header, report.certified.iter().map(row).collect()));
    let of = |what: Certifies| report.certified.iter().find(|c| c.meta.certifies == what);
    if of(Certifies::Model).is_some() {
        text.push_str(
            "\ntrue robust accuracy lies between certified and attacked; open samples are neither broken nor proven\n",
        );
    }
    if let Some(c) = of(Certifies::SmoothedModel) {
        let attacked = if c.not_broken.is_some() {
            "its column `attacked` is of attacks on the smoothed model"
        } else {
            "the smoothed model itself was not attacked"
        };
        let _ = writeln!(
            text,
            "\nsmoothing certifies the smoothed model ({}), not the model itself, and the attacks above ran on the model: compare neither with the other; {attacked}. The certificate of a sample is wrong with probability {} at most; the interval allows for {} wrong ones.",
            parameters(&c.meta.parameters),
            c.meta.alpha,
            c.false_at_most
        );
    }
    text
}

fn parameters(all: &serde_json::Map<String, serde_json::Value>) -> String {
    let each = all.iter().map(|(name, value)| format!("{name} {value}"));
    plain(&each.collect::<Vec<_>>().join(", "))
}

fn interval(ci: Interval) -> String {
    // An infinite end prints as `inf`.
    format!("[{:.3}, {:.3}]", ci.low, ci.high)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn success(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), percent)
}

/// Returns the cells of an attack's row.
fn figures(a: &AttackSummary) -> Vec<String> {
    vec![
        format!("{}{}", plain(name(a)), role(a)),
        format!("{} {}", a.threat.norm, plain(&a.threat.text)),
        percent(a.robust_accuracy),
        interval(a.ci95),
        success(a.attack_success_rate),
        a.forward.to_string(),
        a.cost.computed.to_string(),
        a.backward.to_string(),
    ]
}

/// Returns the attack's id, prefixed with its suite if it belongs to one.
fn name(attack: &AttackSummary) -> &str {
    let member = attack.key.split_once('@').map(|(name, _)| name);
    member.filter(|n| n.contains('/')).unwrap_or(&attack.id)
}

const fn role(attack: &AttackSummary) -> &'static str {
    match attack.role {
        Role::Attack => "",
        Role::Baseline => " (baseline)",
        Role::Probe => " (probe)",
        Role::Planted => " (planted)",
    }
}

const fn status(status: FindingStatus) -> &'static str {
    match status {
        FindingStatus::Fail => "fail",
        FindingStatus::Inconclusive => "inconclusive",
        FindingStatus::Error => "error",
        FindingStatus::Warn => "warn",
        FindingStatus::Note => "note",
    }
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const DIM: &str = "2";

const fn shade(status: FindingStatus) -> &'static str {
    match status {
        FindingStatus::Fail | FindingStatus::Error => RED,
        FindingStatus::Inconclusive | FindingStatus::Warn => YELLOW,
        FindingStatus::Note => DIM,
    }
}

const fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => GREEN,
        Verdict::Fail | Verdict::Error => RED,
        Verdict::Inconclusive => YELLOW,
    }
}

fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust};
    use proofmark_domain::{Observation, SampleRecord};

    use super::*;
    use crate::trust::fixture::{attack, noise, sample};

    #[test]
    fn an_attack_report_as_a_table() {
        let row = |i: u64| {
            let observed = if i == 30 {
                vec![Observation::ZeroGradient]
            } else {
                vec![]
            };
            let mut row: SampleRecord = sample(i, &[if i < 10 { Broken } else { Robust }, Robust]);
            row.runs[0].observed = observed;
            row
        };
        let r = crate::trust::fixture::report(
            vec![attack("pgd", 0.1), noise(0.1)],
            (0..40).map(row).collect(),
        );
        let expected = "\
digits-robust on digits: 40 of 1797 samples, cpu, seed 0

attack            threat    accuracy  95 % interval   success  forward  computed  backward
clean                       100.0 %   [0.912, 1.000]
pgd               linf 0.1  75.0 %    [0.588, 0.873]  25.0 %   400      640       200
noise (baseline)  linf 0.1  100.0 %   [0.912, 1.000]  0.0 %    400      640       200
worst case                  75.0 %    [0.588, 0.873]  25.0 %

trust
  do not trust zero-gradients: gradients were exactly zero on at least half of the steps on 1 of 30 samples (3.3 %) that no attack broke
    next: attack through the layer that kills the gradient (a straight-through estimate), or add attacks that need no gradient
";
        assert_eq!(report(&r, false), expected);
        assert!(report(&r, true).contains("\u{1b}[33mdo not trust\u{1b}[0m"));
    }

    #[test]
    fn codes_that_do_not_apply_to_a_model_are_listed() {
        use proofmark_domain::Needs;
        let mut head = crate::trust::fixture::head(1);
        head.model.gives = Needs::Decisions;
        let r = crate::summarise(head, vec![], vec![sample(0, &[])]);
        let text = report(&r, false);
        let end = "\ntrust\n  not applicable (this model gives decisions, no gradients): zero-gradients, \
                   non-finite-gradients, probabilities-as-logits, saturated-logits, tracked-logits-differ, \
                   baseline-beats-gradient, unbounded-attack-fails, approximate-gradients, \
                   unstable-predictions, incomplete-optimisation, transfer-failure, \
                   planted-adversarial-missed\n";
        assert!(text.ends_with(end), "{text}");
    }
}
