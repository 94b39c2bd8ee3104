//! An ONNX file as a model that can be attacked.

use std::collections::BTreeMap;
use std::fmt;

use burn::tensor::{Device, Tensor as Burn};
use proofmark_domain::{Modality, OutputKind, TrustCode, TrustFlag};
use proofmark_model::{
    DecisionModel, Features, ModelError, Network, Numbers, Query, Signature, guarded,
    guarded_device,
};
use proofmark_threat::host;

use crate::array::Array;
use crate::batch::{Batching, Carried, Choices, analyse};
use crate::classifier::{Scores, scores_of};
use crate::dtype::DType;
use crate::error::OnnxError;
use crate::graph::{Fix, Graph, Plan, Slot};
use crate::load::OnnxFile;
use crate::port::{Layout, Port, chunk, decide, matched, ports, undecidable};
use crate::room;
use crate::session::Declared;
use crate::tensor::Tensor;
use crate::value::Value;
use crate::whole;

/// What is said of a model beyond its file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OnnxOptions {
    /// How the model wants images; default: what its declared shape says. Images whose channels are seen to lie at the
    /// other end are turned; any others are handed over with their axes as they are.
    pub layout: Option<Layout>,
    /// The output with one score per class; default: the first.
    pub output: Option<String>,
    /// What that output holds.
    pub kind: OutputKind,
    /// Whether the outputs are taken as they stand, any number of them, classes or not (properties are about those).
    pub raw: bool,
}

/// How many samples go through the graph at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchMode {
    /// All together: the file leaves their number open.
    Open,
    /// All together, though the file was exported for one: so many nodes are changed for it.
    Rebatched {
        /// Nodes changed.
        nodes: usize,
    },
    /// So many at a time.
    Chunks {
        /// How many.
        size: usize,
        /// Why not all together.
        why: String,
    },
}

impl fmt::Display for BatchMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("any number of samples together"),
            Self::Rebatched { nodes } => write!(
                f,
                "any number of samples together (exported for one; {nodes} nodes changed, confirmed on three samples)"
            ),
            Self::Chunks { size: 1, why } => write!(f, "one sample at a time: {why}"),
            Self::Chunks { size, why } => write!(f, "{size} samples at a time: {why}"),
        }
    }
}

/// How many samples inside the bounds show what a graph does.
const PROBE: usize = 8;

/// How many readings of a graph are confirmed on three samples before they are taken one by one.
const CONFIRMATIONS: usize = 4;

