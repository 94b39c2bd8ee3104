use std::fmt;

use burn::tensor::Tensor;
use proofmark_domain::{Modality, TrustCode, TrustFlag};
use proofmark_threat::Batch;

use crate::access::{Features, Head, Signature};
use crate::digest::{derived, digest_behaviour};
use crate::{ModelError, Network, Query};

/// A map of an input `[q, features]` to values of the same shape, row by row.
type Map = dyn Fn(Tensor<2>, &Modality) -> Tensor<2> + Send + Sync;

/// A model behind a preprocessing step whose derivative is zero, undefined or useless: the forward pass takes the step,
/// the backward pass the derivative of another function (BPDA, backward pass differentiable approximation).
///
/// By default that function is the identity: the gradient passes straight through. That suits steps whose result is near
/// their input, as of most purifying defences (JPEG, fewer bits, denoising). [`Bpda::smoothed`] takes any differentiable
/// function in its place. A derivative that is only known as a factor `w(x)` per feature is that of `x * w(x).detach()`.
///
/// Answers are exactly those of the step and the model; only gradients are approximate, and the model
/// [states](Signature::stated) that as [`TrustCode::ApproximateGradients`]. Source: Athalye, Carlini and Wagner,
/// "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 4.1.
///
/// ```
/// # use proofmark_domain::Bounds;
/// # use proofmark_model::{BurnModel, wrap::{Bpda, levels}};
/// # use proofmark_domain::{Kind, Modality};
/// # let device = burn::tensor::Device::default();
/// # let input = Modality { name: "x".into(), kind: Kind::Table, shape: vec![2], bounds: Bounds::uniform(0.0, 1.0)? };
/// # let net = BurnModel::closure(vec![input], 2, &device, |x| x[0].clone())?;
/// // Eight levels per value: three bits.
/// let defended = Bpda::new(net, "3 bits", levels(8))?;
/// // Any function of the values; here with the derivative of another one in the backward pass.
/// # let input = Modality { name: "x".into(), kind: Kind::Table, shape: vec![2], bounds: Bounds::uniform(0.0, 1.0)? };
/// # let net = BurnModel::closure(vec![input], 2, &device, |x| x[0].clone())?;
/// let sharp = Bpda::new(net, "threshold", |x, _| x.greater_equal_scalar(0.5).float())?
///     .smoothed(|x, _| burn::tensor::activation::sigmoid((x - 0.5) * 10.0))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Bpda<N> {
    inner: N,
    name: String,
    step: Box<Map>,
    backward: Option<Box<Map>>,
    signature: Signature,
}

impl<N: fmt::Debug> fmt::Debug for Bpda<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bpda")
            .field("inner", &self.inner)
            .field("name", &self.name)
            .field("smoothed", &self.backward.is_some())
            .finish_non_exhaustive()
    }
}

/// Returns the step that rounds each value to the nearest of `count` levels, evenly spaced from the lower to the upper
/// bound of its feature. One level is taken as two.
pub fn levels(count: u32) -> impl Fn(Tensor<2>, &Modality) -> Tensor<2> + Send + Sync + 'static {
    let gaps = count.max(2) - 1;
    move |x, modality| {
        let features = modality.features();
        let row = |of: &dyn Fn(usize) -> f32| {
            let values: Vec<f32> = (0..features).map(of).collect();
            Tensor::<1>::from_floats(values.as_slice(), &x.device()).unsqueeze::<2>()
        };
        let low = row(&|f| modality.bounds.low(f));
        let size = row(&|f| (modality.bounds.high(f) - modality.bounds.low(f)) / gaps as f32);
        ((x - low.clone()) / size.clone()).round() * size + low
    }
}

impl<N: Network> Bpda<N> {
    /// Puts `step` before `inner`. It is called for each input and must return as many values, without looking at other
    /// rows. `name` stands for it in messages; the digest also covers what the whole model answers at a few random
    /// points.
    pub fn new(
        inner: N,
        name: impl Into<String>,
        step: impl Fn(Tensor<2>, &Modality) -> Tensor<2> + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        let signature = Signature {
            // Nothing is known about the step's bits.
            row_independent: false,
            penultimate: None,
            ..inner.signature().clone()
        };
        let made = Self {
            inner,
            name: name.into(),
            step: Box::new(step),
            backward: None,
            signature,
        };
        made.stated()
    }

