//! Attacks on a smoothed model, beside its certificates.

use proofmark_domain::{CertificateStatus, RunStatus};
use proofmark_engine::{Access, EngineError, Job, Judge, Noisy, Outcomes, Rule, Stage, votes};
use proofmark_model::GradientModel;
use proofmark_stats::{binomial_most, even_odds_p};

use super::smoothing::Smoothing;
use super::{Certified, Measured};
use crate::{RunError, RunPlan};

/// Draws by which the attack's points are judged before they are counted.
const JUDGE: u32 = 100;
/// Probability of an error although both statements hold as often as they say.
const FALSE_ALARM: f64 = 1e-6;

impl RunPlan<'_> {
    /// Attacks the smoothed model on the samples that it decides rightly, and notes which it breaks. Models without
    /// gradients are not attacked.
    pub(super) fn attack_smoothed(
        &self,
        smoothing: &Smoothing,
        measured: &Measured<'_>,
        certified: &mut Certified,
    ) -> Result<(), RunError> {
        let Access::Gradients(model) = self.model else {
            return Ok(());
        };
        if smoothing.attack_draws == 0 {
            return Ok(());
        }
        let held = |row: &usize| {
            let status = certified.outcomes[*row].status;
            matches!(
                status,
                CertificateStatus::Certified | CertificateStatus::Open
            )
        };
        let rows: Vec<usize> = (0..measured.samples.len()).filter(held).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let started = (self.clock)();
        let (found, computed) = self.points(model, smoothing, measured, certified, &rows)?;
        certified.meta.cost.computed += computed;
        let mut disagree = 0;
        for (row, point) in found {
            let broken = match point {
                None => false,
                Some(x) => {
                    if let Some((broken, computed)) =
                        self.decides_otherwise(smoothing, measured, row, &x)?
                    {
                        certified.meta.cost.computed += computed;
                        broken
                    } else {
                        certified.outcomes[row].status = CertificateStatus::Stopped;
                        continue;
                    }
                }
            };
            let outcome = &mut certified.outcomes[row];
            outcome.broken = Some(broken);
            if broken && outcome.status == CertificateStatus::Certified {
                // One of two statements that may be wrong is.
                outcome.status = CertificateStatus::Open;
                disagree += 1;
            }
        }
        certified.meta.cost.seconds += (self.clock)() - started;
        let rate = (2.0 * smoothing.alpha).min(1.0);
        let most = binomial_most(rows.len() as u64, rate, FALSE_ALARM);
        if disagree > most {
            return Err(RunError::Certificate(format!(
                "an attack on the smoothed model breaks {disagree} of {} samples inside the radius that `{}` certifies, and at most {most} wrong certificates are likely: nothing of this run can be trusted. This is a bug of proofmark, or the model's answers are not a function of its input; please report it",
                rows.len(),
                certified.meta.key
            )));
        }
        Ok(())
    }

    /// Runs the attack; returns the point found for each sample, if any, and the forwards computed.
    #[allow(clippy::type_complexity)]
    fn points(
        &self,
        model: &dyn GradientModel,
        smoothing: &Smoothing,
        measured: &Measured<'_>,
        certified: &Certified,
        rows: &[usize],
    ) -> Result<(Vec<(usize, Option<Vec<Vec<f32>>>)>, u64), RunError> {
        let noisy = Noisy::new(model, smoothing.sigma as f32, self.settings.seed);
        let mut parameters = toml::Table::new();
        let draws = i64::from(smoothing.attack_draws);
        parameters.insert("eot".into(), toml::Value::Integer(draws));
        let attack = proofmark_attacks::build("apgd", &parameters)?;
        let threat = &measured.threats[certified.threat];
        let job = Job {
            judge: Judge {
                draws: JUDGE,
                rule: Rule::Majority,
            },
            ..self.plain_job(measured.samples, rows, threat, measured.tile)
        };
        let key = format!("{} on the smoothed model", attack.meta().id);
        self.progress.begin(&key, rows.len());
        let outcomes: Outcomes = attack
            .run(Access::Gradients(&noisy), &job)
            .map_err(|e: EngineError| RunError::from(e))?;
        let points = outcomes.rows.into_iter().map(|o| {
            let is_broken = o.status == RunStatus::Broken;
            (o.row, o.point.filter(|_| is_broken).map(|p| p.x))
        });
        Ok((points.collect(), outcomes.computed))
    }

    /// Whether the smoothed model decides for another class than the label at a point, at confidence `1 - alpha`; and the
    /// forwards computed. `None` if the run was stopped.
    fn decides_otherwise(
        &self,
        smoothing: &Smoothing,
        measured: &Measured<'_>,
        row: usize,
        point: &[Vec<f32>],
    ) -> Result<Option<(bool, u64)>, RunError> {
        let rows = [row];
        let job = self.plain_job(measured.samples, &rows, &measured.threats[0], measured.tile);
        let x: Vec<&[f32]> = point.iter().map(Vec::as_slice).collect();
        let sigma = smoothing.sigma as f32;
        let counted = votes(
            self.model,
            &job,
            row,
            &x,
            sigma,
            Stage::Attacked,
            smoothing.n,
        )?;
        let Some(counted) = counted else {
            return Ok(None);
        };
        let label = measured.samples.labels[row];
        let own = counted.counts[label];
        let top = counted.top().filter(|c| *c != label);
        let is_other = top.is_some_and(|c| {
            let other = counted.counts[c];
            even_odds_p(other, other + own) <= smoothing.alpha
        });
        Ok(Some((is_other, counted.computed)))
    }
}
