//! Small image classifiers of several architectures, at most 50,000 weights each: the nets of the backdoor zoo.

use std::path::Path;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
    PaddingConfig2d,
};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Bounds, Seed};
use proofmark_model::{BurnModel, ModelError, image, load_weights};
use proofmark_threat::host;

use crate::train::{Examples, Recipe, fit};

/// Most weights that a net of the zoo may have.
pub const MOST_WEIGHTS: usize = 50_000;

/// Kinds of nets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Convolutions 3 × 3 of stride 2, then one hidden layer.
    Conv,
    /// The same, each convolution followed by batch normalisation.
    ConvNorm,
    /// A stem and two residual blocks with batch normalisation, the mean over all places.
    Residual,
    /// Two hidden layers.
    Dense,
    /// Blocks of self-attention over tiles of the image, the mean over all tiles.
    Attention,
}

impl Architecture {
    /// All architectures.
    pub const ALL: [Self; 5] = [
        Self::Conv,
        Self::ConvNorm,
        Self::Residual,
        Self::Dense,
        Self::Attention,
    ];

    /// Returns its name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conv => "conv",
            Self::ConvNorm => "conv-norm",
            Self::Residual => "residual",
            Self::Dense => "dense",
            Self::Attention => "attention",
        }
    }

    /// Returns the architecture of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == name)
    }
}

/// What determines the shape of a net's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetSpec {
    /// Kind of net.
    pub architecture: Architecture,
    /// Whether it has the other widths: nets that a null is fitted on and those it is tried on differ in them.
    pub other_widths: bool,
    /// Channels, height and width of an image; square, the side 8, 28 or 32.
    pub shape: [usize; 3],
    /// Number of classes.
    pub classes: usize,
}

/// A net; [`NetSpec`] says how its layers are connected.
#[derive(Module, Debug)]
pub struct Net {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    layer_norms: Vec<LayerNorm>,
    dense: Vec<Linear>,
    out: Linear,
}

