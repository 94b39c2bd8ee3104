use burn::tensor::Tensor;
use proofmark_engine::{Focus, Loss};
use proofmark_threat::Batch;

use super::Margin;

/// Difference of logits ratio, invariant to shift and scale of the logits:
///
/// `-(z_y - max_{i != y} z_i) / (z_p1 - z_p3 + 1e-12)`, and for a target
/// `-(z_y - z_t) / (z_p1 - (z_p3 + z_p4) / 2 + 1e-12)`, with `p1, p2, …` the classes by falling score.
///
/// Source: Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
/// attacks", 2020, eq. 6 and 8. Divergence: it needs 3 classes (4 when targeted). With fewer classes, or fewer finite
/// scores, or for a criterion that is not about classes, it is the [`Margin`]; the reference code fails or divides by
/// infinity.
#[derive(Debug, Clone, Copy)]
pub struct Dlr;

impl Loss for Dlr {
    fn per_sample(&self, scores: &Tensor<2>, x: &Batch, focus: &Focus) -> Tensor<1> {
        let classes = scores.dims()[1];
        let needed = if focus.target().is_some() { 4 } else { 3 };
        if classes < needed || focus.is_property() {
            return Margin.per_sample(scores, x, focus);
        }
        // The untracked scores give the order; gathering keeps the gradient.
        let order = scores.clone().inner().argsort_descending(1);
        let ranked = |k: usize| {
            let at = order.clone().slice([0..scores.dims()[0], k..k + 1]);
            scores.clone().gather(1, at).squeeze_dim::<1>(1)
        };
        let (gap, scale) = match focus.target() {
            None => (
                Focus::margin(scores, focus.label()).neg(),
                ranked(0) - ranked(2) + 1e-12,
            ),
            Some(target) => (
                Focus::score(scores, target) - Focus::score(scores, focus.label()),
                ranked(0) - (ranked(2) + ranked(3)) * 0.5 + 1e-12,
            ),
        };
        let endless = scale.clone().inner().is_finite().bool_not();
        gap / scale.mask_fill(endless, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::Device;
    use proofmark_domain::{Bounds, Kind, Modality};

    use super::*;
    use crate::loss::LossKind;

    fn value(kind: LossKind, scores: &[f32], label: usize, target: Option<usize>) -> f32 {
        let device = Device::flex();
        let modalities: Arc<[Modality]> = vec![Modality {
            name: "x".into(),
            kind: Kind::Table,
            shape: vec![1],
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        }]
        .into();
        let x = Batch::from_host(modalities, vec![vec![0.0]], &device).unwrap();
        let z = Tensor::<1>::from_floats(scores, &device).unsqueeze::<2>();
        let focus = Focus::new(x.clone(), vec![label], target.map(|t| vec![t]));
        kind.loss().per_sample(&z, &x, &focus).into_scalar()
    }

    #[test]
    fn hand_computed_values() {
        let z = [1.0, 4.0, 2.0, 0.0];
        let close = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a} {b}");
        // Ranked 4, 2, 1, 0: -(4 - 2) / (4 - 1) and -(4 - 0) / (4 - 1/2).
        close(value(LossKind::Dlr, &z, 1, None), -2.0 / 3.0);
        close(value(LossKind::Dlr, &z, 1, Some(3)), -4.0 / 3.5);
        close(value(LossKind::Margin, &z, 1, None), -2.0);
        close(value(LossKind::Margin, &z, 1, Some(2)), -2.0);
        let lse = z.iter().map(|v: &f32| v.exp()).sum::<f32>().ln();
        close(value(LossKind::Ce, &z, 1, None), lse - 4.0);
        close(value(LossKind::Ce, &z, 1, Some(0)), 1.0 - lse);
        // Scaling and shifting the logits changes nothing.
        close(
            value(LossKind::Dlr, &z.map(|v| 1000.0 * v + 5.0), 1, None),
            -2.0 / 3.0,
        );
    }

    #[test]
    fn classes_with_infinitely_low_scores_are_ignored() {
        let out = f32::NEG_INFINITY;
        assert_eq!(value(LossKind::Dlr, &[1.0, 3.0, out], 1, None), -2.0);
        let z = [1.0, 4.0, 2.0, out];
        assert_eq!(value(LossKind::Dlr, &z, 1, Some(2)), -2.0);
        for kind in [LossKind::Dlr, LossKind::Margin, LossKind::Ce] {
            let far = z.map(|v| v.max(-1e6));
            assert_eq!(value(kind, &z, 1, None), value(kind, &far, 1, None));
        }
    }

    #[test]
    fn few_classes_fall_back_to_the_margin() {
        assert_eq!(value(LossKind::Dlr, &[1.0, 3.0], 1, None), -2.0);
        assert_eq!(value(LossKind::Dlr, &[1.0, 3.0, 0.0], 1, Some(0)), -2.0);
    }
}
