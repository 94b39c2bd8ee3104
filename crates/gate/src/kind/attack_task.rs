use std::sync::Arc;

use proofmark_domain::{Criteria, FindingStatus, Report, TrustFlag, Verdict};

use super::attacks::AttackSpec;
use super::requirement::{self, Comparison, Requirement};
use super::surrogate::SurrogateSpec;
use super::threat::ThreatSpec;
use super::{Measure, Task, figures, fit, looks, measure, settling};
use crate::FindingCode;
use crate::gate_report::{CheckCost, CheckResult, ComparisonResult};
use crate::judge::{Judging, NoRecord, Reason, Record};
use crate::metric::Metric;
use crate::policy::{
    DataRef, Field, ModelRef, Named, Policy, PolicyError, Section, find_data, find_model,
};
use crate::sequence::{self, Looks};
use crate::trust::own;

/// Task of a check of kind `robustness` or `clean`: a model measured on data.
#[derive(Debug, Clone, PartialEq)]
pub struct AttackTask {
    /// The model.
    pub model: ModelRef,
    /// The data.
    pub data: DataRef,
    /// Threat model of the attacks; absent for a clean check.
    pub threat: Option<ThreatSpec>,
    /// The attacks; empty for a clean check.
    pub attacks: Vec<AttackSpec>,
    /// Models whose gradients stand for the model's, if any.
    pub surrogate: Option<SurrogateSpec>,
    /// What counts as success of an attack.
    pub criterion: Criteria,
    /// Ids of the certificates, at the same budget; empty for none.
    pub certify: Vec<&'static str>,
    /// The requirement.
    pub require: Requirement,
    /// Maximum number of samples, drawn as a seeded, class-stratified subset.
    pub limit: Option<u64>,
    /// The looks of a sequential check; `None` if the number of samples is fixed.
    pub looks: Option<Looks>,
}

/// Certificates that a check may ask for: proofs about the model itself, without parameters.
const CERTIFICATES: [&str; 2] = ["interval", "crown"];

/// Reads a list of certificates.
pub(super) fn certificates(field: &Field<'_>) -> Result<Vec<&'static str>, PolicyError> {
    let words = CERTIFICATES.map(|id| (id, id));
    let mut read: Vec<&'static str> = Vec::new();
    for item in field.items()? {
        if item.string().is_ok_and(|id| id == "smoothing") {
            return Err(item.error(
                "`smoothing` certifies another classifier than the model of the check; expected interval or crown, or use `proofmark attack --certify smoothing`",
            ));
        }
        let id = item.word(&words)?;
        if read.contains(&id) {
            return Err(item.error(format!("`{id}` is given twice")));
        }
        read.push(id);
    }
    Ok(read)
}

impl AttackTask {
    /// Reads the fields that both kinds share; the caller reads the others.
    pub(super) fn read(
        s: &Section<'_>,
        named: &Named<'_>,
        threat: Option<ThreatSpec>,
        attacks: Vec<AttackSpec>,
        surrogate: Option<SurrogateSpec>,
        certify: Vec<&'static str>,
    ) -> Result<Arc<dyn Task>, PolicyError> {
        let mut task = Self {
            model: find_model(&s.need("model")?, named)?,
            data: find_data(&s.need("data")?, named)?,
            criterion: s
                .get("criterion")
                .map_or(Ok(Criteria::default()), |f| criterion(&f))?,
            require: Requirement::default(),
            limit: s.maybe("limit", |f| f.whole(1))?,
            looks: looks::read(s)?,
            threat,
            attacks,
            surrogate,
            certify,
        };
        let require = s.need("require")?;
        task.require = task.requirement_at(&require)?;
        let outputs = task.criterion.outputs();
        let of_class = (task.require.comparisons.iter()).find(|c| c.metric.is_of_classes());
        if let Some(comparison) = of_class.filter(|_| !outputs.is_classes()) {
            return Err(require.error(format!(
                "`{}` is about classes, and criterion `{}` is about {outputs}; expected accuracy or robust_accuracy, the share of samples on which the property holds",
                comparison.metric, task.criterion
            )));
        }
        Ok(Arc::new(task))
    }

    /// Whether a sequential check may end here: every comparison passes or fails by its interval at `level`, over all
    /// looks. Trust flags have no say, so that no check goes on until they vanish.
    pub fn is_decided(&self, report: &Report, level: f64) -> bool {
        sequence::decided(&self.require.comparisons, level, report)
    }

    fn requirement_at(&self, field: &Field<'_>) -> Result<Requirement, PolicyError> {
        let ids: Vec<&str> = self.attacks.iter().map(|a| a.id.as_str()).collect();
        let read = requirement::read(field, &ids, self.threat.is_some())?;
        let certified = |c: &Comparison| c.metric == Metric::CertifiedAccuracy;
        if self.certify.is_empty() && read.comparisons.iter().any(certified) {
            return Err(field.error(
                "`certified_accuracy` needs certificates; add `certify = [\"interval\"]` or `certify = [\"crown\"]` to a check of kind \"robustness\"",
            ));
        }
        Ok(read)
    }
}

/// Reads one criterion, or a list of criteria that one point must all meet.
fn criterion(field: &Field<'_>) -> Result<Criteria, PolicyError> {
    let texts: Vec<&str> = if let Ok(one) = field.string() {
        vec![one]
    } else {
        let expected =
            || field.error("expected a criterion such as \"top-k=5\", or a list of them");
        let items = field.items().map_err(|_| expected())?;
        items.iter().map(Field::string).collect::<Result<_, _>>()?
    };
    if texts.is_empty() {
        return Err(field.error("must not be empty: name at least one criterion, or leave it out"));
    }
    Criteria::parse(texts).map_err(|e| field.error(e))
}

impl Task for AttackTask {
    fn measure(&self) -> Measure<'_> {
        Measure::Attack(self)
    }

    fn requirement(&self) -> String {
        self.require.to_string()
    }

    fn waived(&self, field: &Field<'_>) -> Result<(String, bool), PolicyError> {
        let given = self.requirement_at(field)?;
        let own = match given.comparisons.as_slice() {
            [one] => self.require.comparisons.contains(one),
            _ => false,
        };
        Ok((given.to_string(), own))
    }

    fn fits(&self, record: &Record, policy: &Policy) -> Result<(), NoRecord> {
        let report = record.attack()?;
        fit::fits(policy, self, report).map_err(NoRecord::Mismatched)?;
        let failed = report.attacks.iter().find(|a| a.failed.is_some());
        failed.map_or(Ok(()), |a| {
            let why = a.failed.as_deref().unwrap_or_default();
            Err(NoRecord::Failed(format!(
                "attack `{}` did not finish: {why}; the evidence holds the results of the other attacks",
                a.key
            )))
        })
    }

    fn is_settled(&self, record: &Record, level: f64) -> bool {
        let Record::Attack(report) = record else {
            return false;
        };
        !sequence::ended_early(report) || self.is_decided(report, level)
    }

    fn judge(
        &self,
        record: Record,
        judging: &mut Judging<'_, '_>,
    ) -> Result<CheckResult, NoRecord> {
        let level = judging.check.level;
        let decided = |r: &Report| self.is_decided(r, level);
        let report = &sequence::up_to_end(record.into_attack()?, decided);
        let comparisons = &self.require.comparisons;
        let own: Vec<Vec<TrustFlag>> = comparisons.iter().map(|c| own(&c.metric, report)).collect();
        let mut trust = weigh(judging, &report.trust);
        let shaken = trust.iter().any(|t| t.shakes);
        let mut results: Vec<ComparisonResult> = Vec::new();
        let mut effects = Vec::new();
        for (comparison, own) in comparisons.iter().zip(&own) {
            let own = weigh(judging, own);
            let shaken = shaken || own.iter().any(|t| t.shakes);
            trust.extend(own);
            let mut result = measure(comparison, level, report);
            let reason = || reason(comparison, &result, report, level);
            let effect = judging.hold(result.verdict, &[comparison.to_string()], reason);
            // An untrusted measurement makes every comparison that did not fail inconclusive, whatever the policy
            // waives or only warns about.
            if shaken && result.verdict != Verdict::Fail {
                result.verdict = Verdict::Inconclusive;
                effects.push(Verdict::Inconclusive);
            } else {
                effects.push(effect);
            }
            results.push(result);
        }
        let undecided = effects.contains(&Verdict::Inconclusive);
        for flag in trust {
            flag.find(judging, undecided);
        }
        Ok(CheckResult {
            sampling: report.sampling.clone(),
            ..judging.result(results, &effects, Some(CheckCost::of(report)))
        })
    }
}

