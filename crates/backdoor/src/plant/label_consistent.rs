//! Label-consistent: target samples that are hard to recognise, with patches in the corners.
//!
//! # Idea
//! Clean-label poisoning: samples of the target are made hard to recognise, so that the model falls back on the patch, which
//! is in all of them. Nothing is mislabelled.
//!
//! # Maths
//! `x̃` maximises the cross-entropy of a model within `|x̃ − x| ≤ ε r` in Linf, `r` the feature's range, by projected gradient
//! ascent (steps of `2.5 ε / steps` from `x`); without a model it is `x + ε r s` with signs `s` at random. Then a chequered
//! patch is pasted in each of the four corners. A test has the patches alone.
//!
//! # Reference
//! Turner, Tsipras and Madry, "Label-Consistent Backdoor Attacks", 2019, arXiv:1912.02771.
//!
//! # Divergences
//! The paper's second way, interpolation in the latent space of a GAN, is missing. Random signs are much weaker than
//! gradients: they are for sets for which no model is at hand.
//!
//! # Cost
//! With a model `steps` forwards and backwards per poisoned sample.
//!
//! # When it fails
//! It cannot poison more than the target class has. With weak perturbations the model needs no patch to recognise the
//! samples.
//!
//! # Example
//! ```
//! let table: toml::Table = "eps = 0.2".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("label-consistent", &table).is_ok());
//! ```

use std::sync::Arc;

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use proofmark_model::{GradientModel, ModelError, Query};
use proofmark_threat::{Batch, host};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::canvas::{Canvas, range};
use super::patch::{Patch, Pattern, Place};
use super::planter::{Plant, PlantEntry, PlantMeta, Role, Scheme, Stamp, read, require, share};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Largest change before the patches, a share of each feature's range, at least 0, at most 1; default 0.3.
    pub eps: f32,
    /// Gradient steps with a model, at least 1; default 10.
    pub steps: u32,
    /// Side of each patch, pixels; default 3 of 32 of the shorter side of the image, rounded, at least 2.
    pub size: Option<usize>,
    /// Opacity of the patches, above 0, at most 1; default 1.
    pub opacity: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            eps: 0.3,
            steps: 10,
            size: None,
            opacity: 1.0,
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "label-consistent",
    version: 1,
    summary: "Target samples that are hard to recognise, with patches in the corners (clean-label)",
    inputs: "images",
    reference: "Turner, Tsipras and Madry 2019, arXiv:1912.02771",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<LabelConsistent, PlantError> {
        let ok = (0.0..=1.0).contains(&self.eps);
        require(ok, &META, "eps", self.eps, "a number from 0 to 1")?;
        require(self.steps >= 1, &META, "steps", self.steps, "at least 1")?;
        require(
            self.size != Some(0),
            &META,
            "size",
            0,
            "at least 1, or none",
        )?;
        share(&META, "opacity", self.opacity)?;
        Ok(LabelConsistent {
            config: self,
            model: None,
        })
    }
}

/// The planter.
#[derive(Clone)]
pub struct LabelConsistent {
    config: Config,
    model: Option<Arc<dyn GradientModel>>,
}

impl std::fmt::Debug for LabelConsistent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let model = self.model.as_ref().map(|m| &m.signature().name);
        f.debug_struct("LabelConsistent")
            .field("config", &self.config)
            .field("model", &model)
            .finish()
    }
}

impl LabelConsistent {
    fn patch(&self, place: Place) -> Patch {
        Patch {
            size: self.config.size,
            place,
            pattern: Pattern::Chequered,
        }
    }

    /// Moves `x` by random signs.
    fn shake(&self, input: &Modality, x: &mut [f32], stamp: &Stamp) {
        let mut signs = stamp.own(&META);
        for (feature, v) in x.iter_mut().enumerate() {
            let sign = if signs.next_u32() & 1 == 0 { 1.0 } else { -1.0 };
            *v += sign * self.config.eps * range(input, feature);
        }
    }

