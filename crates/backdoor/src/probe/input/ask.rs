//! Asks a model about any number of points on the host, in pieces of a constant size.

use burn::tensor::Tensor;
use proofmark_engine::{Samples, predict};
use proofmark_model::{
    DecisionModel, Features, GradientModel, ModelError, Output, Query, ScoreModel, Signature,
    guarded_device,
};
use proofmark_threat::{Batch, host};

use super::ProbeError;

/// Rows per query of a model whose rows do not depend on each other.
const TOGETHER: usize = 64;

/// Rows per query of any other model; the last query is padded with copies of its last row.
const TILE: usize = 8;

/// Points to ask about: per modality `n * features` values, and the key of each point's sample.
#[derive(Debug, Clone)]
pub struct Points {
    /// Per modality, `n * features` values in C order, data units.
    pub values: Vec<Vec<f32>>,
    /// Key of the random streams of each point's sample, for models that are random.
    pub keys: Vec<u64>,
}

impl Points {
    /// Returns all samples as points.
    pub fn of(samples: &Samples) -> Self {
        Self {
            values: samples.values.clone(),
            keys: samples.keys.clone(),
        }
    }
}

/// Calls `ask` with one query after the other and returns what `read` makes of each answer, without the padding.
fn in_pieces<A, T>(
    signature: &Signature,
    points: &Points,
    ask: impl Fn(&Query) -> Result<A, ModelError>,
    read: impl Fn(A, usize) -> Result<Vec<T>, ModelError>,
) -> Result<Vec<T>, ProbeError> {
    let n = points.keys.len();
    let size = if signature.row_independent {
        TOGETHER
    } else {
        TILE
    };
    let mut all = Vec::with_capacity(n);
    for from in (0..n).step_by(size) {
        let real = size.min(n - from);
        let asked = if signature.row_independent {
            real
        } else {
            size
        };
        let rows = (0..asked).map(|i| from + i.min(real - 1));
        let keys: Vec<u64> = rows.clone().map(|r| points.keys[r]).collect();
        let values = signature
            .modalities
            .iter()
            .zip(&points.values)
            .map(|(m, v)| {
                let f = m.features();
                rows.clone()
                    .flat_map(|r| v[r * f..(r + 1) * f].iter().copied())
                    .collect()
            })
            .collect();
        let query = guarded_device(|| {
            let x = Batch::from_host(signature.modalities.clone(), values, &signature.device)?;
            Ok::<_, ModelError>(Query::one_per_row(x, &keys))
        })?;
        let answer = ask(&query)?;
        let mut read = guarded_device(|| read(answer, asked))?;
        // `read` returns the same number of values per row.
        let each = read.len() / asked;
        read.truncate(real * each);
        all.append(&mut read);
    }
    Ok(all)
}

/// Returns the probabilities of the classes, `n * classes`, row after row; a row with NaN stays one. They are computed
/// from the scores in `f64`, so that answers near certainty remain apart.
pub(crate) fn probabilities(
    model: &dyn ScoreModel,
    points: &Points,
) -> Result<Vec<f64>, ProbeError> {
    let classes = model.signature().classes;
    let scores = in_pieces(
        model.signature(),
        points,
        |q| model.scores(q),
        |scores, _| Ok(host(&scores)),
    )?;
    Ok(scores.chunks(classes).flat_map(softmax).collect())
}

fn softmax(scores: &[f32]) -> Vec<f64> {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let each: Vec<f64> = scores
        .iter()
        .map(|s| (f64::from(*s) - f64::from(top)).exp())
        .collect();
    let sum: f64 = each.iter().sum();
    each.iter().map(|e| e / sum).collect()
}

/// Returns the decision for each point; `None` where the answer holds none.
pub(crate) fn decisions(
    model: &dyn DecisionModel,
    points: &Points,
) -> Result<Vec<Option<usize>>, ProbeError> {
    let classes = model.signature().classes;
    in_pieces(
        model.signature(),
        points,
        |q| model.decide(q),
        |output, _| {
            Ok(match output {
                Output::Labels(labels) => {
                    let labels: Vec<i64> = labels
                        .into_data()
                        .convert::<i64>()
                        .try_to_vec()
                        .map_err(|e| ModelError::Device {
                            message: format!("{e:?}"),
                        })?;
                    let known = |l: &i64| usize::try_from(*l).ok().filter(|l| *l < classes);
                    labels.iter().map(known).collect()
                }
                Output::Scores(scores) => host(&scores).chunks(classes).map(predict).collect(),
            })
        },
    )
}

