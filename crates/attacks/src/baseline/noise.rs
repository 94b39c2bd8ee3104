//! The loop shared by all noise baselines: draw a point, query the model, draw again.

use proofmark_domain::Norm;
use proofmark_engine::{
    Access, Attack, BuildError, EngineError, Job, Meta, Oracle, Outcomes, Rows, Stepper, run,
};
use proofmark_model::DecisionModel;
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::Draw;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{at_least_one, written};

/// Parameters of every noise baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Draws {
    /// Noisy copies tried per sample, at least 1; default 10.
    pub draws: u32,
}

impl Default for Draws {
    fn default() -> Self {
        Self { draws: 10 }
    }
}

impl Draws {
    pub(super) fn build(self, meta: &'static Meta, kind: NoiseKind) -> Result<Noise, BuildError> {
        at_least_one(meta.id, "draws", self.draws)?;
        Ok(Noise {
            meta,
            draws: self.draws,
            kind,
        })
    }
}

/// Kind of noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoiseKind {
    /// Uniform points of the ball.
    Uniform,
    /// Gaussian noise as large as the ball allows.
    Gaussian,
    /// Features set to an end of their range.
    SaltAndPepper,
}

/// A noise baseline.
#[derive(Debug)]
pub struct Noise {
    meta: &'static Meta,
    draws: u32,
    kind: NoiseKind,
}

impl<M: DecisionModel + ?Sized> Stepper<M> for Noise {
    type State = ();

    fn id(&self) -> &'static str {
        self.meta.id
    }

    fn steps(&self) -> u32 {
        self.draws
    }

    fn start(&self, _: &mut Oracle<'_, M>, _: &mut Rows) -> Result<(), EngineError> {
        Ok(())
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        (): &mut (),
    ) -> Result<(), EngineError> {
        let keys = rows.streams(Purpose::Noise, 0);
        let region = rows.region();
        let x = match self.kind {
            NoiseKind::Uniform => region.random(&keys),
            NoiseKind::Gaussian => region.perturb(&keys, gaussian),
            NoiseKind::SaltAndPepper => region.perturb(&keys, salt_and_pepper),
        };
        oracle.decide_at(rows, &x)?;
        Ok(())
    }
}

impl Attack for Noise {
    fn meta(&self) -> &'static Meta {
        self.meta
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&Draws { draws: self.draws })
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        run(access.decisions(), self, job)
    }
}

/// Adds Gaussian noise: for Linf with standard deviation eps/2 (then clipped); for L2 and L1 a normal direction of
/// length eps; for L0 a tenth of the range on every feature, of which the projection keeps the largest changes.
fn gaussian(draw: &mut Draw<'_>, stream: &mut Stream) {
    let noise: Vec<f64> = (0..draw.x.len())
        .map(|_| f64::from(stream.normal()))
        .collect();
    let scale = match draw.norm {
        Norm::Linf => draw.eps / 2.0,
        Norm::L0 => 0.1,
        norm => draw.eps / norm.of(noise.iter().copied()).max(f64::MIN_POSITIVE),
    };
    for (i, n) in noise.into_iter().enumerate() {
        let range = f64::from(draw.upper[i] - draw.lower[i]);
        let unit = if draw.norm == Norm::L0 { range } else { 1.0 };
        draw.x[i] = (f64::from(draw.x[i]) + n * scale * unit) as f32;
    }
}

/// Sets a random share of the features to the low or the high end of their allowed range; the projection then brings
/// the row back into the ball.
fn salt_and_pepper(draw: &mut Draw<'_>, stream: &mut Stream) {
    let share = stream.uniform();
    for i in 0..draw.x.len() {
        let (hit, side) = (stream.uniform(), stream.next_u32() & 1);
        if hit < share {
            draw.x[i] = if side == 0 {
                draw.lower[i]
            } else {
                draw.upper[i]
            };
        }
    }
}
