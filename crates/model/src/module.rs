//! Adapter from a Burn module, or a closure, to a model that can be attacked.

use std::fmt;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_kernels::Program;

use crate::access::{DecisionModel, Features, Head, Signature, UNKNOWN};
use crate::{ModelError, Network, Query, boundary, digest};

type Forward = dyn Fn(&[Tensor<2>]) -> Tensor<2> + Send + Sync;
type Describe = dyn Fn() -> Result<Program, String> + Send + Sync;
type Tap = dyn Fn(&[Tensor<2>], &str) -> Tensor<2> + Send + Sync;
type Behind = dyn Fn(&Tensor<2>) -> Tensor<2> + Send + Sync;

/// What lies behind a layer of a module, as a closure.
struct ModuleHead {
    tap: String,
    width: usize,
    scores: Box<Behind>,
}

/// A Burn module or closure as a model: takes blocks `[rows, features]`, returns logits `[rows, classes]`.
///
/// A module is put into evaluation mode (`valid()`), so that `BatchNorm` uses its running statistics, `Dropout` is off
/// and only the input's gradient is computed. A closure is used as it is; if its answer depends on whether it is being
/// differentiated, the run raises `tracked-logits-differ`.
pub struct BurnModel {
    signature: Signature,
    forward: Box<Forward>,
    taps: Vec<String>,
    tap: Option<Box<Tap>>,
    heads: Vec<ModuleHead>,
    program: Option<Box<Describe>>,
}

impl fmt::Debug for BurnModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BurnModel")
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

/// Reshapes rows `[n, c*h*w]` to images `[n, c, h, w]`.
pub fn image(rows: &Tensor<2>, [c, h, w]: [usize; 3]) -> Tensor<4> {
    rows.clone().reshape([rows.dims()[0], c, h, w])
}

/// Reshapes rows `[n, samples]` to one-channel waveforms `[n, 1, samples]`.
pub fn waveform(rows: &Tensor<2>) -> Tensor<3> {
    rows.clone().unsqueeze_dim(1)
}

impl BurnModel {
    /// Wraps a module over images `[n, c, h, w]` with values in `bounds`.
    pub fn images<M: Module + Sync + 'static>(
        module: &M,
        shape: [usize; 3],
        classes: usize,
        bounds: Bounds,
        forward: impl Fn(&M, Tensor<4>) -> Tensor<2> + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        let modality = Modality {
            name: "image".into(),
            kind: Kind::Image,
            shape: shape.into(),
            bounds,
        };
        Self::module(module, vec![modality], classes, move |m, x| {
            forward(m, image(&x[0], shape))
        })
    }

    /// Wraps a module over waveforms `[n, samples]` with values in `bounds` (usually −1 to 1).
    pub fn waveforms<M: Module + Sync + 'static>(
        module: &M,
        samples: usize,
        classes: usize,
        bounds: Bounds,
        forward: impl Fn(&M, Tensor<2>) -> Tensor<2> + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        let modality = Modality {
            name: "audio".into(),
            kind: Kind::Audio,
            shape: vec![samples],
            bounds,
        };
        Self::module(module, vec![modality], classes, move |m, x| {
            forward(m, x[0].clone())
        })
    }

    /// Wraps a module over table rows `[n, features]`, with bounds per feature or one pair for all.
    pub fn tables<M: Module + Sync + 'static>(
        module: &M,
        features: usize,
        classes: usize,
        bounds: Bounds,
        forward: impl Fn(&M, Tensor<2>) -> Tensor<2> + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        let modality = Modality {
            name: "table".into(),
            kind: Kind::Table,
            shape: vec![features],
            bounds,
        };
        Self::module(module, vec![modality], classes, move |m, x| {
            forward(m, x[0].clone())
        })
    }

    /// Wraps a module over any inputs: `forward` gets one block `[n, features]` per modality and may reshape it
    /// ([`image`], [`waveform`]).
    pub fn module<M: Module + Sync + 'static>(
        module: &M,
        modalities: Vec<Modality>,
        classes: usize,
        forward: impl Fn(&M, &[Tensor<2>]) -> Tensor<2> + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        let module = module.valid();
        let device = module
            .devices()
            .first()
            .cloned()
            .unwrap_or_default()
            .without_autodiff();
        let sha256 = boundary::guarded_device(|| {
            Ok::<_, ModelError>(digest::digest_module(&module, &modalities, classes))
        })?;
        let parameters = module.num_params();
        let forward: Box<Forward> = Box::new(move |x| forward(&module, x));
        let mut model =
            Self::checked("burn-module", modalities, classes, &device, sha256, forward)?;
        model.signature.parameters = Some(parameters);
        Ok(model)
    }

    /// Wraps a closure over any inputs, on `device`. Its digest is taken from its answers
    /// ([`crate::digest_behaviour`]), since its weights cannot be seen.
    pub fn closure(
        modalities: Vec<Modality>,
        classes: usize,
        device: &Device,
        forward: impl Fn(&[Tensor<2>]) -> Tensor<2> + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        let mut model = Self::checked(
            "closure",
            modalities,
            classes,
            device,
            String::new(),
            Box::new(forward),
        )?;
        model.signature.sha256 = digest::digest_behaviour(&model)?;
        Ok(model)
    }

    /// Renames the model (in messages and reports).
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.signature.name = name.into();
        self
    }

    /// States that the bits of a row's scores and gradient depend on that row alone, as those of a network of kernels do.
    /// The engine then asks about all rows at once and pads nothing, and one row costs what one row costs.
    ///
    /// Nine rows inside the bounds are asked together and one by one; an error if a bit differs. That is a check of the
    /// statement, not its proof.
    pub fn rows_independent(mut self) -> Result<Self, ModelError> {
        digest::check_independence(&self)?;
        self.signature.row_independent = true;
        Ok(self)
    }

    /// Adds layers that can be read: `read` returns `[rows, width]` for a name in `names`.
    #[must_use]
    pub fn with_taps(
        mut self,
        names: impl IntoIterator<Item = impl Into<String>>,
        read: impl Fn(&[Tensor<2>], &str) -> Tensor<2> + Send + Sync + 'static,
    ) -> Self {
        self.taps = names.into_iter().map(Into::into).collect();
        self.tap = Some(Box::new(read));
        self
    }

    /// Adds what lies behind `tap`, one of the layers of [`BurnModel::with_taps`] through which alone the input reaches the
    /// scores: `scores` maps activations `[rows, width]` to logits `[rows, classes]`. Add heads from the first layer to the
    /// last. An error if there is no such layer.
    pub fn with_head(
        mut self,
        tap: &str,
        width: usize,
        scores: impl Fn(&Tensor<2>) -> Tensor<2> + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        if !self.taps.iter().any(|t| t == tap) {
            return Err(self.no_layer(tap));
        }
        self.heads.push(ModuleHead {
            tap: tap.to_owned(),
            width,
            scores: Box::new(scores),
        });
        Ok(self)
    }

    /// States that the scores are a linear function of the activations at `tap`, one of the layers of
    /// [`BurnModel::with_taps`]. The trust checks then replace that function and plant adversarials behind it. An error
    /// if there is no such layer.
    pub fn with_penultimate(mut self, tap: &str) -> Result<Self, ModelError> {
        if !self.taps.iter().any(|t| t == tap) {
            return Err(self.no_layer(tap));
        }
        self.signature.penultimate = Some(tap.to_owned());
        Ok(self)
    }

    fn no_layer(&self, tap: &str) -> ModelError {
        ModelError::Signature {
            model: self.signature.name.clone(),
            problem: format!("no layer `{tap}`; it has {}", self.taps.join(", ")),
        }
    }

    /// States the operations that compute the logits from a row, so that they can be bounded. They must be those of the
    /// module: a certificate compares both on every clean sample and on nothing else.
    #[must_use]
    pub fn with_program(
        mut self,
        describe: impl Fn() -> Result<Program, String> + Send + Sync + 'static,
    ) -> Self {
        self.program = Some(Box::new(describe));
        self
    }

    fn checked(
        name: &str,
        modalities: Vec<Modality>,
        classes: usize,
        device: &Device,
        sha256: String,
        forward: Box<Forward>,
    ) -> Result<Self, ModelError> {
        let mut signature = Signature::new(name, modalities, classes, device)?;
        signature.sha256 = sha256;
        Ok(Self {
            signature,
            forward,
            taps: Vec::new(),
            tap: None,
            heads: Vec::new(),
            program: None,
        })
    }
}

