//! The attack report, `proofmark/report/1`: what a run measured, per sample.
//!
//! Every figure can be recomputed from `samples` (the gate crate does this), so shards are merged by concatenating
//! samples and recomputing.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    CertificateOutcome, CertificateSummary, Kind, MapSpec, Needs, Norm, Outputs, ReadFacts,
    SampleId, TrustCode, TrustFlag,
};

/// Schema name of every attack report.
pub const REPORT_SCHEMA: &str = "proofmark/report/1";

/// Two-sided interval, both ends in the unit of the quantity. In JSON `[low, high]`; an infinite end is null.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[Option<f64>; 2]", into = "[Option<f64>; 2]")]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl From<[f64; 2]> for Interval {
    fn from([low, high]: [f64; 2]) -> Self {
        Self { low, high }
    }
}

impl From<[Option<f64>; 2]> for Interval {
    fn from([low, high]: [Option<f64>; 2]) -> Self {
        Self {
            low: low.unwrap_or(f64::NEG_INFINITY),
            high: high.unwrap_or(f64::INFINITY),
        }
    }
}

impl From<Interval> for [Option<f64>; 2] {
    fn from(i: Interval) -> Self {
        [i.low, i.high].map(|end| end.is_finite().then_some(end))
    }
}

/// Complete report of one attack run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_SCHEMA`].
    pub schema: String,
    /// Version of proofmark that wrote the report.
    pub tool: ToolFacts,
    /// Every resolved parameter of the run.
    pub config: Map<String, Value>,
    /// The model attacked.
    pub model: ModelFacts,
    /// The data it was attacked on.
    pub data: DataFacts,
    /// Preprocessing between data units and the model (scale, mean, std).
    pub preprocessing: Map<String, Value>,
    /// The device it ran on.
    pub device: String,
    /// Rows per model call; results on the CPU are bit-identical for equal tiles.
    pub tile: usize,
    /// Seed of every random number.
    pub seed: u64,
    /// Wall-clock seconds, summed over shards when merged.
    pub seconds: f64,
    /// Part of the samples that this report covers, if the run was sharded.
    pub shard: Option<Shard>,
    /// How the number of samples came about; absent if it was fixed beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Accuracy without attack.
    pub clean: CleanSummary,
    /// One entry per attack and budget.
    pub attacks: Vec<AttackSummary>,
    /// Worst case over all runs: a sample is robust only if no attack at any budget up to the largest broke it.
    pub worst_case: WorstCase,
    /// Robust accuracy against budget, from the worst case at each budget.
    pub curve: Vec<CurvePoint>,
    /// One entry per certificate and budget; empty if none was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certified: Vec<CertificateSummary>,
    /// Clean and worst-case figures by true class.
    pub per_class: Vec<ClassSummary>,
    /// Reasons not to trust the figures.
    pub trust: Vec<TrustFlag>,
    /// Trust codes that were not checked, because they concern access that the model does not give. Their absence from
    /// `trust` proves nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust_not_applicable: Vec<TrustCode>,
    /// Every sample; empty if they are in `samples_file`.
    pub samples: Vec<SampleRecord>,
    /// Name of the `.jsonl` file beside the report that holds the samples (used above 10,000 samples).
    pub samples_file: Option<String>,
}

/// Version of proofmark that wrote a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolFacts {
    /// `proofmark`.
    pub name: String,
    /// Version number.
    pub version: String,
}

/// Facts about the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Name on the command line or in the policy.
    pub name: String,
    /// Digest of its weights (and of its graph and external data, if any), hex.
    pub sha256: String,
    /// Source of the model, if known.
    pub origin: Option<String>,
    /// Number of classes; of outputs, if they are not classes.
    pub classes: usize,
    /// Meaning of the outputs in this run; classes if absent.
    #[serde(default, skip_serializing_if = "are_classes")]
    pub outputs: Outputs,
    /// Trust flags that follow from the kind of model, before any measurement; empty if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stated: Vec<TrustFlag>,
    /// Level of access to the model in this run; gradients if absent.
    #[serde(default = "gradients", skip_serializing_if = "gives_gradients")]
    pub gives: Needs,
    /// The model whose gradients stand for this one's, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surrogate: Option<SurrogateFacts>,
}

