//! The entry point for library users: evaluate a model, assert on the result.

use std::fmt;

use proofmark_data::Dataset;
use proofmark_domain::{Criteria, CriterionSpec, Epsilon, Norm, Report, Seed, Verdict};
use proofmark_engine::Attack;
use proofmark_gate::{Looks, Metric, assess, is_decided};
use proofmark_model::{Access, DecisionModel};
use serde_json::{Map, Value};

use crate::criteria::refuse_loss;
use crate::{Certificate, Labels, OpenModel, RunError, RunPlan, Settings, ThreatPlan};

/// Begins an evaluation of `model` on `data`. The model is a reference to a [`BurnModel`](crate::BurnModel), to
/// [`FromScores`](crate::FromScores) or [`FromDecisions`](crate::FromDecisions), to any other decision model or to the
/// result of [`ModelSource::open`](crate::ModelSource::open), or it is an [`Access`]. Attacks that need more than the
/// model gives are refused before the model is queried.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = proofmark::model("digits-robust", &proofmark::device("cpu")?)?;
/// let data = proofmark::open("digits")?.limit(60, Default::default());
/// let result = proofmark::evaluate(&model, &data).linf(0.05).suite("proofmark-1").run()?;
/// result.robust_accuracy().at_least(0.45, 0.95)?;
/// # Ok(()) }
/// ```
///
/// A model of a file, or of a shipped name, with its preprocessing:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let onnx_file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/digits/digits-robust.onnx");
/// let device = proofmark::device("cpu")?;
/// let data = proofmark::open("digits")?.limit(60, Default::default());
/// let model = proofmark::ModelSource::new(onnx_file).open(&data, &device)?;
/// let result = proofmark::evaluate(&model, &data).linf(0.05).attacks(["fgsm"]).run()?;
/// result.robust_accuracy().at_least(0.45, 0.95)?;
/// # Ok(()) }
/// ```
pub fn evaluate<'a>(model: impl Into<Subject<'a>>, data: &'a Dataset) -> Evaluate<'a> {
    Evaluate {
        subject: model.into(),
        data,
        threats: Vec::new(),
        attacks: Vec::new(),
        criteria: Vec::new(),
        labels: Labels::Given,
        stated: Vec::new(),
        certificates: Vec::new(),
        problem: None,
        settings: Settings::default(),
        until: Vec::new(),
    }
}

/// The model of an evaluation, made from a reference.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    model: Access<'a>,
    /// Conversion from data units to model input, for the report.
    preprocessing: Map<String, Value>,
}

impl<'a, M: DecisionModel + ?Sized> From<&'a M> for Subject<'a> {
    fn from(model: &'a M) -> Self {
        Self::from(model.access())
    }
}

impl<'a> From<Access<'a>> for Subject<'a> {
    fn from(model: Access<'a>) -> Self {
        Self {
            model,
            preprocessing: Map::new(),
        }
    }
}

impl<'a> From<&'a OpenModel> for Subject<'a> {
    fn from(open: &'a OpenModel) -> Self {
        Self {
            preprocessing: open.preprocessing.clone(),
            ..Self::from(&*open.model)
        }
    }
}

/// An evaluation being described; [`Evaluate::run`] runs it and reports mistakes in the description.
#[derive(Debug)]
pub struct Evaluate<'a> {
    subject: Subject<'a>,
    data: &'a Dataset,
    threats: Vec<ThreatPlan>,
    attacks: Vec<Box<dyn Attack>>,
    criteria: Vec<CriterionSpec>,
    labels: Labels,
    /// Parameters stated for each attack by id.
    stated: Vec<(String, toml::Table)>,
    certificates: Vec<Certificate>,
    problem: Option<RunError>,
    settings: Settings,
    /// Requirements at whose decision the run ends, each with its level; empty if all samples are measured.
    until: Vec<(Metric, f64, f64)>,
}

