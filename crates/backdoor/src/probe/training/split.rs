//! Splits numbers, or rows of them, in two.

use proofmark_domain::Seed;
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};

use super::linear::Matrix;

/// Two normal distributions with a common variance.
#[derive(Debug, Clone)]
pub(crate) struct Mixture {
    /// Log-likelihood beyond that of a single normal distribution, at least 0.
    pub(crate) gain: f64,
    /// Probability that each number comes from the distribution with the larger mean.
    pub(crate) upper: Vec<f64>,
}

/// Fits a mixture of two normal distributions with a common variance by expectation and maximisation, from splits at
/// several places; `None` if the numbers are all equal.
pub(crate) fn mixture(x: &[f64]) -> Option<Mixture> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    if variance.is_nan() || variance <= 0.0 {
        return None;
    }
    let mut sorted = x.to_vec();
    sorted.sort_by(f64::total_cmp);
    // Numbers that repeat must not make a distribution of no width, whose likelihood is infinite.
    let least = 1e-4 * variance;
    let mut best: Option<Mixture> = None;
    for share in [0.03, 0.1, 0.5, 0.9, 0.97] {
        let cut = sorted[((share * n) as usize).min(x.len() - 1)];
        let mut upper: Vec<f64> = x.iter().map(|v| f64::from(u8::from(*v > cut))).collect();
        let mut last = f64::NEG_INFINITY;
        for _ in 0..100 {
            let weight: f64 = upper.iter().sum::<f64>() / n;
            if !(1e-9..=1.0 - 1e-9).contains(&weight) {
                break;
            }
            let high = x.iter().zip(&upper).map(|(v, u)| v * u).sum::<f64>() / (n * weight);
            let low = x
                .iter()
                .zip(&upper)
                .map(|(v, u)| v * (1.0 - u))
                .sum::<f64>()
                / (n * (1.0 - weight));
            let within = x
                .iter()
                .zip(&upper)
                .map(|(v, u)| u * (v - high).powi(2) + (1.0 - u) * (v - low).powi(2))
                .sum::<f64>()
                / n;
            let within = within.max(least);
            let mut log = 0.0;
            let (prior, twice) = ([weight.ln(), (1.0 - weight).ln()], 2.0 * within);
            for (v, u) in x.iter().zip(&mut upper) {
                let a = prior[0] - (v - high).powi(2) / twice;
                let b = prior[1] - (v - low).powi(2) / twice;
                let odds = (b - a).exp();
                *u = 1.0 / (1.0 + odds);
                log += a.max(b) + (-(a - b).abs()).exp().ln_1p();
            }
            log -= n / 2.0 * (within / variance).ln();
            let gained = log - last;
            last = log;
            if gained.abs() < 1e-5 * n {
                break;
            }
        }
        // A single normal distribution has -n/2 in these units.
        let gain = (last + n / 2.0).max(0.0);
        if last.is_finite() && best.as_ref().is_none_or(|b| gain > b.gain) {
            best = Some(Mixture { gain, upper });
        }
    }
    best
}

/// Splits rows in two clusters by Lloyd's algorithm from `starts` random pairs of centres; returns who is in the first.
/// `None` if all rows are equal.
pub(crate) fn two_means(rows: &Matrix, starts: u32, seed: Seed, key: u64) -> Option<Vec<bool>> {
    let n = rows.len();
    let far = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum() };
    let mut best: Option<(f64, Vec<bool>)> = None;
    for start in 0..starts {
        let mut stream = Stream::new(&StreamKey {
            attack: attack_code("two-means"),
            restart: start,
            ..StreamKey::new(seed, key, Purpose::Start)
        });
        let first = stream.below(n as u32) as usize;
        // k-means++: the second centre is drawn in proportion to the squared distance from the first.
        let distances: Vec<f64> = rows.rows().map(|r| far(r, rows.row(first))).collect();
        let total: f64 = distances.iter().sum();
        if total.is_nan() || total <= 0.0 {
            return None;
        }
        let mut u = stream.uniform_f64() * total;
        let second = distances
            .iter()
            .position(|d| {
                u -= d;
                u < 0.0
            })
            .unwrap_or(n - 1);
        let mut centres = [rows.row(first).to_vec(), rows.row(second).to_vec()];
        let mut first_part: Vec<bool> = Vec::new();
        let mut inertia = f64::INFINITY;
        for _ in 0..100 {
            let own: Vec<(f64, f64)> = rows
                .rows()
                .map(|r| (far(r, &centres[0]), far(r, &centres[1])))
                .collect();
            let next: Vec<bool> = own.iter().map(|(a, b)| a <= b).collect();
            inertia = own.iter().map(|(a, b)| a.min(*b)).sum();
            if next == first_part {
                break;
            }
            for (centre, wanted) in centres.iter_mut().zip([true, false]) {
                let part: Vec<usize> = (0..n).filter(|i| next[*i] == wanted).collect();
                if !part.is_empty() {
                    *centre = rows.mean(&part);
                }
            }
            first_part = next;
        }
        if best.as_ref().is_none_or(|b| inertia < b.0) {
            best = Some((inertia, first_part));
        }
    }
    best.map(|b| b.1)
}

