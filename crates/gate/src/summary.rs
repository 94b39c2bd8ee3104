use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use proofmark_domain::{
    AttackSummary, CertificateMeta, ClassSummary, CleanSummary, CurvePoint, DataFacts, HeldOut,
    ModelFacts, Norm, Observation, QueryCount, REPORT_SCHEMA, Report, Role, RunMeta, RunOutcome,
    RunStatus, SampleRecord, Sampling, Shard, ToolFacts, TrustCode, TrustFlag, WorstCase,
};
use serde_json::{Map, Value};

use crate::certified;
use crate::proportion::Proportion;
use crate::sequence;
use crate::standing::{self, Standing};
use crate::trust;

/// Maximum number of classes listed in full; a report with more lists only the classes that its samples have.
const LISTED_CLASSES: usize = 10_000;

/// Facts about a run in its report, besides the figures.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportHead {
    /// Name and version of the tool that made it.
    pub tool: ToolFacts,
    /// Every resolved parameter of the run.
    pub config: Map<String, Value>,
    /// The attacked model.
    pub model: ModelFacts,
    /// The data that the model was attacked on.
    pub data: DataFacts,
    /// Conversion from data units to model input.
    pub preprocessing: Map<String, Value>,
    /// The device that the run used.
    pub device: String,
    /// Rows per model call.
    pub tile: usize,
    /// The seed of every random number.
    pub seed: u64,
    /// Wall-clock seconds; 0 if no clock was given.
    pub seconds: f64,
    /// Part of the samples that this report covers, if the run was sharded.
    pub shard: Option<Shard>,
    /// How the number of samples came about, if it was not fixed beforehand. The looks made are counted again.
    pub sampling: Option<Sampling>,
    /// The certificates of the run.
    pub certificates: Vec<CertificateMeta>,
}

/// Splits a report into the arguments of [`summarise`].
pub(crate) fn apart(report: Report) -> (ReportHead, Vec<RunMeta>, Vec<SampleRecord>) {
    let runs = report.attacks.iter().map(AttackSummary::meta).collect();
    let head = ReportHead {
        tool: report.tool,
        config: report.config,
        model: report.model,
        data: report.data,
        preprocessing: report.preprocessing,
        device: report.device,
        tile: report.tile,
        seed: report.seed,
        seconds: report.seconds,
        shard: report.shard,
        sampling: report.sampling,
        certificates: report.certified.into_iter().map(|c| c.meta).collect(),
    };
    (head, runs, report.samples)
}

