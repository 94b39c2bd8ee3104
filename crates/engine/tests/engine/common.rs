//! Shared helpers: a linear model with samples, a model that gives labels only, and results to compare.

use burn::tensor::Device;
use proofmark_domain::{Epsilon, Norm, RunStatus};
use proofmark_engine::{Job, Outcomes, Samples, Silent};
use proofmark_model::{
    Access, BurnModel, DecisionModel, ModelError, Output, Query, ScoreModel, Signature,
};
use proofmark_testkit::linear::Linear;
use proofmark_threat::Threat;

pub(crate) struct Case {
    pub(crate) linear: Linear,
    pub(crate) samples: Samples,
    pub(crate) rows: Vec<usize>,
}

pub(crate) fn case(classes: usize, n: usize, seed: u64) -> Case {
    let linear = Linear::new(&[16], classes, seed);
    let (values, labels) = linear.samples(n, seed);
    let samples = Samples {
        modalities: linear.modalities.clone().into(),
        values,
        labels,
        targets: None,
        keys: (0..n as u64).collect(),
    };
    Case {
        linear,
        samples,
        rows: (0..n).collect(),
    }
}

impl Case {
    pub(crate) fn model(&self) -> BurnModel {
        self.linear.model(&Device::flex()).unwrap()
    }

    pub(crate) fn threat(&self, norm: Norm, eps: f64) -> Threat {
        Threat::uniform(&self.linear.modalities, norm, &Epsilon::new(eps).unwrap())
    }

    pub(crate) fn job<'a>(&'a self, threat: &'a Threat) -> Job<'a> {
        Job::new(&self.samples, &self.rows, threat, &Silent)
    }
}

/// Gives the predicted class only.
pub(crate) struct LabelsOnly(pub(crate) BurnModel);

impl DecisionModel for LabelsOnly {
    fn signature(&self) -> &Signature {
        DecisionModel::signature(&self.0)
    }

    fn access(&self) -> Access<'_> {
        Access::Decisions(self)
    }

    fn decide(&self, query: &Query) -> Result<Output, ModelError> {
        Ok(Output::Labels(
            self.0.scores(query)?.argmax(1).squeeze_dim::<1>(1),
        ))
    }
}

/// Row, status, and the bits of point and gauge.
pub(crate) type Bits = (usize, RunStatus, Option<Vec<u32>>, Option<u64>);

/// Returns the results that must not depend on the engine's settings.
pub(crate) fn results(outcomes: &Outcomes) -> Vec<Bits> {
    outcomes
        .rows
        .iter()
        .map(|o| {
            let bits = o
                .point
                .as_ref()
                .map(|p| p.x[0].iter().map(|v| v.to_bits()).collect());
            (
                o.row,
                o.status,
                bits,
                o.point.as_ref().map(|p| p.gauge.to_bits()),
            )
        })
        .collect()
}
