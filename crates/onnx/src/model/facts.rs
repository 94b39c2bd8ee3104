//! Facts about a model that are known before anything is measured.

use proofmark_domain::{TrustCode, TrustFlag};
use proofmark_model::Numbers;

use super::{BatchMode, OnnxModel};
use crate::port::Port;

impl OnnxModel {
    /// Returns the trust flags that are known before anything is measured.
    pub(super) fn stated(&self) -> Vec<TrustFlag> {
        let mut flags = Vec::new();
        if let (true, Some(note)) = (self.scores.cured, &self.scores.note) {
            flags.push(TrustFlag {
                code: TrustCode::ProbabilitiesAsLogits,
                message: note.clone(),
                cured: true,
            });
        }
        // Rounded inputs are not listed here: they matter only where an attack changes them.
        let rough = self.rough_nodes();
        // A model without gradients is attacked by its scores, which are exact.
        if !rough.is_empty() && self.has_gradient {
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

    /// Returns how many samples go through the graph at once, and why.
    pub fn batch_mode(&self) -> &BatchMode {
        &self.mode
    }

    /// Returns the notes on how the graph is computed.
    pub fn notes(&self) -> Vec<String> {
        self.graph.notes.all()
    }

    /// Returns a sentence on where the scores come from, if they are not the model's output unchanged.
    pub fn scores_note(&self) -> Option<&str> {
        self.scores.note.as_deref()
    }

    /// Whether probabilities were replaced as scores: by the scores before the Softmax or Sigmoid, or by their
    /// logarithms.
    pub fn cured_probabilities(&self) -> bool {
        self.scores.cured
    }

    /// Returns the inputs that are rounded to whole numbers, then, as `name (operator)`, the nodes between input and
    /// scores whose derivative is approximated, zero or blocked.
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
}
