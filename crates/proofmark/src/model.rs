//! Models by name, and what has to be said to use them.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use proofmark_data::Dataset;
use proofmark_domain::Modality;
use proofmark_model::{BurnModel, GradientModel, Network, wrap::Normalise};
use proofmark_onnx::{OnnxFile, OnnxModel, OnnxOptions};
use serde_json::{Map, Value, json};

use crate::{RunError, shipped};

/// A model as a user names it.
///
/// ```
/// # use proofmark::{ModelSource, burn::tensor::Device, data};
/// let digits = data::open("digits", &Default::default())?;
/// let opened = ModelSource::new("digits-robust").open(&digits, &Device::flex())?;
/// assert_eq!(opened.model.signature().classes, 10);
/// # Ok::<(), proofmark::RunError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelSource {
    /// A shipped model by name, or an `.onnx` file.
    pub spec: String,
    /// What reports call it; default: `spec`.
    pub name: Option<String>,
    /// What happens between data units and the model.
    pub preprocess: Preprocess,
    /// What is said of an ONNX model beyond its file.
    pub onnx: OnnxOptions,
    /// Inputs of an ONNX model that are constants (a state, a sample rate), the same number everywhere.
    pub fixed: BTreeMap<String, f64>,
}

/// `(x * scale - mean) / std`, per channel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preprocess {
    /// Factor; absent means 1.
    pub scale: Option<f32>,
    /// Subtracted; one value, or one per channel; empty means 0.
    pub mean: Vec<f32>,
    /// Divided by; one value, or one per channel; empty means 1.
    pub std: Vec<f32>,
}

/// A model ready to be attacked.
pub struct OpenModel {
    /// The model, in data units.
    pub model: Box<dyn GradientModel>,
    /// What happens between data units and the model, for the report.
    pub preprocessing: Map<String, Value>,
}

impl ModelSource {
    /// A model without anything to say of it.
    pub fn new(spec: impl Into<String>) -> Self {
        Self {
            spec: spec.into(),
            ..Self::default()
        }
    }

    /// Opens the model for samples like those of `data`: their shape settles what an ONNX file leaves open, their
    /// bounds are the model's.
    pub fn open(&self, data: &Dataset, device: &Device) -> Result<OpenModel, RunError> {
        let modalities: Vec<Modality> =
            data.modalities.iter().map(|c| c.modality.clone()).collect();
        self.open_for(&modalities, device)
    }

    /// The same for samples described by their inputs alone.
    pub(crate) fn open_for(
        &self,
        modalities: &[Modality],
        device: &Device,
    ) -> Result<OpenModel, RunError> {
        let network = self.network(modalities, device)?;
        let p = &self.preprocess;
        if *p == Preprocess::default() {
            return Ok(OpenModel {
                model: Box::new(network),
                preprocessing: Map::new(),
            });
        }
        let or = |v: &[f32], default| {
            if v.is_empty() {
                vec![default]
            } else {
                v.to_vec()
            }
        };
        let (scale, mean, std) = (p.scale.unwrap_or(1.0), or(&p.mean, 0.0), or(&p.std, 1.0));
        let facts = [
            ("scale", json!(scale)),
            ("mean", json!(mean)),
            ("std", json!(std)),
        ];
        Ok(OpenModel {
            model: Box::new(Normalise::new(network, scale, &mean, &std)?),
            preprocessing: facts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        })
    }

    fn network(
        &self,
        modalities: &[Modality],
        device: &Device,
    ) -> Result<Box<dyn Network>, RunError> {
        let name = self.name.clone().unwrap_or_else(|| self.spec.clone());
        if let Some(model) = shipped::model(&self.spec, device) {
            if self.onnx != OnnxOptions::default() || !self.fixed.is_empty() {
                return Err(RunError::Parameter(format!(
                    "model `{}` is no ONNX file: it has logits, one input and one layout; leave the options about those out",
                    self.spec
                )));
            }
            return Ok(Box::new(model?.named(name)));
        }
        let file = self.onnx_file()?;
        let model = OnnxModel::new(file, modalities, &self.onnx, device)?;
        Ok(Box::new(model.named(name)))
    }

    /// Whether `spec` names an ONNX file.
    pub(crate) fn is_onnx(&self) -> bool {
        Path::new(&self.spec)
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("onnx"))
    }

    /// The ONNX file, inputs fixed; an error where `spec` does not name one.
    pub fn onnx_file(&self) -> Result<OnnxFile, RunError> {
        if !self.is_onnx() {
            return Err(unknown(&self.spec));
        }
        let mut file = OnnxFile::open(Path::new(&self.spec))?;
        for (input, number) in &self.fixed {
            file.fix_number(input, *number)?;
        }
        Ok(file)
    }
}

/// A shipped model by name.
pub fn model(name: &str, device: &Device) -> Result<BurnModel, RunError> {
    match shipped::model(name, device) {
        Some(model) => Ok(model?),
        None => Err(unknown(name)),
    }
}

fn unknown(spec: &str) -> RunError {
    let hint = proofmark_domain::nearest(spec, shipped::NAMES)
        .map_or_else(String::new, |n| format!(" (did you mean `{n}`?)"));
    RunError::UnknownModel {
        given: spec.to_owned(),
        hint,
        known: shipped::NAMES.join(", "),
    }
}
