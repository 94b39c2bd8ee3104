//! Decides how many samples go through a graph at once: all together, if a run on three samples gives the same scores.

use std::fmt;

use burn::tensor::Tensor as Burn;
use proofmark_model::{ModelError, guarded_device};
use proofmark_threat::host;

use super::OnnxModel;
use crate::batch::{Batching, Carried, Choices, analyse};
use crate::graph::{Fix, Slot};

/// Number of samples that go through the graph at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchMode {
    /// All together: the file leaves the number of samples open.
    Open,
    /// All together, though the file was exported for one sample; some nodes are changed for it.
    Rebatched {
        /// Number of changed nodes.
        nodes: usize,
    },
    /// A fixed number at a time.
    Chunks {
        /// Samples at a time.
        size: usize,
        /// Reason for not running all together.
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

/// Maximum number of analysis results confirmed on three samples before samples are run one by one.
const CONFIRMATIONS: usize = 4;

impl OnnxModel {
    /// Changes the graph, which was exported for one sample, so that all samples go through together; the error says
    /// why that is impossible.
    pub(super) fn rebatched(
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
            // The problem of the first attempt, the likeliest one, is reported.
            let first = problem.get_or_insert(e);
            if confirmations == CONFIRMATIONS || !choices.advance() {
                return Err(first.clone());
            }
        }
    }

    /// Applies the changes of an analysis, if they are confirmed.
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

    /// Switches to a mode if three samples run together give the scores that they give alone.
    pub(super) fn confirmed(&mut self, mode: BatchMode) -> Result<(), String> {
        let chunks = BatchMode::Chunks {
            size: 1,
            why: String::new(),
        };
        let three = self.probe(3);
        // Run alone, nodes must be as exported.
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
            // Infinite scores are ignored in the scale of the tolerance.
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
}