/// Computes every figure, interval and trust flag of a report from the runs' outcomes on each sample.
///
/// * `runs` are the attacks, baselines and probes; `samples` carry one [`RunOutcome`] per run, matched by its key (a
///   missing one counts as [`RunStatus::Skipped`], one of an unknown run is dropped). The worst-case fields of a sample
///   (`broken_by`, `gauge`, `distance`, `norm`, `adv_pred`) are filled in here.
/// * Robust in a run means correct without attack and [`RunStatus::Robust`]. A misclassified sample is not correct. An
///   invalid, stopped or skipped one is undecided: the point estimate counts it as not correct, and the interval runs
///   from "none of these held" to "all of them did".
/// * A probe (unbounded, on a subset) and a run on planted adversarials count neither for the worst case nor for the curve, and its own figures cover
///   the samples it attacked.
/// * On the curve, a sample broken at some budget is broken at every larger budget of the same norm.
/// * The intervals of a sequential run hold at all its looks at once.
/// * A sample that already belongs to the target class of a targeted run counts in no figure under attack, the start of
///   the curve included.
///
/// ```
/// # use proofmark_domain::*;
/// # use proofmark_gate::{ReportHead, summarise};
/// # let head = ReportHead {
/// #     tool: ToolFacts { name: "proofmark".into(), version: "0".into() }, config: Default::default(),
/// #     model: ModelFacts { name: "m".into(), sha256: "00".into(), origin: None, classes: 2, stated: vec![],
/// #         outputs: Outputs::Classes, gives: Needs::Gradients, surrogate: None },
/// #     data: DataFacts { name: "d".into(), sha256: "00".into(), total: 1, planned: 1,
/// #         bounds: Default::default(), reading: None,
/// #         read_as: Default::default() },
/// #     preprocessing: Default::default(), device: "cpu".into(), tile: 64, seed: 0, seconds: 0.0, shard: None,
/// #     sampling: None, certificates: vec![] };
/// let sample = SampleRecord {
///     id: SampleId::Row(0), label: 1, target: None, clean_pred: Some(1), adv_pred: None, clean_correct: true,
///     clean_outputs: vec![], adv_outputs: vec![], broken_by: None, gauge: None, distance: None, norm: None, observed: vec![], runs: vec![],
///     certificates: vec![], groups: Default::default(),
/// };
/// let report = summarise(head, vec![], vec![sample]);
/// assert_eq!((report.clean.correct, report.clean.n), (1, 1));
/// ```
pub fn summarise(head: ReportHead, runs: Vec<RunMeta>, mut samples: Vec<SampleRecord>) -> Report {
    samples.sort_by(|a, b| a.id.cmp(&b.id));
    for sample in &mut samples {
        align(sample, &runs);
        certified::align(sample, &head.certificates);
        fill_worst(sample, &runs);
        for observed in std::iter::once(&mut sample.observed)
            .chain(sample.runs.iter_mut().map(|r| &mut r.observed))
        {
            observed.sort_unstable();
            observed.dedup();
        }
    }
    let sampling = head.sampling;
    let sampling = sampling.map(|s| sequence::made(s, samples.len(), head.shard));
    // The level of every interval of the report.
    let level = sequence::level(sampling.as_ref(), 0.95);
    let clean = clean(&samples, level);
    let own: Vec<Vec<TrustFlag>> = runs
        .iter()
        .map(|run| {
            let scope = trust::Scope::Run(&run.key);
            let judged = (run.role.counts()).then_some(scope);
            judged.map_or_else(Vec::new, |scope| {
                trust::flags(&runs, &samples, &head.model, &head.data, &scope)
            })
        })
        .collect();
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        clean,
        worst_case: worst_case(&runs, &samples, level),
        curve: curve(&runs, &samples, level),
        certified: certified::summaries(head.certificates, &samples, level),
        per_class: if head.model.outputs.is_classes() {
            per_class(&runs, &samples, head.model.classes, level)
        } else {
            Vec::new()
        },
        trust: trust::flags(&runs, &samples, &head.model, &head.data, &trust::Scope::All),
        trust_not_applicable: TrustCode::ALL
            .into_iter()
            .filter(|code| is_unchecked(*code, &head.model) || is_unplanted(*code, &runs))
            .collect(),
        attacks: runs
            .into_iter()
            .zip(own)
            .enumerate()
            .map(|(i, (run, trust))| attack(i, run, trust, &samples, level))
            .collect(),
        tool: head.tool,
        config: head.config,
        model: head.model,
        data: head.data,
        preprocessing: head.preprocessing,
        device: head.device,
        tile: head.tile,
        seed: head.seed,
        seconds: head.seconds,
        shard: head.shard,
        sampling,
        samples,
        samples_file: None,
    }
}

/// Whether a trust code concerns access that the model does not give. The gradients of a surrogate make up for missing
/// ones: what goes wrong on the way is seen, but nothing is known about the model's own scores.
fn is_unchecked(code: TrustCode, model: &ModelFacts) -> bool {
    code.needs() > model.gives && (model.surrogate.is_none() || code.is_about_own_scores())
}

/// Whether a code needs a planted adversarial and none was planted, although the run tested its attack otherwise.
fn is_unplanted(code: TrustCode, runs: &[RunMeta]) -> bool {
    let has = |role| runs.iter().any(|r| r.role == role);
    code == TrustCode::PlantedAdversarialMissed && has(Role::Probe) && !has(Role::Planted)
}

