use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::Tensor;
use proofmark_domain::Seed;
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_threat::map::Map;
use proofmark_threat::{Batch, host};

use crate::access::{
    Access, DecisionModel, Gradient, GradientModel, Objective, Output, ScoreModel, Signature,
};
use crate::digest::derived;
use crate::{ModelError, Query};

/// A model of the parameters of a [`Map`]: the model behind it sees each sample as the map changes it.
///
/// A point of a query is a set of parameters, and its key says which sample they change. The draws of a random map follow
/// from (seed, sample, draw) alone, so those of the judge are disjoint from an attack's, and results repeat.
#[derive(Debug)]
pub struct Mapped<'a> {
    inner: Access<'a>,
    map: Arc<dyn Map>,
    /// Clean values of each sample, by its key.
    clean: BTreeMap<u64, &'a [f32]>,
    seed: Seed,
    signature: Signature,
}

impl<'a> Mapped<'a> {
    /// Puts `map`, made for the single input of `inner`, before it. `values` are those of the samples with these keys,
    /// one after the other. An error if two samples share a key, or the model has a surrogate or several inputs.
    pub fn new(
        inner: Access<'a>,
        map: Arc<dyn Map>,
        keys: &[u64],
        values: &'a [f32],
        seed: Seed,
    ) -> Result<Self, ModelError> {
        let mut signature = inner.signature().clone();
        let refused = |problem: String| ModelError::Signature {
            model: inner.signature().name.clone(),
            problem,
        };
        let [input] = &*signature.modalities else {
            let n = signature.modalities.len();
            return Err(refused(format!(
                "has {n} inputs; expected one, an image, for a map"
            )));
        };
        if inner.surrogate().is_some() {
            return Err(refused(
                "takes its gradients from a surrogate; expected its own behind a map".into(),
            ));
        }
        let mut clean = BTreeMap::new();
        for (key, values) in keys.iter().zip(values.chunks(input.features())) {
            if clean.insert(*key, values).is_some() {
                return Err(refused(format!(
                    "is asked about two samples of one id (key {key}); expected ids that differ"
                )));
            }
        }
        signature.sha256 = derived(&signature.sha256, &format!("map({map:?})"));
        signature.modalities = vec![map.parameters().clone()].into();
        signature.numbers.truncate(1);
        signature.numbers.fill(crate::Numbers::Real);
        signature.penultimate = None;
        Ok(Self {
            inner,
            map,
            clean,
            seed,
            signature,
        })
    }

    /// Returns the input that the model sees for a sample and parameters, at a draw.
    pub fn image(&self, key: u64, draw: u32, parameters: &[f32]) -> Result<Vec<f32>, ModelError> {
        let clean = self.clean_of(key)?;
        Ok(self
            .map
            .apply(clean, parameters, &mut self.stream(key, draw)))
    }

    fn clean_of(&self, key: u64) -> Result<&'a [f32], ModelError> {
        self.clean
            .get(&key)
            .copied()
            .ok_or_else(|| ModelError::Signature {
                model: self.signature.name.clone(),
                problem: format!("is asked about a sample it does not have (key {key})"),
            })
    }

    fn stream(&self, key: u64, draw: u32) -> Stream {
        let mut at = StreamKey::new(self.seed, key, Purpose::Transform);
        at.draw = draw;
        Stream::new(&at)
    }

    /// Returns the query that the model behind the map gets, and the parameters on the host.
    fn seen(&self, query: &Query) -> Result<(Query, Vec<f32>), ModelError> {
        let block = &query.x.blocks()[0];
        let parameters = host(block);
        let width = block.dims()[1];
        let mut images = Vec::new();
        for (i, parameters) in parameters.chunks(width).enumerate() {
            images.extend(self.image(query.key[i], query.draw[i], parameters)?);
        }
        let modalities = self.inner.signature().modalities.clone();
        let x = Batch::from_host(modalities, vec![images], &query.x.device())?;
        Ok((query.with_x(x), parameters))
    }
}

impl DecisionModel for Mapped<'_> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn access(&self) -> Access<'_> {
        match self.inner {
            Access::Decisions(_) => Access::Decisions(self),
            Access::Scores(_) => Access::Scores(self),
            Access::Gradients(_) => Access::Gradients(self),
        }
    }

    fn decide(&self, query: &Query) -> Result<Output, ModelError> {
        self.inner.decisions().decide(&self.seen(query)?.0)
    }

    fn cost(&self) -> u64 {
        self.inner.decisions().cost()
    }
}

impl ScoreModel for Mapped<'_> {
    fn scores(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let inner = self.inner.scores("map")?;
        inner.scores(&self.seen(query)?.0)
    }
}

impl GradientModel for Mapped<'_> {
    fn gradient(&self, query: &Query, objective: &Objective<'_>) -> Result<Gradient, ModelError> {
        let inner = self.inner.gradients("map")?;
        let (seen, parameters) = self.seen(query)?;
        // Objectives see the parameters, which are the points of the attack.
        let found = inner.gradient(&seen, &|scores, _| objective(scores, &query.x))?;
        let gradient = host(&found.gradient.blocks()[0]);
        let width = query.x.blocks()[0].dims()[1];
        let features = gradient.len() / query.len().max(1);
        let mut back = Vec::with_capacity(parameters.len());
        for (i, parameters) in parameters.chunks(width).enumerate() {
            let (key, draw) = (query.key[i], query.draw[i]);
            let clean = self.clean_of(key)?;
            let gradient = &gradient[i * features..(i + 1) * features];
            let mut stream = self.stream(key, draw);
            let own = self.map.pull_back(clean, parameters, gradient, &mut stream);
            back.extend(own);
        }
        let modalities = self.signature.modalities.clone();
        let gradient = Batch::from_host(modalities, vec![back], &query.x.device())?;
        Ok(Gradient { gradient, ..found })
    }
}
