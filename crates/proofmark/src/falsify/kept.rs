//! The best points of runs, from which later runs go on.

use std::collections::BTreeMap;
use std::sync::Mutex;

use burn::tensor::Tensor;
use proofmark_engine::Rows;
use proofmark_threat::{Batch, host};

/// A row's best point in the cube, after its loss.
type Best = (f32, Vec<f32>);

/// The best points of one run by row. What a row leaves depends on that row alone, and rows are read in order, so nothing depends on
/// the order in which they end.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<BTreeMap<usize, Best>>);

impl Kept {
    /// Keeps the points of the rows that are in the last of their `steps`.
    pub(super) fn note(&self, rows: &Rows, steps: u32, x: &Batch, loss: &Tensor<1>) {
        let last = |k: &u64| *k + 1 == u64::from(steps);
        if !rows.steps().iter().any(last) {
            return;
        }
        let (x, loss) = (&x.blocks()[0], host(loss));
        let (n, values) = (x.dims()[1], host(x));
        let mut all = self.0.lock().expect("no holder panics");
        for (r, sample) in rows.focus().sample().iter().enumerate() {
            if last(&rows.steps()[r]) {
                all.insert(*sample, (loss[r], values[r * n..(r + 1) * n].to_vec()));
            }
        }
    }
}

/// Number of points that windows start from: few, because each costs several forwards per step.
const ELITE: usize = 4;

/// The best points of all runs, with their cases, from the best on.
#[derive(Debug, Default)]
pub(super) struct Elite(Vec<(usize, Best)>);

impl Elite {
    /// Takes the points that a run's rows have left; `cases` are those of the rows.
    pub(super) fn admit(&mut self, kept: Kept, cases: &[usize]) {
        let all = kept.0.into_inner().expect("no holder panics");
        self.0
            .extend(all.into_iter().map(|(row, best)| (cases[row], best)));
        self.0.sort_by(|(_, (a, _)), (_, (b, _))| b.total_cmp(a));
        self.0.dedup_by(|(_, a), (_, b)| a.1 == b.1);
        self.0.truncate(ELITE);
    }

    /// Returns the case of each point, and the points; nothing if no run has left any.
    pub(super) fn starts(&self) -> Option<(Vec<usize>, Vec<f32>)> {
        let cases: Vec<usize> = self.0.iter().map(|(case, _)| *case).collect();
        let values = self.0.iter().flat_map(|(_, (_, u))| u.iter().copied());
        (!cases.is_empty()).then(|| (cases, values.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_points_are_kept_each_once() {
        let kept = |from: usize| {
            let point = |i: usize| (i, ((i % 20) as f32, vec![(i % 20) as f32]));
            Kept(Mutex::new((from..from + 20).map(point).collect()))
        };
        let mut elite = Elite::default();
        assert!(elite.starts().is_none());
        let cases: Vec<usize> = (0..40).map(|row| row / 20).collect();
        elite.admit(kept(0), &cases);
        elite.admit(kept(20), &cases);
        let (of, values) = elite.starts().unwrap();
        assert_eq!(
            values,
            (20 - ELITE..20).rev().map(|v| v as f32).collect::<Vec<_>>()
        );
        assert_eq!(of, [0; ELITE]);
    }
}
