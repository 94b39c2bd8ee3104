//! Determines on samples inside the bounds, while a model is loaded, the layouts, the branches taken, where the scores
//! are, and whether the output holds what is stated.

use std::collections::BTreeMap;

use burn::tensor::Tensor as Burn;
use proofmark_domain::{Modality, Outputs};
use proofmark_model::Numbers;
use proofmark_threat::host;

use super::{BatchMode, OnnxModel, OnnxOptions, output};
use crate::array::Array;
use crate::classifier::{Scores, scores_of};
use crate::error::OnnxError;
use crate::graph::Slot;
use crate::port::{Port, decide, undecidable};
use crate::value::Value;

/// Number of samples inside the bounds on which a graph is probed.
const PROBE: usize = 8;

impl OnnxModel {
    /// Decides the axis order of images where the file leaves it open: the order of the data is kept if the model runs
    /// on it and on no other; otherwise the layout must be stated.
    pub(super) fn decide_layouts(
        &mut self,
        readings: Vec<Vec<Port>>,
        rows: usize,
    ) -> Result<(), OnnxError> {
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

    /// Finds the scores and decides how samples are batched.
    pub(super) fn settle(
        &mut self,
        size: Option<usize>,
        options: &OnnxOptions,
    ) -> Result<(), OnnxError> {
        let rows = size.unwrap_or(1);
        let shapes = self.pinned(rows, options)?;
        let output = self.scores.slot;
        let scores = |m: &Self, bypass| {
            scores_of(&m.graph, &shapes, output, rows, options, bypass)
                .map_err(|e| m.file.problem(e))
        };
        self.scores = scores(self, true)?;
        if self.scores.slot != output && !self.decides_as(output, options.outputs)? {
            self.scores = scores(self, false)?;
        }
        self.signature.classes = self.scores.classes;
        self.plan = self.graph.plan(&[self.scores.slot]);
        let probe = self.probe(PROBE);
        self.quietly(|m| m.check_values(&probe))?;
        self.see_probabilities(&probe, options)?;
        if options.output.is_none() && self.file.scores_beside_label().is_some() {
            self.compare_with_label(rows)?;
        }
        self.decide_batching(size, &shapes)?;
        // A lowering describes what happens to a single sample.
        match (rows, options.by_operator) {
            (_, true) => self.network = Err("operators were asked for".into()),
            (1, false) => self.compile(),
            (n, false) => self.network = Err(format!("the file fixes {n} samples")),
        }
        Ok(())
    }

    /// Decides how many samples go through the graph at once.
    fn decide_batching(
        &mut self,
        size: Option<usize>,
        shapes: &[Option<Vec<usize>>],
    ) -> Result<(), OnnxError> {
        let rows = size.unwrap_or(1);
        if size.is_none() && self.confirmed(BatchMode::Open).is_ok() {
            return Ok(());
        }
        let why = match size {
            Some(n) if n > 1 => "the file fixes that number".to_owned(),
            _ if self.ports.iter().any(|p| !p.batched) => {
                "the model's input has no axis for the samples".to_owned()
            }
            _ => match self.rebatched(size, shapes) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
        };
        self.mode = BatchMode::Chunks { size: rows, why };
        // One sample was run above; three must work as well.
        let three = self.probe(3);
        self.quietly(|m| m.run_scores(&three))?;
        Ok(())
    }

    /// Whether the scores give the same decisions as the output itself, on samples inside the bounds.
    fn decides_as(&self, output: Slot, meaning: Outputs) -> Result<bool, OnnxError> {
        let slots = [self.scores.slot, output];
        let plan = self.graph.plan(&slots);
        let probe = self.probe(PROBE);
        let [scores, output] = self
            .quietly(|m| m.run_slots(&plan, &slots, &probe))?
            .try_into()
            .expect("as many values as slots");
        let decisions = |t: Burn<2>, half: f32| -> Vec<Option<usize>> {
            // Each label is decided by itself.
            let width = match meaning {
                Outputs::Labels => 1,
                Outputs::Classes | Outputs::Values => t.dims()[1],
            };
            host(&t)
                .chunks(width)
                .map(|row| match row {
                    [one] => (!one.is_nan()).then_some(usize::from(*one > half)),
                    _ => first_largest(row),
                })
                .collect()
        };
        // A single output is the probability of class 1 (threshold 0.5), and the value before it the logit (threshold
        // 0).
        let (a, b) = (decisions(scores, 0.0), decisions(output, 0.5));
        Ok(a.iter().zip(&b).all(|(a, b)| b.is_none() || a == b))
    }

    /// Finds out from samples inside the bounds whether the scores of a classical classifier are probabilities.
    fn see_probabilities(
        &mut self,
        blocks: &[Burn<2>],
        options: &OnnxOptions,
    ) -> Result<(), OnnxError> {
        if options.raw || options.outputs != Outputs::Classes {
            return Ok(());
        }
        let slot = self.scores.slot;
        let raw = self
            .quietly(|m| m.run_slots(&m.plan, &[slot], blocks))?
            .remove(0);
        let width = raw.dims()[1];
        self.scores.see(&host(&raw), width);
        Ok(())
    }

    pub(super) fn check_values(&self, blocks: &[Burn<2>]) -> Result<(), OnnxError> {
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

    /// Runs the first samples and returns the shapes seen. Every `If` whose condition is the same for all samples is
    /// replaced by the branch taken.
    ///
    /// Such a condition comes from sizes. The model under attack is the model as it behaves for a batch of the exported
    /// size, so the condition's value at that size is correct by definition, even where more samples go through at once
    /// and their number would be taken for a size. The branch replaces the `If`, and samples can be followed through
    /// it.
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
            let mut activations = 0;
            let whole = self.graph.plan(&[self.scores.slot]);
            self.quietly(|m| {
                m.run_traced(&whole, &probe, &mut |slot, value| {
                    let shape = value.shape();
                    activations += shape.iter().product::<usize>();
                    shapes[slot] = Some(shape);
                    if let (true, Value::Host(a)) = (conditions.contains(&slot), value) {
                        found.push((slot, a.clone()));
                    }
                })
            })?;
            let before = pins.len();
            for (slot, condition) in found {
                // Once a branch is inlined its value has two names.
                let names = self.graph.names.iter().filter(|(_, s)| **s == slot);
                pins.extend(names.map(|(n, _)| (n.clone(), condition.clone())));
            }
            // Branches may add conditions of their own; the nesting depth of the file bounds the number of rounds.
            if pins.len() == before {
                self.signature.activations = Some(activations / rows.max(1));
                return Ok(shapes);
            }
            let output = output(&self.file, options)?;
            self.graph = self
                .file
                .build_for(&[&output], &self.signature.device, &pins)?;
            self.scores = Scores::untouched(self.graph.outputs[0]);
        }
    }

    /// Returns `rows` distinct samples inside the bounds.
    pub(super) fn probe(&self, rows: usize) -> Vec<Burn<2>> {
        let block = |(m, numbers): (&Modality, &Numbers)| {
            let f = m.features();
            let values: Vec<f32> = (0..rows * f)
                .map(|i| {
                    let (row, feature) = (i / f, i % f);
                    // Fractional parts of multiples of the golden ratio: evenly spread and deterministic.
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
}

/// Returns the first index of the largest value; `None` if a value is NaN.
pub(super) fn first_largest(row: &[f32]) -> Option<usize> {
    if row.iter().any(|v| v.is_nan()) {
        return None;
    }
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter().position(|v| *v == largest)
}
