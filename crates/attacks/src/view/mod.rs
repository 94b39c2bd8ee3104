//! Changed copies of a point at which a gradient is taken in place of the point's own, one file each; an attack is a
//! chain of them.
//!
//! A gradient at one point fits the model it was taken from. The mean over copies that any model would classify alike
//! fits other models better: the points transfer.

mod diverse;
mod mixed;

use std::fmt::Debug;

pub use diverse::Diverse;
pub use mixed::Mixed;
use proofmark_engine::Rows;
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, index};

/// Points of which copies are made.
#[derive(Debug, Clone)]
pub struct Points {
    /// The points, in data units.
    pub x: Batch,
    /// Row of each.
    pub owner: Vec<usize>,
    /// Number of each among the copies of its row.
    pub copy: Vec<u32>,
}

/// Turns gradients at the copies into gradients at the points they were made of.
pub type Back = Box<dyn Fn(Batch) -> Batch>;

/// Makes changed copies of points. The change is linear, up to a constant.
pub trait View: Send + Sync + Debug {
    /// Returns how many copies it makes of each point.
    fn copies(&self) -> usize;

    /// Returns the copies, those of one point adjacent, and the way back: the mean over a point's copies of the
    /// gradient of each with respect to the point.
    fn look(&self, points: &Points, rows: &Rows) -> (Batch, Back);

    /// Whether it mixes in other samples ([`Rows::others`]).
    fn mixes(&self) -> bool {
        false
    }
}

/// Returns the copies that a chain of views makes of one point per row, and the way back from gradients at the copies.
pub fn look(chain: &[Box<dyn View>], x: &Batch, rows: &Rows) -> (Points, Back) {
    let mut points = Points {
        x: x.clone(),
        owner: (0..x.rows()).collect(),
        copy: vec![0; x.rows()],
    };
    let mut ways: Vec<Back> = Vec::new();
    for view in chain {
        let (seen, back) = view.look(&points, rows);
        let k = view.copies();
        let each = 0..points.owner.len() * k;
        points = Points {
            owner: each.clone().map(|i| points.owner[i / k]).collect(),
            copy: each
                .map(|i| points.copy[i / k] * k as u32 + (i % k) as u32)
                .collect(),
            x: seen,
        };
        ways.push(back);
    }
    let back: Back = Box::new(move |gradient| ways.iter().rev().fold(gradient, |g, way| way(g)));
    (points, back)
}

impl Points {
    /// Returns each point repeated, copies of one point adjacent.
    fn repeated(&self, copies: usize) -> Batch {
        if copies == 1 {
            return self.x.clone();
        }
        let at: Vec<usize> = (0..self.owner.len())
            .flat_map(|i| std::iter::repeat_n(i, copies))
            .collect();
        self.x.select(&index(&at, &self.x.device()))
    }

    /// Returns a random stream per point; different views of a chain have different numbers.
    fn streams(&self, rows: &Rows, view: u32) -> Vec<Stream> {
        let keys = rows.streams(Purpose::Transform, 0);
        let points = self.owner.iter().zip(&self.copy);
        points
            .map(|(owner, copy)| {
                let mut key = keys[*owner];
                key.draw = (view << 24) | copy;
                Stream::new(&key)
            })
            .collect()
    }

    /// Returns, per input, which points may change it. An input that may not change is shown as it is.
    fn moves(&self, rows: &Rows) -> Vec<Vec<bool>> {
        let region = rows.region();
        let each = region.eps();
        each.map(|eps| self.owner.iter().map(|row| eps[*row] > 0.0).collect())
            .collect()
    }
}