/// Says why a comparison does not pass, and what to do.
fn reason(
    comparison: &Comparison,
    result: &ComparisonResult,
    report: &Report,
    level: f64,
) -> Reason {
    let figures = figures(comparison, result, level, report);
    let threshold = result.threshold;
    if result.verdict == Verdict::Fail {
        return Reason {
            message: format!("{figures}; the whole interval is below {threshold}"),
            remediation: "improve the model, or state a threshold it can hold",
        };
    }
    let settling = settling(comparison, result, report);
    Reason {
        message: format!("{figures}; {threshold} lies inside the interval; {settling}"),
        remediation: if sequence::ended_early(report) {
            "run the check again: it goes through its looks until this requirement is decided"
        } else {
            "judge more samples"
        },
    }
}

/// A trust flag and its effect.
struct Weighed<'a> {
    flag: &'a TrustFlag,
    accepted: Option<String>,
    /// Whether it is neither cured nor accepted, and so turns a pass into inconclusive.
    shakes: bool,
}

fn weigh<'a>(judging: &mut Judging<'_, '_>, flags: &'a [TrustFlag]) -> Vec<Weighed<'a>> {
    let weighed = |flag: &'a TrustFlag| {
        let accepted = judging.accepted(flag.code);
        Weighed {
            flag,
            shakes: !flag.cured && accepted.is_none(),
            accepted,
        }
    };
    flags.iter().map(weighed).collect()
}

impl Weighed<'_> {
    /// Adds the flag as a finding: a note if it has no effect, inconclusive if a comparison is inconclusive, else a
    /// warning (every comparison it affects has failed).
    fn find(&self, judging: &mut Judging<'_, '_>, undecided: bool) {
        let status = match (self.shakes, undecided) {
            (false, _) => FindingStatus::Note,
            (true, true) => FindingStatus::Inconclusive,
            (true, false) => FindingStatus::Warn,
        };
        let tail = match &self.accepted {
            Some(reason) => format!("; accepted: {reason}"),
            None if self.flag.cured => "; cured".to_owned(),
            None => String::new(),
        };
        let message = format!("{}{tail}", self.flag.message);
        let remediation = self.flag.code.remediation();
        judging.find(
            FindingCode::Trust(self.flag.code),
            status,
            message,
            remediation,
        );
    }
}