    /// Takes the derivative of `backward` in the backward pass, instead of the identity's. It must be differentiable,
    /// finite, and return as many values.
    pub fn smoothed(
        mut self,
        backward: impl Fn(Tensor<2>, &Modality) -> Tensor<2> + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        self.backward = Some(Box::new(backward));
        self.stated()
    }

    /// Sets what the signature says of the wrapper.
    fn stated(mut self) -> Result<Self, ModelError> {
        let behaviour = digest_behaviour(&self)?;
        let (name, inner) = (&self.name, self.inner.signature());
        let (word, message) = match self.backward {
            None => (
                "identity",
                format!("gradients pass straight through `{name}`"),
            ),
            Some(_) => (
                "smooth",
                format!("gradients are those of a smooth function in the place of `{name}`"),
            ),
        };
        let change = format!("bpda({name},{behaviour},{word})");
        self.signature.sha256 = derived(&inner.sha256, &change);
        self.signature.stated.clone_from(&inner.stated);
        let flag = TrustFlag {
            code: TrustCode::ApproximateGradients,
            message,
            cured: false,
        };
        join(&mut self.signature.stated, flag);
        Ok(self)
    }

    /// Returns the inner model's input.
    fn prepared(&self, x: &Batch) -> Result<Batch, ModelError> {
        let modalities = x.modalities();
        let blocks = x.blocks().iter().zip(modalities.iter());
        let blocks = blocks
            .map(|(x, m)| self.through(x, m))
            .collect::<Result<_, _>>()?;
        Ok(Batch::new(modalities.clone(), blocks)?)
    }

    fn through(&self, x: &Tensor<2>, modality: &Modality) -> Result<Tensor<2>, ModelError> {
        let same = |y: Tensor<2>, what: &str| {
            if y.dims() == x.dims() {
                return Ok(y);
            }
            Err(ModelError::Failed {
                model: self.inner.signature().name.clone(),
                problem: format!(
                    "{what} of `{}` made values of shape {:?} from {:?}; expected the same shape",
                    self.name,
                    y.dims(),
                    x.dims()
                ),
            })
        };
        if !x.is_tracked() {
            return same((self.step)(x.clone(), modality), "the step");
        }
        let value = same((self.step)(x.clone().inner(), modality), "the step")?;
        let smooth = match &self.backward {
            None => x.clone(),
            Some(backward) => same(backward(x.clone(), modality), "the backward function")?,
        };
        // The difference is exactly zero, so the value stays what the step made of it.
        Ok(value.autodiff() + (smooth.clone() - smooth.detach()))
    }
}

/// Adds a flag, or its message to that of the flag with the same code.
pub(super) fn join(stated: &mut Vec<TrustFlag>, flag: TrustFlag) {
    match stated.iter_mut().find(|f| f.code == flag.code) {
        Some(known) => {
            known.message = format!("{}; {}", flag.message, known.message);
            known.cured &= flag.cured;
        }
        None => stated.push(flag),
    }
}

impl<N: Network> Network for Bpda<N> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        self.inner.forward(&query.with_x(self.prepared(&query.x)?))
    }

    fn cost(&self) -> u64 {
        self.inner.cost()
    }
}

impl<N: Network + Features> Features for Bpda<N> {
    fn taps(&self) -> Vec<String> {
        self.inner.taps()
    }

    fn features(&self, query: &Query, taps: &[&str]) -> Result<Vec<Tensor<2>>, ModelError> {
        self.inner
            .features(&query.with_x(self.prepared(&query.x)?), taps)
    }

    fn cuts(&self) -> Vec<String> {
        self.inner.cuts()
    }

    fn head(&self, tap: &str) -> Result<Box<dyn Head + '_>, ModelError> {
        self.inner.head(tap)
    }
}