/// Puts the outcomes of a sample in the order of the runs, so that later code can use the run's index.
fn align(sample: &mut SampleRecord, runs: &[RunMeta]) {
    if sample.runs.len() == runs.len() && sample.runs.iter().zip(runs).all(|(o, r)| o.run == r.key)
    {
        return;
    }
    let mut by_key: BTreeMap<String, RunOutcome> = std::mem::take(&mut sample.runs)
        .into_iter()
        .rev()
        .map(|o| (o.run.clone(), o))
        .collect();
    sample.runs = runs
        .iter()
        .map(|r| {
            by_key.remove(&r.key).unwrap_or_else(|| RunOutcome {
                run: r.key.clone(),
                status: RunStatus::Skipped,
                adv_pred: None,
                gauge: None,
                distance: None,
                forward: 0,
                backward: 0,
                surrogate_forward: 0,
                surrogate_backward: 0,
                observed: Vec::new(),
            })
        })
        .collect();
}

fn fill_worst(sample: &mut SampleRecord, runs: &[RunMeta]) {
    let breaker = runs
        .iter()
        .zip(&sample.runs)
        .filter(|(run, outcome)| run.role.counts() && outcome.status == RunStatus::Broken)
        .min_by(|a, b| a.0.threat.eps.total_cmp(&b.0.threat.eps));
    if let Some((run, outcome)) = breaker {
        sample.broken_by = Some(run.key.clone());
        sample.adv_pred = outcome.adv_pred;
        sample.gauge = outcome.gauge;
        sample.distance = outcome.distance;
        sample.norm = Some(run.threat.norm);
    } else {
        sample.broken_by = None;
        sample.adv_pred = sample.clean_pred;
        sample.gauge = None;
        sample.distance = None;
        sample.norm = None;
    }
}

/// Counts all samples, the robust ones and the unjudged ones, by `standing`.
fn count<'a>(
    samples: impl IntoIterator<Item = &'a SampleRecord>,
    standing: impl Fn(&SampleRecord) -> Standing,
) -> Proportion {
    let mut share = Proportion::default();
    for sample in samples {
        let standing = standing(sample);
        share.n += 1;
        share.hits += u64::from(standing == Standing::Robust);
        share.unjudged += u64::from(standing == Standing::Unjudged);
    }
    share
}

/// Returns the samples that figures under attack cover.
fn attackable(samples: &[SampleRecord]) -> impl Iterator<Item = &SampleRecord> + Clone {
    samples.iter().filter(|s| !s.is_of_target())
}

fn clean(samples: &[SampleRecord], level: f64) -> CleanSummary {
    let share = count(samples, standing::clean);
    CleanSummary {
        correct: share.hits as usize,
        n: samples.len(),
        invalid: share.unjudged as usize,
        accuracy: share.point(),
        ci95: share.interval(level),
    }
}

