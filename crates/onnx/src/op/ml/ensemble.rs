//! Ensembles of decision trees: classifiers, regressors, and the operator that replaced both.

use super::super::OperatorEntry;
use super::classes::{Classes, largest, matrix};
use super::transform::{Second, Transform};
use super::tree::Forest;
use super::tree_read::{by_ids, by_places, reals};
use crate::array::Array;
use crate::node::{Args, NodeSpec, OpResult, Run, one, run};

/// How the trees' values for a target become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Average,
    Least,
    Most,
}

/// Trees, and what they add to.
struct Ensemble {
    forest: Forest,
    targets: usize,
    base: Vec<f64>,
    aggregate: Aggregate,
}

impl Ensemble {
    fn new(forest: Forest, targets: usize, base: Vec<f64>, aggregate: Aggregate) -> OpResult<Self> {
        let beyond = forest.leaves.iter().flatten().find(|(t, _)| *t >= targets);
        if let Some((target, _)) = beyond {
            return Err(format!("a leaf for score {target} of {targets}"));
        }
        Ok(Self {
            forest,
            targets,
            base,
            aggregate,
        })
    }

    /// Returns the values of all targets for a sample, `None` where no leaf added anything; without base values.
    fn of(&self, x: &[f32]) -> Vec<Option<f64>> {
        let mut all: Vec<Option<f64>> = vec![None; self.targets];
        for leaf in self.forest.reached(x) {
            for (target, weight) in leaf {
                let weight = f64::from(*weight);
                let so_far = &mut all[*target];
                *so_far = Some(match (*so_far, self.aggregate) {
                    (None, _) => weight,
                    (Some(v), Aggregate::Least) => v.min(weight),
                    (Some(v), Aggregate::Most) => v.max(weight),
                    (Some(v), Aggregate::Sum | Aggregate::Average) => v + weight,
                });
            }
        }
        if self.aggregate == Aggregate::Average {
            let trees = self.forest.roots.len() as f64;
            all.iter_mut().flatten().for_each(|v| *v /= trees);
        }
        all
    }

    /// Applies `each` to every sample of input 0, and returns the scores `[n, width]` and what else it returns.
    fn rows<T: Send>(
        &self,
        x: &mut Args<'_>,
        each: impl Fn(Vec<Option<f64>>) -> (Vec<f64>, T) + Sync,
    ) -> OpResult<(Array, Vec<T>)> {
        let input = x.array(0)?;
        let [n, features] = matrix(input.shape())?;
        let needed = self.forest.features();
        if features < needed {
            return Err(format!(
                "samples of {features} features; its trees ask about feature {}",
                needed - 1
            ));
        }
        let values = input.to_f32()?;
        let rows: Vec<(Vec<f64>, T)> = if features == 0 {
            (0..n).map(|_| each(self.of(&[]))).collect()
        } else {
            let rows = values.chunks(features);
            rows.map(|row| each(self.of(row))).collect()
        };
        let width = rows.first().map_or(self.targets, |r| r.0.len());
        let mut scores = Vec::with_capacity(n * width);
        let mut others = Vec::with_capacity(n);
        for (row, other) in rows {
            scores.extend(row.into_iter().map(|v| v as f32));
            others.push(other);
        }
        Ok((Array::try_new([n, width], scores)?, others))
    }
}

fn regressor(node: &NodeSpec<'_>) -> OpResult<Run> {
    let aggregate = match node.text("aggregate_function", "SUM")?.as_str() {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Least,
        "MAX" => Aggregate::Most,
        other => return Err(format!("aggregate_function `{other}` is not one of ONNX's")),
    };
    let targets = node.int("n_targets", 1)?;
    let transform = Transform::read(node)?;
    regress(
        by_ids(node, "target")?,
        targets,
        reals(node, "base_values")?,
        aggregate,
        transform,
    )
}

