//! Random starts.

use proofmark_domain::Norm;
use proofmark_stats::random::Stream;
use proofmark_threat::Draw;

/// Draws a start point, before the projection on ball and bounds: at the full budget's distance from the clean one, and
/// in L1 a normal change of every feature, of which the projection keeps the largest.
pub(super) fn draw(draw: &mut Draw<'_>, stream: &mut Stream) {
    if draw.norm == Norm::L1 {
        for (i, x) in draw.x.iter_mut().enumerate() {
            // A deviation of 1 suits values in [0, 1]; no feature moves further than its range or the budget.
            let range = f64::from(draw.upper[i]) - f64::from(draw.lower[i]);
            let by = range.min(draw.eps) * f64::from(stream.normal());
            *x = (f64::from(*x) + by) as f32;
        }
        return;
    }
    let direction: Vec<f64> = (0..draw.x.len())
        .map(|_| match draw.norm {
            Norm::L2 => f64::from(stream.normal()),
            _ => 2.0 * f64::from(stream.uniform()) - 1.0,
        })
        .collect();
    let scale = draw.eps
        / draw
            .norm
            .of(direction.iter().copied())
            .max(f64::MIN_POSITIVE);
    for (x, d) in draw.x.iter_mut().zip(direction) {
        *x = (f64::from(*x) + scale * d) as f32;
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Seed;
    use proofmark_stats::random::{Purpose, StreamKey};

    use super::*;

    /// The start has exactly the budget's length in Linf and L2, and in L1 a deviation of at most range and budget.
    #[test]
    fn starts_lie_at_the_distance_of_the_budget() {
        let (low, high) = (vec![-5.0; 200], vec![5.0; 200]);
        let clean = vec![0.0; 200];
        let drawn = |norm, eps| {
            let mut x = clean.clone();
            let mut row = Draw {
                norm,
                eps,
                x: &mut x,
                x0: &clean,
                lower: &low,
                upper: &high,
            };
            let key = StreamKey::new(Seed(3), 0, Purpose::Start);
            draw(&mut row, &mut Stream::new(&key));
            x
        };
        let size = |norm: Norm, x: &[f32]| norm.of(x.iter().map(|v| f64::from(*v)));
        for norm in [Norm::Linf, Norm::L2] {
            let x = drawn(norm, 0.25);
            assert!((size(norm, &x) - 0.25).abs() < 1e-6, "{norm}");
            assert!(x.iter().any(|v| *v > 0.0) && x.iter().any(|v| *v < 0.0));
        }
        let deviation = |x: &[f32]| size(Norm::L2, x) / 200.0_f64.sqrt();
        let wide = deviation(&drawn(Norm::L1, 40.0));
        assert!((8.0..12.0).contains(&wide), "{wide}");
        let narrow = deviation(&drawn(Norm::L1, 0.5));
        assert!((0.4..0.6).contains(&narrow), "{narrow}");
    }
}
