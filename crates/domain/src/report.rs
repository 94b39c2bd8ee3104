//! The attack report, `proofmark/report/1`: what a run measured, sample by sample.
//!
//! Every figure in it follows from `samples` (the gate crate computes them), so shards merge by
//! concatenating samples and computing again.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Kind, Needs, Norm, ReadFacts, SampleId, TrustCode, TrustFlag};

/// The schema name every attack report carries.
pub const REPORT_SCHEMA: &str = "proofmark/report/1";

/// A two-sided interval, both ends in the unit of what it bounds. In JSON `[low, high]`; an end that is infinite is null.
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

/// One attack run, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_SCHEMA`].
    pub schema: String,
    /// Which proofmark made it.
    pub tool: ToolFacts,
    /// Every resolved parameter of the run.
    pub config: Map<String, Value>,
    /// The model attacked.
    pub model: ModelFacts,
    /// The data it was attacked on.
    pub data: DataFacts,
    /// What happens between data units and the model (scale, mean, std).
    pub preprocessing: Map<String, Value>,
    /// The device it ran on.
    pub device: String,
    /// Rows per model call; results on the CPU are bit-identical for equal tiles.
    pub tile: usize,
    /// The seed of every random number.
    pub seed: u64,
    /// Wall-clock seconds (summed over shards when merged).
    pub seconds: f64,
    /// Which part of the samples this is, if the run was sharded.
    pub shard: Option<Shard>,
    /// Accuracy without attack.
    pub clean: CleanSummary,
    /// One entry per attack and budget.
    pub attacks: Vec<AttackSummary>,
    /// A sample counts as robust only if no attack at any budget up to the largest broke it.
    pub worst_case: WorstCase,
    /// Robust accuracy against budget, from the worst case at each.
    pub curve: Vec<CurvePoint>,
    /// The same by true class.
    pub per_class: Vec<ClassSummary>,
    /// Reasons not to trust the figures.
    pub trust: Vec<TrustFlag>,
    /// Trust codes that nothing was checked for, because the model does not give what they are about: their absence from
    /// `trust` says nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust_not_applicable: Vec<TrustCode>,
    /// Every sample; empty when they are in `samples_file`.
    pub samples: Vec<SampleRecord>,
    /// Name of the `.jsonl` beside the report that holds the samples (above 10,000 of them).
    pub samples_file: Option<String>,
}

/// Which proofmark made a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolFacts {
    /// `proofmark`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What is known of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Its name on the command line or in the policy.
    pub name: String,
    /// Digest over its weights (and graph and external data where it has them), hex.
    pub sha256: String,
    /// Where it came from, if known.
    pub origin: Option<String>,
    /// Number of classes.
    pub classes: usize,
    /// Trust codes that follow from what the model is, before anything is measured; none if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stated: Vec<TrustFlag>,
    /// The most it was asked for; gradients if absent.
    #[serde(default = "gradients", skip_serializing_if = "gives_gradients")]
    pub gives: Needs,
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

/// What is known of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFacts {
    /// Its name on the command line or in the policy.
    pub name: String,
    /// Digest of the source file or set, hex.
    pub sha256: String,
    /// Samples in the full set.
    pub total: usize,
    /// Samples the whole run covers (all shards together).
    pub planned: usize,
    /// `[low, high]` of each modality's values, by modality name.
    pub bounds: Map<String, Value>,
    /// Another reading of the values under which a model that does no better than guessing is right; tried on the first
    /// samples of the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    /// How its files were read.
    #[serde(default)]
    pub read_as: ReadFacts,
}

/// What a model makes of values that are changed before it sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The change, as it follows "with the values".
    pub change: String,
    /// Samples then right.
    pub correct: usize,
    /// Samples tried.
    pub n: usize,
}

/// Shard `index` of `count`, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which one, from 0.
    pub index: usize,
    /// Of how many.
    pub count: usize,
}

/// Accuracy without attack.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CleanSummary {
    /// Samples classified as labelled.
    pub correct: usize,
    /// Samples in all.
    pub n: usize,
    /// Samples whose scores decided nothing (NaN, or no finite highest): neither right nor wrong.
    pub invalid: usize,
    /// `correct / n`.
    pub accuracy: f64,
    /// Clopper–Pearson at 95 %; invalid samples widen it both ways.
    pub ci95: Interval,
}

/// What a run was there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// An attack that was asked for.
    Attack,
    /// A gradient-free baseline; counts towards the worst case, and must not beat the gradient attacks.
    Baseline,
    /// An unbounded attack run only to test the attack itself; never counts towards the worst case.
    Probe,
}

/// How the budgets of several modalities bind together.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coupling {
    /// Each modality may use its whole budget.
    #[default]
    Independent,
    /// One budget shared by all: `(sum_i (|d_i| / eps_i)^q)^(1/q) <= 1`.
    Shared {
        /// The exponent, at least 1.
        q: f64,
    },
}