/// Where the inner activations of a model are read.
#[derive(Clone)]
pub enum Layers<'a> {
    /// The activations before the last linear layer.
    Penultimate(&'a dyn GradientModel),
    /// Layers by name.
    Named(&'a dyn Features, Vec<String>),
}

impl std::fmt::Debug for Layers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Layers").field(&self.names()).finish()
    }
}

/// Activations of one layer on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Activations {
    /// Name of the layer.
    pub layer: String,
    /// Numbers per sample, at least 1.
    pub width: usize,
    /// `n * width` numbers, sample after sample.
    pub values: Vec<f32>,
}

impl Activations {
    /// Returns the activations of sample `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }
}

impl Layers<'_> {
    /// Returns the names of the layers.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Penultimate(m) => m.signature().penultimate.iter().cloned().collect(),
            Self::Named(_, names) => names.clone(),
        }
    }

    fn signature(&self) -> &Signature {
        match self {
            Self::Penultimate(m) => m.signature(),
            Self::Named(m, _) => m.signature(),
        }
    }

    /// Returns the activations of every layer at the points.
    pub fn read(&self, points: &Points) -> Result<Vec<Activations>, ProbeError> {
        let names = self.names();
        let signature = self.signature();
        let none = || ModelError::Signature {
            model: signature.name.clone(),
            problem: "shows no activations before its last layer; name a layer to read".to_owned(),
        };
        let mut all: Vec<Activations> = names
            .iter()
            .map(|layer| Activations {
                layer: layer.clone(),
                width: 0,
                values: Vec::new(),
            })
            .collect();
        // Rows of all layers one after the other, so that a layer is read once.
        let widths = std::cell::RefCell::new(vec![0; names.len()]);
        let rows = in_pieces(
            signature,
            points,
            |q| match self {
                Self::Penultimate(m) => m.penultimate(q)?.map(|t| vec![t]).ok_or_else(none),
                Self::Named(m, names) => {
                    m.features(q, &names.iter().map(String::as_str).collect::<Vec<_>>())
                }
            },
            |tensors: Vec<Tensor<2>>, asked| {
                let mut pieces = Vec::with_capacity(tensors.len());
                for (i, tensor) in tensors.iter().enumerate() {
                    let [n, width] = tensor.dims();
                    let before = widths.borrow()[i];
                    if n != asked || width == 0 || (before != 0 && before != width) {
                        return Err(ModelError::Signature {
                            model: signature.name.clone(),
                            problem: format!(
                                "layer `{}` has shape [{n}, {width}] for {asked} points; expected a row of the same number of activations each",
                                names[i]
                            ),
                        });
                    }
                    widths.borrow_mut()[i] = width;
                    pieces.push(host(tensor));
                }
                Ok((0..asked)
                    .flat_map(|r| {
                        let widths = widths.borrow();
                        let of = |(i, p): (usize, &Vec<f32>)| {
                            p[r * widths[i]..(r + 1) * widths[i]].to_vec()
                        };
                        pieces.iter().enumerate().flat_map(of).collect::<Vec<f32>>()
                    })
                    .collect())
            },
        )?;
        let widths = widths.into_inner();
        let total: usize = widths.iter().sum();
        for row in rows.chunks(total.max(1)) {
            let mut at = 0;
            for (activations, width) in all.iter_mut().zip(&widths) {
                activations.width = *width;
                activations.values.extend(&row[at..at + width]);
                at += width;
            }
        }
        Ok(all)
    }
}

/// Layers that a probe reads if none are named: at most `most` of those that the model shows, evenly from the first to
/// the last that hold a row of at least two numbers per sample.
pub fn chosen_layers(
    model: &dyn Features,
    some: &Samples,
    most: usize,
) -> Result<Vec<String>, ProbeError> {
    let probe = Points {
        values: some.gather(&[0, some.len() - 1]),
        keys: vec![some.keys[0], some.keys[some.len() - 1]],
    };
    let inputs: Vec<String> = model
        .signature()
        .modalities
        .iter()
        .map(|m| m.name.clone())
        .collect();
    let mut fit = Vec::new();
    for tap in model.taps() {
        if inputs.contains(&tap) {
            continue;
        }
        let read = Layers::Named(model, vec![tap.clone()]).read(&probe);
        // A value that has no row per sample is none of the layers.
        if read.is_ok_and(|a| a[0].width > 1) {
            fit.push(tap);
        }
    }
    let n = fit.len();
    if n <= most {
        return Ok(fit);
    }
    Ok((0..most)
        .map(|i| fit[i * (n - 1) / (most - 1).max(1)].clone())
        .collect())
}