/// Facts about the model that gradient attacks follow in place of the one they attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurrogateFacts {
    /// Name; for several models, how they are averaged and their names.
    pub name: String,
    /// Digest of its weights, or one derived from those of several models, hex.
    pub sha256: String,
    /// The models behind it, each with its own digest: one, or those of an ensemble.
    pub models: Vec<ModelPart>,
    /// Whether the attacked model is asked about the final points alone.
    pub transfer: bool,
}

/// Name and digest of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelPart {
    /// Name on the command line or in the policy.
    pub name: String,
    /// Digest of its weights (and of its graph and external data, if any), hex.
    pub sha256: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
const fn are_classes(outputs: &Outputs) -> bool {
    outputs.is_classes()
}

const fn gradients() -> Needs {
    Needs::Gradients
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
const fn gives_gradients(gives: &Needs) -> bool {
    matches!(gives, Needs::Gradients)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Facts about the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFacts {
    /// Name on the command line or in the policy.
    pub name: String,
    /// Digest of the source file or set, hex.
    pub sha256: String,
    /// Number of samples in the full set.
    pub total: usize,
    /// Number of samples the whole run covers (all shards together).
    pub planned: usize,
    /// `[low, high]` of each modality's values, by modality name.
    pub bounds: Map<String, Value>,
    /// Another interpretation of the values under which the model predicts correctly, if clean accuracy is no better
    /// than guessing. It is tried on the first samples of the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    /// How the files were read.
    #[serde(default)]
    pub read_as: ReadFacts,
}

/// Accuracy of the model after a change to its input values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Description of the change, worded to follow "with the values".
    pub change: String,
    /// Number of samples classified correctly after the change.
    pub correct: usize,
    /// Number of samples tried.
    pub n: usize,
}

/// How the number of samples of a run came about, if it was not fixed beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Sampling {
    /// Samples were taken in a seeded order, and the run could end at each look. Every interval of the report holds at
    /// all looks at once.
    Sequential {
        /// Number of samples at each look, declared beforehand and increasing; the last is the number planned.
        looks: Vec<usize>,
        /// Looks made: the report covers the samples of the last of them. A shard of a run makes all of them, as far as
        /// its own samples go.
        made: usize,
    },
}

/// Shard `index` of `count`, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Index, from 0.
    pub index: usize,
    /// Number of shards.
    pub count: usize,
}

/// Accuracy without attack.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CleanSummary {
    /// Number of samples classified as labelled.
    pub correct: usize,
    /// Number of samples.
    pub n: usize,
    /// Number of samples whose scores give no decision (NaN, or no finite maximum): neither correct nor wrong.
    pub invalid: usize,
    /// `correct / n`.
    pub accuracy: f64,
    /// Clopper–Pearson interval at 95 % ([over all looks](Sampling) of a sequential run); invalid samples widen it at both
    /// ends.
    pub ci95: Interval,
}

/// Purpose of an attack run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// An attack that the user requested.
    Attack,
    /// A gradient-free baseline. It counts towards the worst case and should not beat the gradient attacks.
    Baseline,
    /// An unbounded attack that only tests the attack itself; never counts towards the worst case.
    Probe,
    /// An attack on the model with another head, whose adversarials are known to be there: it only tests the attack and
    /// never counts towards the worst case. Broken means that the attack found the planted adversarial.
    Planted,
}

impl Role {
    /// Returns whether such a run says something about the model's robustness: it counts towards the worst case.
    pub const fn counts(self) -> bool {
        matches!(self, Self::Attack | Self::Baseline)
    }
}

/// How the budgets of several modalities combine.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coupling {
    /// Each modality may use its full budget.
    #[default]
    Independent,
    /// All modalities share one budget: `(sum_i (|d_i| / eps_i)^q)^(1/q) <= 1`.
    Shared {
        /// The exponent, at least 1.
        q: f64,
    },
}

/// Budget of one modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetRecord {
    /// Name of the modality.
    pub modality: String,
    /// Norm of its budget.
    pub norm: Norm,
    /// Epsilon in data units; the largest if epsilon varies per sample.
    pub eps: f64,
    /// Scale of the input that epsilon is compared with; absent if it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<InputScale>,
}

