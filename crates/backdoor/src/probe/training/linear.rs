//! The little linear algebra that probes of training sets need, in `f64`, in one order.

use proofmark_domain::Seed;
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};

/// Rows of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    width: usize,
    values: Vec<f64>,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Matrix {
    pub(crate) fn new(rows: usize, width: usize, values: Vec<f64>) -> Self {
        debug_assert_eq!(values.len(), rows * width);
        Self { width, values }
    }

    pub(crate) const fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> + Clone {
        self.values.chunks(self.width)
    }

    pub(crate) const fn len(&self) -> usize {
        self.values.len() / self.width
    }

    pub(crate) fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let values = rows
            .iter()
            .flat_map(|r| self.row(*r).iter().copied())
            .collect();
        Self::new(rows.len(), self.width, values)
    }

    pub(crate) fn mean(&self, rows: &[usize]) -> Vec<f64> {
        let mut mean = vec![0.0; self.width];
        for row in rows {
            for (m, v) in mean.iter_mut().zip(self.row(*row)) {
                *m += v / rows.len() as f64;
            }
        }
        mean
    }

    pub(crate) fn centred(mut self) -> Self {
        let all: Vec<usize> = (0..self.len()).collect();
        let mean = self.mean(&all);
        for row in self.values.chunks_mut(self.width) {
            for (v, m) in row.iter_mut().zip(&mean) {
                *v -= m;
            }
        }
        self
    }

    /// Returns `X^T X / n` of rows that are centred.
    pub(crate) fn covariance(&self) -> Self {
        let (d, n) = (self.width, self.len() as f64);
        let mut sums = vec![0.0; d * d];
        for row in self.rows() {
            for (i, v) in row.iter().enumerate() {
                // Rectified activations are mostly zero.
                if *v == 0.0 {
                    continue;
                }
                for (s, w) in sums[i * d + i..(i + 1) * d].iter_mut().zip(&row[i..]) {
                    *s += v * w;
                }
            }
        }
        for i in 0..d {
            for j in i..d {
                let v = sums[i * d + j] / n;
                sums[i * d + j] = v;
                sums[j * d + i] = v;
            }
        }
        Self::new(d, d, sums)
    }

    /// Returns the rows' coordinates along `directions`, the rows of a matrix.
    pub(crate) fn along(&self, directions: &Self) -> Self {
        let values = self
            .rows()
            .flat_map(|r| directions.rows().map(|d| dot(r, d)))
            .collect();
        Self::new(self.len(), directions.len(), values)
    }

    /// Returns at most `k` eigenvectors of a covariance with the largest eigenvalues, one a row, orthonormal, largest
    /// first, by subspace iteration from a fixed random start. Directions without variance are left out.
    pub(crate) fn principal(&self, k: usize) -> Self {
        let d = self.width;
        let k = k.min(d);
        // A few more than wanted make the wanted ones converge faster.
        let working = (k + 4).min(d);
        let mut stream = Stream::new(&StreamKey {
            attack: attack_code("principal-directions"),
            ..StreamKey::new(Seed(0), d as u64, Purpose::Direction)
        });
        let start = (0..working * d)
            .map(|_| f64::from(stream.normal()))
            .collect();
        let mut basis = orthonormal(Self::new(working, d, start));
        let mut before = f64::INFINITY;
        for round in 0..60 {
            // A covariance is symmetric: its rows are its columns.
            let next = basis.along(self);
            basis = orthonormal(next);
            if basis.len() == 0 {
                return basis;
            }
            let captured: f64 = {
                let images = basis.along(self);
                basis
                    .rows()
                    .zip(images.rows())
                    .map(|(b, i)| dot(b, i))
                    .sum()
            };
            if round > 5 && (captured - before).abs() <= 1e-9 * captured.abs() {
                break;
            }
            before = captured;
        }
        // Turn the basis to the eigenvectors of the small matrix B C B^T.
        let images = basis.along(self);
        let small = Self::new(
            basis.len(),
            basis.len(),
            basis
                .rows()
                .flat_map(|b| images.rows().map(move |i| dot(b, i)))
                .collect(),
        );
        let (values, vectors) = jacobi(small);
        let least = 1e-12 * values.first().copied().unwrap_or(0.0);
        let mut directions = Vec::new();
        let mut kept = 0;
        for (value, v) in values.iter().zip(vectors.rows()).take(k) {
            if *value <= least {
                break;
            }
            kept += 1;
            let mut direction = vec![0.0; d];
            for (share, b) in v.iter().zip(basis.rows()) {
                for (x, y) in direction.iter_mut().zip(b) {
                    *x += share * y;
                }
            }
            // The sign is that of the largest coordinate, so that it does not depend on the start.
            let largest = direction
                .iter()
                .fold(0.0_f64, |m, v| if v.abs() > m.abs() { *v } else { m });
            directions.extend(direction.iter().map(|v| v * largest.signum()));
        }
        Self::new(kept, d, directions)
    }

    /// Returns the rows multiplied by the inverse of the Cholesky factor of `covariance`: their covariance becomes 1.
    pub(crate) fn whitened(&self, covariance: &Self) -> Self {
        let d = self.width;
        let factor = cholesky(covariance);
        let mut values = Vec::with_capacity(self.values.len());
        for row in self.rows() {
            let mut y = vec![0.0; d];
            for i in 0..d {
                let own = &factor[i * d..i * d + i];
                y[i] = (row[i] - dot(own, &y[..i])) / factor[i * d + i];
            }
            values.extend(y);
        }
        Self::new(self.len(), d, values)
    }
}

