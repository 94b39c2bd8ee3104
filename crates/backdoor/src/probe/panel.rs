//! Asks a model about many points, through the engine.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, activation};
use proofmark_domain::{Epsilon, Modality, Norm};
use proofmark_engine::{
    Aim, EngineError, Focus, Job, Loss, Oracle, Request, RowId, Rows, Samples, Silent,
};
use proofmark_model::{Query, WhiteBox};
use proofmark_threat::{Batch, Threat, host};

use super::{ProbeError, Subject};

/// What a class's points are to climb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Climb {
    /// `log softmax(z)_t`.
    LogProbability,
    /// `z_t - max_{i != t} z_i`.
    Margin,
    /// `log softmax(z)` of the most likely class, as the points stand.
    Confidence,
}

impl Loss for Climb {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, focus: &Focus) -> Tensor<1> {
        let target = focus.target().unwrap_or_default();
        match self {
            Self::LogProbability => {
                Focus::score(&activation::log_softmax(scores.clone(), 1), target)
            }
            Self::Margin => Focus::margin(scores, target),
            Self::Confidence => activation::log_softmax(scores.clone(), 1)
                .max_dim(1)
                .squeeze_dim::<1>(1),
        }
    }
}

/// Scores of points, `[points * classes]`, and the gradients of what they climb, `[points * features]`.
pub(super) struct Answer {
    pub(super) scores: Vec<f32>,
    pub(super) gradient: Vec<f32>,
}

/// A point of a class's row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Class that the point is to reach, and whose row it belongs to.
    pub(super) class: usize,
    /// Key of the sample's random streams.
    pub(super) key: u64,
    /// Random draw of the model.
    pub(super) draw: u32,
}

/// What a panel borrows: a job without samples.
pub(super) struct Desk {
    samples: Samples,
    threat: Threat,
}

impl Desk {
    /// Makes the desk of a subject.
    pub(super) fn of(subject: &Subject<'_>) -> Result<Self, ProbeError> {
        let samples = Samples {
            modalities: subject.model.signature().modalities.clone(),
            values: vec![Vec::new()],
            labels: Vec::new(),
            targets: None,
            keys: Vec::new(),
        };
        let radius = Epsilon::new(1.0).map_err(|e| ProbeError::Setting(e.to_string()))?;
        let threat = Threat::uniform(&samples.modalities, Norm::Linf, &radius);
        Ok(Self { samples, threat })
    }
}

/// Asks a model about points of rows that stand for classes. No point is kept as an adversarial copy of a sample.
pub(super) struct Panel<'a> {
    oracle: Oracle<'a, dyn WhiteBox + 'a>,
    rows: Rows,
    modalities: Arc<[Modality]>,
    device: Device,
    batch: usize,
    features: usize,
}

impl<'a> Panel<'a> {
    /// Opens the panel of `probe` on all classes.
    pub(super) fn open(
        subject: &Subject<'a>,
        desk: &'a Desk,
        probe: &str,
    ) -> Result<Self, ProbeError> {
        let signature = subject.model.signature();
        let ids: Vec<RowId> = (0..signature.classes).map(RowId::Class).collect();
        let mut job = Job::new(&desk.samples, &[], &desk.threat, &Silent);
        job.seed = subject.seed;
        job.tile = Some(Job::tile_for(signature));
        Ok(Self {
            oracle: Oracle::new(subject.model, &job, Aim::Within),
            rows: Rows::of(&ids, &job, probe, &signature.device)?,
            modalities: signature.modalities.clone(),
            device: signature.device.clone(),
            // Requests end where tiles end, so that the points of a tile are the same for any batch.
            batch: subject.batch.max(1).next_multiple_of(Job::TILE),
            features: subject.input().features(),
        })
    }

    /// Returns scores alone.
    pub(super) fn scores(&mut self, points: &[f32], of: &[Asked]) -> Result<Vec<f32>, ProbeError> {
        let mut all = Vec::new();
        for (points, of) in self.parts(points, of) {
            let request = self.request(points, of)?;
            all.extend(host(&self.oracle.scores(&mut self.rows, request)?));
        }
        finite(&all)?;
        Ok(all)
    }

    /// Returns scores, and the gradient of what the points climb.
    pub(super) fn gradient(
        &mut self,
        points: &[f32],
        of: &[Asked],
        climb: Climb,
    ) -> Result<Answer, ProbeError> {
        let (mut scores, mut gradient) = (Vec::new(), Vec::new());
        for (points, of) in self.parts(points, of) {
            let request = self.request(points, of)?;
            let answer = self.oracle.gradient_of(&mut self.rows, request, &climb)?;
            scores.extend(host(&answer.scores));
            gradient.extend(host(&answer.gradient.blocks()[0]));
        }
        finite(&scores)?;
        Ok(Answer { scores, gradient })
    }

    /// Cuts points and their facts to parts of a request each.
    fn parts<'b>(&self, points: &'b [f32], of: &'b [Asked]) -> Vec<(&'b [f32], &'b [Asked])> {
        let points = points.chunks(self.batch * self.features);
        points.zip(of.chunks(self.batch)).collect()
    }

    fn request(&self, points: &[f32], of: &[Asked]) -> Result<Request, EngineError> {
        let x = Batch::from_host(self.modalities.clone(), vec![points.to_vec()], &self.device)?;
        let classes: Vec<usize> = of.iter().map(|a| a.class).collect();
        let query = Query {
            x: x.clone(),
            owner: classes.clone(),
            key: of.iter().map(|a| a.key).collect(),
            draw: of.iter().map(|a| a.draw).collect(),
        };
        let labels = classes.clone();
        Ok(Request::new(query)
            .towards(classes)
            .labelled(labels)
            .around(x)
            .unwatched())
    }
}

/// Refuses scores that decide nothing: no statistic can be made of them.
fn finite(scores: &[f32]) -> Result<(), ProbeError> {
    if scores.iter().any(|s| s.is_nan() || *s == f32::INFINITY) {
        return Err(ProbeError::Unfit(
            "finite scores at every point within the bounds; the model gave NaN or infinity"
                .to_owned(),
        ));
    }
    Ok(())
}