/// Scale of an input's values over the features that may change, used to check that epsilon is in the same unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InputScale {
    /// Kind of signal of the input.
    pub kind: Kind,
    /// Widest range (highest minus lowest allowed value) of any feature.
    pub widest: f64,
    /// Largest change the bounds allow, in the budget's norm.
    pub diameter: f64,
    /// Whether every value of the data is a multiple of 1/255 of its range.
    pub eight_bit: bool,
    /// Smallest epsilon of any sample, if epsilon varies per sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest_eps: Option<f64>,
}

/// Threat model of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreatRecord {
    /// Norm of the first modality that may change.
    pub norm: Norm,
    /// Its epsilon, in data units.
    pub eps: f64,
    /// Epsilon as it was written (`8/255`).
    pub text: String,
    /// Every modality's budget; epsilon 0 means frozen.
    pub budgets: Vec<BudgetRecord>,
    /// How the budgets combine.
    pub coupling: Coupling,
    /// The map whose parameters the attacker chooses, if there is one: epsilon is then a share of its limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<MapSpec>,
}

/// Step sizes of an attack in one modality, in its data units.
///
/// If budgets vary per sample, these belong to the largest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Name of the modality.
    pub modality: String,
    /// Size of the first step.
    pub first: f64,
    /// Size of the last step. If it differs from the first, step sizes fall with the square of the remaining share of
    /// steps.
    pub last: f64,
    /// Step size in the third restart and every third one after it, if different there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_third_try: Option<f64>,
}

/// Returns the attack version to assume in reports that do not state one.
const fn first_version() -> u32 {
    1
}

/// Identity and settings of one attack run in a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunMeta {
    /// Unique in the report: `pgd@linf:0.1`.
    pub key: String,
    /// The attack's id: `pgd`.
    pub id: String,
    /// The attack's version: it increases with every change in the behaviour of its defaults.
    #[serde(default = "first_version")]
    pub version: u32,
    /// Purpose of the run.
    pub role: Role,
    /// Whether the attack follows gradients.
    pub gradient: bool,
    /// Threat model of the run.
    pub threat: ThreatRecord,
    /// Every resolved parameter of the attack.
    pub parameters: Map<String, Value>,
    /// Step sizes per modality, if the attack takes steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub step_size: Vec<StepRecord>,
    /// Compute cost of the run.
    #[serde(flatten)]
    pub cost: Cost,
    /// Error message if the attack failed before its end; the samples it still had to attack are `stopped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Compute cost of a run. No result depends on it, and it may differ between machines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Sample-forwards that the model computed: those requested, padding of tiles, and restarts begun early and
    /// discarded; those of a surrogate are not included. Summed over shards when merged; 0 in reports that do not state it.
    #[serde(default)]
    pub computed: u64,
    /// Wall-clock seconds, summed over shards when merged; 0 if the caller supplied no clock.
    pub seconds: f64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.computed += other.computed;
        self.seconds += other.seconds;
    }
}

/// Settings and results of one attack at one budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackSummary {
    /// The attack's id: `pgd`.
    pub id: String,
    /// Unique in the report: `pgd@linf:0.1`.
    pub key: String,
    /// The attack's version: it increases with every change in the behaviour of its defaults.
    #[serde(default = "first_version")]
    pub version: u32,
    /// Purpose of the run.
    pub role: Role,
    /// Whether the attack follows gradients.
    pub gradient: bool,
    /// Threat model of the run.
    pub threat: ThreatRecord,
    /// Every resolved parameter of the attack.
    pub parameters: Map<String, Value>,
    /// Step sizes per modality, if the attack takes steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub step_size: Vec<StepRecord>,
    /// Number of samples classified correctly without attack and not broken by this run.
    pub correct: usize,
    /// Number of samples, without those whose label is the target class of a targeted run.
    pub n: usize,
    /// Number of samples this run could not judge.
    pub invalid: usize,
    /// `correct / n`.
    pub robust_accuracy: f64,
    /// Clopper–Pearson interval at 95 % ([over all looks](Sampling) of a sequential run); invalid samples widen it at both
    /// ends.
    pub ci95: Interval,
    /// Broken samples divided by attacked samples; absent if none was attacked.
    pub attack_success_rate: Option<f64>,
    /// Results on the samples that a universal change was not fitted on; absent for other attacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
    /// Number of sample-forwards of the model.
    pub forward: u64,
    /// Number of sample-backwards of the model.
    pub backward: u64,
    /// Number of sample-forwards of the surrogate; absent if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub surrogate_forward: u64,
    /// Number of sample-backwards of the surrogate; absent if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub surrogate_backward: u64,
    /// Compute cost of the run.
    #[serde(flatten)]
    pub cost: Cost,
    /// Error message if the attack failed before its end; the samples it still had to attack are `stopped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Reasons not to trust this run's figures if it were the only attack beside the baselines and probes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust: Vec<TrustFlag>,
}

