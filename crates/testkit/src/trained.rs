//! Small nets of several kinds, trained in a moment from a seed: none hides anything, except the one that is meant to.

use burn::backend::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::activation::{log_softmax, relu, sigmoid, tanh};
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::{Device, Int, Tensor, TensorData};
use proofmark_domain::{Modality, Seed};
use proofmark_model::{BurnModel, ModelError};
use proofmark_stats::random::{Purpose, Stream, StreamKey};

/// Units of a hidden layer.
const HIDDEN: usize = 64;

/// Filters of the convolution.
const FILTERS: usize = 16;

/// Kinds of nets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Scores that are linear in the input.
    Linear,
    /// One hidden layer of rectified units.
    Relu,
    /// Two hidden layers of rectified units.
    DeepRelu,
    /// One hidden layer of tanh units.
    Tanh,
    /// One hidden layer of sigmoid units.
    Sigmoid,
    /// A convolution 3 × 3 of square images, rectified and pooled by maxima.
    Conv,
    /// Two hidden layers in which only the tenth of the units with the largest values is active, whichever they are (Xiao
    /// et al., "Enhancing Adversarial Defense by k-Winners-Take-All", ICLR 2020): the scores jump wherever units change
    /// places.
    WinnersTakeAll,
}

impl Kind {
    /// Returns the shapes of its weights, inputs first; each layer also has a bias.
    fn shapes(self, features: usize, classes: usize) -> Vec<[usize; 2]> {
        let pooled = FILTERS * features / 4;
        match self {
            Self::Linear => vec![[features, classes]],
            Self::Relu | Self::Tanh | Self::Sigmoid => {
                vec![[features, HIDDEN], [HIDDEN, classes]]
            }
            Self::DeepRelu => vec![[features, HIDDEN], [HIDDEN, HIDDEN], [HIDDEN, classes]],
            Self::WinnersTakeAll => {
                let wide = 4 * HIDDEN;
                vec![[features, wide], [wide, wide], [wide, classes]]
            }
            Self::Conv => vec![[9, FILTERS], [pooled, classes]],
        }
    }

    fn activate(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Tanh => tanh(x),
            Self::Sigmoid => sigmoid(x),
            Self::WinnersTakeAll => winners(&x),
            Self::Linear | Self::Relu | Self::DeepRelu | Self::Conv => relu(x),
        }
    }
}

/// Keeps the largest tenth of each row's values.
fn winners(x: &Tensor<2>) -> Tensor<2> {
    let [rows, width] = x.dims();
    let keep = width / 10;
    let order = x.clone().inner().argsort_descending(1);
    let last = order.slice([0..rows, keep - 1..keep]);
    let least = x.clone().inner().gather(1, last);
    let wins = x.clone().inner().greater_equal(least.expand([rows, width]));
    let zeros = x.zeros_like();
    zeros.mask_where(wins, x.clone())
}

/// A layer: weights and bias.
#[derive(Debug, Clone)]
struct Layer {
    weights: Tensor<2>,
    bias: Tensor<2>,
}

impl Layer {
    fn of(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weights.clone()) + self.bias.clone()
    }
}

/// A net, trained or not.
#[derive(Debug, Clone)]
struct Net {
    kind: Kind,
    layers: Vec<Layer>,
}

impl Net {
    /// Returns the activations before the last layer.
    fn penultimate(&self, x: &Tensor<2>) -> Tensor<2> {
        let (_, hidden) = self.layers.split_last().expect("at least one layer");
        if self.kind == Kind::Conv {
            return convolved(x, &hidden[0]);
        }
        let activate = |x, layer: &Layer| self.kind.activate(layer.of(x));
        hidden.iter().fold(x.clone(), activate)
    }

    fn forward(&self, x: &Tensor<2>) -> Tensor<2> {
        let last = self.layers.last().expect("at least one layer");
        last.of(self.penultimate(x))
    }
}

fn convolved(x: &Tensor<2>, layer: &Layer) -> Tensor<2> {
    let [rows, features] = x.dims();
    let side = features.isqrt();
    let kernels = layer.weights.clone().transpose();
    let bias = layer.bias.clone().reshape([FILTERS]);
    let maps = conv2d(
        x.clone().reshape([rows, 1, side, side]),
        kernels.reshape([FILTERS, 1, 3, 3]),
        Some(bias),
        ConvOptions::new([1, 1], [1, 1], [1, 1], 1),
    );
    max_pool2d(relu(maps), MaxPoolOptions::new([2, 2])).flatten(1, 3)
}

/// Trains a net of this kind on rows `[n, features]` and their labels, with Adam on all rows at once, and returns it as a
/// model of that one input whose layer before the scores is known.
///
/// # Panics
///
/// If the rows do not fit the input, or the images of a convolution are not square with an even side.
pub fn trained(
    kind: Kind,
    input: &Modality,
    rows: &[f32],
    labels: &[usize],
    classes: usize,
    steps: u32,
) -> Result<BurnModel, ModelError> {
    const RATE: f32 = 0.01;
    let (n, features) = (labels.len(), input.features());
    assert_eq!(rows.len(), n * features, "one row per label");
    let device = Device::flex();
    let mut stream = Stream::new(&StreamKey::new(Seed(7), kind as u64, Purpose::Data));
    let mut values: Vec<Tensor<2>> = Vec::new();
    for [from, to] in kind.shapes(features, classes) {
        let scale = (2.0 / from as f32).sqrt();
        let weights: Vec<f32> = (0..from * to).map(|_| scale * stream.normal()).collect();
        values.push(Tensor::from_data(
            TensorData::new(weights, [from, to]),
            &device,
        ));
        values.push(Tensor::zeros([1, to], &device));
    }
    let x = Tensor::<2>::from_data(TensorData::new(rows.to_vec(), [n, features]), &device);
    let wanted: Vec<i64> = labels.iter().map(|l| *l as i64).collect();
    let wanted = Tensor::<2, Int>::from_data(TensorData::new(wanted, [n, 1]), &device);
    let net = |values: &[Tensor<2>]| Net {
        kind,
        layers: values
            .chunks(2)
            .map(|l| Layer {
                weights: l[0].clone(),
                bias: l[1].clone(),
            })
            .collect(),
    };
    let zeros = || values.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
    let (mut mean, mut square) = (zeros(), zeros());
    for step in 1..=steps {
        let tracked: Vec<Tensor<2>> = (values.iter())
            .map(|v| v.clone().autodiff().require_grad())
            .collect();
        let scores = net(&tracked).forward(&x.clone().autodiff());
        let loss = log_softmax(scores, 1)
            .gather(1, wanted.clone())
            .mean()
            .neg();
        let gradients = loss.backward();
        for (i, value) in tracked.iter().enumerate() {
            let Some(g) = value.grad(&gradients) else {
                continue;
            };
            mean[i] = mean[i].clone() * 0.9 + g.clone() * 0.1;
            square[i] = square[i].clone() * 0.999 + g.clone() * g * 0.001;
            let m = mean[i].clone() / (1.0 - 0.9_f32.powi(step as i32));
            let v = square[i].clone() / (1.0 - 0.999_f32.powi(step as i32));
            values[i] = values[i].clone() - m / (v.sqrt() + 1e-8) * RATE;
        }
    }
    let (net, read) = (net(&values), net(&values));
    let model = BurnModel::closure(vec![input.clone()], classes, &device, move |x| {
        net.forward(&x[0])
    })?;
    model
        .named(format!("{kind:?}").to_lowercase())
        .with_taps(["penultimate"], move |x, _| read.penultimate(&x[0]))
        .with_penultimate("penultimate")
}
