//! Random directions, each orthogonal to the way from the clean sample to the row's point and to the directions before.

use proofmark_engine::Rows;
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Column, Columns, host, index, mask, prefixed};

use super::super::features::{dot, normals};
use super::super::round::moved;
use super::dct::Frequencies;

/// Maximum number of values of one row in its basis: rows with many features keep fewer directions. Random directions
/// over many features are almost orthogonal anyway.
const VALUES: usize = 1 << 20;

/// Share of a drawn direction's squared length that must be left after the directions before are taken out of it.
const LEFT: f32 = 1e-4;

/// Gain of a whole basis, as a share of the gauge, below which a row changes from low frequencies to all features or
/// back.
const GAIN: f64 = 0.01;

/// Directions that can be drawn.
#[derive(Debug)]
pub(super) struct Space {
    /// Which features may change, over all inputs one after the other.
    pub(super) free: Vec<bool>,
    /// Low frequencies of the input that may change, and which input that is; `None` draws over all features.
    pub(super) low: Option<(usize, Frequencies)>,
    /// Number of directions in a basis.
    pub(super) basis: usize,
}

impl Space {
    /// Returns the largest basis of at most `wanted` directions for this number of features.
    pub(super) fn basis(wanted: u32, features: usize) -> usize {
        let fits = (VALUES / features.max(1)).max(1);
        (wanted as usize).min(fits).min(features.saturating_sub(1))
    }
}

/// The current direction of each row, and those of its basis so far.
#[derive(Debug, Clone)]
pub(super) struct Directions {
    /// Current direction, of length 1.
    pub(super) now: Batch,
    basis: Vec<Batch>,
    /// Number of directions in the row's basis.
    count: Vec<u64>,
    /// 1 if the row draws over all features, 0 if over low frequencies.
    wide: Vec<u64>,
    /// Gauge with which the row's basis began; 0 before the first.
    began: Vec<f64>,
}

impl Columns for Directions {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("now", &mut self.now);
        all.extend(prefixed("basis", &mut self.basis));
        all.push(("count".into(), Column::Count(&mut self.count)));
        all.push(("wide".into(), Column::Count(&mut self.wide)));
        all.push(("began".into(), Column::Real(&mut self.began)));
        all
    }
}

impl Directions {
    /// Creates rows without a direction.
    pub(super) fn new(rows: &Rows, space: &Space) -> Self {
        let zero = rows.region().x0().map(|b| b.zeros_like());
        let n = rows.len();
        Self {
            basis: vec![zero.clone(); space.basis],
            now: zero,
            count: vec![0; n],
            wide: vec![u64::from(space.low.is_none()); n],
            began: vec![0.0; n],
        }
    }

    /// Draws the next direction of the rows in `fresh`, whose points are `x` and whose gauges are `gauge`.
    pub(super) fn renew(
        &mut self,
        rows: &Rows,
        space: &Space,
        x: &Batch,
        fresh: &[usize],
        gauge: impl Fn(usize) -> f64,
    ) {
        if fresh.is_empty() {
            return;
        }
        for i in fresh {
            if self.began[*i] == 0.0 {
                self.began[*i] = gauge(*i);
            }
        }
        let at = index(fresh, &x.device());
        let region = rows.region().at(fresh);
        let drawn = region.free(&self.draw(rows, space, fresh, &region.x0()));
        let way = x.select(&at).zip(&region.x0(), |x, x0| x - x0);

        // The basis is orthonormal, the way is not part of it: take the basis out of both, then what is left of the way
        // out of the direction.
        let (mut left, mut rest) = (drawn.clone(), way.clone());
        let most = fresh.iter().map(|i| self.count[*i]).max().unwrap_or(0);
        for (j, past) in self.basis.iter().enumerate().take(most as usize) {
            let counts = |i: &usize| f32::from(u8::from((j as u64) < self.count[*i]));
            let counts: Vec<f32> = fresh.iter().map(counts).collect();
            let counts = region.column(&counts).unsqueeze_dim::<2>(1);
            let past = past.select(&at).map(|b| b * counts.clone());
            left = without(&left, &past);
            rest = without(&rest, &past);
        }
        let left = without(&left, &rest);
        let share = dot(&left, &left) / dot(&drawn, &drawn).clamp_min(f32::MIN_POSITIVE);
        let share = host(&share);
        let spent: Vec<bool> = share.iter().map(|s| *s < LEFT).collect();
        for (i, spent) in fresh.iter().zip(&spent) {
            if *spent {
                self.begin(*i, space, gauge(*i));
            }
        }
        let alone = without(&drawn, &way);
        let found = left.replace_rows(&mask(&spent, &x.device()), &alone);
        let length = dot(&found, &found).sqrt().clamp_min(f32::MIN_POSITIVE);
        let found = found.map(|b| b / length.clone());

        let mut taken = vec![None; rows.len()];
        for (k, i) in fresh.iter().enumerate() {
            taken[*i] = Some(k);
        }
        self.now = moved(&self.now, &found, &taken);
        for (j, past) in self.basis.iter_mut().enumerate().take(most as usize + 1) {
            let here = |i: usize| taken[i].is_some() && self.count[i] == j as u64;
            let here: Vec<bool> = (0..rows.len()).map(here).collect();
            if here.contains(&true) {
                *past = past.replace_rows(&mask(&here, &x.device()), &self.now);
            }
        }
        for i in fresh {
            self.count[*i] += 1;
            if self.count[*i] >= space.basis as u64 {
                self.begin(*i, space, gauge(*i));
            }
        }
    }

    /// Begins a new basis of row `i`; if the last one gained too little, in the other space.
    fn begin(&mut self, i: usize, space: &Space, gauge: f64) {
        if space.low.is_some() && gauge > (1.0 - GAIN) * self.began[i] {
            self.wide[i] = 1 - self.wide[i].min(1);
        }
        (self.count[i], self.began[i]) = (0, gauge);
    }

    /// Draws a direction of any length for each row in `fresh`.
    fn draw(&self, rows: &Rows, space: &Space, fresh: &[usize], x0: &Batch) -> Batch {
        let all = rows.streams(Purpose::Direction, 0);
        let keys: Vec<_> = fresh.iter().map(|i| all[*i]).collect();
        let drawn = normals(&keys, &space.free, x0);
        let Some((m, low)) = &space.low else {
            return drawn;
        };
        let modality = &x0.modalities()[*m];
        let range = f64::from(modality.bounds.widest());
        let (width, clean) = (modality.features(), x0.to_host());
        let mut blocks = drawn.to_host();
        for (k, i) in fresh
            .iter()
            .enumerate()
            .filter(|(_, i)| self.wide[**i] == 0)
        {
            let own = k * width..(k + 1) * width;
            let direction = low.draw(&clean[*m][own.clone()], range, &mut Stream::new(&keys[k]));
            blocks[*m][own].copy_from_slice(&direction);
            debug_assert_eq!(all[*i], keys[k]);
        }
        Batch::from_host(x0.modalities().clone(), blocks, &x0.device())
            .expect("drawn for these inputs")
    }
}

/// Returns `a` without its part along `b`, row by row.
fn without(a: &Batch, b: &Batch) -> Batch {
    let share = dot(a, b) / dot(b, b).clamp_min(f32::MIN_POSITIVE);
    a.zip(b, |a, b| a - b * share.clone())
}