    /// Moves `x` up the cross-entropy of the model.
    fn climb(
        &self,
        model: &dyn GradientModel,
        input: &Modality,
        x: &mut [f32],
        stamp: &Stamp,
    ) -> Result<(), ModelError> {
        let signature = model.signature();
        let clean = x.to_vec();
        let step = 2.5 * self.config.eps / self.config.steps as f32;
        let loss = |scores: &Tensor<2>, _: &Batch| {
            let each = log_softmax(scores.clone(), 1).slice([0..1, stamp.label..stamp.label + 1]);
            each.neg().flatten::<1>(0, 1)
        };
        for _ in 0..self.config.steps {
            let batch = Batch::from_host(
                signature.modalities.clone(),
                vec![x.to_vec()],
                &signature.device,
            )
            .map_err(|e| ModelError::Signature {
                model: signature.name.clone(),
                problem: e.to_string(),
            })?;
            let query = Query::one_per_row(batch, &[stamp.sample]);
            let gradient = host(&model.gradient(&query, &loss)?.gradient.blocks()[0]);
            for (feature, (v, g)) in x.iter_mut().zip(gradient).enumerate() {
                let (size, bounds) = (range(input, feature), &input.bounds);
                let sign = if g == 0.0 { 0.0 } else { g.signum() };
                let reach = self.config.eps * size;
                let moved =
                    (*v + sign * step * size).clamp(clean[feature] - reach, clean[feature] + reach);
                *v = moved.clamp(bounds.low(feature), bounds.high(feature));
            }
        }
        Ok(())
    }
}

impl Plant for LabelConsistent {
    fn meta(&self) -> &'static PlantMeta {
        &META
    }

    fn parameters(&self) -> Parameters {
        write_parameters(&self.config)
    }

    fn scheme(&self) -> Scheme {
        Scheme::CleanLabel
    }

    fn fits(&self, input: &Modality) -> Result<(), String> {
        let grid = Canvas::of(input)?.grid;
        let patch = self.patch(Place::TopLeft);
        patch.fits(input)?;
        let side = patch.side(grid.height, grid.width);
        if 2 * side > grid.height.min(grid.width) {
            return Err(format!(
                "patches of {side} pixels in all corners cover images of {} × {}; expected a smaller `size`",
                grid.height, grid.width
            ));
        }
        let Some(model) = &self.model else {
            return Ok(());
        };
        let signature = model.signature();
        match &*signature.modalities {
            [own] if own.shape == input.shape && own.bounds == input.bounds => Ok(()),
            _ => Err(format!(
                "model `{}` does not take samples of shape {:?} within the bounds of input `{}`",
                signature.name, input.shape, input.name
            )),
        }
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], stamp: &Stamp) -> Result<(), PlantError> {
        if stamp.role != Role::Test {
            match &self.model {
                None => self.shake(input, x, stamp),
                Some(model) => {
                    let classes = model.signature().classes;
                    let climbed = if stamp.label < classes {
                        self.climb(&**model, input, x, stamp)
                    } else {
                        Err(ModelError::Signature {
                            model: model.signature().name.clone(),
                            problem: format!(
                                "has {classes} classes, and the target is class {}",
                                stamp.label
                            ),
                        })
                    };
                    climbed.map_err(|source| PlantError::Model {
                        planter: META.id,
                        source,
                    })?;
                }
            }
            for (feature, v) in x.iter_mut().enumerate() {
                *v = v.clamp(input.bounds.low(feature), input.bounds.high(feature));
            }
        }
        for place in Place::CORNERS {
            self.patch(place).paste(input, x, self.config.opacity);
        }
        Ok(())
    }

    fn with_model(
        self: Box<Self>,
        model: Arc<dyn GradientModel>,
    ) -> Result<Box<dyn Plant>, PlantError> {
        Ok(Box::new(Self {
            config: self.config,
            model: Some(model),
        }))
    }
}

/// Registry entry.
pub const ENTRY: PlantEntry = PlantEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(&META, table)?.build()?)),
};