/// The budget of one modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetRecord {
    /// The modality's name.
    pub modality: String,
    /// Its norm.
    pub norm: Norm,
    /// Its epsilon, in data units; the largest where samples have their own.
    pub eps: f64,
    /// What the epsilon is held against; absent where nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<InputScale>,
}

/// The size of an input's values, over the features that may change: what says whether an epsilon is in their unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InputScale {
    /// What kind of signal the input is.
    pub kind: Kind,
    /// The widest range (highest less lowest value allowed) of a feature.
    pub widest: f64,
    /// The longest change its bounds allow, in the budget's norm.
    pub diameter: f64,
    /// Whether every value of the data is a whole number of 255ths of its range.
    pub eight_bit: bool,
    /// The smallest epsilon of a sample, where samples have their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest_eps: Option<f64>,
}

/// The threat model of one run.
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
    /// How the budgets bind together.
    pub coupling: Coupling,
}

/// How long an attack's steps are in one modality, in its data units.
///
/// With budgets per sample: those of the largest one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The modality.
    pub modality: String,
    /// The first step.
    pub first: f64,
    /// The last one; steps between fall with the square of what is left where the two differ.
    pub last: f64,
    /// Every step of the third try and of every third one after it, where those are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_third_try: Option<f64>,
}

/// The version of attacks in reports that do not say.
const fn first_version() -> u32 {
    1
}

/// What identifies one attack run inside a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunMeta {
    /// Unique in the report: `pgd@linf:0.1`.
    pub key: String,
    /// The attack's id: `pgd`.
    pub id: String,
    /// The attack's version: it grows with every change of what its defaults do.
    #[serde(default = "first_version")]
    pub version: u32,
    /// What the run was there for.
    pub role: Role,
    /// Whether the attack follows gradients.
    pub gradient: bool,
    /// What it was allowed to change.
    pub threat: ThreatRecord,
    /// Every resolved parameter of the attack.
    pub parameters: Map<String, Value>,
    /// The lengths of its steps, if it takes any, per modality.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub step_size: Vec<StepRecord>,
    /// What it cost.
    #[serde(flatten)]
    pub cost: Cost,
    /// Why it did not come to its end, if it failed: samples that it was to attack are stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What a run cost the machine. No result depends on it, and it may differ from machine to machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Sample-forwards that the model really computed: those asked for, padding of tiles, and tries begun early that came
    /// to nothing. Summed over shards when merged; 0 in reports that do not say.
    #[serde(default)]
    pub computed: u64,
    /// Wall-clock seconds; 0 where no clock was handed in. Summed over shards when merged.
    pub seconds: f64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.computed += other.computed;
        self.seconds += other.seconds;
    }
}

/// One attack at one budget: its facts and its figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackSummary {
    /// The attack's id: `pgd`.
    pub id: String,
    /// Unique in the report: `pgd@linf:0.1`.
    pub key: String,
    /// The attack's version: it grows with every change of what its defaults do.
    #[serde(default = "first_version")]
    pub version: u32,
    /// What the run was there for.
    pub role: Role,
    /// Whether the attack follows gradients.
    pub gradient: bool,
    /// What it was allowed to change.
    pub threat: ThreatRecord,
    /// Every resolved parameter of the attack.
    pub parameters: Map<String, Value>,
    /// The lengths of its steps, if it takes any, per modality.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub step_size: Vec<StepRecord>,
    /// Samples right without attack and not broken by this run.
    pub correct: usize,
    /// Samples in all, those of the class a targeted run wants left out.
    pub n: usize,
    /// Samples this run could not judge.
    pub invalid: usize,
    /// `correct / n`.
    pub robust_accuracy: f64,
    /// Clopper–Pearson at 95 %; invalid samples widen it both ways.
    pub ci95: Interval,
    /// Broken samples over samples attacked; absent when none was.
    pub attack_success_rate: Option<f64>,
    /// Sample-forwards.
    pub forward: u64,
    /// Sample-backwards.
    pub backward: u64,
    /// What it cost.
    #[serde(flatten)]
    pub cost: Cost,
    /// Why it did not come to its end, if it failed: samples that it was to attack are stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Reasons not to trust this run's figures by themselves, were it the only attack beside the baselines and probes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust: Vec<TrustFlag>,
}

impl AttackSummary {
    /// The facts without the figures.
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

/// Robust accuracy over all attacks and baselines.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WorstCase {
    /// The largest epsilon of the first modality that changes.
    pub eps: f64,
    /// Samples right without attack and broken by nothing.
    pub correct: usize,
    /// Samples in all, those of the class a targeted run wants left out.
    pub n: usize,
    /// Samples that could not be judged.
    pub invalid: usize,
    /// `correct / n`.
    pub robust_accuracy: f64,
    /// Clopper–Pearson at 95 %; invalid samples widen it both ways.
    pub ci95: Interval,
    /// Broken samples over samples right without attack; absent when none was.
    pub attack_success_rate: Option<f64>,
}