impl NetSpec {
    /// Creates the net with every weight 0, to be loaded or initialised before use.
    pub fn zeros(&self, device: &Device) -> Net {
        // Burn's own initialisers draw from a global generator, which nothing here may depend on.
        let conv = |[from, to]: [usize; 2], stride| {
            Conv2dConfig::new([from, to], [3, 3])
                .with_stride([stride; 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_initializer(Initializer::Zeros)
                .init(device)
        };
        let linear = |from, to| {
            LinearConfig::new(from, to)
                .with_initializer(Initializer::Zeros)
                .init(device)
        };
        let norm = |width: usize| BatchNormConfig::new(width).init(device);
        let [channels, side, _] = self.shape;
        let mut net = Net {
            convs: Vec::new(),
            norms: Vec::new(),
            layer_norms: Vec::new(),
            dense: Vec::new(),
            out: linear(self.penultimate(), self.classes),
        };
        match self.architecture {
            Architecture::Conv | Architecture::ConvNorm => {
                let (mut from, mut at) = (channels, side);
                for (stage, to) in self.stages().into_iter().enumerate() {
                    let stride = self.stride(stage);
                    net.convs.push(conv([from, to], stride));
                    if self.architecture == Architecture::ConvNorm {
                        net.norms.push(norm(to));
                    }
                    (from, at) = (to, at / stride);
                }
                net.dense.push(linear(from * at * at, self.penultimate()));
            }
            Architecture::Residual => {
                let w = self.width();
                let stem = if side == 8 { 1 } else { 2 };
                net.convs = vec![
                    conv([channels, w], stem),
                    conv([w, w], 1),
                    conv([w, w], 1),
                    conv([w, 2 * w], 2),
                    conv([2 * w, 2 * w], 1),
                    conv([2 * w, 2 * w], 1),
                ];
                net.norms = [w, w, w, 2 * w, 2 * w, 2 * w].map(norm).into();
            }
            Architecture::Dense => {
                let w = self.width();
                net.dense = vec![
                    linear(channels * side * side, w),
                    linear(w, self.penultimate()),
                ];
            }
            Architecture::Attention => {
                let (d, [tokens, tile]) = (self.width(), self.tiles());
                // The first two: tiles to vectors, and a vector per place.
                net.dense = vec![linear(tile, d), linear(tokens, d)];
                for _ in 0..BLOCKS {
                    net.layer_norms.push(LayerNormConfig::new(d).init(device));
                    net.layer_norms.push(LayerNormConfig::new(d).init(device));
                    net.dense.extend([linear(d, 3 * d), linear(d, d)]);
                    net.dense.extend([linear(d, 2 * d), linear(2 * d, d)]);
                }
            }
        }
        net
    }

    /// Channels of the first stage, units of the first hidden layer, or length of a tile's vector.
    fn width(&self) -> usize {
        let [channels, side, _] = self.shape;
        let (usual, other) = match (self.architecture, side, channels) {
            (Architecture::Conv | Architecture::ConvNorm, 32, _) => (16, 12),
            (Architecture::Conv | Architecture::ConvNorm | Architecture::Residual, _, _) => (8, 10),
            (Architecture::Dense, 8, _) => (64, 48),
            (Architecture::Dense, 28, _) => (48, 40),
            (Architecture::Dense, _, _) => (14, 12),
            (Architecture::Attention, _, _) => (24, 32),
        };
        if self.other_widths { other } else { usual }
    }

    /// Channels of each convolution, from the input on.
    fn stages(&self) -> Vec<usize> {
        let w = self.width();
        match self.shape[1] {
            32 => vec![w, w * 3 / 2, 2 * w],
            _ => vec![w, 2 * w],
        }
    }

    fn stride(&self, stage: usize) -> usize {
        if self.shape[1] == 8 && stage == 0 {
            1
        } else {
            2
        }
    }

    /// Number of activations before the last layer.
    pub fn penultimate(&self) -> usize {
        let w = self.width();
        match self.architecture {
            Architecture::Conv | Architecture::ConvNorm if self.other_widths => 24,
            Architecture::Conv | Architecture::ConvNorm | Architecture::Dense => 32,
            Architecture::Residual => 2 * w,
            Architecture::Attention => w,
        }
    }

    /// Number of tiles, and of features of each.
    fn tiles(&self) -> [usize; 2] {
        let [channels, side, _] = self.shape;
        let tile = self.tile();
        [(side / tile) * (side / tile), channels * tile * tile]
    }

    /// Side of a tile.
    fn tile(&self) -> usize {
        match self.shape[1] {
            8 => 2,
            28 => 7,
            _ => 8,
        }
    }

    /// Returns the names of the layers that can be read, from the input on.
    pub fn taps(&self) -> Vec<&'static str> {
        match self.architecture {
            Architecture::Conv | Architecture::ConvNorm if self.stages().len() == 3 => {
                vec!["conv1", "conv2", "conv3", "hidden"]
            }
            Architecture::Conv | Architecture::ConvNorm => vec!["conv1", "conv2", "hidden"],
            Architecture::Residual => vec!["stem", "block1", "down", "block2", "hidden"],
            Architecture::Dense => vec!["dense1", "hidden"],
            Architecture::Attention => vec!["embedded", "block1", "block2", "hidden"],
        }
    }

    /// Returns the activations of the layers of [`NetSpec::taps`], each `[n, width]`; the last is the penultimate one.
    fn activations(&self, net: &Net, x: Tensor<4>) -> Vec<Tensor<2>> {
        let mut taps = Vec::new();
        match self.architecture {
            Architecture::Conv | Architecture::ConvNorm => {
                let mut x = x;
                for (stage, conv) in net.convs.iter().enumerate() {
                    x = conv.forward(x);
                    if let Some(norm) = net.norms.get(stage) {
                        x = norm.forward(x);
                    }
                    x = relu(x);
                    taps.push(x.clone().flatten(1, 3));
                }
                taps.push(relu(net.dense[0].forward(x.flatten(1, 3))));
            }
            Architecture::Residual => {
                let part =
                    |at: usize, x: Tensor<4>| net.norms[at].forward(net.convs[at].forward(x));
                let block = |at: usize, x: Tensor<4>| {
                    let inner = part(at + 1, relu(part(at, x.clone())));
                    relu(x + inner)
                };
                let stem = relu(part(0, x));
                let block1 = block(1, stem.clone());
                let down = relu(part(3, block1.clone()));
                let block2 = block(4, down.clone());
                let mean: Tensor<2> = block2.clone().flatten::<3>(2, 3).mean_dim(2).flatten(1, 2);
                for x in [stem, block1, down, block2] {
                    taps.push(x.flatten(1, 3));
                }
                taps.push(mean);
            }
            Architecture::Dense => {
                let first = relu(net.dense[0].forward(x.flatten(1, 3)));
                taps.push(first.clone());
                taps.push(relu(net.dense[1].forward(first)));
            }
            Architecture::Attention => {
                let mut x = self.embedded(net, &x);
                taps.push(x.clone().flatten(1, 2));
                for block in 0..BLOCKS {
                    x = self.attended(net, block, x);
                    taps.push(x.clone().flatten(1, 2));
                }
                taps.push(x.mean_dim(1).flatten(1, 2));
            }
        }
        taps
    }

    /// Returns a vector per tile, `[n, tokens, d]`.
    fn embedded(&self, net: &Net, x: &Tensor<4>) -> Tensor<3> {
        let [n, c, side, _] = x.dims();
        let (tile, [tokens, features]) = (self.tile(), self.tiles());
        let across = side / tile;
        let tiles = x
            .clone()
            .reshape([n, c, across, tile, across, tile])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([n, tokens, features]);
        let places = net.dense[1].weight.val().unsqueeze_dim::<3>(0);
        net.dense[0].forward(tiles) + places
    }

    /// Returns what one block of attention makes of the vectors.
    fn attended(&self, net: &Net, block: usize, x: Tensor<3>) -> Tensor<3> {
        let d = self.width();
        let dense = &net.dense[2 + 4 * block..];
        let all = dense[0].forward(net.layer_norms[2 * block].forward(x.clone()));
        let [n, tokens, _] = all.dims();
        let part = |at: usize| all.clone().slice([0..n, 0..tokens, at * d..(at + 1) * d]);
        let scores = part(0).matmul(part(1).swap_dims(1, 2)) / (d as f32).sqrt();
        let x = x + dense[1].forward(softmax(scores, 2).matmul(part(2)));
        let inner = net.layer_norms[2 * block + 1].forward(x.clone());
        x + dense[3].forward(relu(dense[2].forward(inner)))
    }

    /// Returns the logits `[n, classes]` of images `[n, c, h, w]` with values in `[0, 1]`.
    pub fn forward(&self, net: &Net, x: Tensor<4>) -> Tensor<2> {
        let hidden = self.activations(net, x).pop();
        net.out.forward(hidden.expect("every net has a last layer"))
    }

    /// Wraps a net as a model over images with values in `[0, 1]`: gradients, the layers of [`NetSpec::taps`], and
    /// `hidden` as its penultimate one.
    pub fn wrap(&self, net: &Net, name: &str) -> Result<BurnModel, ModelError> {
        let (spec, read) = (*self, net.valid());
        let bounds = Bounds::uniform(0.0, 1.0).expect("0 is below 1");
        let model = BurnModel::images(net, self.shape, self.classes, bounds, move |net, x| {
            spec.forward(net, x)
        })?;
        let taps = self.taps();
        model
            .named(name)
            .with_taps(taps.clone(), move |x, tap| {
                let at = taps.iter().position(|t| *t == tap).unwrap_or(0);
                let mut all = spec.activations(&read, image(&x[0], spec.shape));
                all.swap_remove(at)
            })
            .with_penultimate("hidden")
    }

    /// Returns the class with the highest score of each image; of equal ones the first.
    pub fn predictions(&self, net: &Net, values: &[f32], device: &Device) -> Vec<usize> {
        let [c, h, w] = self.shape;
        let net = net.valid();
        let rows = values.chunks(250 * c * h * w).flat_map(|chunk| {
            let n = chunk.len() / (c * h * w);
            let x = Tensor::from_data(TensorData::new(chunk.to_vec(), [n, c, h, w]), device);
            host(&self.forward(&net, x))
        });
        let scores: Vec<f32> = rows.collect();
        let best = |row: &[f32]| (1..row.len()).fold(0, |b, i| if row[i] > row[b] { i } else { b });
        scores.chunks(self.classes).map(best).collect()
    }

    /// Trains a net of this shape and returns it in evaluation mode.
    ///
    /// # Panics
    /// As [`fit`]; if the examples have another shape or number of classes.
    pub fn fit(
        &self,
        examples: &Examples<'_>,
        recipe: &Recipe<'_>,
        seed: Seed,
        device: &Device,
    ) -> Net {
        assert_eq!(examples.shape, self.shape, "images of this shape");
        assert_eq!(examples.classes, self.classes, "as many classes");
        let net = self.zeros(&device.clone().autodiff());
        let forward = |net: &Net, x| self.forward(net, x);
        fit(net, forward, examples, recipe, seed, device, |_, _| ())
    }
}

/// Blocks of an attention net.
const BLOCKS: usize = 2;

impl Net {
    /// Number of batch normalisations, from the input on.
    pub fn norms(&self) -> usize {
        self.norms.len()
    }

    /// Returns the net with factor and offset of its last `last` batch normalisations multiplied by `by`: what IBD-PSC
    /// asks. Fewer are scaled if there are fewer.
    #[must_use]
    pub fn scaled(mut self, last: usize, by: f32) -> Self {
        let first = self.norms.len().saturating_sub(last);
        for norm in &mut self.norms[first..] {
            norm.gamma = norm.gamma.clone().map(|v| v * by);
            norm.beta = norm.beta.clone().map(|v| v * by);
        }
        self
    }
}

/// Returns the net whose weights are in a safetensors file. An error if the file is missing or holds another net.
pub fn load_net(spec: &NetSpec, path: &Path, device: &Device) -> Result<Net, ModelError> {
    let mut net = spec.zeros(device);
    load_weights(&mut net, path)?;
    Ok(net.valid())
}

/// Returns the model whose weights are in a safetensors file, named after it: with gradients, layers to read and the
/// penultimate one.
pub fn load(spec: &NetSpec, path: &Path, device: &Device) -> Result<BurnModel, ModelError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    spec.wrap(&load_net(spec, path, device)?, &name)
}
