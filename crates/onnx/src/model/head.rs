//! The part of a graph behind one of its values: from activations to scores.

use burn::tensor::Tensor as Burn;
use proofmark_model::{Head, ModelError, guarded};

use super::{BatchMode, OnnxModel};
use crate::error::OnnxError;
use crate::graph::{Plan, Slot};
use crate::tensor::Tensor;
use crate::value::Value;

/// The part of a model behind a value through which alone its input reaches the scores, computed operator by operator.
struct Behind<'a> {
    model: &'a OnnxModel,
    slot: Slot,
    plan: Plan,
    /// Shape of the value for as many samples as the graph is run with at least: one, or those that the file fixes.
    shape: Vec<usize>,
    rows: usize,
    width: usize,
}

impl OnnxModel {
    /// Returns the names of the values through which alone the input reaches the scores, and that are not the scores.
    pub(super) fn cuts(&self) -> Vec<String> {
        let mut seen = Vec::new();
        let is_cut = |name: &String| {
            let slot = self.graph.names[name];
            // A value may have two names.
            let fresh = !seen.contains(&slot);
            seen.push(slot);
            fresh && self.is_cut(slot)
        };
        self.graph
            .value_names()
            .into_iter()
            .filter(is_cut)
            .collect()
    }

    fn is_cut(&self, slot: Slot) -> bool {
        slot != self.scores.slot
            && !self.graph.inputs.contains(&slot)
            && self.plan.computes(&self.graph, slot)
            && self.graph.plan_behind(slot, self.scores.slot).is_some()
    }

    /// Returns the part behind the value `tap`.
    pub(super) fn behind(&self, tap: &str) -> Result<Box<dyn Head + '_>, OnnxError> {
        let slot = self.slot_of(tap)?;
        let plan = (self.is_cut(slot))
            .then(|| self.graph.plan_behind(slot, self.scores.slot))
            .flatten()
            .ok_or_else(|| {
                self.file.problem(format!(
                    "value `{tap}`: the input reaches the scores in other ways, too; expected one of {}",
                    self.cuts().join(", ")
                ))
            })?;
        let rows = match self.mode {
            BatchMode::Chunks { size, .. } => size,
            BatchMode::Open | BatchMode::Rebatched { .. } => 1,
        };
        let before = self.graph.plan(&[slot]);
        let value = self
            .quietly(|m| m.run_traced(&before, &m.probe(rows), &mut |_, _| {}))?
            .remove(0);
        let shape = value.shape();
        let count: usize = shape.iter().product();
        if !value.dtype().is_float() || count == 0 || !count.is_multiple_of(rows) {
            return Err(self.file.problem(format!(
                "value `{tap}` has shape {shape:?} of {} for {rows} samples; expected floating-point activations of each",
                value.dtype()
            )));
        }
        let behind = Behind {
            model: self,
            slot,
            plan,
            rows,
            width: count / rows,
            shape,
        };
        // The scores of activations must be the scores of the samples that they come from.
        let probe = self.probe(3);
        let [whole, parts] = self.quietly(|m| {
            let activations = m.run_slots(&before, &[slot], &probe)?.remove(0);
            Ok([m.run_scores(&probe)?, behind.run(&activations)?])
        })?;
        let [whole, parts] = [whole, parts].map(|t| proofmark_threat::host(&t));
        let size = whole.iter().fold(0_f32, |m, v| m.max(v.abs()));
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * size + 1e-5 || a == b;
        if whole.len() != parts.len() || !whole.iter().zip(&parts).all(close) {
            return Err(self.file.problem(format!(
                "value `{tap}`: what lies behind it gives other scores than the whole model"
            )));
        }
        Ok(Box::new(behind))
    }
}

impl Behind<'_> {
    fn run(&self, activations: &Burn<2>) -> Result<Burn<2>, OnnxError> {
        let n = activations.dims()[0];
        let BatchMode::Chunks { size, .. } = self.model.mode else {
            return self.together(activations.clone());
        };
        let mut parts = Vec::new();
        for from in (0..n).step_by(size) {
            let to = n.min(from + size);
            let mut chunk = vec![activations.clone().slice(from..to)];
            chunk.extend(vec![
                activations.clone().slice(to - 1..to);
                size - (to - from)
            ]);
            let scores = self.together(Burn::cat(chunk, 0))?;
            parts.push(scores.slice(0..to - from));
        }
        Ok(Burn::cat(parts, 0))
    }

    fn together(&self, activations: Burn<2>) -> Result<Burn<2>, OnnxError> {
        let m = self.model;
        let n = activations.dims()[0];
        let value = self.shaped(activations, n).map_err(|e| {
            let name = m.graph.name(self.slot);
            m.file.problem(format!("value `{name}`: {e}"))
        })?;
        let given = vec![(self.slot, value)];
        let device = &m.signature.device;
        let mut values = m
            .graph
            .run_from(&self.plan, given, device, n, &mut |_, _| {})
            .map_err(|e| m.file.failure(e))?;
        let raw = m.rows(values.remove(0), m.scores.slot, n)?;
        Ok(m.scores.finish(raw))
    }

    /// Gives activations of `n` samples the shape of the value.
    fn shaped(&self, activations: Burn<2>, n: usize) -> Result<Value, String> {
        let tensor = Tensor::from_burn(activations);
        let mut shape = self.shape.clone();
        let Some(c) = self.model.carried.get(&self.slot) else {
            if n != self.rows {
                let leading = shape.first_mut().ok_or("has no axis for the samples")?;
                *leading = *leading / self.rows * n;
            }
            return Ok(tensor.reshape(&shape)?.into());
        };
        // The opposite of how its rows are taken: the samples move from the front to their axis.
        let before: usize = shape[..c.axis].iter().product();
        let after: usize = shape[c.axis + 1..].iter().product();
        let tensor = tensor
            .reshape(&[n, before * c.outer, c.inner * after])?
            .permute(&[1, 0, 2]);
        shape[c.axis] = c.outer * n * c.inner;
        Ok(tensor.reshape(&shape)?.into())
    }
}

impl Head for Behind<'_> {
    fn width(&self) -> usize {
        self.width
    }

    fn scores(&self, activations: &Burn<2>) -> Result<Burn<2>, ModelError> {
        let m = self.model;
        let [_, width] = activations.dims();
        if width != self.width {
            return Err(ModelError::Signature {
                model: m.signature.name.clone(),
                problem: format!(
                    "activations of {width} numbers each; value `{}` has {}",
                    m.graph.name(self.slot),
                    self.width
                ),
            });
        }
        guarded(&m.signature.name, || {
            self.run(activations).map_err(|e| m.failed(&e))
        })
    }
}
