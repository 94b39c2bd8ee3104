//! How unusual is the largest of several classes' statistics?

use proofmark_domain::Seed;
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};

/// Fewest classes that can be compared.
pub(crate) const LEAST_CLASSES: usize = 4;

/// Draws of the null.
const DRAWS: u32 = 9999;

/// Returns the anomaly index of each statistic, `(v − median) / (1.4826 MAD)`, and the probability that the largest of as
/// many independent normal numbers has an index at least as large: `(k + 1) / (n + 1)` of 9999 draws. A spread below
/// `resolution` counts as that, so that differences which mean nothing make no index. `Err` says why there is none.
pub(crate) fn compare(statistics: &[f64], resolution: f64) -> Result<Vec<(f64, f64)>, String> {
    let k = statistics.len();
    if k < LEAST_CLASSES {
        return Err(format!(
            "{k} classes can be compared, and it takes {LEAST_CLASSES} to tell which one stands out"
        ));
    }
    let indices = indices(statistics, resolution);
    let mut draws: Vec<f64> = (0..DRAWS)
        .map(|draw| {
            let mut stream = Stream::new(&StreamKey {
                attack: attack_code("training-null"),
                draw,
                ..StreamKey::new(Seed(0), k as u64, Purpose::Bootstrap)
            });
            let values: Vec<f64> = (0..k).map(|_| f64::from(stream.normal())).collect();
            let indices = self::indices(&values, 0.0);
            indices.into_iter().fold(f64::NEG_INFINITY, f64::max)
        })
        .collect();
    draws.sort_by(f64::total_cmp);
    let p = |index: f64| {
        let above = draws.len() - draws.partition_point(|d| *d < index);
        (above as f64 + 1.0) / (draws.len() as f64 + 1.0)
    };
    Ok(indices.into_iter().map(|i| (i, p(i))).collect())
}

/// Anomaly indices with the averaged median.
fn indices(values: &[f64], resolution: f64) -> Vec<f64> {
    let middle = median(values);
    let distances: Vec<f64> = values.iter().map(|v| (v - middle).abs()).collect();
    let scale = (1.4826 * median(&distances)).max(resolution);
    values.iter().map(|v| (v - middle) / scale).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_use_the_averaged_median() {
        let v = [64.1, 70.2, 55.9, 61.0, 16.1, 58.3, 66.6, 72.4, 60.7, 63.3];
        let low = indices(&v, 0.0)[4];
        assert!((low + 7.4844).abs() < 1e-4, "{low}");
    }

    /// The published thresholds of ten classes for a false-alarm rate of 5 % and 1 % are two-sided to low values; the
    /// high side is its mirror image.
    #[test]
    fn p_values_of_ten_classes() {
        let mut v: Vec<f64> = vec![-2.0, -1.5, -1.0, -0.5, -0.1, 0.1, 0.5, 1.0, 1.5];
        v.push(30.0);
        let all = compare(&v, 0.0).unwrap();
        assert!(all[9].1 < 0.001, "{all:?}");
        assert!(all[8].1 > 0.5);
        assert!(compare(&v[..3], 0.0).is_err());
        // Without spread, the resolution is the spread.
        let flat = compare(&[1.0, 1.0, 1.0, 1.0, 1.5], 0.5).unwrap();
        assert_eq!(flat[4].0, 1.0);
    }
}
