//! An ONNX file as a model for attacks.

mod batch_mode;
mod compiled;
mod facts;
mod forward;
mod head;
mod label;
mod penultimate;
mod settle;
mod surrogate;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use burn::tensor::{Device, Tensor as Burn};
use proofmark_domain::{Modality, Needs, OutputKind, Outputs};
use proofmark_kernels::{Network as Kernels, Program};
use proofmark_model::{
    DecisionModel, Features, GradientModel, Head, ModelError, Network, Query, Signature, guarded,
};

pub use self::batch_mode::BatchMode;
use self::penultimate::Penultimate;
use crate::batch::Carried;
use crate::classifier::Scores;
use crate::dtype::DType;
use crate::error::OnnxError;
use crate::graph::{Graph, Plan, Slot};
use crate::load::OnnxFile;
use crate::port::{Layout, Port, chunk, matched, ports};
use crate::room;
use crate::session::Declared;
use crate::whole;

/// Options that the file does not state.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct OnnxOptions {
    /// Axis order of images in the model's input; default: derived from its declared shape. Images whose channels are
    /// recognised at the other end are transposed; others are passed with their axes unchanged.
    pub layout: Option<Layout>,
    /// Name of the output with one score per class; default: the first output.
    pub output: Option<String>,
    /// Kind of values in that output.
    pub kind: OutputKind,
    /// What its numbers mean: one per class, one per label, or values that are used unchanged.
    pub outputs: Outputs,
    /// Whether the output is used unchanged, whatever its width and whether or not it holds classes (for checking
    /// properties).
    pub raw: bool,
    /// Whether operators compute the scores one by one where kernels could take their place: for comparisons.
    pub by_operator: bool,
}

/// An ONNX model bound to its inputs: maps blocks `[n, features]` to scores `[n, classes]`, with gradients.
pub struct OnnxModel {
    signature: Signature,
    file: OnnxFile,
    graph: Graph,
    ports: Vec<Port>,
    scores: Scores,
    plan: Plan,
    mode: BatchMode,
    /// What computes the scores in place of the graph, or why nothing does.
    network: Result<Arc<Kernels>, String>,
    /// Activations before the last linear layer, if they are known.
    penultimate: Option<Penultimate>,
    /// Position of the samples per slot; empty if the graph was not analysed.
    carried: BTreeMap<Slot, Carried>,
    /// The same model with slopes for its steps.
    surrogate: Option<Box<OnnxModel>>,
    /// Whether the scores have a derivative by the inputs.
    has_gradient: bool,
}

impl fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxModel")
            .field("signature", &self.signature)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl OnnxModel {
    /// Binds a file to its inputs. `inputs` describe the samples in data units, one per input of the model that is not
    /// fixed ([`OnnxFile::fix`]): a single one is bound whatever its name, several are bound by name. Images may come
    /// as `[c, h, w]` or `[h, w, c]`; the model's declared shape decides which order it gets.
    ///
    /// The model is run on probe samples: a failing operator, an output without one score per class and shapes that do
    /// not fit are errors here and not during an attack.
    pub fn new(
        file: OnnxFile,
        inputs: &[Modality],
        options: &OnnxOptions,
        device: &Device,
    ) -> Result<Self, OnnxError> {
        let device = device.clone().without_autodiff();
        let output = output(&file, options)?;
        let graph = file.build_for(&[&output], &device, &BTreeMap::new())?;
        let declared = file.inputs();
        let inputs = matched(&file, &declared, inputs)?;
        let mut readings = Vec::new();
        for ((declared, modality), slot) in declared.iter().zip(&inputs).zip(&graph.inputs) {
            let problem = |e| file.problem(format!("input `{}` {e}", declared.name));
            let dtype = declared.dtype.unwrap_or(DType::F32);
            if options.raw && !dtype.is_float() {
                return Err(problem(format!(
                    "is {dtype}; properties are about floating-point inputs (fix it with --fix {}=VALUE)",
                    declared.name
                )));
            }
            let numbers = whole::numbers(&graph, *slot, dtype).map_err(problem)?;
            readings.push(ports(&file, declared, modality, numbers, options.layout)?);
        }
        let ports: Vec<Port> = readings.iter().map(|r| r[0].clone()).collect();
        let size = chunk(&file, &declared, &ports)?;
        if let (None, Some(scores)) = (&options.output, file.scores_beside_label()) {
            graph.notes.leave(format!(
                "the scores are those of output `{scores}`: the first output is the class chosen by them"
            ));
        }
        let output = graph.outputs[0];
        let parameters = graph.parameters();
        let signature = Signature {
            name: file.name.clone(),
            modalities: inputs.into(),
            numbers: ports.iter().map(|p| p.numbers).collect(),
            classes: 0,
            sha256: file.sha256.clone(),
            parameters: Some(parameters),
            activations: None,
            row_independent: false,
            device,
            stated: Vec::new(),
            members: Vec::new(),
            penultimate: None,
        };
        let plan = graph.plan(&[output]);
        graph.refuse_training(&plan).map_err(|e| file.failure(e))?;
        let mut model = Self {
            signature,
            graph,
            ports,
            scores: Scores::untouched(output),
            plan,
            mode: BatchMode::Chunks {
                size: size.unwrap_or(1),
                why: String::new(),
            },
            network: Err(String::new()),
            penultimate: None,
            carried: BTreeMap::new(),
            surrogate: None,
            has_gradient: true,
            file,
        };
        room::while_loading(|| {
            model.decide_layouts(readings, size.unwrap_or(1))?;
            model.settle(size, options)?;
            if !options.raw {
                model.find_penultimate();
            }
            Ok(())
        })
        .map_err(|e| about_open_axes(e, &declared, &model))?;
        model.has_gradient = model.graph.passes_gradients(&model.plan, model.scores.slot);
        model.signature.stated = model.stated();
        Ok(model)
    }

    /// Returns the same model under another name (for messages and reports).
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.signature.name = name.into();
        self
    }

    /// Whether the output is treated as probabilities because the options say so.
    pub fn states_probabilities(&self) -> bool {
        self.scores.claims_probabilities()
    }

    /// Checks on these samples, `[n, features]` per input, that the output holds what the options state.
    pub fn check_output(&self, blocks: &[Burn<2>]) -> Result<(), OnnxError> {
        self.quietly(|m| m.check_values(blocks))
    }

    /// Returns the place of a value by its name.
    fn slot_of(&self, name: &str) -> Result<Slot, OnnxError> {
        self.graph.names.get(name).copied().ok_or_else(|| {
            let names = self.graph.names.keys().map(String::as_str);
            let hint = proofmark_domain::hint(name, names.collect::<Vec<_>>());
            self.file.problem(format!("has no value `{name}`{hint}"))
        })
    }

    fn failed(&self, e: &OnnxError) -> ModelError {
        ModelError::Signature {
            model: self.signature.name.clone(),
            problem: e.to_string(),
        }
    }
}

