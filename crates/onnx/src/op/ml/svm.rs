//! Support vector machines, as libsvm computes them.

use super::super::OperatorEntry;
use super::classes::{Classes, largest, matrix};
use super::transform::{Second, Transform, logistic};
use crate::array::Array;
use crate::node::{Args, NodeSpec, OpResult, Run, one, run};

#[derive(Debug, Clone, Copy)]
enum Kernel {
    Linear,
    Poly { gamma: f64, coef: f64, degree: f64 },
    Rbf { gamma: f64 },
    Sigmoid { gamma: f64, coef: f64 },
}

impl Kernel {
    fn read(node: &NodeSpec<'_>) -> OpResult<Self> {
        let parameters = node.floats("kernel_params")?.unwrap_or_default();
        let at = |i: usize| parameters.get(i).copied().unwrap_or(0.0);
        let (gamma, coef, degree) = (at(0), at(1), at(2));
        Ok(match node.text("kernel_type", "LINEAR")?.as_str() {
            "LINEAR" => Self::Linear,
            "POLY" => Self::Poly {
                gamma,
                coef,
                degree,
            },
            "RBF" => Self::Rbf { gamma },
            "SIGMOID" => Self::Sigmoid { gamma, coef },
            other => return Err(format!("kernel_type `{other}` is not one of ONNX's")),
        })
    }

    fn of(self, a: &[f64], b: &[f64]) -> f64 {
        let pairs = || a.iter().zip(b);
        let dot = || pairs().map(|(a, b)| a * b).sum::<f64>();
        match self {
            Self::Linear => dot(),
            Self::Poly {
                gamma,
                coef,
                degree,
            } => gamma.mul_add(dot(), coef).powf(degree),
            Self::Rbf { gamma } => {
                let squared: f64 = pairs().map(|(a, b)| (a - b) * (a - b)).sum();
                (-gamma * squared).exp()
            }
            Self::Sigmoid { gamma, coef } => gamma.mul_add(dot(), coef).tanh(),
        }
    }
}

/// Support vectors, or one weight vector per score if there are none.
struct Machine {
    kernel: Kernel,
    /// Rows of `features` numbers.
    vectors: Vec<f64>,
    features: usize,
    coefficients: Vec<f64>,
    rho: Vec<f64>,
}

impl Machine {
    /// Reads the machine; `vectors` is the number of support vectors, 0 for a linear one with so many `scores`.
    fn read(node: &NodeSpec<'_>, vectors: usize, scores: usize) -> OpResult<Self> {
        let list =
            |name: &str| -> OpResult<Vec<f64>> { Ok(node.floats(name)?.unwrap_or_default()) };
        let (own, coefficients, rho) = (
            list("support_vectors")?,
            list("coefficients")?,
            list("rho")?,
        );
        let (stored, by) = if vectors > 0 {
            (&own, vectors)
        } else {
            (&coefficients, scores)
        };
        if by == 0 || stored.is_empty() || !stored.len().is_multiple_of(by) {
            return Err(format!(
                "{} numbers for {by} vectors; expected as many for each",
                stored.len()
            ));
        }
        let features = stored.len() / by;
        Ok(Self {
            kernel: Kernel::read(node)?,
            vectors: own,
            features,
            coefficients,
            rho,
        })
    }

    fn kernels(&self, x: &[f64]) -> Vec<f64> {
        let rows = self.vectors.chunks(self.features);
        rows.map(|v| self.kernel.of(x, v)).collect()
    }

    /// Applies `each` to every sample of input 0.
    fn rows<T: Send>(
        &self,
        x: &mut Args<'_>,
        each: impl Fn(&[f64]) -> T + Sync,
    ) -> OpResult<Vec<T>> {
        let input = x.array(0)?;
        let [_, features] = matrix(input.shape())?;
        if features != self.features {
            return Err(format!(
                "samples of {features} features; its vectors have {}",
                self.features
            ));
        }
        let values = input.to_f64()?;
        Ok(values.chunks(features).map(each).collect())
    }
}

