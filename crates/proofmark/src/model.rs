//! Models by name, and the settings needed to use them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use proofmark_data::Dataset;
use proofmark_domain::{Bounds, Kind, Modality, OutputKind};
use proofmark_model::{
    BurnModel, Features, ModelError, Network, Numbers, Query, Signature, WhiteBox, wrap::Normalise,
};
use proofmark_onnx::{OnnxFile, OnnxModel, OnnxOptions, declared_modalities};
use proofmark_threat::{Batch, host};
use serde_json::{Map, Value, json};

use crate::{RunError, samples, shipped};

/// Number of samples on which the stated kind of an output is checked.
const CHECKED: usize = 256;

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
#[non_exhaustive]
pub struct ModelSource {
    /// A shipped model by name, or an `.onnx` file.
    pub spec: String,
    /// Name in reports; default: `spec`.
    pub name: Option<String>,
    /// Conversion from data units to model input.
    pub preprocess: Preprocess,
    /// Options of an ONNX model that its file does not state.
    pub onnx: OnnxOptions,
    /// Inputs of an ONNX model that are held constant (a state, a sample rate), each filled with one number.
    pub fixed: BTreeMap<String, f64>,
}

/// Conversion from data units to model input: `(x * scale - mean) / std`, per channel.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Preprocess {
    /// Factor; 1 if absent.
    pub scale: Option<f32>,
    /// Values to subtract; one value, or one per channel; 0 if empty.
    pub mean: Vec<f32>,
    /// Values to divide by; one value, or one per channel; 1 if empty.
    pub std: Vec<f32>,
}

impl Preprocess {
    /// Returns the values of samples of a shape as the model receives them; `name` is for messages.
    pub fn apply(
        &self,
        name: &str,
        shape: &[usize],
        values: Vec<f32>,
        device: &Device,
    ) -> Result<Vec<f32>, RunError> {
        let bounds = Bounds::uniform(0.0, 1.0).map_err(|e| RunError::Parameter(e.to_string()))?;
        let modality = Modality {
            name: name.to_owned(),
            kind: if shape.len() == 3 {
                Kind::Image
            } else {
                Kind::Table
            },
            shape: shape.to_vec(),
            bounds,
        };
        let device = device.clone().without_autodiff();
        let modalities: Arc<[Modality]> = vec![modality].into();
        let x = Batch::from_host(modalities.clone(), vec![values], &device)
            .map_err(ModelError::from)?;
        let identity = Identity(Signature {
            name: "preprocessing".to_owned(),
            modalities,
            numbers: vec![Numbers::Real],
            classes: 0,
            sha256: String::new(),
            parameters: None,
            activations: None,
            row_independent: false,
            device,
            stated: Vec::new(),
            members: Vec::new(),
            penultimate: None,
        });
        let source = ModelSource {
            preprocess: self.clone(),
            ..ModelSource::default()
        };
        Ok(host(&source.normalised(identity)?.prepared(&x).blocks()[0]))
    }
}

/// Network that returns its input.
struct Identity(Signature);

impl Network for Identity {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        Ok(query.x.blocks()[0].clone())
    }
}

/// A model ready to be attacked.
#[non_exhaustive]
pub struct OpenModel {
    /// The model, in data units, with all the access it gives.
    pub model: Box<dyn WhiteBox>,
    /// Conversion from data units to model input, for the report.
    pub preprocessing: Map<String, Value>,
    /// How its file is read, as far as the user stated it, for the report.
    pub reading: Map<String, Value>,
    /// Notes on how an ONNX file is computed.
    pub notes: Vec<String>,
}

impl std::fmt::Debug for OpenModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenModel")
            .field("model", &self.model.signature().name)
            .field("preprocessing", &self.preprocessing)
            .field("reading", &self.reading)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

/// Samples of each region that is searched, its centre first, for a model's inputs.
pub(crate) type Regions<'a> = dyn Fn(&Signature) -> Vec<Vec<Tensor<2>>> + 'a;

impl ModelSource {
    /// Creates a source without options.
    pub fn new(spec: impl Into<String>) -> Self {
        Self {
            spec: spec.into(),
            ..Self::default()
        }
    }

    /// Opens the model for samples like those of `data`: their shape settles what an ONNX file leaves open, and their
    /// bounds are the model's. The stated kind of output must hold on the first of them.
    pub fn open(&self, data: &Dataset, device: &Device) -> Result<OpenModel, RunError> {
        let modalities: Vec<Modality> =
            data.modalities.iter().map(|c| c.modality.clone()).collect();
        self.opened(&modalities, Some(data), None, device)
    }

    /// Opens the model without samples: a shipped one as it is, an ONNX file with the inputs that it declares and these
    /// bounds. An error if the file leaves sizes open, or there are no bounds for it.
    pub fn open_without_data(
        &self,
        bounds: Option<&Bounds>,
        device: &Device,
    ) -> Result<OpenModel, RunError> {
        if !self.is_onnx() {
            return self.opened(&[], None, None, device);
        }
        // First of all: a file that is not there needs no bounds.
        let file = self.onnx_file()?;
        let bounds = bounds.ok_or_else(|| {
            RunError::Parameter(format!(
                "model `{}`: without data the bounds of its input are not known; expected --bounds LO,HI in data units, or --data",
                self.spec
            ))
        })?;
        let declared = declared_modalities(&file, bounds)?;
        let free: Vec<Modality> = declared
            .iter()
            .filter(|m| !self.fixed.contains_key(&m.name))
            .cloned()
            .collect();
        self.opened(&free, None, None, device)
    }

