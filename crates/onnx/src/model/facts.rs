//! What there is to say about a model before anything is measured.

use proofmark_domain::{TrustCode, TrustFlag};
use proofmark_model::Numbers;

use super::{BatchMode, OnnxModel};
use crate::port::Port;

impl OnnxModel {
    /// What a report has to say about this model before anything is measured.
    pub(super) fn stated(&self) -> Vec<TrustFlag> {
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
}