/// One point of the accuracy-against-budget curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The norm.
    pub norm: Norm,
    /// The budget; 0 is the clean accuracy.
    pub eps: f64,
    /// Samples broken by nothing up to this budget.
    pub correct: usize,
    /// Samples in all, those of the class a targeted run wants left out.
    pub n: usize,
    /// `correct / n`.
    pub robust_accuracy: f64,
    /// Clopper–Pearson at 95 %.
    pub ci95: Interval,
}

/// The figures of one true class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassSummary {
    /// The class.
    pub label: usize,
    /// Samples of it.
    pub n: usize,
    /// Right without attack.
    pub clean_correct: usize,
    /// Recall without attack, with its interval; absent for an empty class.
    pub clean_ci95: Option<Interval>,
    /// Samples of it that count under attack: none for the class a targeted run wants.
    #[serde(default)]
    pub robust_n: usize,
    /// Right under the worst case.
    pub robust_correct: usize,
    /// Recall under the worst case, with its interval; absent where `robust_n` is 0.
    pub robust_ci95: Option<Interval>,
}

/// What became of one sample in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Attacked and not broken.
    Robust,
    /// Broken by a point that was re-measured: inside bounds and budget, and misclassified.
    Broken,
    /// No decision (NaN, or no finite highest score) or gradients that are not finite: neither broken nor robust.
    Invalid,
    /// Not attacked: already wrong without attack.
    Misclassified,
    /// Not attacked by this run: a probe takes a subset only, and a sample of the target class has nothing to lose.
    Skipped,
    /// Not attacked by this run: an earlier attack of the same suite broke it.
    #[serde(rename = "broken-before")]
    BrokenBefore,
    /// The query budget or the time ran out before the attack was done, or before the sample was measured at all.
    Stopped,
}

impl RunStatus {
    /// Whether the sample is broken once the run is over, be it by this run or by an earlier attack of its suite.
    pub const fn is_broken(self) -> bool {
        matches!(self, Self::Broken | Self::BrokenBefore)
    }
}

/// One sample in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// The run's key.
    pub run: String,
    /// What became of it.
    pub status: RunStatus,
    /// The prediction on the adversarial, if broken.
    pub adv_pred: Option<usize>,
    /// Gauge of the adversarial: at most 1 means allowed; computed in `f64`.
    pub gauge: Option<f64>,
    /// Its distance in the run's norm, data units.
    pub distance: Option<f64>,
    /// Sample-forwards spent.
    pub forward: u64,
    /// Sample-backwards spent.
    pub backward: u64,
    /// What this run saw on the sample that trust rules count, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<Observation>,
}

/// A fact seen on one sample that a trust rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observation {
    /// A gradient attack met exactly zero gradients on at least half of its steps and did not break the sample.
    ZeroGradient,
    /// A gradient held NaN or infinity.
    NonFiniteGradient,
    /// The scores held NaN or had no finite maximum, or the decision was for a class that does not exist.
    NonFiniteScores,
    /// The same input gave other scores, or another decision, the second time.
    OutputChanged,
    /// The scores lie in `[0, 1]` and sum to 1.
    ProbabilityRow,
    /// The top two logits are so far apart that `f32` cross-entropy has no gradient left.
    SaturatedLogits,
    /// Scores on the gradient path differ from those on the plain path.
    TrackedMismatch,
    /// An adversarial seen on the path was not confirmed when re-measured.
    WitnessRejected,
}

/// One sample of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// Its place in the full set.
    pub id: SampleId,
    /// The label it was judged against.
    pub label: usize,
    /// The class it was to be taken for; absent unless the run was targeted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<usize>,
    /// The prediction without attack; absent if the scores decided nothing, or the run was stopped before it was asked.
    pub clean_pred: Option<usize>,
    /// The prediction under the worst case: on the adversarial if broken, else the clean one.
    pub adv_pred: Option<usize>,
    /// Whether the clean prediction is the label.
    pub clean_correct: bool,
    /// Key of the run that broke it with the smallest budget (the first on ties).
    pub broken_by: Option<String>,
    /// Gauge of that adversarial.
    pub gauge: Option<f64>,
    /// Distance of that adversarial, data units.
    pub distance: Option<f64>,
    /// Norm the distance is in.
    pub norm: Option<Norm>,
    /// What was seen on it without attack that trust rules count, sorted.
    pub observed: Vec<Observation>,
    /// One entry per run, in the order of `attacks`.
    pub runs: Vec<RunOutcome>,
    /// Its group by attribute, where the set says so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, String>,
}

impl SampleRecord {
    /// Whether its label is the class a targeted run wants: an attack has nothing to gain on it, so it counts in no
    /// figure under attack. A sample that is misclassified counts, and as not robust, whichever class it is taken for.
    pub fn is_of_target(&self) -> bool {
        self.target == Some(self.label)
    }

    /// Whether the model was asked about it at all: a run that was stopped leaves samples that it was not.
    pub fn is_measured(&self) -> bool {
        self.clean_pred.is_some() || self.observed.contains(&Observation::NonFiniteScores)
    }
}
