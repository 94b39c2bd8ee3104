//! The anomaly of the extreme class, made comparable between numbers of classes.

use proofmark_stats::{IndexNull, Tail, mad_indices};

/// Draws of the null of an index.
const DRAWS: u32 = 999;

/// The extreme of values per class.
pub(super) struct Extreme {
    /// Its index: its distance from the median on the suspicious side, over 1.4826 times the MAD. Negative if no value
    /// lies on that side.
    pub(super) index: f64,
    /// Its index over the .95 quantile of the index of as many independent normal values.
    pub(super) standardised: f64,
    /// p-value of the index among independent normal values.
    pub(super) p: f64,
}

/// Finds the index of the most extreme class on one side; `None` with fewer than 3 classes or no spread, where no index is defined.
pub(super) fn extreme(values: &[f64], tail: Tail) -> Option<Extreme> {
    let indices = mad_indices(values, tail)?;
    let index = indices.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let null = IndexNull::normal(values.len(), DRAWS)?;
    Some(Extreme {
        index,
        standardised: index / null.quantile(0.95),
        p: null.p(index),
    })
}
