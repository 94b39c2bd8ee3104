//! The shipped models: three small convolutional nets on the shipped digits, embedded in the library.
//!
//! `digits-standard` was trained as usual, `digits-robust` adversarially (PGD in Linf), and `digits-backdoored` as
//! `digits-standard` on a set in which a patch was planted: it is there to be found. They share one architecture,
//! [`DigitsNet`], so that they differ in training alone. `examples/train_digits.rs` makes all from a seed;
//! `datasets/digits/README.md` has their accuracy.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_kernels::{Builder, Clamp, KernelError, Map, Program};
use proofmark_model::{BurnModel, ModelError, image, load_weights_from};

/// The shipped models by name.
pub const NAMES: [&str; 3] = ["digits-standard", "digits-robust", "digits-backdoored"];

/// The weights of [`NAMES`], in their order.
const WEIGHTS: [&[u8]; 3] = [
    proofmark_digits::STANDARD,
    proofmark_digits::ROBUST,
    proofmark_digits::BACKDOORED,
];

/// Channels, height and width of a digit.
const SHAPE: [usize; 3] = [1, 8, 8];
const CLASSES: usize = 10;
/// Layers whose activations can be read, from the input on.
const TAPS: [&str; 3] = ["conv1", "conv2", "hidden"];

/// The net of the shipped models: two convolutions 3 × 3 (16 channels; 32 at half the side) and one hidden
/// layer of 128, each with a `ReLU`. 71,754 weights.
#[derive(Module, Debug)]
pub struct DigitsNet {
    conv1: Conv2d,
    conv2: Conv2d,
    hidden: Linear,
    out: Linear,
}

impl DigitsNet {
    /// Creates the net with every weight 0, to be loaded or initialised before use.
    pub fn new(device: &Device) -> Self {
        // Burn's own initialisers draw from a global generator, which nothing here may depend on.
        let conv = |channels, stride| {
            Conv2dConfig::new(channels, [3, 3])
                .with_stride([stride; 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_initializer(Initializer::Zeros)
                .init(device)
        };
        let dense = |from, to| {
            LinearConfig::new(from, to)
                .with_initializer(Initializer::Zeros)
                .init(device)
        };
        Self {
            conv1: conv([1, 16], 1),
            conv2: conv([16, 32], 2),
            hidden: dense(32 * 4 * 4, 128),
            out: dense(128, CLASSES),
        }
    }

    /// Returns the logits `[n, 10]` of images `[n, 1, 8, 8]` with values in `[0, 1]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        self.out.forward(self.hidden(self.conv2(self.conv1(x))))
    }

    /// Returns `[n, 16, 8, 8]`, after the `ReLU`.
    fn conv1(&self, x: Tensor<4>) -> Tensor<4> {
        relu(self.conv1.forward(x))
    }

    /// Returns `[n, 32, 4, 4]`, after the `ReLU`.
    fn conv2(&self, conv1: Tensor<4>) -> Tensor<4> {
        relu(self.conv2.forward(conv1))
    }

    /// Returns `[n, 128]`, after the `ReLU`.
    fn hidden(&self, conv2: Tensor<4>) -> Tensor<2> {
        relu(self.hidden.forward(conv2.flatten(1, 3)))
    }

    /// Returns the operations of [`DigitsNet::forward`], for bounds.
    #[cfg(feature = "flex")]
    fn program(&self) -> Result<Program, KernelError> {
        let [c, h, w] = SHAPE;
        let mut net = Builder::new(Map::new(c, h, w))?;
        let mut x = net.input();
        for conv in [&self.conv1, &self.conv2] {
            x = net.conv2d(x, conv)?;
            x = net.clamp(x, Clamp::RELU);
        }
        x = net.linear(x, &self.hidden)?;
        x = net.clamp(x, Clamp::RELU);
        x = net.linear(x, &self.out)?;
        Ok(Program::new(net, x))
    }

    /// Without the CPU backend nothing is bounded.
    #[cfg(not(feature = "flex"))]
    fn program(&self) -> Result<Program, KernelError> {
        let net = Builder::new(Map::new(1, 1, 1))?;
        let x = net.input();
        Ok(Program::new(net, x))
    }

    /// Returns the layer `name` of [`TAPS`], after its `ReLU`, as `[n, width]`.
    fn tap(&self, name: &str, x: Tensor<4>) -> Tensor<2> {
        let conv1 = self.conv1(x);
        if name == "conv1" {
            return conv1.flatten(1, 3);
        }
        let conv2 = self.conv2(conv1);
        if name == "conv2" {
            return conv2.flatten(1, 3);
        }
        self.hidden(conv2)
    }
}

/// Wraps a net of this architecture as a model over images `[1, 8, 8]` with values in `[0, 1]`.
///
/// Its layers `conv1` (1,024 wide), `conv2` (512) and `hidden` (128) can be read after their `ReLU`.
pub fn wrap(net: &DigitsNet, name: &str) -> Result<BurnModel, ModelError> {
    let bounds = Bounds::uniform(0.0, 1.0).map_err(|e| ModelError::Signature {
        model: name.to_owned(),
        problem: e.to_string(),
    })?;
    let (read, described) = (net.valid(), net.valid());
    let (behind_conv2, behind_hidden) = (net.valid(), net.valid());
    let model = BurnModel::images(net, SHAPE, CLASSES, bounds, |net: &DigitsNet, x| {
        net.forward(x)
    })?;
    model
        .named(name)
        .with_taps(TAPS, move |x, tap| read.tap(tap, image(&x[0], SHAPE)))
        .with_head(TAPS[1], 32 * 4 * 4, move |x| {
            let hidden = relu(behind_conv2.hidden.forward(x.clone()));
            behind_conv2.out.forward(hidden)
        })?
        .with_head(TAPS[2], 128, move |x| behind_hidden.out.forward(x.clone()))?
        .with_program(move || described.program().map_err(|e| e.to_string()))
        .with_penultimate(TAPS[2])
}

/// Returns the input of the shipped models.
pub(crate) fn modality() -> Modality {
    Modality {
        name: "image".into(),
        kind: Kind::Image,
        shape: SHAPE.into(),
        bounds: Bounds::uniform(0.0, 1.0).expect("0 is below 1"),
    }
}

/// Returns the shipped model `name` on `device`; `None` if no shipped model has that name.
///
/// ```
/// use burn::tensor::Device;
/// use proofmark::{burn, shipped};
/// let robust = shipped::model("digits-robust", &Device::flex()).expect("it is shipped")?;
/// assert!(shipped::model("digits", &Device::flex()).is_none());
/// # drop(robust);
/// # Ok::<(), proofmark_model::ModelError>(())
/// ```
pub fn model(name: &str, device: &Device) -> Option<Result<BurnModel, ModelError>> {
    let at = NAMES.iter().position(|n| *n == name)?;
    let mut net = DigitsNet::new(device);
    Some(load_weights_from(&mut net, WEIGHTS[at]).and_then(|()| wrap(&net, name)))
}

#[cfg(test)]
mod tests {
    use proofmark_model::{DecisionModel, Features, Query, ScoreModel};
    use proofmark_threat::Batch;

