use burn::tensor::{Int, Tensor};
use proofmark_engine::{Focus, Loss};
use proofmark_threat::Batch;

/// Log-odds of a wrong class, `log Σ_{i≠y} exp z_i − z_y`, and for a target `z_t − log Σ_{i≠t} exp z_i`: an increasing
/// function of cross-entropy (its negative for a target) whose gradient has the same direction and never vanishes.
#[derive(Debug, Clone, Copy)]
pub struct LogOdds;

impl Loss for LogOdds {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, focus: &Focus) -> Tensor<1> {
        let (own, sign) = match focus.target() {
            Some(target) => (target, -1.0),
            None => (focus.label(), 1.0),
        };
        // Subtracting the highest other score keeps the exponentials in range; −∞ (an impossible class) would give NaN.
        let top = Focus::rival(&scores.clone().detach(), own);
        let top = top.clone().mask_fill(top.is_finite().bool_not(), 0.0);
        let shifted = scores.clone() - top.clone().unsqueeze_dim::<2>(1);
        let column = Focus::column(scores, own);
        let [n, classes] = scores.dims();
        let all = Tensor::<1, Int>::arange(0..classes as i64, &column.device());
        let is_own = column
            .expand([n, classes])
            .equal(all.unsqueeze::<2>().expand([n, classes]));
        let others = shifted.mask_fill(is_own, f32::NEG_INFINITY).exp();
        let odds = others.sum_dim(1).squeeze_dim::<1>(1).clamp_min(1e-30).log() + top
            - Focus::score(scores, own);
        odds * sign
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::Device;
    use proofmark_domain::{Bounds, Kind, Modality};

    use super::*;
    use crate::loss::CrossEntropy;

    /// Cross-entropy is the softplus of the log-odds, so their gradients have the same direction.
    #[test]
    fn log_odds_are_cross_entropy_without_saturation() {
        let device = Device::flex();
        let modality = Modality {
            name: "x".into(),
            kind: Kind::Table,
            shape: vec![1],
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        };
        let modalities: Arc<[Modality]> = vec![modality].into();
        let x = Batch::from_host(modalities, vec![vec![0.0]], &device).unwrap();
        let value = |z: &[f32], target: Option<usize>, loss: &dyn Loss| -> f64 {
            let z = Tensor::<1>::from_floats(z, &device).unsqueeze::<2>();
            let focus = Focus::new(x.clone(), vec![1], target.map(|t| vec![t]));
            f64::from(loss.per_sample(&z, &x, &focus).into_scalar::<f32>())
        };
        for z in [[1.0, 4.0, 2.0], [-101.0, -100.0, -103.0], [5.0, 1.0, 0.0]] {
            let odds = value(&z, None, &LogOdds);
            let softplus = odds.exp().ln_1p();
            assert!(
                (value(&z, None, &CrossEntropy) - softplus).abs() < 1e-5,
                "{z:?}"
            );
            let odds = value(&z, Some(2), &LogOdds);
            let softplus = -(-odds).exp().ln_1p();
            assert!(
                (value(&z, Some(2), &CrossEntropy) - softplus).abs() < 1e-4,
                "{z:?}"
            );
        }
        // A lead of 3000 saturates cross-entropy, not the log-odds.
        assert!((value(&[0.0, 3000.0, 1.0], None, &LogOdds) + 2_998.687).abs() < 1e-2);
        let alone = value(&[f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY], None, &LogOdds);
        assert!(alone < -60.0 && alone.is_finite(), "{alone}");
    }
}