/// Returns the mean silhouette of a split: of each row, how much nearer its own part is than the other, -1 to 1. At most
/// `most` rows, evenly taken, are averaged and compared; 0 if a part has fewer than two of them.
pub(crate) fn silhouette(rows: &Matrix, first: &[bool], most: usize) -> f64 {
    let n = rows.len();
    let step = n.div_ceil(most);
    let taken: Vec<usize> = (0..n).step_by(step).collect();
    let count = |wanted: bool| taken.iter().filter(|i| first[**i] == wanted).count();
    let sizes = [count(true), count(false)];
    if sizes.iter().any(|s| *s < 2) {
        return 0.0;
    }
    let far = |a: &[f64], b: &[f64]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    let mut total = 0.0;
    for i in &taken {
        let mut sums = [0.0; 2];
        for j in &taken {
            sums[usize::from(!first[*j])] += far(rows.row(*i), rows.row(*j));
        }
        let own = usize::from(!first[*i]);
        let a = sums[own] / (sizes[own] - 1) as f64;
        let b = sums[1 - own] / sizes[1 - own] as f64;
        let larger = a.max(b);
        total += if larger > 0.0 { (b - a) / larger } else { 0.0 };
    }
    total / taken.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(n: usize, key: u64) -> Vec<f64> {
        let mut stream = Stream::new(&StreamKey::new(Seed(2), key, Purpose::Data));
        (0..n).map(|_| f64::from(stream.normal())).collect()
    }

    #[test]
    fn a_small_distant_part_is_found() {
        let mut x = normal(400, 0);
        x[..8].iter_mut().for_each(|v| *v += 12.0);
        let m = mixture(&x).unwrap();
        let share = m.upper.iter().filter(|u| **u > 0.5).count();
        assert_eq!(share, 8);
        assert!(m.gain > 100.0, "{}", m.gain);
    }

    /// The gain on normal numbers is small whatever their number: 99 % below 7.
    #[test]
    fn the_gain_on_normal_numbers_does_not_grow_with_their_number() {
        for n in [30, 300, 1000] {
            let above = (0..200)
                .filter(|k| mixture(&normal(n, 100 + k)).unwrap().gain > 7.0)
                .count();
            assert!(above <= 6, "{n}: {above} of 200");
        }
    }

    #[test]
    fn equal_numbers_have_no_split() {
        assert!(mixture(&[3.0; 40]).is_none());
        let same = Matrix::new(5, 2, vec![1.0; 10]);
        assert!(two_means(&same, 3, Seed(0), 0).is_none());
    }

    /// Points 0, 1 and 10, 11: a = 1, b = 10.5 or 9.5.
    #[test]
    fn silhouette_by_hand() {
        let rows = Matrix::new(4, 1, vec![0.0, 1.0, 10.0, 11.0]);
        let first = two_means(&rows, 4, Seed(0), 0).unwrap();
        assert_eq!(first[0], first[1]);
        assert_eq!(first[2], first[3]);
        assert_ne!(first[0], first[2]);
        let each = [(10.5 - 1.0) / 10.5, (9.5 - 1.0) / 9.5];
        let want = f64::midpoint(each[0], each[1]);
        assert!((silhouette(&rows, &first, 1000) - want).abs() < 1e-12);
        assert_eq!(silhouette(&rows, &[true, false, false, false], 1000), 0.0);
    }
}