/// An ONNX model bound to its inputs: blocks `[n, features]` in, scores `[n, classes]` out, with gradients.
pub struct OnnxModel {
    signature: Signature,
    file: OnnxFile,
    graph: Graph,
    ports: Vec<Port>,
    scores: Scores,
    plan: Plan,
    mode: BatchMode,
    /// Where the samples lie, where that was worked out.
    carried: BTreeMap<Slot, Carried>,
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
    /// Binds a file to its inputs. `inputs` describe the samples in data units, one per input of the model that is
    /// not fixed ([`OnnxFile::fix`]): a single one whatever its name, several by name. Images may come as
    /// `[c, h, w]` or `[h, w, c]`; the model's declared shape says what it wants.
    ///
    /// The model is tried out on three samples: an operator that fails, an output that holds no score per class,
    /// shapes that do not fit are errors here, not in the middle of an attack.
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
        let output = graph.outputs[0];
        let parameters = graph.parameters();
        let signature = Signature {
            name: file.name.clone(),
            modalities: inputs.into(),
            numbers: ports.iter().map(|p| p.numbers).collect(),
            classes: 0,
            sha256: file.sha256.clone(),
            parameters: Some(parameters),
            device,
            stated: Vec::new(),
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
            carried: BTreeMap::new(),
            file,
        };
        room::while_loading(|| {
            model.decide_layouts(readings, size.unwrap_or(1))?;
            model.settle(size, options)
        })
        .map_err(|e| about_open_axes(e, &declared, &model))?;
        model.signature.stated = model.stated();
        Ok(model)
    }

    /// Where a file leaves the axes of images open, the order they have is right if the model runs on them so and in
    /// no other order; anything else has to be stated.
    fn decide_layouts(&mut self, readings: Vec<Vec<Port>>, rows: usize) -> Result<(), OnnxError> {
        let probe = self.probe(rows);
        for (input, readings) in readings.into_iter().enumerate() {
            let (first, declared) = (readings[0].clone(), self.file.inputs());
            let chosen = decide(readings, |port| {
                self.ports[input] = port.clone();
                self.quietly(|m| m.run_traced(&m.plan, &probe, &mut |_, _| {}))
                    .is_ok()
            });
            self.ports[input] = first;
            let given = &self.signature.modalities[input].shape;
            self.ports[input] = chosen.map_err(|runs| {
                let declared = &declared[input];
                let why = undecidable(declared, given, runs);
                self.file
                    .problem(format!("input `{}`: {why}", declared.name))
            })?;
        }
        Ok(())
    }

    /// Finds the scores and the way samples go through together.
    fn settle(&mut self, size: Option<usize>, options: &OnnxOptions) -> Result<(), OnnxError> {
        let rows = size.unwrap_or(1);
        let shapes = self.pinned(rows, options)?;
        let output = self.scores.slot;
        let scores = |m: &Self, bypass| {
            scores_of(&m.graph, &shapes, output, rows, options, bypass)
                .map_err(|e| m.file.problem(e))
        };
        self.scores = scores(self, true)?;
        if self.scores.slot != output && !self.decides_as(output)? {
            self.scores = scores(self, false)?;
        }
        self.signature.classes = self.scores.classes;
        self.plan = self.graph.plan(&[self.scores.slot]);
        let probe = self.probe(PROBE);
        self.quietly(|m| m.check_values(&probe))?;

        if size.is_none() && self.confirmed(BatchMode::Open).is_ok() {
            return Ok(());
        }
        let why = match size {
            Some(n) if n > 1 => "the file fixes that number".to_owned(),
            _ if self.ports.iter().any(|p| !p.batched) => {
                "the model's input has no axis for the samples".to_owned()
            }
            _ => match self.rebatched(size, &shapes) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
        };
        self.mode = BatchMode::Chunks { size: rows, why };
        // What one sample gives was seen above; several have to work, too.
        let three = self.probe(3);
        self.quietly(|m| m.run_scores(&three))?;
        Ok(())
    }

    /// Whether the scores decide as the output itself does, on samples inside the bounds.
    fn decides_as(&self, output: Slot) -> Result<bool, OnnxError> {
        let slots = [self.scores.slot, output];
        let plan = self.graph.plan(&slots);
        let probe = self.probe(PROBE);
        let [scores, output] = self
            .quietly(|m| m.run_slots(&plan, &slots, &probe))?
            .try_into()
            .expect("as many values as slots");
        let decisions = |t: Burn<2>, half: f32| -> Vec<Option<usize>> {
            let width = t.dims()[1];
            host(&t)
                .chunks(width)
                .map(|row| match row {
                    [one] => (!one.is_nan()).then_some(usize::from(*one > half)),
                    _ => first_largest(row),
                })
                .collect()
        };
        // A single output is the probability of class 1, and what is before it its logit.
        let (a, b) = (decisions(scores, 0.0), decisions(output, 0.5));
        Ok(a.iter().zip(&b).all(|(a, b)| b.is_none() || a == b))
    }

    /// Whether the output is taken for probabilities because somebody says so.
    pub fn states_probabilities(&self) -> bool {
        self.scores.claims_probabilities()
    }

    /// Whether what is stated of the output holds on these samples, `[n, features]` per input.
    pub fn check_output(&self, blocks: &[Burn<2>]) -> Result<(), OnnxError> {
        self.quietly(|m| m.check_values(blocks))
    }

    fn check_values(&self, blocks: &[Burn<2>]) -> Result<(), OnnxError> {
        if !self.scores.claims_probabilities() {
            return Ok(());
        }
        let raw = self
            .run_slots(&self.plan, &[self.scores.slot], blocks)?
            .remove(0);
        let width = raw.dims()[1];
        self.scores.check(&host(&raw), width).map_err(|e| {
            let name = self.graph.name(self.scores.slot);
            self.file.problem(format!("output `{name}` {e}"))
        })
    }

    /// Runs the first samples and gives the shapes seen, with every `If` decided whose condition is the same for all
    /// samples.
    ///
    /// Such a condition comes from sizes. An exporter that asked for the length of an axis meant the model as it is
    /// for a batch of the size it was exported with, and that model is what is attacked: so what the condition was
    /// for that size is right by definition, also where more samples go through at once and their number would be
    /// taken for a size. The branch then stands in the place of the `If`, and samples can be followed through it.
    fn pinned(
        &mut self,
        rows: usize,
        options: &OnnxOptions,
    ) -> Result<Vec<Option<Vec<usize>>>, OnnxError> {
        let probe = self.probe(rows);
        let mut pins: BTreeMap<String, Array> = BTreeMap::new();
        loop {
            let conditions = self.graph.steady_conditions();
            let mut shapes: Vec<Option<Vec<usize>>> = self
                .graph
                .known
                .iter()
                .map(|known| known.as_ref().map(Value::shape))
                .collect();
            let mut found = Vec::new();
            let whole = self.graph.plan(&[self.scores.slot]);
            self.quietly(|m| {
                m.run_traced(&whole, &probe, &mut |slot, value| {
                    shapes[slot] = Some(value.shape());
                    if let (true, Value::Host(a)) = (conditions.contains(&slot), value) {
                        found.push((slot, a.clone()));
                    }
                })
            })?;
            let before = pins.len();
            for (slot, condition) in found {
                // A branch's value goes by two names once the branch is in place.
                let names = self.graph.names.iter().filter(|(_, s)| **s == slot);
                pins.extend(names.map(|(n, _)| (n.clone(), condition.clone())));
            }
            // Branches may bring conditions of their own; they nest no deeper than files do.
            if pins.len() == before {
                return Ok(shapes);
            }
            let output = output(&self.file, options)?;
            self.graph = self
                .file
                .build_for(&[&output], &self.signature.device, &pins)?;
            self.scores = Scores::untouched(self.graph.outputs[0]);
        }
    }

    /// Changes the graph so that all samples go through together, though it was exported for one; or says why not.
    fn rebatched(
        &mut self,
        size: Option<usize>,
        shapes: &[Option<Vec<usize>>],
    ) -> Result<(), String> {
        let inputs: Vec<(Slot, Carried)> = self
            .graph
            .inputs
            .iter()
            .map(|s| (*s, Carried::own(0)))
            .collect();
        let (mut choices, mut confirmations) = (Choices::default(), 0);
        let mut problem = None;
        loop {
            let result =
                analyse(&self.graph, &self.plan, shapes, &inputs, &mut choices).and_then(|found| {
                    confirmations += 1;
                    self.take_over(found, size)
                });
            let Err(e) = result else { return Ok(()) };
            // What is wrong with the likeliest reading is what there is to say.
            let first = problem.get_or_insert(e);
            if confirmations == CONFIRMATIONS || !choices.advance() {
                return Err(first.clone());
            }
        }
    }

    /// Makes the changes that were found, if they are confirmed.
    fn take_over(&mut self, found: Batching, size: Option<usize>) -> Result<(), String> {
        let nodes = found.fixes.len();
        for (at, fixes) in found.fixes {
            self.graph.nodes[at].fixes = fixes;
        }
        self.carried = found.carried;
        let mode = match (size, nodes) {
            (None, 0) => BatchMode::Open,
            _ => BatchMode::Rebatched { nodes },
        };
        let confirmed = self.confirmed(mode);
        if confirmed.is_err() {
            self.carried.clear();
            for node in &mut self.graph.nodes {
                node.fixes.clear();
            }
        }
        confirmed
    }

    /// Takes over a mode if three samples together give what they give alone.
    fn confirmed(&mut self, mode: BatchMode) -> Result<(), String> {
        let chunks = BatchMode::Chunks {
            size: 1,
            why: String::new(),
        };
        let three = self.probe(3);
        // Alone, nodes stay as they were exported.
        let fixes: Vec<Vec<Fix>> = self
            .graph
            .nodes
            .iter_mut()
            .map(|n| std::mem::take(&mut n.fixes))
            .collect();
        self.mode = chunks.clone();
        let alone = self
            .quietly(|m| m.run_scores(&three))
            .map_err(|e| e.to_string());
        for (node, fixes) in self.graph.nodes.iter_mut().zip(fixes) {
            node.fixes = fixes;
        }
        self.mode = mode;
        let together = self
            .quietly(|m| m.run_scores(&three))
            .map_err(|e| e.to_string());
        let equal = alone.and_then(|a| {
            let together = together.map_err(|e| format!("three samples together fail: {e}"))?;
            let values = |t: Burn<2>| {
                guarded_device(|| Ok::<_, ModelError>(host(&t))).map_err(|e| e.to_string())
            };
            let (a, b) = (values(a)?, values(together)?);
            // An infinite score is no measure of the others.
            let finite = a.iter().filter(|x| x.is_finite());
            let size = finite.fold(0f32, |m, x| m.max(x.abs()));
            let close = a.len() == b.len()
                && a.iter().zip(&b).all(|(x, y)| {
                    (x - y).abs() <= 1e-4 * size + 1e-5 || x == y || (x.is_nan() && y.is_nan())
                });
            close
                .then_some(())
                .ok_or_else(|| "three samples together give other scores than alone".to_owned())
        });
        if equal.is_err() {
            self.mode = chunks;
        }
        equal
    }

    /// So many different samples inside the bounds.
    fn probe(&self, rows: usize) -> Vec<Burn<2>> {
        let block = |(m, numbers): (&Modality, &Numbers)| {
            let f = m.features();
            let values: Vec<f32> = (0..rows * f)
                .map(|i| {
                    let (row, feature) = (i / f, i % f);
                    // Multiples of the golden ratio's fraction: spread, the same every time.
                    let u =
                        ((feature * 7 + row * 131 + 1) as f64 * 0.618_033_988_749_894_9).fract();
                    let (low, high) = (m.bounds.low(feature), m.bounds.high(feature));
                    match numbers {
                        Numbers::Real => low + (high - low) * u as f32,
                        Numbers::Whole { .. } | Numbers::Fixed { .. } => {
                            let (low, high) = (low.ceil(), high.floor());
                            let count = f64::from((high - low).max(0.0)) + 1.0;
                            low + (count * u).floor() as f32
                        }
                    }
                })
                .collect();
            Burn::<1>::from_data(values.as_slice(), &self.signature.device).reshape([rows, f])
        };
        let signature = &self.signature;
        let inputs = signature.modalities.iter().zip(&signature.numbers);
        inputs.map(block).collect()
    }

    fn quietly<T>(&self, call: impl FnOnce(&Self) -> Result<T, OnnxError>) -> Result<T, OnnxError> {
        let mut failed = None;
        let result = guarded(&self.file.name, || {
            call(self).map_err(|e| {
                let error = ModelError::Signature {
                    model: self.file.name.clone(),
                    problem: e.to_string(),
                };
                failed = Some(e);
                error
            })
        });
        result.map_err(|e| failed.unwrap_or_else(|| self.file.problem(e.to_string())))
    }

    /// The rows of blocks as the graph's inputs.
    fn feed(&self, blocks: &[Burn<2>]) -> Result<Vec<Value>, OnnxError> {
        self.ports
            .iter()
            .zip(blocks)
            .map(|(port, block)| {
                port.feed(block)
                    .map_err(|e| self.file.problem(format!("input `{}`: {e}", port.name)))
            })
            .collect()
    }

    fn run_traced(
        &self,
        plan: &Plan,
        blocks: &[Burn<2>],
        seen: &mut dyn FnMut(Slot, &Value),
    ) -> Result<Vec<Value>, OnnxError> {
        let rows = blocks.first().map_or(0, |b| b.dims()[0]);
        let inputs = self.feed(blocks)?;
        self.graph
            .run(plan, inputs, &self.signature.device, rows, seen)
            .map_err(|e| self.file.failure(e))
    }

    /// Values of slots, each `[n, width]`, the samples together or in chunks.
    fn run_slots(
        &self,
        plan: &Plan,
        slots: &[Slot],
        blocks: &[Burn<2>],
    ) -> Result<Vec<Burn<2>>, OnnxError> {
        let rows = blocks.first().map_or(0, |b| b.dims()[0]);
        let BatchMode::Chunks { size, .. } = self.mode else {
            let values = self.run_traced(plan, blocks, &mut |_, _| {})?;
            return values
                .into_iter()
                .zip(slots)
                .map(|(v, slot)| self.rows(v, *slot, rows))
                .collect();
        };
        let mut parts: Vec<Vec<Burn<2>>> = vec![Vec::new(); slots.len()];
        for start in (0..rows).step_by(size) {
            let end = rows.min(start + size);
            let chunk: Vec<Burn<2>> = blocks
                .iter()
                .map(|b| {
                    let part = b.clone().slice(start..end);
                    if end - start == size {
                        return part;
                    }
                    // A last chunk that is not full is filled up with its last row.
                    let last = b.clone().slice(end - 1..end);
                    let mut rows = vec![part];
                    rows.extend(vec![last; size - (end - start)]);
                    Burn::cat(rows, 0)
                })
                .collect();
            let values = self.run_traced(plan, &chunk, &mut |_, _| {})?;
            for ((part, v), slot) in parts.iter_mut().zip(values).zip(slots) {
                let rows = self.rows(v, *slot, size)?;
                part.push(rows.slice(0..end - start));
            }
        }
        Ok(parts.into_iter().map(|p| Burn::cat(p, 0)).collect())
    }

    /// A value as `[n, width]`.
    fn rows(&self, value: Value, slot: Slot, rows: usize) -> Result<Burn<2>, OnnxError> {
        let problem = |e: String| {
            self.file
                .problem(format!("value `{}`: {e}", self.graph.name(slot)))
        };
        let tensor = value.device(&self.signature.device).map_err(problem)?;
        let shape = tensor.shape();
        let count: usize = shape.iter().product();
        let flat = |t: Tensor, width: usize| {
            t.reshape(&[rows, width])
                .map(Tensor::into_burn::<2>)
                .map_err(problem)
        };
        if self.carried.is_empty() {
            if rows == 0 || !count.is_multiple_of(rows) {
                return Err(problem(format!("has shape {shape:?} for {rows} samples")));
            }
            let batched = self.ports.iter().any(|p| p.batched);
            let leading = shape.first().copied().unwrap_or(1);
            if rows > 1 && batched && !leading.is_multiple_of(rows) {
                return Err(problem(format!(
                    "has shape {shape:?} for {rows} samples: they do not lie along its first axis"
                )));
            }
            return flat(tensor, count / rows);
        }
        let Some(c) = self.carried.get(&slot) else {
            // The same for every sample; or not followed, where it does not lead to the scores.
            if self.graph.known[slot].is_none() && !self.plan.computes(&self.graph, slot) {
                return Err(problem(
                    "does not lead to the scores, and where the samples lie in it is not known"
                        .into(),
                ));
            }
            let repeated = tensor
                .reshape(&[1, count])
                .and_then(|t| t.expand(&[rows, count]));
            return flat(repeated.map_err(problem)?, count);
        };
        let expected = c.outer * rows * c.inner;
        if shape.get(c.axis) != Some(&expected) {
            return Err(problem(format!("has shape {shape:?} for {rows} samples")));
        }
        // The samples to the front: what one sample alone has stays in its order.
        let before: usize = shape[..c.axis].iter().product();
        let after: usize = shape[c.axis + 1..].iter().product();
        let split = [before * c.outer, rows, c.inner * after];
        let front = tensor
            .reshape(&split)
            .map(|t| t.permute(&[1, 0, 2]))
            .map_err(problem)?;
        flat(front, split[0] * split[2])
    }

    fn run_scores(&self, blocks: &[Burn<2>]) -> Result<Burn<2>, OnnxError> {
        let raw = self
            .run_slots(&self.plan, &[self.scores.slot], blocks)?
            .remove(0);
        Ok(self.scores.finish(raw))
    }

    /// The same model under another name (in messages and reports).
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.signature.name = name.into();
        self
    }

    /// What a report has to say about this model before anything is measured.
    fn stated(&self) -> Vec<TrustFlag> {
        let mut flags = Vec::new();
        if let (true, Some(note)) = (self.scores.cured, &self.scores.note) {
            flags.push(TrustFlag {
                code: TrustCode::ProbabilitiesAsLogits,
                message: note.clone(),
                cured: true,
            });
        }
        // Inputs that are rounded count only where an attack changes them.
        let rough = self.rough_nodes();
        if !rough.is_empty() {
            let shown = rough.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let more = match rough.len() {
                0..=3 => String::new(),
                n => format!(" and {} more", n - 3),
            };
            flags.push(TrustFlag {
                code: TrustCode::ApproximateGradients,
                message: format!(
                    "gradients pass straight through, or stop, where values are rounded: {shown}{more}"
                ),
                cured: false,
            });
        }
        flags
    }

    /// How many samples go through the graph at once, and why.
    pub fn batch_mode(&self) -> &BatchMode {
        &self.mode
    }

    /// What there is to say about how it is computed.
    pub fn notes(&self) -> Vec<String> {
        self.graph.notes.all()
    }

    /// Where the scores come from, in a sentence, if they are not the model's output as it stands.
    pub fn scores_note(&self) -> Option<&str> {
        self.scores.note.as_deref()
    }

    /// Whether probabilities were avoided: the scores are those before the softmax.
    pub fn cured_probabilities(&self) -> bool {
        self.scores.cured
    }

    /// The nodes between input and scores whose derivative is replaced, zero or cut, as `name (operator)`; before
    /// them inputs that are rounded to whole numbers.
    pub fn approximate_gradients(&self) -> Vec<String> {
        let rounded = |p: &&Port| matches!(p.numbers, Numbers::Whole { .. });
        let inputs = self.ports.iter().filter(rounded);
        let mut rough: Vec<String> = inputs
            .map(|p| format!("input {} ({})", p.name, p.dtype))
            .collect();
        rough.extend(self.rough_nodes());
        rough
    }

    fn rough_nodes(&self) -> Vec<String> {
        let inputs = self.graph.inputs.iter().zip(&self.ports);
        let free = inputs.filter(|(_, p)| !matches!(p.numbers, Numbers::Fixed { .. }));
        self.graph.rough(&self.plan, free.map(|(slot, _)| *slot))
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
}