fn regressor(node: &NodeSpec<'_>) -> OpResult<Run> {
    let count = node.int("n_supports", 0)?;
    let count = usize::try_from(count).map_err(|_| format!("n_supports = {count}"))?;
    let machine = Machine::read(node, count, 1)?;
    let one_class = node.flag("one_class", false)?;
    let transform = Transform::read(node)?;
    if count > 0 && machine.coefficients.len() != count {
        return Err(format!(
            "{} coefficients for {count} support vectors",
            machine.coefficients.len()
        ));
    }
    let rho = machine.rho.first().copied().unwrap_or(0.0);
    run(move |x| {
        let rows = machine.rows(x, |row| {
            let values = if count > 0 {
                machine.kernels(row)
            } else {
                vec![machine.kernel.of(row, &machine.coefficients)]
            };
            let weights = machine.coefficients.iter();
            let sum: f64 = if count > 0 {
                values.iter().zip(weights).map(|(k, w)| k * w).sum()
            } else {
                values[0]
            };
            let score = sum + rho;
            let mut all = vec![score];
            if one_class {
                all[0] = if score > 0.0 { 1.0 } else { -1.0 };
            } else {
                transform.of(&mut all, Second::None);
            }
            all[0] as f32
        })?;
        one(Array::try_new([rows.len(), 1], rows)?)
    })
}

/// Pairs of classes, the first below the second, in libsvm's order.
fn pairs(classes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..classes).flat_map(move |i| (i + 1..classes).map(move |j| (i, j)))
}

/// Classifier of support vectors, one machine per pair of classes.
struct Pairwise {
    machine: Machine,
    /// First vector of each class, and the end.
    starts: Vec<usize>,
    /// Platt's parameters per pair; empty without probabilities.
    platt: Vec<(f64, f64)>,
}

impl Pairwise {
    fn classes(&self) -> usize {
        self.starts.len() - 1
    }

    /// Returns the scores of all pairs: above 0 is a vote for the first class.
    fn scores(&self, x: &[f64]) -> Vec<f64> {
        let kernels = self.machine.kernels(x);
        let count = kernels.len();
        let sum = |of: usize, row: usize| -> f64 {
            let at = self.starts[of]..self.starts[of + 1];
            let weights = &self.machine.coefficients[row * count..(row + 1) * count];
            at.map(|m| weights[m] * kernels[m]).sum()
        };
        pairs(self.classes())
            .zip(&self.machine.rho)
            .map(|((i, j), rho)| sum(i, j - 1) + sum(j, i) + rho)
            .collect()
    }

    fn votes(&self, scores: &[f64]) -> Vec<f64> {
        let mut votes = vec![0.0; self.classes()];
        for ((i, j), score) in pairs(self.classes()).zip(scores) {
            votes[if *score > 0.0 { i } else { j }] += 1.0;
        }
        votes
    }

    /// Returns the probabilities of the classes that agree best with those of the pairs.
    ///
    /// Wu, Lin and Weng, "Probability Estimates for Multi-class Classification by Pairwise Coupling", JMLR 2004, second
    /// method, with libsvm's iteration.
    fn probabilities(&self, scores: &[f64]) -> Vec<f64> {
        const LEAST: f64 = 1e-7;
        let k = self.classes();
        let mut r = vec![0.0; k * k];
        for (((i, j), s), (a, b)) in pairs(k).zip(scores).zip(&self.platt) {
            let p = logistic(-(a * s + b)).clamp(LEAST, 1.0 - LEAST);
            r[i * k + j] = p;
            r[j * k + i] = 1.0 - p;
        }
        let mut q = vec![0.0; k * k];
        for t in 0..k {
            for j in (0..k).filter(|j| *j != t) {
                q[t * k + t] += r[j * k + t] * r[j * k + t];
                q[t * k + j] = -r[j * k + t] * r[t * k + j];
            }
        }
        let mut p = vec![1.0 / k as f64; k];
        let end = 0.005 / k as f64;
        for _ in 0..100.max(k) {
            let mut qp: Vec<f64> = (0..k)
                .map(|t| (0..k).map(|j| q[t * k + j] * p[j]).sum())
                .collect();
            let mut pqp: f64 = p.iter().zip(&qp).map(|(p, q)| p * q).sum();
            let worst = qp.iter().map(|v| (v - pqp).abs()).fold(0.0, f64::max);
            if worst < end {
                break;
            }
            for t in 0..k {
                let diff = (pqp - qp[t]) / q[t * k + t];
                p[t] += diff;
                pqp = (pqp + diff * (diff * q[t * k + t] + 2.0 * qp[t])) / (1.0 + diff).powi(2);
                for j in 0..k {
                    qp[j] = (qp[j] + diff * q[t * k + j]) / (1.0 + diff);
                    p[j] /= 1.0 + diff;
                }
            }
        }
        p
    }
}

