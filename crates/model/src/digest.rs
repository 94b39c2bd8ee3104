//! Digests that identify a model: over its weights, or for a closure over its answers.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor, TensorData};
use proofmark_domain::{Modality, Seed, hex};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_threat::{Batch, host};
use sha2::{Digest, Sha256};

use crate::{
    Access, DecisionModel, GradientModel, ModelError, Output, Query, Signature, guarded_device,
};

/// Returns the hex sha256 over a module's parameters: path, shape, dtype and bytes of each, in visiting order, plus its
/// input and output description.
pub fn digest_module(module: &impl Module, modalities: &[Modality], classes: usize) -> String {
    let mut hasher = Hasher {
        path: Vec::new(),
        hash: Sha256::new(),
    };
    describe(&mut hasher.hash, modalities, classes);
    module.visit(&mut hasher);
    hex(&hasher.hash.finalize())
}

/// Pseudo-random points inside a model's bounds, one per row.
fn probe(signature: &Signature, rows: usize) -> Result<Query, ModelError> {
    let values = signature
        .modalities
        .iter()
        .map(|m| {
            (0..rows as u64)
                .flat_map(|row| {
                    let mut stream = Stream::new(&StreamKey::new(Seed(0), row, Purpose::Data));
                    (0..m.features())
                        .map(|f| {
                            let (lo, hi) = (m.bounds.low(f), m.bounds.high(f));
                            lo + stream.uniform() * (hi - lo)
                        })
                        .collect::<Vec<f32>>()
                })
                .collect()
        })
        .collect();
    let x = Batch::from_host(signature.modalities.clone(), values, &signature.device)?;
    let keys: Vec<u64> = (0..rows as u64).collect();
    Ok(Query::one_per_row(x, &keys))
}

/// Returns an error if scores or gradients of nine rows asked together differ in a bit from those of the rows alone.
pub(crate) fn check_independence(model: &impl GradientModel) -> Result<(), ModelError> {
    let signature = model.signature();
    let all = probe(signature, 9)?;
    let squares = |scores: &Tensor<2>, _: &Batch| {
        (scores.clone() * scores.clone())
            .sum_dim(1)
            .squeeze_dim::<1>(1)
    };
    let bits = |query: &Query| -> Result<Vec<Vec<u32>>, ModelError> {
        let answer = model.gradient(query, &squares)?;
        let mut values = vec![host(&answer.scores)];
        values.extend(answer.gradient.blocks().iter().map(host));
        Ok(values
            .into_iter()
            .map(|v| v.into_iter().map(f32::to_bits).collect())
            .collect())
    };
    let together = bits(&all)?;
    for row in 0..all.len() {
        let alone = bits(&Query::one_per_row(
            all.x.slice(row..row + 1),
            &all.key[row..=row],
        ))?;
        for (alone, together) in alone.iter().zip(&together) {
            let width = alone.len();
            if together[row * width..][..width] != alone[..] {
                return Err(ModelError::Signature {
                    model: signature.name.clone(),
                    problem: "is stated to compute each row by itself, and a row asked beside others gives other bits than alone".into(),
                });
            }
        }
    }
    Ok(())
}

/// Returns the hex sha256 over a model's answers to eight fixed pseudo-random inputs inside its bounds (64 for a
/// decision-only model, whose answers carry less information), for models whose weights cannot be seen. Two models that
/// differ only at other inputs have the same digest; a changed answer changes it.
pub fn digest_behaviour(model: &impl DecisionModel) -> Result<String, ModelError> {
    let probes: usize = match model.access() {
        Access::Decisions(_) => 64,
        Access::Scores(_) | Access::Gradients(_) => 8,
    };
    let query = probe(model.signature(), probes)?;
    let signature = model.signature();
    let answers = model.decide(&query)?;
    let mut hash = Sha256::new();
    describe(&mut hash, &signature.modalities, signature.classes);
    let answers = guarded_device(|| {
        Ok::<_, ModelError>(match answers {
            Output::Scores(scores) => host(&scores),
            // Class numbers are small: exact in f32.
            Output::Labels(labels) => host(&labels.float()),
        })
    })?;
    for answer in answers {
        hash.update(answer.to_le_bytes());
    }
    Ok(hex(&hash.finalize()))
}

fn describe(hash: &mut Sha256, modalities: &[Modality], classes: usize) {
    for m in modalities {
        hash.update(format!("{}:{}:{:?};", m.name, m.kind, m.shape));
    }
    hash.update(format!("classes:{classes};"));
}

/// Returns the digest of a model that wraps another one with the given change.
pub(crate) fn derived(inner: &str, change: &str) -> String {
    hex(&Sha256::new()
        .chain_update(inner)
        .chain_update(change)
        .finalize())
}

struct Hasher {
    path: Vec<String>,
    hash: Sha256,
}

impl Hasher {
    fn add(&mut self, shape: &[usize], data: &TensorData) {
        self.hash.update(format!(
            "{}:{shape:?}:{:?};",
            self.path.join("."),
            data.dtype()
        ));
        self.hash.update(data.as_bytes());
    }
}

impl ModuleVisitor for Hasher {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        self.add(&value.dims(), &value.to_data());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let value = param.val();
        self.add(&value.dims(), &value.to_data());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        let value = param.val();
        self.add(&value.dims(), &value.to_data());
    }
}