impl Evaluate<'_> {
    /// Allows every input to change by at most `eps` per feature, in data units. Several budgets make a curve.
    #[must_use]
    pub fn linf(self, eps: f64) -> Self {
        self.norm(Norm::Linf, eps)
    }

    /// Allows a change of Euclidean length at most `eps`, in data units.
    #[must_use]
    pub fn l2(self, eps: f64) -> Self {
        self.norm(Norm::L2, eps)
    }

    /// Allows a change of absolute sum at most `eps`, in data units.
    #[must_use]
    pub fn l1(self, eps: f64) -> Self {
        self.norm(Norm::L1, eps)
    }

    /// Allows the changes of `threat` (several inputs, shared budgets, masks).
    #[must_use]
    pub fn threat(mut self, threat: ThreatPlan) -> Self {
        self.threats.push(threat);
        self
    }

    /// Adds attacks by id, with their default parameters.
    #[must_use]
    pub fn attacks(mut self, ids: impl IntoIterator<Item = &'static str>) -> Self {
        for id in ids {
            self = self.attack(id, "");
        }
        self
    }

    /// Adds a suite by id: `proofmark-1` (which also runs if no attack is named), `autoattack-1`. A name without version
    /// stands for the latest; reports name the version.
    #[must_use]
    pub fn suite(self, id: &str) -> Self {
        self.attack(id, "")
    }

    /// Adds one attack by id, with parameters as TOML: `.attack("pgd", "steps = 100\nloss = \"dlr\"")`.
    #[must_use]
    pub fn attack(mut self, id: &str, parameters: &str) -> Self {
        let built = parameters
            .parse()
            .map_err(|e| RunError::Parameter(format!("parameters of attack `{id}`: {e}")))
            .and_then(|table: toml::Table| {
                let attack = proofmark_attacks::build(id, &table)?;
                self.stated.push((id.to_owned(), table));
                Ok(attack)
            });
        match built {
            Ok(attack) => self.attacks.push(attack),
            Err(e) => self.problem = self.problem.or(Some(e)),
        }
        self
    }

    /// Sets what counts as success of an attack, in the words of the command line: `top-k=5`, `regression=0.5`. Given
    /// several times, one point must meet all. By default, misclassification. Data for a criterion about numbers or
    /// labels are opened with [`Options::outputs`](crate::data::Options::outputs).
    #[must_use]
    pub fn criterion(mut self, criterion: &str) -> Self {
        match criterion.parse() {
            Ok(one) => self.criteria.push(one),
            Err(e) => self.problem = self.problem.or(Some(RunError::Parameter(e))),
        }
        self
    }

    /// Sets what samples are judged against: the labels or targets of the data, or the model's own answers without
    /// attack.
    #[must_use]
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// Adds a custom attack.
    #[must_use]
    pub fn with(mut self, attack: impl Attack + 'static) -> Self {
        self.attacks.push(Box::new(attack));
        self
    }

    /// Certifies every sample at each budget, beside the attacks; see [`Certificate`].
    #[must_use]
    pub fn certify(mut self, certificate: Certificate) -> Self {
        self.certificates.push(certificate);
        self
    }

    /// Sets the seed of every random number; 0 by default.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Seed(seed);
        self
    }

    /// Sets how many rows are in progress at once; by default 64, or two tiles per thread if that is more. Changes
    /// speed and memory, never a result.
    #[must_use]
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.settings.batch = rows;
        self
    }

    /// Ends the evaluation early, as soon as it is decided at confidence `level` whether `metric` is at least
    /// `threshold`; with several calls, as soon as all are. Samples are taken in a seeded order, and the run may end when
    /// it has measured a part of them that was fixed beforehand ([`Looks::Doubling`]); every interval of the result then
    /// holds at all of these looks at once, so it is wider than with a fixed number of samples.
    ///
    /// ```
    /// use proofmark::policy::Metric;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let model = proofmark::model("digits-robust", &proofmark::device("cpu")?)?;
    /// let data = proofmark::open("digits")?;
    /// let evaluation = proofmark::evaluate(&model, &data).linf(0.05).attacks(["fgsm"]);
    /// let result = evaluation.sequential(Metric::RobustAccuracy, 0.6, 0.95).run()?;
    /// result.robust_accuracy().at_least(0.6, 0.95)?;
    /// assert_eq!(result.report().clean.n, 57); // of 899
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn sequential(mut self, metric: Metric, threshold: f64, level: f64) -> Self {
        let is_share = (0.0..=1.0).contains(&threshold);
        let is_level = level > 0.0 && level < 1.0;
        if !(is_share && is_level) {
            let problem = format!(
                "sequential: `{metric} >= {threshold}` at level {level}; expected a threshold from 0 to 1 and a level between 0 and 1, such as 0.95"
            );
            self.problem = self.problem.or(Some(RunError::Parameter(problem)));
        }
        self.until.push((metric, threshold, level));
        self
    }

    /// Runs the evaluation.
    pub fn run(self) -> Result<Evaluation, RunError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let mut attacks = self.attacks;
        if attacks.is_empty() {
            attacks.push(proofmark_attacks::build("proofmark", &toml::Table::new())?);
        }
        let mut plan = RunPlan::new(self.subject.model, self.data, &attacks, self.threats);
        plan.criterion = Criteria::new(self.criteria).map_err(RunError::Parameter)?;
        for (id, table) in &self.stated {
            refuse_loss(&plan.criterion, id, table).map_err(RunError::Parameter)?;
        }
        plan.labels = self.labels;
        plan.settings = self.settings;
        plan.certificates = &self.certificates;
        plan.preprocessing = self.subject.preprocessing;
        let decided = |report: &Report| {
            let of = |(metric, threshold, level): &(Metric, f64, f64)| {
                is_decided(report, &[(metric.clone(), *threshold)], *level)
            };
            self.until.iter().all(of)
        };
        if !self.until.is_empty() {
            plan.looks = Some(Looks::Doubling);
        }
        let measured = plan.run_until(&decided)?;
        // Refuses an incomplete run: a figure must not rest on only some of the attacks.
        measured.complete()?;
        Ok(Evaluation {
            report: measured.report,
        })
    }

    fn norm(mut self, norm: Norm, eps: f64) -> Self {
        match Epsilon::new(eps) {
            Ok(eps) => self.threats.push(ThreatPlan::new(norm, eps)),
            Err(e) => self.problem = self.problem.or(Some(RunError::Parameter(e.to_string()))),
        }
        self
    }
}

