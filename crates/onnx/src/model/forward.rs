//! Runs a model: maps samples to values of the graph, each `[n, width]`.

use burn::tensor::Tensor as Burn;
use proofmark_model::{ModelError, guarded};

use super::{BatchMode, OnnxModel};
use crate::error::OnnxError;
use crate::graph::{Plan, Slot};
use crate::tensor::Tensor;
use crate::value::Value;

impl OnnxModel {
    pub(super) fn run_scores(&self, blocks: &[Burn<2>]) -> Result<Burn<2>, OnnxError> {
        let raw = match &self.network {
            Ok(network) => self.by_network(network, blocks)?,
            Err(_) => self
                .run_slots(&self.plan, &[self.scores.slot], blocks)?
                .remove(0),
        };
        Ok(self.scores.finish(raw))
    }

    /// Returns the values of slots, each `[n, width]`, running the samples together or in chunks.
    pub(super) fn run_slots(
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
                    // The last chunk is padded with its last row.
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

    pub(super) fn run_traced(
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

    pub(super) fn quietly<T>(
        &self,
        call: impl FnOnce(&Self) -> Result<T, OnnxError>,
    ) -> Result<T, OnnxError> {
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

    /// Converts blocks of rows to the graph's inputs.
    pub(super) fn feed(&self, blocks: &[Burn<2>]) -> Result<Vec<Value>, OnnxError> {
        self.ports
            .iter()
            .zip(blocks)
            .map(|(port, block)| {
                port.feed(block)
                    .map_err(|e| self.file.problem(format!("input `{}`: {e}", port.name)))
            })
            .collect()
    }

    /// Returns a value as `[n, width]`.
    pub(super) fn rows(&self, value: Value, slot: Slot, rows: usize) -> Result<Burn<2>, OnnxError> {
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
            // The value is the same for every sample, or it does not lead to the scores and was not analysed.
            if self.graph.known[slot].is_none() && !self.plan.computes(&self.graph, slot) {
                return Err(problem(
                    "does not lead to the scores, and the position of its samples is not known"
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
        // Moves the samples to the front; the elements of one sample keep their order.
        let before: usize = shape[..c.axis].iter().product();
        let after: usize = shape[c.axis + 1..].iter().product();
        let split = [before * c.outer, rows, c.inner * after];
        let front = tensor
            .reshape(&split)
            .map(|t| t.permute(&[1, 0, 2]))
            .map_err(problem)?;
        flat(front, split[0] * split[2])
    }
}