/// Gram–Schmidt, twice; rows that depend on earlier ones are dropped.
fn orthonormal(mut rows: Matrix) -> Matrix {
    let d = rows.width;
    let mut kept: Vec<f64> = Vec::with_capacity(rows.values.len());
    for row in rows.values.chunks_mut(d) {
        let before = dot(row, row).sqrt();
        for _ in 0..2 {
            for other in kept.chunks(d) {
                let share = dot(row, other);
                for (v, o) in row.iter_mut().zip(other) {
                    *v -= share * o;
                }
            }
        }
        let norm = dot(row, row).sqrt();
        if norm > 1e-10 * before && norm > 0.0 {
            kept.extend(row.iter().map(|v| v / norm));
        }
    }
    Matrix::new(kept.len() / d, d, kept)
}

/// Lower factor of a covariance; a thousandth of the mean variance is added, so that it exists.
fn cholesky(covariance: &Matrix) -> Vec<f64> {
    let d = covariance.width;
    let trace: f64 = (0..d).map(|i| covariance.row(i)[i]).sum();
    let ridge = 1e-3 * trace / d as f64 + f64::MIN_POSITIVE;
    let mut l = vec![0.0; d * d];
    for i in 0..d {
        for j in 0..=i {
            let sum = covariance.row(i)[j] - dot(&l[i * d..i * d + j], &l[j * d..j * d + j]);
            l[i * d + j] = if i == j {
                (sum + ridge).max(ridge).sqrt()
            } else {
                sum / l[j * d + j]
            };
        }
    }
    l
}

/// Eigenvalues of a symmetric matrix, largest first, and its eigenvectors, one a row (cyclic Jacobi).
fn jacobi(mut a: Matrix) -> (Vec<f64>, Matrix) {
    let d = a.width;
    let mut v: Vec<f64> = (0..d * d)
        .map(|i| f64::from(u8::from(i / d == i % d)))
        .collect();
    for _ in 0..50 {
        let off: f64 = (0..d)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a.values[i * d + j].powi(2))
            .sum();
        let all: f64 = a.values.iter().map(|x| x * x).sum();
        if off <= 1e-24 * all {
            break;
        }
        for p in 0..d {
            for q in p + 1..d {
                let apq = a.values[p * d + q];
                if apq == 0.0 {
                    continue;
                }
                let theta = (a.values[q * d + q] - a.values[p * d + p]) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let t = if theta == 0.0 { 1.0 } else { t };
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for k in 0..d {
                    let (x, y) = (a.values[k * d + p], a.values[k * d + q]);
                    a.values[k * d + p] = c * x - s * y;
                    a.values[k * d + q] = s * x + c * y;
                }
                for k in 0..d {
                    let (x, y) = (a.values[p * d + k], a.values[q * d + k]);
                    a.values[p * d + k] = c * x - s * y;
                    a.values[q * d + k] = s * x + c * y;
                    let (x, y) = (v[p * d + k], v[q * d + k]);
                    v[p * d + k] = c * x - s * y;
                    v[q * d + k] = s * x + c * y;
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..d).collect();
    order.sort_by(|i, j| a.values[j * d + j].total_cmp(&a.values[i * d + i]));
    let values = order.iter().map(|i| a.values[i * d + i]).collect();
    let vectors = order
        .iter()
        .flat_map(|i| v[i * d..(i + 1) * d].to_vec())
        .collect();
    (values, Matrix::new(d, d, vectors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_directions_by_hand() {
        // Covariance [[2, 1], [1, 2]]: eigenvalues 3 and 1 along (1, 1) and (1, -1).
        let c = Matrix::new(2, 2, vec![2.0, 1.0, 1.0, 2.0]);
        let p = c.principal(2);
        let half = 0.5_f64.sqrt();
        for (got, want) in p.values().iter().zip([half, half, half, -half]) {
            assert!((got.abs() - want.abs()).abs() < 1e-9, "{p:?}");
        }
        assert!((p.row(0)[0] - p.row(0)[1]).abs() < 1e-9);
        // Without variance in the second direction there is one.
        let flat = Matrix::new(2, 2, vec![1.0, 0.0, 0.0, 0.0]);
        assert_eq!(flat.principal(2).len(), 1);
        assert_eq!(Matrix::new(2, 2, vec![0.0; 4]).principal(2).len(), 0);
    }

    #[test]
    fn whitened_rows_have_covariance_one() {
        let mut stream = Stream::new(&StreamKey::new(Seed(1), 0, Purpose::Data));
        let values: Vec<f64> = (0..4000)
            .flat_map(|_| {
                let (a, b) = (f64::from(stream.normal()), f64::from(stream.normal()));
                [3.0 * a, a + 0.5 * b]
            })
            .collect();
        let x = Matrix::new(4000, 2, values).centred();
        let white = x.whitened(&x.covariance()).covariance();
        for (got, want) in white.values().iter().zip([1.0, 0.0, 0.0, 1.0]) {
            assert!((got - want).abs() < 0.03, "{white:?}");
        }
    }
}