fn classifier(node: &NodeSpec<'_>) -> OpResult<Run> {
    let classes = Classes::read(node, "classlabels_ints", "classlabels_strings")?;
    let transform = Transform::read(node)?;
    let per_class = node.sizes("vectors_per_class")?.unwrap_or_default();
    if per_class.is_empty() {
        return linear(node, classes, transform);
    }
    let k = per_class.len();
    if k != classes.len() || k < 2 {
        return Err(format!(
            "vectors of {k} classes and {} labels",
            classes.len()
        ));
    }
    let mut starts = vec![0];
    for n in &per_class {
        let end = starts[starts.len() - 1] + n;
        starts.push(end);
    }
    let count = starts[k];
    let machine = Machine::read(node, count, 0)?;
    let of_pairs = k * (k - 1) / 2;
    if machine.coefficients.len() != count * (k - 1) || machine.rho.len() != of_pairs {
        return Err(format!(
            "{} coefficients and {} constants for {count} vectors of {k} classes; expected {} and {of_pairs}",
            machine.coefficients.len(),
            machine.rho.len(),
            count * (k - 1)
        ));
    }
    let (a, b) = (node.floats("prob_a")?, node.floats("prob_b")?);
    let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
    if a.len() != b.len() || !(a.is_empty() || a.len() == of_pairs) {
        return Err(format!(
            "{} and {} numbers in `prob_a` and `prob_b`; expected {of_pairs} each, or none",
            a.len(),
            b.len()
        ));
    }
    let all = Pairwise {
        machine,
        starts,
        platt: a.into_iter().zip(b).collect(),
    };
    run(move |x| {
        let rows = all.machine.rows(x, |row| {
            let scores = all.scores(row);
            let chosen = largest(&all.votes(&scores));
            let mut shown = if all.platt.is_empty() {
                scores.clone()
            } else {
                all.probabilities(&scores)
            };
            if shown.len() == 1 {
                transform.of(&mut shown, Second::Negative);
            } else {
                transform.of(&mut shown, Second::None);
            }
            (shown, chosen)
        })?;
        let chosen: Vec<usize> = rows.iter().map(|r| r.1).collect();
        let width = rows.first().map_or(0, |r| r.0.len());
        let flat: Vec<f32> = rows.iter().flat_map(|r| &r.0).map(|v| *v as f32).collect();
        Ok(vec![
            classes.of(&chosen)?.into(),
            Array::try_new([chosen.len(), width], flat)?.into(),
        ])
    })
}

/// A machine without support vectors: one weight vector per class.
fn linear(node: &NodeSpec<'_>, classes: Classes, transform: Transform) -> OpResult<Run> {
    let machine = Machine::read(node, 0, classes.len())?;
    let rho = machine.rho.first().copied().unwrap_or(0.0);
    run(move |x| {
        let rows = machine.rows(x, |row| {
            let weights = machine.coefficients.chunks(machine.features);
            let mut all: Vec<f64> = weights.map(|w| machine.kernel.of(row, w) + rho).collect();
            let chosen = largest(&all);
            transform.of(&mut all, Second::None);
            (all, chosen)
        })?;
        let chosen: Vec<usize> = rows.iter().map(|r| r.1).collect();
        let flat: Vec<f32> = rows.iter().flat_map(|r| &r.0).map(|v| *v as f32).collect();
        Ok(vec![
            classes.of(&chosen)?.into(),
            Array::try_new([chosen.len(), classes.len()], flat)?.into(),
        ])
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("SVMClassifier", classifier).on_host(),
    OperatorEntry::new("SVMRegressor", regressor).on_host(),
];
