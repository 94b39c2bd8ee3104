//! Finds the activations from which a graph's last linear layer computes the scores.

use burn::tensor::Tensor as Burn;

use super::OnnxModel;
use crate::classifier::last_step;
use crate::error::OnnxError;
use crate::graph::{Graph, Node, Plan, Slot};

/// The activations before the last linear layer, and the nodes that compute them.
pub(super) struct Penultimate {
    slot: Slot,
    plan: Plan,
}

impl OnnxModel {
    /// Finds the activations before the last linear layer, if the scores come from one whose weights are constants, and
    /// three samples together have a row of them each.
    pub(super) fn find_penultimate(&mut self) {
        let Some(slot) = before_last_linear(&self.graph, self.scores.slot) else {
            return;
        };
        let found = Penultimate {
            slot,
            plan: self.graph.plan(&[slot]),
        };
        let three = self.probe(3);
        let rows = self.quietly(|m| m.activations(&found, &three));
        if rows.is_ok_and(|t| t.dims()[0] == 3 && t.dims()[1] > 0) {
            self.signature.penultimate = Some(self.graph.name(slot).to_owned());
            self.penultimate = Some(found);
        }
    }

    /// Returns the activations `[n, width]`, computed operator by operator.
    pub(super) fn activations(
        &self,
        of: &Penultimate,
        blocks: &[Burn<2>],
    ) -> Result<Burn<2>, OnnxError> {
        Ok(self.run_slots(&of.plan, &[of.slot], blocks)?.remove(0))
    }
}

/// Returns the value that a last `Gemm` or `MatMul`, with or without a bias added to it, multiplies by constant weights.
fn before_last_linear(graph: &Graph, scores: Slot) -> Option<Slot> {
    let known = |slot: Slot| graph.known[slot].is_some();
    let input = |node: &Node, i: usize| node.inputs.get(i).copied().flatten();
    let mut node = last_step(graph, scores)?;
    if node.op == "LogSoftmax" {
        node = last_step(graph, input(node, 0)?)?;
    }
    if node.op == "Add" {
        let [a, b] = [input(node, 0)?, input(node, 1)?];
        let product = match (known(a), known(b)) {
            (false, true) => a,
            (true, false) => b,
            _ => return None,
        };
        node = last_step(graph, product)?;
    }
    if !matches!(node.op.as_str(), "Gemm" | "MatMul") {
        return None;
    }
    let (activations, weights) = (input(node, 0)?, input(node, 1)?);
    // The bias of a Gemm must be a constant, too.
    let is_constant = known(weights) && input(node, 2).is_none_or(known);
    (is_constant && !known(activations)).then_some(activations)
}
