use burn::tensor::Tensor;
use proofmark_domain::Observation;
use proofmark_model::{Access, DecisionModel, GradientModel, Query, guarded_device};
use proofmark_threat::{Batch, host};

use crate::{
    Aim, Criterion, EngineError, Event, Focus, Goal, Job, Loss, Oracle, Rows, judge, predict,
};

/// Maximum difference between two sets of scores that count as equal, relative to their norm (the size `AutoAttack`'s
/// randomness check uses).
const SAME: f32 = 1e-4;

/// Softmax probabilities of the rivals vanish in `f32` when the top logit leads by `ln(f32::MIN_POSITIVE)`.
const SATURATED: f32 = 87.3;

/// Measurements on one sample before any attack.
#[derive(Debug, Clone, PartialEq)]
pub struct Clean {
    /// Place in the samples.
    pub row: usize,
    /// Scores; `None` if the model gives decisions only.
    pub scores: Option<Vec<f32>>,
    /// Predicted class; `None` if the answer gives no decision ([`Criterion::decides`](crate::Criterion::decides)). 0 if
    /// the outputs are not classes.
    pub pred: Option<usize>,
    /// Observations that trust rules count, sorted.
    pub observed: Vec<Observation>,
}

/// Queries the model on every clean sample of the job: twice normally and, if it gives gradients, once on the gradient
/// path.
///
/// Three sample-forwards and one backward per sample give the clean predictions and five trust checks. For a model that
/// gives decisions only, it checks just whether its decision changes or is for a class that does not exist. Rows not
/// reached before `job.stop` are left out.
///
/// If the gradients are those of a [surrogate](proofmark_model::wrap::Surrogate), all this is measured on the attacked
/// model alone. The surrogate is asked once per sample whether it decides alike.
pub fn preflight<'a>(
    model: impl Into<Access<'a>>,
    job: &Job<'_>,
) -> Result<Vec<Clean>, EngineError> {
    let access = model.into();
    guarded_device(|| {
        let mut clean = measure(access.judged(), job)?;
        if let Some(surrogate) = access.surrogate() {
            compare(surrogate.source(), job, &mut clean)?;
        }
        Ok(clean)
    })
}

/// Notes the samples on which a surrogate decides differently.
fn compare(
    source: &dyn GradientModel,
    job: &Job<'_>,
    clean: &mut [Clean],
) -> Result<(), EngineError> {
    let theirs = each_chunk(source, job, |oracle, rows, query| {
        let classes = oracle.signature().classes;
        let answer = oracle.decide(rows, query)?;
        let decided = judge::classes(&answer, classes);
        Ok(Answers::Decisions([decided.clone(), decided]))
    })?;
    for (own, theirs) in clean.iter_mut().zip(theirs) {
        if own.pred != theirs.pred {
            own.observed.push(Observation::SurrogateDisagrees);
            own.observed.sort_unstable();
        }
    }
    Ok(())
}

fn measure(access: Access<'_>, job: &Job<'_>) -> Result<Vec<Clean>, EngineError> {
    match access {
        Access::Decisions(model) => each_chunk(model, job, |oracle, rows, query| {
            let classes = oracle.signature().classes;
            let first = oracle.decide(rows, query)?;
            let second = oracle.decide(rows, query)?;
            Ok(Answers::Decisions(
                [first, second].map(|o| judge::classes(&o, classes)),
            ))
        }),
        Access::Scores(model) => each_chunk(model, job, |oracle, rows, query| {
            let first = oracle.scores(rows, query)?;
            let second = oracle.scores(rows, query)?;
            Ok(Answers::Scores([first, second].map(|t| host(&t)), None))
        }),
        Access::Gradients(model) => each_chunk(model, job, |oracle, rows, query| {
            let first = oracle.scores(rows, query)?;
            let second = oracle.scores(rows, query)?;
            let tracked = oracle.gradient(rows, &query.x, &SumOfScores)?.scores;
            let [first, second, tracked] = [first, second, tracked].map(|t| host(&t));
            Ok(Answers::Scores([first, second], Some(tracked)))
        }),
    }
}

/// The model's answers for some rows.
enum Answers {
    /// Decisions from two calls, one class per row.
    Decisions([Vec<Option<usize>>; 2]),
    /// Scores from two normal calls and, if available, one on the gradient path, `[rows * classes]` each.
    Scores([Vec<f32>; 2], Option<Vec<f32>>),
}