impl Network for BurnModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        Ok((self.forward)(query.x.blocks()))
    }

    fn penultimate(&self, query: &Query) -> Result<Option<Tensor<2>>, ModelError> {
        let tap = self.tap.as_ref().zip(self.signature.penultimate.as_ref());
        Ok(tap.map(|(read, name)| read(query.x.blocks(), name)))
    }

    fn program(&self) -> Result<Program, String> {
        self.program
            .as_ref()
            .map_or_else(|| Err(UNKNOWN.to_owned()), |p| p())
    }
}

impl Features for BurnModel {
    fn taps(&self) -> Vec<String> {
        self.taps.clone()
    }

    fn features(&self, query: &Query, taps: &[&str]) -> Result<Vec<Tensor<2>>, ModelError> {
        let name = &DecisionModel::signature(self).name;
        taps.iter()
            .map(|tap| {
                let read = self
                    .tap
                    .as_ref()
                    .filter(|_| self.taps.iter().any(|t| t == tap));
                let Some(read) = read else {
                    return Err(self.no_layer(tap));
                };
                boundary::guarded(name, || Ok(read(query.x.blocks(), tap)))
            })
            .collect()
    }

    fn cuts(&self) -> Vec<String> {
        self.heads.iter().map(|h| h.tap.clone()).collect()
    }

    fn head(&self, tap: &str) -> Result<Box<dyn Head + '_>, ModelError> {
        let found = self.heads.iter().find(|h| h.tap == tap);
        let head = found.ok_or_else(|| ModelError::Signature {
            model: self.signature.name.clone(),
            problem: format!(
                "what lies behind layer `{tap}` is not known; known: {}",
                Features::cuts(self).join(", ")
            ),
        })?;
        Ok(Box::new(BehindLayer { model: self, head }))
    }
}

/// A head with the model it belongs to.
struct BehindLayer<'a> {
    model: &'a BurnModel,
    head: &'a ModuleHead,
}

impl Head for BehindLayer<'_> {
    fn width(&self) -> usize {
        self.head.width
    }

    fn scores(&self, activations: &Tensor<2>) -> Result<Tensor<2>, ModelError> {
        let signature = &self.model.signature;
        let [rows, width] = activations.dims();
        if width != self.head.width {
            return Err(ModelError::Signature {
                model: signature.name.clone(),
                problem: format!(
                    "activations of {width} numbers each; layer `{}` has {}",
                    self.head.tap, self.head.width
                ),
            });
        }
        let scores = boundary::guarded(&signature.name, || Ok((self.head.scores)(activations)))?;
        if scores.dims() == [rows, signature.classes] {
            return Ok(scores);
        }
        Err(ModelError::OutputShape {
            model: signature.name.clone(),
            given: scores.dims().to_vec(),
            rows,
            classes: signature.classes,
        })
    }
}
