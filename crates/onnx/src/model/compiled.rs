//! Scores from a network of kernels, where every operator on the way to them has a lowering.
//!
//! The network takes the place of the operators only if it agrees with them on probes, scores and input gradients alike.

use std::sync::Arc;

use burn::tensor::Tensor as Burn;
use proofmark_kernels::{Builder, Map, Network, Program, Value};
use proofmark_model::Numbers;
use proofmark_threat::host;

use super::OnnxModel;
use crate::error::OnnxError;
use crate::graph::Slot;
use crate::lower::Seen;
use crate::value::Value as Held;

/// Samples on which operators and network are compared.
const PROBES: usize = 4;
/// Largest difference of a score, as a share of the largest score.
const SCORES: f32 = 1e-3;
/// Largest difference of a sample's gradient, as a share of its length: rounding may put a value on the other side of an
/// activation's corner, which changes a few of many paths.
const GRADIENTS: f32 = 0.05;

impl OnnxModel {
    /// Returns the steps of the network of kernels that computes the scores, or why operators compute them one by one.
    pub fn plan(&self) -> Result<&[String], &str> {
        self.network
            .as_ref()
            .map(|n| n.plan())
            .map_err(String::as_str)
    }

    /// Returns the instruction set of the kernels, if kernels compute the scores.
    pub fn instruction_set(&self) -> Option<&'static str> {
        self.network.as_ref().ok().map(|n| n.isa().name())
    }

    /// Compiles the graph to a network of kernels, if that is possible.
    pub(super) fn compile(&mut self) {
        let compiled = self.lowered().and_then(|(net, value)| {
            let network = net.finish(value);
            let probe = self.probe(PROBES);
            let by_operator = self.scores_and_gradient(&probe)?;
            self.network = Ok(Arc::new(network));
            agree(&self.scores_and_gradient(&probe)?, &by_operator)
        });
        if let Err(why) = compiled {
            self.network = Err(why);
        }
        self.signature.row_independent = self.network.is_ok();
    }

    /// Returns the operations of that network, for bounds on the scores of rows as the data give them.
    pub(super) fn bounded(&self) -> Result<Program, String> {
        self.plan().map_err(ToOwned::to_owned)?;
        let (mut net, raw) = self.lowered()?;
        let scores = self.scores.finished(&mut net, raw)?;
        let program = Program::new(net, scores);
        program.check().map_err(|e| e.to_string())?;
        let port = &self.ports[0];
        if port.numbers != Numbers::Real {
            return Err(format!("input `{}` takes whole numbers", port.name));
        }
        Ok(program.reordered(port.order_of_features()))
    }

    fn lowered(&self) -> Result<(Builder, Value), String> {
        if !is_flex(&self.signature.device) {
            return Err("kernels compute on the CPU".into());
        }
        let steady = self.graph.steady();
        let mut seen = Seen::default();
        self.quietly(|m| {
            m.run_traced(&m.plan, &m.probe(1), &mut |slot, value| {
                // Kernels compute in floating point: whole numbers have rules of their own (a quotient is cut off).
                if value.dtype().is_float() {
                    seen.shapes.insert(slot, value.shape());
                }
                if let (true, Held::Host(a)) = (steady.contains(&slot), value) {
                    seen.steady.insert(slot, a.clone());
                }
            })
        })
        .map_err(|e| e.to_string())?;
        let lowered = self.quietly(|m| Ok(m.graph.lowered(&m.plan, &seen, m.scores.slot)));
        lowered.map_err(|e| e.to_string())?
    }

    /// The network's scores before [`Scores::finish`](crate::classifier::Scores::finish), `[n, width]`.
    pub(super) fn by_network(
        &self,
        network: &Arc<Network>,
        blocks: &[Burn<2>],
    ) -> Result<Burn<2>, OnnxError> {
        let rows = blocks.first().map_or(0, |b| b.dims()[0]);
        let slot: Slot = self.graph.inputs[0];
        let problem = |e: String| {
            let name = self.graph.name(slot);
            self.file.problem(format!("input `{name}`: {e}"))
        };
        let input = self.feed(blocks)?.remove(0);
        let Map {
            channels,
            height,
            width,
            ..
        } = network.input();
        let input = input
            .device(&self.signature.device)
            .and_then(|t| t.reshape(&[rows, channels * height * width]))
            .map_err(problem)?;
        Ok(apply(network, input.into_burn()))
    }

    /// Scores, and the input gradient of a sum of them with a weight each.
    fn scores_and_gradient(&self, probe: &[Burn<2>]) -> Result<[Vec<Vec<f32>>; 2], String> {
        let result = self.quietly(|m| {
            let x = probe[0].clone().autodiff().require_grad();
            let scores = m.run_scores(std::slice::from_ref(&x))?;
            let [rows, width] = scores.dims();
            let weights: Vec<f32> = (0..rows * width)
                .map(|i| (i as f64 * 0.618_033_988_749_894_9).fract() as f32 + 0.5)
                .collect();
            let weights = Burn::<1>::from_data(weights.as_slice(), &scores.device());
            let sum = (scores.clone() * weights.reshape([rows, width])).sum();
            let gradient = if sum.is_tracked() {
                x.grad(&sum.backward())
            } else {
                None
            };
            let gradient = gradient.unwrap_or_else(|| probe[0].zeros_like());
            let by_row = |t: &Burn<2>| -> Vec<Vec<f32>> {
                let width = t.dims()[1].max(1);
                host(t).chunks(width).map(<[f32]>::to_vec).collect()
            };
            Ok([by_row(&scores.inner()), by_row(&gradient)])
        });
        result.map_err(|e| e.to_string())
    }
}

/// Whether scores and gradients are the same but for rounding.
fn agree(network: &[Vec<Vec<f32>>; 2], operators: &[Vec<Vec<f32>>; 2]) -> Result<(), String> {
    let size = |row: &[f32]| row.iter().fold(0f32, |m, v| m.max(v.abs()));
    let length = |row: &mut dyn Iterator<Item = f32>| row.map(|v| v * v).sum::<f32>().sqrt();
    let [scores, gradients] = network;
    for (a, b) in scores.iter().zip(&operators[0]) {
        let close = |(x, y): (&f32, &f32)| {
            (x - y).abs() <= SCORES * size(b) + 1e-5 || x.is_nan() && y.is_nan() || x == y
        };
        if a.len() != b.len() || !a.iter().zip(b).all(close) {
            return Err("kernels give other scores than the operators".into());
        }
    }
    for (a, b) in gradients.iter().zip(&operators[1]) {
        let apart = length(&mut a.iter().zip(b).map(|(x, y)| x - y));
        let whole = length(&mut b.iter().copied());
        if apart.is_finite() && whole.is_finite() && apart > GRADIENTS * whole + 1e-6 {
            return Err("kernels give other gradients than the operators".into());
        }
    }
    Ok(())
}

#[cfg(feature = "flex")]
use proofmark_kernels::{apply, is_flex};

/// Without the CPU backend nothing is compiled.
#[cfg(not(feature = "flex"))]
fn is_flex(_: &burn::tensor::Device) -> bool {
    false
}

#[cfg(not(feature = "flex"))]
fn apply(_: &Arc<Network>, _: Burn<2>) -> Burn<2> {
    unreachable!("nothing was compiled")
}
