//! Samples around a linear model, and runs of attacks on them.

use burn::tensor::Device;
use proofmark_domain::{Coupling, Epsilon, Kind, Modality, Norm, RunStatus};
use proofmark_engine::{Access, EngineError, Goal, Job, Needs, Outcome, Outcomes, Samples, Silent};
use proofmark_model::BurnModel;
use proofmark_testkit::linear::Linear;
use proofmark_threat::{Budget, Radius, Threat};

/// A model with known distances, and samples of which it classifies every one correctly.
pub(crate) struct Case {
    pub(crate) linear: Linear,
    pub(crate) model: BurnModel,
    pub(crate) samples: Samples,
    /// All rows.
    pub(crate) rows: Vec<usize>,
}

impl Case {
    pub(crate) fn new(widths: &[usize], classes: usize, n: usize, seed: u64) -> Self {
        let linear = Linear::new(widths, classes, seed);
        let (values, labels) = linear.samples(n, seed);
        Self::of(linear, values, labels)
    }

    /// A case of images of this shape, channels first.
    pub(crate) fn images(shape: [usize; 3], classes: usize, n: usize, seed: u64) -> Self {
        let mut linear = Linear::new(&[shape.iter().product()], classes, seed);
        linear.modalities[0].shape = shape.to_vec();
        linear.modalities[0].kind = Kind::Image;
        let (values, labels) = linear.samples(n, seed);
        Self::of(linear, values, labels)
    }

    pub(crate) fn of(linear: Linear, values: Vec<Vec<f32>>, labels: Vec<usize>) -> Self {
        let rows = (0..labels.len()).collect();
        Self {
            model: linear.model(&Device::flex()).unwrap(),
            samples: samples(linear.modalities.clone(), values, labels),
            linear,
            rows,
        }
    }

    /// Returns the linear model, to be wrapped.
    pub(crate) fn linear_model(&self) -> BurnModel {
        self.linear.model(&Device::flex()).unwrap()
    }

    /// Runs an attack with the access that it needs and no more.
    pub(crate) fn attack(&self, id: &str, table: &str, threat: &Threat) -> Outcomes {
        self.run(id, table, threat, |_| {})
    }

    /// The same on a changed job.
    pub(crate) fn run<'a>(
        &'a self,
        id: &str,
        table: &str,
        threat: &'a Threat,
        change: impl FnOnce(&mut Job<'a>),
    ) -> Outcomes {
        let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
        let access = access(&self.model, attack.meta().needs);
        self.run_on(access, id, table, threat, change)
    }

    /// The same on another model.
    pub(crate) fn run_on<'a>(
        &'a self,
        access: Access<'_>,
        id: &str,
        table: &str,
        threat: &'a Threat,
        change: impl FnOnce(&mut Job<'a>),
    ) -> Outcomes {
        self.tried_on(access, id, table, threat, change).unwrap()
    }

    /// The same where the attack may refuse.
    pub(crate) fn tried_on<'a>(
        &'a self,
        access: Access<'_>,
        id: &str,
        table: &str,
        threat: &'a Threat,
        change: impl FnOnce(&mut Job<'a>),
    ) -> Result<Outcomes, EngineError> {
        let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
        let mut job = self.job(threat);
        change(&mut job);
        attack.run(access, &job)
    }

    /// A job of all rows, targeted if the samples have targets.
    pub(crate) fn job<'a>(&'a self, threat: &'a Threat) -> Job<'a> {
        let mut job = Job::new(&self.samples, &self.rows, threat, &Silent);
        if self.samples.targets.is_some() {
            job.goal = &Goal::Targeted;
        }
        job
    }

    /// Returns each row's exact distance and the class at that boundary.
    pub(crate) fn exact(&self, norm: Norm) -> Vec<(f64, usize)> {
        let of = |i: &usize| {
            let (x, label) = (self.samples.sample(*i)[0], self.samples.labels[*i]);
            self.linear.distance(norm, x, label).expect("reachable")
        };
        self.rows.iter().map(of).collect()
    }

    /// Returns a threat with each row's budget at `factor` times its own exact distance.
    pub(crate) fn at(&self, norm: Norm, factor: f64) -> Threat {
        let eps = self.exact(norm).iter().map(|(d, _)| factor * d).collect();
        self.each(norm, eps, None)
    }

    /// Returns a threat with one budget for all rows, in every input.
    pub(crate) fn within(&self, norm: Norm, eps: f64) -> Threat {
        Threat::uniform(&self.linear.modalities, norm, &Epsilon::new(eps).unwrap())
    }

    /// Returns a threat with a budget per row.
    pub(crate) fn each(&self, norm: Norm, eps: Vec<f64>, mask: Option<Vec<bool>>) -> Threat {
        self.threat(norm, Radius::PerSample(eps.into()), mask)
    }

    pub(crate) fn threat(&self, norm: Norm, radius: Radius, mask: Option<Vec<bool>>) -> Threat {
        let budget = Budget {
            modality: "x".into(),
            norm,
            radius,
            mask: mask.map(Into::into),
        };
        let (modalities, n) = (&self.linear.modalities, self.samples.len());
        Threat::new(modalities, vec![budget], Coupling::Independent, n).unwrap()
    }

    /// Targets each row's nearest class, which attacks cannot know.
    pub(crate) fn target_nearest(&mut self, norm: Norm) {
        self.samples.targets = Some(self.exact(norm).iter().map(|(_, c)| *c).collect());
    }
}

/// Samples numbered from 0, without targets.
pub(crate) fn samples(
    modalities: Vec<Modality>,
    values: Vec<Vec<f32>>,
    labels: Vec<usize>,
) -> Samples {
    Samples {
        modalities: modalities.into(),
        values,
        keys: (0..labels.len() as u64).collect(),
        labels,
        targets: None,
    }
}

/// Returns how many rows are broken.
pub(crate) fn broken(outcomes: &Outcomes) -> usize {
    let broken = |o: &&Outcome| o.status == RunStatus::Broken;
    outcomes.rows.iter().filter(broken).count()
}

/// Returns the gauge of a row's point, infinite without one.
pub(crate) fn gauge(o: &Outcome) -> f64 {
    o.point.as_ref().map_or(f64::INFINITY, |p| p.gauge)
}

/// Returns the access to a model that gives this much and no more.
pub(crate) const fn access(model: &BurnModel, gives: Needs) -> Access<'_> {
    match gives {
        Needs::Gradients => Access::Gradients(model),
        Needs::Scores => Access::Scores(model),
        Needs::Decisions => Access::Decisions(model),
    }
}