fn tree_ensemble(node: &NodeSpec<'_>) -> OpResult<Run> {
    let aggregate = match node.int("aggregate_function", 1)? {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Least,
        3 => Aggregate::Most,
        other => return Err(format!("aggregate_function {other}; expected 0 to 3")),
    };
    let targets = node.int("n_targets", 1)?;
    let transform = Transform::numbered(node.int("post_transform", 0)?)?;
    regress(by_places(node)?, targets, Vec::new(), aggregate, transform)
}

fn regress(
    forest: Forest,
    targets: i64,
    base: Vec<f64>,
    aggregate: Aggregate,
    transform: Transform,
) -> OpResult<Run> {
    let targets = usize::try_from(targets).ok().filter(|t| *t > 0);
    let targets = targets.ok_or("n_targets is not positive")?;
    if !base.is_empty() && base.len() != targets {
        return Err(format!(
            "{} base values for {targets} targets; expected one each",
            base.len()
        ));
    }
    let ensemble = Ensemble::new(forest, targets, base, aggregate)?;
    run(move |x| {
        let (scores, _) = ensemble.rows(x, |values| {
            let base = |t: usize| ensemble.base.get(t).copied().unwrap_or(0.0);
            let values = values.into_iter().enumerate();
            let mut all: Vec<f64> = values.map(|(t, v)| v.unwrap_or(0.0) + base(t)).collect();
            transform.of(&mut all, Second::None);
            (all, ())
        })?;
        one(scores)
    })
}

fn classifier(node: &NodeSpec<'_>) -> OpResult<Run> {
    let classes = Classes::read(node, "classlabels_int64s", "classlabels_strings")?;
    let base = reals(node, "base_values")?;
    let forest = by_ids(node, "class")?;
    let transform = Transform::read(node)?;
    if !base.is_empty() && base.len() != classes.len() && base.len() != 1 {
        return Err(format!(
            "{} base values for {} classes; expected one each",
            base.len(),
            classes.len()
        ));
    }
    let of_two = classes.len() == 2;
    // With two classes and leaves for one of them there is a single score, and the class that it is about is chosen where
    // it is above 1/2 (if no weight is negative: then it is a probability) or above 0.
    let weights = || forest.leaves.iter().flatten();
    let only = weights().next().map_or(0, |(t, _)| *t);
    let is_single = of_two && weights().all(|(t, _)| *t == only);
    let is_probability = weights().all(|(_, w)| *w >= 0.0);
    let ensemble = Ensemble::new(forest, classes.len().max(1), base, Aggregate::Sum)?;
    run(move |x| {
        let (scores, chosen) = ensemble.rows(x, |values| {
            let base = &ensemble.base;
            if !of_two || !is_single {
                let values = values.into_iter().enumerate();
                let of = |t: usize| base.get(t).copied().unwrap_or(0.0);
                let mut all: Vec<f64> = values.map(|(t, v)| v.unwrap_or(0.0) + of(t)).collect();
                // Ties are ties in single precision.
                for v in &mut all {
                    *v = f64::from(*v as f32);
                }
                let chosen = largest(&all);
                transform.of(&mut all, Second::None);
                return (all, chosen);
            }
            let score = values.into_iter().flatten().sum::<f64>();
            let score = score + base.last().copied().unwrap_or(0.0);
            let (second, threshold) = if is_probability {
                (Second::Complement, 0.5)
            } else {
                (Second::Negative, 0.0)
            };
            // A score of the second class stands beside a zero, one of the first is turned into a pair.
            let mut all = if only == 1 {
                vec![0.0, score]
            } else {
                vec![score]
            };
            transform.of(&mut all, second);
            (all, usize::from(score > threshold))
        })?;
        Ok(vec![classes.of(&chosen)?.into(), scores.into()])
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("TreeEnsemble", tree_ensemble).on_host(),
    OperatorEntry::new("TreeEnsembleClassifier", classifier).on_host(),
    OperatorEntry::new("TreeEnsembleRegressor", regressor).on_host(),
];
