//! Digests that identify a model: over its weights, or for a closure over its answers.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor, TensorData};
use proofmark_domain::{Modality, Seed, hex};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_threat::{Batch, host};
use sha2::{Digest, Sha256};

use crate::{Access, DecisionModel, ModelError, Output, Query, guarded_device};

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

/// Returns the hex sha256 over a model's answers to eight fixed pseudo-random inputs inside its bounds (64 for a
/// decision-only model, whose answers carry less information), for models whose weights cannot be seen. Two models that
/// differ only at other inputs have the same digest; a changed answer changes it.
pub fn digest_behaviour(model: &impl DecisionModel) -> Result<String, ModelError> {
    let probes: usize = match model.access() {
        Access::Decisions(_) => 64,
        Access::Scores(_) | Access::Gradients(_) => 8,
    };
    let signature = model.signature();
    let values = signature
        .modalities
        .iter()
        .map(|m| {
            (0..probes as u64)
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
    let keys: Vec<u64> = (0..probes as u64).collect();
    let answers = model.decide(&Query::one_per_row(x, &keys))?;
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