/// A finished evaluation.
#[derive(Debug, Clone)]
pub struct Evaluation {
    report: Report,
}

impl Evaluation {
    /// Returns everything that was measured.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Returns the accuracy without attack.
    pub fn clean_accuracy(&self) -> Measured<'_> {
        Measured {
            report: &self.report,
            metric: Metric::Accuracy,
        }
    }

    /// Returns the accuracy in the worst case of all attacks, at the largest budget.
    pub fn robust_accuracy(&self) -> Measured<'_> {
        Measured {
            report: &self.report,
            metric: Metric::RobustAccuracy,
        }
    }

    /// Returns the share of samples that a certificate proves right for every change within the largest budget.
    pub fn certified_accuracy(&self) -> Measured<'_> {
        Measured {
            report: &self.report,
            metric: Metric::CertifiedAccuracy,
        }
    }

    /// Returns the accuracy under one attack, by id.
    pub fn robust_accuracy_under(&self, attack: &str) -> Measured<'_> {
        Measured {
            report: &self.report,
            metric: Metric::RobustAccuracyOf(attack.to_owned()),
        }
    }
}

/// A measured figure to assert on.
#[derive(Debug, Clone)]
pub struct Measured<'a> {
    report: &'a Report,
    metric: Metric,
}

impl Measured<'_> {
    /// Checks that the lower end of the interval at confidence `level` reaches `threshold`, and that no uncured trust
    /// flag applies to the figure. The error is the assertion message.
    pub fn at_least(&self, threshold: f64, level: f64) -> Result<(), Shortfall> {
        let assessment = assess(self.report, self.metric.clone(), threshold, level);
        if assessment.verdict == Verdict::Pass {
            return Ok(());
        }
        Err(Shortfall {
            verdict: assessment.verdict,
            message: format!(
                "{} of `{}` on `{}` ({} samples): {}",
                assessment.verdict,
                self.report.model.name,
                self.report.data.name,
                self.report.clean.n,
                assessment.message
            ),
        })
    }
}

/// Error of a requirement that was not shown to hold.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Shortfall {
    /// Fail if it is missed, inconclusive if it cannot be decided, error if its attack was not run.
    pub verdict: Verdict,
    /// Figures, reason and what to do next.
    pub message: String,
}

/// Prints the message, so that a test which prints the error with `{:?}` stays readable.
impl fmt::Debug for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