impl AttackSummary {
    /// Returns the settings without the results.
    pub fn meta(&self) -> RunMeta {
        RunMeta {
            key: self.key.clone(),
            id: self.id.clone(),
            version: self.version,
            role: self.role,
            gradient: self.gradient,
            threat: self.threat.clone(),
            parameters: self.parameters.clone(),
            step_size: self.step_size.clone(),
            cost: self.cost,
            failed: self.failed.clone(),
        }
    }
}

/// How often a universal change succeeds on samples that it was not fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Number of samples that the change was fitted on.
    pub fitted: usize,
    /// Number of those that it breaks.
    pub fitted_broken: usize,
    /// Number of held-out samples attacked: correct without attack, and not used for fitting.
    pub n: usize,
    /// Number of those that it breaks.
    pub broken: usize,
    /// Number of those that could not be judged.
    pub invalid: usize,
    /// Fooling rate, `broken / n`.
    pub fooling_rate: f64,
    /// Clopper–Pearson interval of the fooling rate at 95 %; samples that could not be judged widen it at both ends.
    pub ci95: Interval,
}

/// Robust accuracy over all attacks and baselines.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WorstCase {
    /// Largest epsilon of the first modality that may change.
    pub eps: f64,
    /// Number of samples classified correctly without attack and broken by no run.
    pub correct: usize,
    /// Number of samples, without those whose label is the target class of a targeted run.
    pub n: usize,
    /// Number of samples that could not be judged.
    pub invalid: usize,
    /// `correct / n`.
    pub robust_accuracy: f64,
    /// Clopper–Pearson interval at 95 % ([over all looks](Sampling) of a sequential run); invalid samples widen it at both
    /// ends.
    pub ci95: Interval,
    /// Broken samples divided by samples classified correctly without attack; absent if there are none.
    pub attack_success_rate: Option<f64>,
}

/// One point of the curve of robust accuracy against budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The norm.
    pub norm: Norm,
    /// The budget; at 0 the accuracy is the clean accuracy.
    pub eps: f64,
    /// Number of samples classified correctly without attack and broken by no run up to this budget.
    pub correct: usize,
    /// Number of samples, without those whose label is the target class of a targeted run.
    pub n: usize,
    /// `correct / n`.
    pub robust_accuracy: f64,
    /// Clopper–Pearson interval at 95 %, over all looks of a sequential run.
    pub ci95: Interval,
}

/// Results for one true class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassSummary {
    /// The class.
    pub label: usize,
    /// Number of samples of the class.
    pub n: usize,
    /// Number classified correctly without attack.
    pub clean_correct: usize,
    /// Interval of the recall without attack; absent for an empty class.
    pub clean_ci95: Option<Interval>,
    /// Number of its samples that count under attack: 0 for the target class of a targeted run.
    #[serde(default)]
    pub robust_n: usize,
    /// Number classified correctly under the worst case.
    pub robust_correct: usize,
    /// Interval of the recall under the worst case; absent if `robust_n` is 0.
    pub robust_ci95: Option<Interval>,
}

/// Outcome of one sample in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Attacked and not broken.
    Robust,
    /// Broken by an adversarial that was re-measured: inside bounds and budget, and misclassified.
    Broken,
    /// Neither broken nor robust: the model gave no decision (NaN, or no finite maximum) or gradients that are not
    /// finite.
    Invalid,
    /// Not attacked: already misclassified without attack.
    Misclassified,
    /// Not attacked by this run: a probe covers only a subset, and a sample whose label is the target class needs no
    /// attack.
    Skipped,
    /// Not attacked by this run: an earlier attack of the same suite broke it.
    #[serde(rename = "broken-before")]
    BrokenBefore,
    /// The query budget or the time ran out before the attack was done, or before the sample was measured at all.
    Stopped,
}

impl RunStatus {
    /// Returns whether the sample is broken after the run, by this run or by an earlier attack of its suite.
    pub const fn is_broken(self) -> bool {
        matches!(self, Self::Broken | Self::BrokenBefore)
    }
}