fn attack(
    index: usize,
    run: RunMeta,
    trust: Vec<TrustFlag>,
    samples: &[SampleRecord],
    level: f64,
) -> AttackSummary {
    let (mut correct, mut invalid, mut broken, mut tried, mut n) = (0, 0, 0, 0, 0);
    let mut queries = QueryCount::default();
    for sample in samples {
        let outcome = &sample.runs[index];
        queries += QueryCount {
            forward: outcome.forward,
            backward: outcome.backward,
            surrogate_forward: outcome.surrogate_forward,
            surrogate_backward: outcome.surrogate_backward,
        };
        let skipped = outcome.status == RunStatus::Skipped;
        if if run.role.counts() {
            sample.is_of_target()
        } else {
            skipped
        } {
            continue;
        }
        n += 1;
        tried += usize::from(!matches!(
            outcome.status,
            RunStatus::Misclassified | RunStatus::Skipped | RunStatus::BrokenBefore
        ));
        match outcome.status {
            RunStatus::Robust => correct += usize::from(sample.clean_correct),
            RunStatus::Broken => broken += 1,
            RunStatus::Invalid | RunStatus::Stopped | RunStatus::Skipped => {
                invalid += usize::from(sample.clean_correct || sample.clean_pred.is_none());
            }
            RunStatus::Misclassified | RunStatus::BrokenBefore => {}
        }
    }
    let share = Proportion::new(correct, invalid, n);
    AttackSummary {
        id: run.id,
        version: run.version,
        key: run.key,
        role: run.role,
        gradient: run.gradient,
        threat: run.threat,
        parameters: run.parameters,
        step_size: run.step_size,
        correct,
        n,
        invalid,
        robust_accuracy: share.point(),
        ci95: share.interval(level),
        attack_success_rate: ratio(broken, tried),
        held_out: held_out(index, samples, level),
        forward: queries.forward,
        backward: queries.backward,
        surrogate_forward: queries.surrogate_forward,
        surrogate_backward: queries.surrogate_backward,
        cost: run.cost,
        failed: run.failed,
        trust,
    }
}