impl Answers {
    /// Returns the measurements on the `i`th of these rows, which is `row` of the samples.
    fn clean(&self, i: usize, row: usize, classes: usize, goal: &dyn Criterion) -> Clean {
        match self {
            Self::Decisions([first, second]) => decided(row, first[i], second[i]),
            Self::Scores([first, second], tracked) => {
                let at = i * classes..(i + 1) * classes;
                let tracked = tracked.as_ref().map(|t| &t[at.clone()]);
                observe(row, [&first[at.clone()], &second[at]], tracked, goal)
            }
        }
    }
}

fn each_chunk<M: DecisionModel + ?Sized>(
    model: &M,
    job: &Job<'_>,
    ask: impl Fn(&mut Oracle<'_, M>, &mut Rows, &Query) -> Result<Answers, EngineError>,
) -> Result<Vec<Clean>, EngineError> {
    // Only the meaning of the outputs counts here: what they are compared with may follow from these answers.
    let goal = job.goal;
    let plain = Job {
        goal: &Goal::Untargeted,
        ..*job
    };
    let job = &plain;
    job.check()?;
    let mut oracle = Oracle::new(model, job, Aim::Within);
    let device = oracle.device().clone();
    let classes = oracle.signature().classes;
    let mut all = Vec::with_capacity(job.rows.len());
    let at_once = job.batch.max(job.tile.unwrap_or(1));
    for chunk in job.rows.chunks(at_once) {
        if (job.stop)() {
            break;
        }
        let first: Vec<(usize, u32)> = chunk.iter().map(|sample| (*sample, 0)).collect();
        let mut rows = Rows::new(job, &first, 0, &device)?;
        let query = Query::one_per_row(rows.region().x0(), rows.keys());
        let answers = ask(&mut oracle, &mut rows, &query)?;
        let spent = (0..chunk.len()).map(|i| rows.spent(i));
        job.observer.event(Event::queried(spent.sum()));
        all.extend((0..chunk.len()).map(|i| answers.clean(i, chunk[i], classes, goal)));
    }
    Ok(all)
}

fn decided(row: usize, first: Option<usize>, second: Option<usize>) -> Clean {
    let mut observed = Vec::new();
    if first.is_none() {
        observed.push(Observation::NonFiniteScores);
    } else if first != second {
        observed.push(Observation::OutputChanged);
    }
    Clean {
        row,
        scores: None,
        pred: first,
        observed,
    }
}

fn observe(
    row: usize,
    [first, second]: [&[f32]; 2],
    tracked: Option<&[f32]>,
    goal: &dyn Criterion,
) -> Clean {
    let mut observed = Vec::new();
    let is_classes = goal.outputs().is_classes();
    let pred = if is_classes {
        predict(first)
    } else {
        goal.decides(first).then_some(0)
    };
    let sum: f32 = first.iter().sum();
    let probability = |s: &f32| (-1e-5..=1.0 + 1e-5).contains(s);
    if pred.is_none() {
        observed.push(Observation::NonFiniteScores);
    } else {
        if differ(first, second) {
            observed.push(Observation::OutputChanged);
        }
        if is_classes && first.iter().all(probability) && (sum - 1.0).abs() <= 1e-5 {
            observed.push(Observation::ProbabilityRow);
        }
        let mut sorted = first.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        if is_classes && sorted.len() > 1 && sorted[0] - sorted[1] > SATURATED {
            observed.push(Observation::SaturatedLogits);
        }
        if tracked.is_some_and(|t| differ(first, t)) {
            observed.push(Observation::TrackedMismatch);
        }
    }
    observed.sort_unstable();
    Clean {
        row,
        scores: Some(first.to_vec()),
        pred,
        observed,
    }
}

fn differ(a: &[f32], b: &[f32]) -> bool {
    let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|x| x * x).sum::<f32>().sqrt();
    // Skip equal values: the difference of equal infinities is NaN.
    let apart = norm(&mut a.iter().zip(b).filter(|(x, y)| x != y).map(|(x, y)| x - y));
    let finite = &mut a.iter().copied().filter(|x| x.is_finite());
    let allowed = SAME * norm(finite).max(f32::MIN_POSITIVE);
    // A NaN counts as a difference.
    apart.is_nan() || apart > allowed
}

/// Placeholder loss: only the scores of the gradient path are used.
#[derive(Debug)]
struct SumOfScores;

impl Loss for SumOfScores {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, _: &Focus) -> Tensor<1> {
        scores.clone().sum_dim(1).squeeze_dim::<1>(1)
    }
}