/// Result of one sample in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// Key of the run.
    pub run: String,
    /// Outcome of the sample.
    pub status: RunStatus,
    /// Prediction on the adversarial, if broken.
    pub adv_pred: Option<usize>,
    /// Gauge of the adversarial, computed in `f64`; at most 1 is within the budget.
    pub gauge: Option<f64>,
    /// Distance of the adversarial in the run's norm, in data units.
    pub distance: Option<f64>,
    /// Sample-forwards of the model used.
    pub forward: u64,
    /// Sample-backwards of the model used.
    pub backward: u64,
    /// Sample-forwards of the surrogate used; absent if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub surrogate_forward: u64,
    /// Sample-backwards of the surrogate used; absent if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub surrogate_backward: u64,
    /// Observations of this run on the sample that trust rules count, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<Observation>,
}

/// Observation on one sample that a trust rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observation {
    /// A gradient attack got exactly zero gradients on at least half of its steps and did not break the sample.
    ZeroGradient,
    /// A gradient held NaN or infinity.
    NonFiniteGradient,
    /// The scores held NaN or had no finite maximum, or the decision was a class that does not exist.
    NonFiniteScores,
    /// The same input gave different scores, or a different decision, the second time.
    OutputChanged,
    /// The scores lie in `[0, 1]` and sum to 1.
    ProbabilityRow,
    /// The top two logits are so far apart that `f32` cross-entropy has no gradient left.
    SaturatedLogits,
    /// Scores on the gradient path differ from those on the plain path.
    TrackedMismatch,
    /// An adversarial seen during the attack was not confirmed when re-measured.
    WitnessRejected,
    /// The surrogate decided differently from the model.
    SurrogateDisagrees,
    /// Random changes of a twentieth of the budget move the margin, on average, by more than a tenth of itself.
    UnstableMargin,
    /// The gradient of the margin is not how the margin changes near the sample.
    GradientMismatch,
    /// A gradient attack of at least ten steps did not break the sample, and its loss was still rising by more than 5 %
    /// of its range over the last tenth of the steps of every try.
    StillRising,
    /// The sample was used to fit a universal change, so its outcome says nothing about other samples.
    Fitted,
}

/// Results of one sample over all runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// Id of the sample in the full set.
    pub id: SampleId,
    /// True label; 0 if the outputs are not classes.
    pub label: usize,
    /// Target class; absent unless the run was targeted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<usize>,
    /// Prediction without attack; absent if the scores give no decision, or the run was stopped before it measured the
    /// sample. If the outputs are not classes, 0 where the property holds and 1 where it does not.
    pub clean_pred: Option<usize>,
    /// Prediction under the worst case: on the adversarial if broken, else the clean one.
    pub adv_pred: Option<usize>,
    /// Whether the clean prediction equals the label; with another criterion than misclassification, whether the
    /// criterion is not met without attack.
    pub clean_correct: bool,
    /// Outputs of the model without attack, if they are not classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clean_outputs: Vec<f32>,
    /// Outputs of the model on the adversarial of the worst case, if they are not classes and the sample is broken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adv_outputs: Vec<f32>,
    /// Key of the run that broke it with the smallest budget (the first on ties).
    pub broken_by: Option<String>,
    /// Gauge of that adversarial.
    pub gauge: Option<f64>,
    /// Distance of that adversarial, in data units.
    pub distance: Option<f64>,
    /// Norm of that distance.
    pub norm: Option<Norm>,
    /// Observations without attack that trust rules count, sorted.
    pub observed: Vec<Observation>,
    /// One entry per run, in the order of `attacks`.
    pub runs: Vec<RunOutcome>,
    /// One entry per certificate, in the order of `certified`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateOutcome>,
    /// Group by attribute name, if the data set defines groups.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, String>,
}

impl SampleRecord {
    /// Returns whether the label is the target class. A targeted attack has nothing to do on such a sample, so it
    /// counts in no figure under attack. A misclassified sample counts as not robust, whichever class it is predicted
    /// as.
    pub fn is_of_target(&self) -> bool {
        self.target == Some(self.label)
    }

    /// Returns whether the model was queried on this sample; a stopped run leaves some samples without a query.
    pub fn is_measured(&self) -> bool {
        self.clean_pred.is_some() || self.observed.contains(&Observation::NonFiniteScores)
    }
}