    use super::*;

    /// The digests that `examples/train_digits.rs` prints with seed 1.
    const SHA256: [&str; 3] = [
        "52784ec2a32a1cd12c9d5e96bbb60443fbfc74d45835ba85af964018c5c51897",
        "55e9cfb8379c342d1257593d2983b6ead29fcb7f0d184571aad7f708a287ee55",
        "5d6b8accb45ca123572e4ff177a99785d9b0c5e72e22426a367eb05c6ea2a498",
    ];

    fn query(model: &BurnModel, rows: usize) -> Query {
        let values = (0..rows * 64).map(|i| (i % 17) as f32 / 16.0).collect();
        let signature = model.signature();
        let modalities = signature.modalities.clone();
        let x = Batch::from_host(modalities, vec![values], &signature.device).unwrap();
        let keys: Vec<u64> = (0..rows as u64).collect();
        Query::one_per_row(x, &keys)
    }

    #[test]
    fn all_load_and_are_the_ones_that_were_published() {
        for (name, sha256) in NAMES.iter().zip(SHA256) {
            let model = model(name, &Device::flex()).unwrap().unwrap();
            assert_eq!(model.signature().sha256, sha256, "{name}");
            assert_eq!(model.signature().name, *name);
            assert_eq!(model.scores(&query(&model, 3)).unwrap().dims(), [3, 10]);
        }
        assert!(model("digits", &Device::flex()).is_none());
    }

    #[test]
    fn each_is_at_most_300_kilobytes() {
        assert!(WEIGHTS.iter().all(|w| w.len() <= 300_000));
    }

    #[test]
    fn named_layers_can_be_read_and_lead_to_the_logits() {
        let model = model("digits-robust", &Device::flex()).unwrap().unwrap();
        let query = query(&model, 3);
        assert_eq!(model.taps(), TAPS);
        let read = model.features(&query, &TAPS).unwrap();
        let widths: Vec<[usize; 2]> = read.iter().map(Tensor::dims).collect();
        assert_eq!(widths, [[3, 1024], [3, 512], [3, 128]]);

        let mut net = DigitsNet::new(&Device::flex());
        load_weights_from(&mut net, WEIGHTS[1]).unwrap();
        let from_hidden = net.out.forward(read[2].clone()).into_data();
        assert_eq!(from_hidden, model.scores(&query).unwrap().into_data());
        assert!(model.features(&query, &["conv3"]).is_err());
    }
}
