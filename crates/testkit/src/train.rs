//! Trains small image classifiers from a seed: the one training loop of the examples, of the shipped models and of the
//! zoo of backdoored nets.
//!
//! Every random number is counter-based and keyed by its purpose, so that a seed gives the same weights, bit for bit on
//! the same kind of processor and for any number of threads.

use std::f64::consts::PI;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::Seed;
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};
use proofmark_threat::host;

/// Training parameters.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'a> {
    /// Keys the random numbers, beside the seed.
    pub name: &'a str,
    /// Passes over the training images.
    pub epochs: u32,
    /// Images per step.
    pub batch: usize,
    /// Maximum learning rate of Adam; it falls to 0 along a cosine.
    pub rate: f64,
    /// Whether images are shifted by at most one pixel each way, with probability 1/2.
    pub shift: bool,
    /// Whether the net is trained on the worst images near the given ones (Madry et al. 2018).
    pub adversary: Option<Adversary>,
    /// Share of the running average of the weights that is kept in a step; the average is returned. `None`: the last
    /// weights are.
    pub average: Option<f32>,
}

/// Attack on the training images: projected gradient ascent in Linf.
#[derive(Debug, Clone, Copy)]
pub struct Adversary {
    /// Budget, in units of `[0, 1]`.
    pub eps: f32,
    /// Steps, each `2.5 * eps / steps` long.
    pub steps: u32,
    /// Epochs over which the budget grows from 0 to `eps`: a net that starts at the full budget may get stuck at "every
    /// class is equally likely".
    pub ramp: u32,
}

/// Training images `[n, c, h, w]` with values in `[0, 1]`, and their classes.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// Images, one after the other.
    pub values: &'a [f32],
    /// Class of each.
    pub labels: &'a [usize],
    /// Number of classes.
    pub classes: usize,
}

/// Trains a net from fresh weights (He's, see [`fresh`]) by `recipe` and returns it in evaluation mode. `forward` returns
/// logits `[n, classes]` of images `[n, c, h, w]`; `told` hears the mean loss of each epoch, counted from 1.
///
/// # Panics
/// If there is not one image per label, or a label is beyond the classes.
pub fn fit<M: Module>(
    net: M,
    forward: impl Fn(&M, Tensor<4>) -> Tensor<2>,
    examples: &Examples<'_>,
    recipe: &Recipe<'_>,
    seed: Seed,
    device: &Device,
    mut told: impl FnMut(u32, f64),
) -> M {
    let Examples {
        shape: [c, h, w],
        values,
        labels,
        classes,
    } = *examples;
    let (n, pixels) = (labels.len(), c * h * w);
    assert_eq!(values.len(), n * pixels, "one image per label");
    let key = |sample, step, purpose| StreamKey {
        attack: attack_code(recipe.name),
        step,
        ..StreamKey::new(seed, sample, purpose)
    };
    let mut net = fresh(net, |at| Stream::new(&key(at, 0, Purpose::Data)));
    let mut average = recipe.average.map(|keep| (keep, weights(&net)));
    let mut optimiser = AdamConfig::new().init();
    let per_epoch = n.div_ceil(recipe.batch);
    let steps = (recipe.epochs as usize * per_epoch) as f64;
    let mut step = 0.0;
    for epoch in 0..recipe.epochs {
        let mut order: Vec<usize> = (0..n).collect();
        let mut shuffle = Stream::new(&key(0, epoch, Purpose::Subset));
        for last in (1..order.len()).rev() {
            order.swap(last, shuffle.below(last as u32 + 1) as usize);
        }
        let mut total = 0.0;
        for rows in order.chunks(recipe.batch) {
            let mut images = Vec::with_capacity(rows.len() * pixels);
            for row in rows {
                let image = &values[row * pixels..(row + 1) * pixels];
                if recipe.shift {
                    let mut moves = Stream::new(&key(*row as u64, epoch, Purpose::Transform));
                    images.extend(shifted(image, [c, h, w], &mut moves));
                } else {
                    images.extend_from_slice(image);
                }
            }
            let dims = [rows.len(), c, h, w];
            let mut x = Tensor::<4>::from_data(TensorData::new(images, dims), device);
            let wanted = one_hot(rows.iter().map(|row| labels[*row]), classes, device);
            if let Some(adversary) = recipe.adversary {
                let mut noise = Vec::with_capacity(rows.len() * pixels);
                for row in rows {
                    let mut start = Stream::new(&key(*row as u64, epoch, Purpose::Start));
                    noise.extend((0..pixels).map(|_| 2.0 * start.uniform() - 1.0));
                }
                let noise = Tensor::<4>::from_data(TensorData::new(noise, dims), device);
                let budget = adversary.eps * ((epoch + 1) as f32 / adversary.ramp as f32).min(1.0);
                let model = net.valid();
                let answers = |x| forward(&model, x);
                x = worst(answers, &x, noise, &wanted, budget, adversary.steps);
            }
            let loss = cross_entropy(forward(&net, x.autodiff()), wanted.autodiff()).mean();
            total += f64::from(host(&loss.clone().inner())[0]);
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            let rate = recipe.rate * 0.5 * (1.0 + (PI * step / steps).cos());
            net = optimiser.step(rate, net, gradients);
            if let Some((keep, average)) = &mut average {
                // Early on, the average must forget its start faster than it does later.
                let keep = keep.min(((1.0 + step) / (10.0 + step)) as f32);
                let now = weights(&net);
                for (a, w) in average.iter_mut().flatten().zip(now.iter().flatten()) {
                    *a = keep * *a + (1.0 - keep) * w;
                }
            }
            step += 1.0;
        }
        told(epoch + 1, total / per_epoch as f64);
    }
    match average {
        Some((_, average)) => with_weights(net.valid(), average),
        None => net.valid(),
    }
}