impl Network for OnnxModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn forward(&self, query: &Query) -> Result<Burn<2>, ModelError> {
        self.run_scores(query.x.blocks())
            .map_err(|e| self.failed(&e))
    }

    fn gives(&self) -> Needs {
        if self.has_gradient {
            Needs::Gradients
        } else {
            Needs::Scores
        }
    }

    fn smoothed(&self) -> Option<&dyn GradientModel> {
        let model: &Self = self.surrogate.as_deref()?;
        Some(model)
    }

    fn penultimate(&self, query: &Query) -> Result<Option<Burn<2>>, ModelError> {
        let read = |of| self.activations(of, query.x.blocks());
        let found = self.penultimate.as_ref().map(read).transpose();
        found.map_err(|e| self.failed(&e))
    }

    fn program(&self) -> Result<Program, String> {
        self.bounded()
    }
}

impl Features for OnnxModel {
    fn taps(&self) -> Vec<String> {
        self.graph.value_names()
    }

    fn features(&self, query: &Query, taps: &[&str]) -> Result<Vec<Burn<2>>, ModelError> {
        let slots = taps.iter().map(|tap| self.slot_of(tap));
        let slots: Vec<Slot> = slots
            .collect::<Result<_, _>>()
            .map_err(|e| self.failed(&e))?;
        let plan = self.graph.plan(&slots);
        guarded(&DecisionModel::signature(self).name, || {
            self.run_slots(&plan, &slots, query.x.blocks())
                .map_err(|e| self.failed(&e))
        })
    }

    fn cuts(&self) -> Vec<String> {
        Self::cuts(self)
    }

    fn head(&self, tap: &str) -> Result<Box<dyn Head + '_>, ModelError> {
        self.behind(tap).map_err(|e| self.failed(&e))
    }
}

/// Extends the error of a failing node with a hint about axis order, if the file leaves axes open.
fn about_open_axes(error: OnnxError, declared: &[Declared], model: &OnnxModel) -> OnnxError {
    let OnnxError::Node {
        file,
        node,
        op,
        opset,
        problem,
    } = error
    else {
        return error;
    };
    let open = |d: &&Declared| {
        let sample = d.shape.as_ref().and_then(|s| s.get(1..));
        sample.is_some_and(|s| s.iter().any(|d| d.fixed().is_none()))
    };
    let more = declared.iter().find(open).map_or_else(String::new, |d| {
        let given = model.signature.modalities.iter().find(|m| m.name == d.name);
        let shape = given.map(|m| m.shape.clone()).unwrap_or_default();
        format!(
            "; input `{}` is declared {} and was given samples of shape {shape:?}: are their axes in the order that the model wants?",
            d.name,
            d.shape_text()
        )
    });
    OnnxError::Node {
        problem: problem + &more,
        file,
        node,
        op,
        opset,
    }
}

/// Returns the name of the value that scores are taken from.
fn output(file: &OnnxFile, options: &OnnxOptions) -> Result<String, OnnxError> {
    if let Some(name) = &options.output {
        file.has_values(&[name])?;
        return Ok(name.clone());
    }
    if let Some(scores) = file.scores_beside_label() {
        return Ok(scores);
    }
    let first = file.outputs().into_iter().next();
    first
        .map(|d| d.name)
        .ok_or_else(|| file.problem("has no outputs"))
}