    /// Opens the model for samples described by their inputs alone, with a surrogate for regions that are searched.
    pub(crate) fn open_for(
        &self,
        modalities: &[Modality],
        regions: Option<&Regions<'_>>,
        device: &Device,
    ) -> Result<OpenModel, RunError> {
        self.opened(modalities, None, regions, device)
    }

    fn opened(
        &self,
        modalities: &[Modality],
        data: Option<&Dataset>,
        regions: Option<&Regions<'_>>,
        device: &Device,
    ) -> Result<OpenModel, RunError> {
        let name = self.name.clone().unwrap_or_else(|| self.spec.clone());
        if let Some(model) = shipped::model(&self.spec, device) {
            if !self.onnx.outputs.is_classes() {
                return Err(RunError::Parameter(format!(
                    "model `{}` is a classifier, and the criterion is about {}; use one about classes, such as margin=K or top-k=K",
                    self.spec, self.onnx.outputs
                )));
            }
            if self.onnx != OnnxOptions::default() || !self.fixed.is_empty() {
                return Err(RunError::Parameter(format!(
                    "model `{}` is no ONNX file: it has logits, one input and one layout; remove the options about those",
                    self.spec
                )));
            }
            return self.prepared(model?.named(name), Vec::new());
        }
        let mut model =
            OnnxModel::new(self.onnx_file()?, modalities, &self.onnx, device)?.named(name);
        if let Some(regions) = regions {
            let samples = regions(Network::signature(&model));
            model = model.with_surrogate(&samples, &self.onnx)?;
        }
        if let Some(data) = data {
            self.check_output(&model, data)?;
        }
        let notes = model.notes();
        self.prepared(model, notes)
    }

    /// Checks the stated kind of an ONNX model's output on the first samples.
    fn check_output(&self, model: &OnnxModel, data: &Dataset) -> Result<(), RunError> {
        if !model.states_probabilities() {
            return Ok(());
        }
        let first: Vec<usize> = (0..data.len().min(CHECKED)).collect();
        let signature = Network::signature(model);
        let values = samples::samples(&data.select(&first), signature)?.values;
        let x = Batch::from_host(signature.modalities.clone(), values, &signature.device)
            .map_err(ModelError::from)?;
        let x = if self.preprocess == Preprocess::default() {
            x
        } else {
            self.normalised(model)?.prepared(&x)
        };
        Ok(model.check_output(x.blocks())?)
    }

    /// Wraps a network with the preprocessing.
    fn prepared(
        &self,
        network: impl Network + Features + 'static,
        notes: Vec<String>,
    ) -> Result<OpenModel, RunError> {
        let p = &self.preprocess;
        if *p == Preprocess::default() {
            return Ok(OpenModel {
                model: Box::new(network),
                preprocessing: Map::new(),
                reading: self.reading(),
                notes,
            });
        }
        let facts = [
            ("scale", json!(p.scale.unwrap_or(1.0))),
            ("mean", json!(or(&p.mean, 0.0))),
            ("std", json!(or(&p.std, 1.0))),
        ];
        Ok(OpenModel {
            preprocessing: facts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
            model: Box::new(self.normalised(network)?),
            reading: self.reading(),
            notes,
        })
    }

    /// Returns the stated options of an ONNX model; those left at their default are absent.
    fn reading(&self) -> Map<String, Value> {
        let onnx = &self.onnx;
        let kind = Some(onnx.kind).filter(|k| *k != OutputKind::default());
        let stated = [
            (
                "layout",
                onnx.layout
                    .map(|l| json!(format!("{l:?}").to_ascii_lowercase())),
            ),
            ("output", onnx.output.as_ref().map(|o| json!(o))),
            ("output_kind", kind.map(|k| json!(k.as_str()))),
            ("fixed", (!self.fixed.is_empty()).then(|| json!(self.fixed))),
        ];
        stated
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }

    fn normalised<N: Network>(&self, network: N) -> Result<Normalise<N>, RunError> {
        let p = &self.preprocess;
        let (mean, std) = (or(&p.mean, 0.0), or(&p.std, 1.0));
        Ok(Normalise::new(
            network,
            p.scale.unwrap_or(1.0),
            &mean,
            &std,
        )?)
    }

    /// Whether `spec` names an ONNX file.
    pub(crate) fn is_onnx(&self) -> bool {
        Path::new(&self.spec)
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("onnx"))
    }

    /// Opens the ONNX file, with inputs fixed; an error if `spec` does not name one. For a file of another kind, the
    /// error names the kind by the file's content.
    pub fn onnx_file(&self) -> Result<OnnxFile, RunError> {
        let path = Path::new(&self.spec);
        if !self.is_onnx() && !path.exists() {
            return Err(unknown(&self.spec));
        }
        let mut file = OnnxFile::open(path)?;
        for (input, number) in &self.fixed {
            file.fix_number(input, *number)?;
        }
        Ok(file)
    }
}

fn or(values: &[f32], default: f32) -> Vec<f32> {
    if values.is_empty() {
        vec![default]
    } else {
        values.to_vec()
    }
}

/// Returns a shipped model by name.
pub fn model(name: &str, device: &Device) -> Result<BurnModel, RunError> {
    match shipped::model(name, device) {
        Some(model) => Ok(model?),
        None => Err(unknown(name)),
    }
}

fn unknown(spec: &str) -> RunError {
    RunError::UnknownModel {
        given: spec.to_owned(),
        hint: proofmark_domain::hint(spec, shipped::NAMES),
        known: shipped::NAMES.join(", "),
    }
}