/// Returns images near `clean` (Linf at most `eps`, values in `[0, 1]`) with the highest loss that `steps` projected
/// gradient steps from `clean + eps * noise` reach.
fn worst(
    forward: impl Fn(Tensor<4>) -> Tensor<2>,
    clean: &Tensor<4>,
    noise: Tensor<4>,
    wanted: &Tensor<2>,
    eps: f32,
    steps: u32,
) -> Tensor<4> {
    let low = (clean.clone() - eps).clamp_min(0.0);
    let high = (clean.clone() + eps).clamp_max(1.0);
    let inside = |x: Tensor<4>| x.max_pair(low.clone()).min_pair(high.clone());
    let step = 2.5 * eps / steps as f32;
    let mut x = inside(clean.clone() + noise * eps);
    for _ in 0..steps {
        let tracked = x.clone().autodiff().require_grad();
        let loss = cross_entropy(forward(tracked.clone()), wanted.clone().autodiff()).sum();
        let Some(gradient) = tracked.grad(&loss.backward()) else {
            return x;
        };
        x = inside(x + gradient.sign() * step);
    }
    x
}

/// Returns the cross-entropy of logits `[n, classes]` against one-hot rows `[n, classes]`: `[n, 1]`, in nats.
fn cross_entropy(logits: Tensor<2>, wanted: Tensor<2>) -> Tensor<2> {
    -(log_softmax(logits, 1) * wanted).sum_dim(1)
}

fn one_hot(
    labels: impl ExactSizeIterator<Item = usize>,
    classes: usize,
    device: &Device,
) -> Tensor<2> {
    let n = labels.len();
    let mut values = vec![0.0_f32; n * classes];
    for (row, label) in labels.enumerate() {
        assert!(label < classes, "label {label} of {classes} classes");
        values[row * classes + label] = 1.0;
    }
    Tensor::from_data(TensorData::new(values, [n, classes]), device)
}

/// Shifts an image by at most one pixel each way, with probability 1/2; pixels from outside are blank.
fn shifted(image: &[f32], [c, h, w]: [usize; 3], stream: &mut Stream) -> Vec<f32> {
    let moves = stream.uniform() < 0.5;
    let mut shift = || if moves { stream.below(3) as usize } else { 1 };
    let (down, right) = (shift(), shift());
    let at = |channel: usize, y: usize, x: usize| {
        // A shift of 1 is no move, which avoids negative numbers.
        let (y, x) = ((y + down).checked_sub(1)?, (x + right).checked_sub(1)?);
        (y < h && x < w).then(|| image[(channel * h + y) * w + x])
    };
    (0..c * h * w)
        .map(|i| at(i / (h * w), i / w % h, i % w).unwrap_or(0.0))
        .collect()
}

/// Returns every tensor of the net, in visiting order.
fn weights<M: Module>(net: &M) -> Vec<Vec<f32>> {
    struct Read(Vec<Vec<f32>>);
    impl ModuleVisitor for Read {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(host(&param.val().inner()));
        }
    }
    let mut read = Read(Vec::new());
    net.visit(&mut read);
    read.0
}

/// Replaces the tensors of the net, in the order of [`weights`].
fn with_weights<M: Module>(net: M, values: Vec<Vec<f32>>) -> M {
    struct Write(std::vec::IntoIter<Vec<f32>>);
    impl ModuleMapper for Write {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(values) = self.0.next() else {
                return param;
            };
            param.map(|old| Tensor::from_data(TensorData::new(values, old.dims()), &old.device()))
        }
    }
    net.map(&mut Write(values.into_iter()))
}

/// Initialises a net with He's weights, `N(0, 2 / inputs)`; one stream per tensor. Tensors of one axis (biases, factors
/// and statistics of norms) are left as they are.
pub fn fresh<M: Module>(net: M, stream: impl Fn(u64) -> Stream) -> M {
    struct Start<F>(F, u64);
    impl<F: Fn(u64) -> Stream> ModuleMapper for Start<F> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let mut stream = (self.0)(self.1);
            self.1 += 1;
            // A running statistic must not become a parameter, and nothing of one axis changes.
            if D == 1 {
                return param;
            }
            param.map(|old| {
                let shape = old.dims();
                // A convolution's weights are [out, in, h, w], a dense layer's [in, out].
                let inputs = match D {
                    2 => shape[0],
                    _ => shape[1..].iter().product(),
                };
                let scale = (2.0 / inputs as f32).sqrt();
                let values = (0..shape.iter().product()).map(|_| scale * stream.normal());
                let data = TensorData::new(values.collect::<Vec<f32>>(), shape);
                Tensor::from_data(data, &old.device()).require_grad()
            })
        }
    }
    net.map(&mut Start(stream, 0))
}
