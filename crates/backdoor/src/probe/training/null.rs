//! How unusual is the largest of several classes' statistics?

use proofmark_stats::{IndexNull, mad, median};

/// Fewest classes that can be compared.
pub(crate) const LEAST_CLASSES: usize = 4;

/// Draws of the null.
const DRAWS: u32 = 9999;

/// Returns the anomaly index of each statistic, `(v − median) / (1.4826 MAD)`, and the probability that the largest of as
/// many independent normal numbers has an index at least as large ([`IndexNull`]). A spread below `resolution` counts as
/// that, so that differences which mean nothing make no index. `Err` says why there is none.
pub(crate) fn compare(statistics: &[f64], resolution: f64) -> Result<Vec<(f64, f64)>, String> {
    let k = statistics.len();
    if k < LEAST_CLASSES {
        return Err(format!(
            "{k} classes can be compared, and it takes {LEAST_CLASSES} to tell which one stands out"
        ));
    }
    let spread = median(statistics).zip(mad(statistics));
    let (middle, scale) = spread.ok_or("a class has no number that could be compared")?;
    let scale = scale.max(resolution);
    if scale <= 0.0 {
        return Err("the classes do not differ".into());
    }
    let null = IndexNull::normal(k, DRAWS).ok_or("there are too few classes")?;
    let index = |v: &f64| (v - middle) / scale;
    let indices = statistics.iter().map(index);
    Ok(indices.map(|i| (i, null.p(i))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_use_the_averaged_median() {
        let v = [64.1, 70.2, 55.9, 61.0, 16.1, 58.3, 66.6, 72.4, 60.7, 63.3];
        let low = compare(&v, 0.0).unwrap()[4].0;
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