impl Features for OnnxModel {
    fn taps(&self) -> Vec<String> {
        self.graph.value_names()
    }

    fn features(&self, query: &Query, taps: &[&str]) -> Result<Vec<Burn<2>>, ModelError> {
        let slots: Vec<Slot> = taps
            .iter()
            .map(|tap| {
                self.graph.names.get(*tap).copied().ok_or_else(|| {
                    let near = proofmark_domain::nearest(
                        tap,
                        self.graph
                            .names
                            .keys()
                            .map(String::as_str)
                            .collect::<Vec<_>>(),
                    );
                    let hint = near.map_or_else(String::new, |n| format!(" (did you mean `{n}`?)"));
                    ModelError::Signature {
                        model: self.signature.name.clone(),
                        problem: format!("has no value `{tap}`{hint}"),
                    }
                })
            })
            .collect::<Result<_, _>>()?;
        let plan = self.graph.plan(&slots);
        guarded(&DecisionModel::signature(self).name, || {
            self.run_slots(&plan, &slots, query.x.blocks())
                .map_err(|e| self.failed(&e))
        })
    }
}

/// A node that fails on axes which the file leaves open may have been given them in another order than it wants.
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

/// The first of the largest, if it is a number.
fn first_largest(row: &[f32]) -> Option<usize> {
    if row.iter().any(|v| v.is_nan()) {
        return None;
    }
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter().position(|v| *v == largest)
}

/// The name of the value that scores are taken from.
fn output(file: &OnnxFile, options: &OnnxOptions) -> Result<String, OnnxError> {
    if let Some(name) = &options.output {
        file.has_values(&[name])?;
        return Ok(name.clone());
    }
    let first = file.outputs().into_iter().next();
    first
        .map(|d| d.name)
        .ok_or_else(|| file.problem("has no outputs"))
}