/// Counts the samples of a universal attack that its change was not fitted on; `None` for other attacks.
fn held_out(index: usize, samples: &[SampleRecord], level: f64) -> Option<HeldOut> {
    let outcomes = attackable(samples).map(|s| &s.runs[index]).filter(|o| {
        let untouched = [
            RunStatus::Misclassified,
            RunStatus::Skipped,
            RunStatus::BrokenBefore,
        ];
        !untouched.contains(&o.status)
    });
    let (fitted, others): (Vec<&RunOutcome>, Vec<&RunOutcome>) =
        outcomes.partition(|o| o.observed.contains(&Observation::Fitted));
    if fitted.is_empty() {
        return None;
    }
    let is = |status| move |o: &&&RunOutcome| o.status == status;
    let broken = others.iter().filter(is(RunStatus::Broken)).count();
    let robust = others.iter().filter(is(RunStatus::Robust)).count();
    let invalid = others.len() - broken - robust;
    let share = Proportion::new(broken, invalid, others.len());
    Some(HeldOut {
        fitted: fitted.len(),
        fitted_broken: fitted.iter().filter(is(RunStatus::Broken)).count(),
        n: others.len(),
        broken,
        invalid,
        fooling_rate: share.point(),
        ci95: share.interval(level),
    })
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn worst_case(runs: &[RunMeta], samples: &[SampleRecord], level: f64) -> WorstCase {
    let share = count(attackable(samples), |s| standing::worst(s, runs));
    let right = attackable(samples).filter(|s| s.clean_correct);
    let broken = right.clone().filter(|s| s.broken_by.is_some()).count();
    WorstCase {
        eps: runs
            .iter()
            .filter(|r| r.role.counts())
            .map(|r| r.threat.eps)
            .fold(0.0, f64::max),
        correct: share.hits as usize,
        n: share.n as usize,
        invalid: share.unjudged as usize,
        robust_accuracy: share.point(),
        ci95: share.interval(level),
        attack_success_rate: ratio(broken, right.count()),
    }
}

fn curve(runs: &[RunMeta], samples: &[SampleRecord], level: f64) -> Vec<CurvePoint> {
    let mut budgets: Vec<(Norm, f64)> = runs
        .iter()
        .filter(|r| r.role.counts())
        .map(|r| (r.threat.norm, r.threat.eps))
        .collect();
    let order = |a: &(Norm, f64), b: &(Norm, f64)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
    budgets.sort_by(order);
    budgets.dedup_by(|a, b| order(a, b) == Ordering::Equal);

    let point = |norm, eps, share: Proportion| CurvePoint {
        norm,
        eps,
        correct: share.hits as usize,
        n: share.n as usize,
        robust_accuracy: share.point(),
        ci95: share.interval(level),
    };
    let mut points = Vec::new();
    let mut started = None;
    for (norm, eps) in budgets {
        if started != Some(norm) {
            started = Some(norm);
            points.push(point(
                norm,
                0.0,
                count(attackable(samples), standing::clean),
            ));
        }
        let share = count(attackable(samples), |s| {
            standing::over(s, runs, |r| r.threat.norm == norm && r.threat.eps <= eps)
        });
        points.push(point(norm, eps, share));
    }
    points
}

fn per_class(
    runs: &[RunMeta],
    samples: &[SampleRecord],
    classes: usize,
    level: f64,
) -> Vec<ClassSummary> {
    let mut groups: BTreeMap<usize, Vec<&SampleRecord>> = BTreeMap::new();
    for sample in samples {
        groups.entry(sample.label).or_default().push(sample);
    }
    let listed = if classes <= LISTED_CLASSES {
        classes
    } else {
        0
    };
    let labels: BTreeSet<usize> = (0..listed).chain(groups.keys().copied()).collect();
    labels
        .into_iter()
        .map(|label| {
            let group = groups.get(&label).map_or(&[][..], Vec::as_slice);
            let clean = count(group.iter().copied(), standing::clean);
            let attacked = group.iter().copied().filter(|s| !s.is_of_target());
            let robust = count(attacked, |s| standing::worst(s, runs));
            ClassSummary {
                label,
                n: group.len(),
                clean_correct: clean.hits as usize,
                clean_ci95: (!group.is_empty()).then(|| clean.interval(level)),
                robust_n: robust.n as usize,
                robust_correct: robust.hits as usize,
                robust_ci95: (robust.n > 0).then(|| robust.interval(level)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Observation;
    use proofmark_domain::RunStatus::{Broken, Invalid, Misclassified, Robust, Skipped, Stopped};

    use super::*;
    use crate::trust::fixture::{attack, head, noise, probe, report, sample, threat, wrong};

    #[test]
    fn statuses_by_hand() {
        let mut blind = sample(6, &[Invalid, Invalid]);
        (blind.clean_pred, blind.clean_correct) = (None, false);
        let rows = vec![
            sample(0, &[Robust, Robust]),
            sample(1, &[Broken, Robust]),
            sample(2, &[Invalid, Robust]),
            sample(3, &[Stopped, Broken]),
            sample(4, &[Robust, Skipped]),
            wrong(sample(5, &[Robust, Robust])),
            blind,
            sample(7, &[Robust, Misclassified]),
        ];
        let r = report(vec![attack("pgd", 0.1), noise(0.1)], rows);
        assert_eq!((r.clean.correct, r.clean.invalid, r.clean.n), (6, 1, 8));
        let pgd = &r.attacks[0];
        assert_eq!(
            (pgd.correct, pgd.invalid, pgd.n, pgd.forward, pgd.backward),
            (3, 3, 8, 80, 40)
        );
        assert_eq!(pgd.attack_success_rate, Some(1.0 / 7.0));
        assert_eq!(pgd.ci95, Proportion::new(3, 3, 8).ci95());
        assert_eq!((r.attacks[1].correct, r.attacks[1].invalid), (3, 2));
        assert_eq!(
            (r.worst_case.correct, r.worst_case.invalid, r.worst_case.n),
            (1, 3, 8),
            "0 held; 2, 4 and 6 are open"
        );
        assert_eq!(r.worst_case.attack_success_rate, Some(2.0 / 6.0));
        assert_eq!(
            (
                r.per_class.len(),
                r.per_class[6].n,
                r.per_class[9].robust_ci95
            ),
            (10, 1, None)
        );
    }

    #[test]
    fn the_run_with_the_smallest_budget_is_kept_and_the_first_on_ties() {
        let runs = vec![
            attack("pgd", 0.3),
            attack("fgsm", 0.1),
            attack("bim", 0.1),
            probe("pgd"),
        ];
        let r = report(
            runs,
            vec![
                sample(1, &[Broken, Broken, Broken, Broken]),
                sample(0, &[Robust, Robust, Robust, Broken]),
            ],
        );
        let (zero, one) = (&r.samples[0], &r.samples[1]);
        assert_eq!(
            (zero.id.key(), zero.broken_by.as_deref(), zero.adv_pred),
            (0, None, Some(0))
        );
        assert_eq!(
            (one.broken_by.as_deref(), one.adv_pred, one.gauge, one.norm),
            (Some("fgsm@linf:0.1"), Some(2), Some(0.75), Some(Norm::Linf))
        );
        assert!(r.worst_case.eps < 0.31, "the probe does not count");
    }

    #[test]
    fn the_curve_falls_and_ends_at_the_worst_case() {
        let mut l2 = attack("pgd", 0.2);
        l2.key = "pgd@l2:0.2".into();
        l2.threat = threat(Norm::L2, 0.2);
        let runs = vec![attack("pgd", 0.3), attack("pgd", 0.1), l2];
        // The second sample is broken at the small budget only; the curve keeps it broken at the large one.
        let rows = vec![
            sample(0, &[Broken, Robust, Robust]),
            sample(1, &[Robust, Broken, Robust]),
            sample(2, &[Robust, Robust, Robust]),
        ];
        let r = report(runs, rows);
        let points: Vec<_> = r.curve.iter().map(|p| (p.norm, p.eps, p.correct)).collect();
        assert_eq!(
            points,
            [
                (Norm::Linf, 0.0, 3),
                (Norm::Linf, 0.1, 2),
                (Norm::Linf, 0.3, 1),
                (Norm::L2, 0.0, 3),
                (Norm::L2, 0.2, 3)
            ]
        );
        assert_eq!(r.worst_case.correct, 1);
    }

    #[test]
    fn a_probe_is_counted_over_the_samples_it_attacked() {
        let r = report(
            vec![probe("pgd")],
            (0..20)
                .map(|i| sample(i, &[if i < 8 { Broken } else { Skipped }]))
                .collect(),
        );
        assert_eq!(
            (r.attacks[0].n, r.attacks[0].correct, r.attacks[0].invalid),
            (8, 0, 0)
        );
        assert_eq!((r.worst_case.correct, r.curve.len()), (20, 0));
    }

    #[test]
    fn missing_outcomes_are_not_robust_and_order_does_not_matter() {
        let mut rows = vec![sample(0, &[Robust]), sample(1, &[Robust, Robust])];
        rows[0].observed = vec![
            Observation::WitnessRejected,
            Observation::ZeroGradient,
            Observation::WitnessRejected,
        ];
        let r = report(vec![attack("pgd", 0.1), noise(0.1)], rows);
        assert_eq!(
            (
                r.worst_case.correct,
                r.worst_case.invalid,
                r.samples[0].runs[1].status
            ),
            (1, 1, Skipped)
        );
        assert_eq!(
            r.samples[0].observed,
            [Observation::ZeroGradient, Observation::WitnessRejected]
        );
        let mut shuffled = r.clone();
        shuffled.samples.reverse();
        shuffled.samples.iter_mut().for_each(|s| s.runs.reverse());
        let (h, runs, samples) = apart(shuffled);
        assert_eq!(summarise(h, runs, samples), r);
    }

    #[test]
    fn a_report_without_runs_and_samples_is_valid() {
        let r = summarise(head(0), vec![], vec![]);
        assert_eq!(
            (
                r.clean.n,
                r.clean.accuracy,
                r.worst_case.attack_success_rate
            ),
            (0, 0.0, None)
        );
        let mut absurd = head(0);
        absurd.model.classes = usize::MAX;
        assert_eq!(summarise(absurd, vec![], vec![]).per_class, []);
    }
}
