//! Counts of one group, from which every rate is computed.

use std::ops::Add;

use serde::{Deserialize, Serialize};

/// Number of rows and their weights.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Number of rows with a weight above 0.
    pub n: u64,
    /// Sum of the weights; equals `n` in a table without weights.
    pub weight: f64,
    /// Sum of the squared weights.
    pub square: f64,
}

impl Tally {
    /// Adds one row.
    pub fn count(&mut self, weight: f64) {
        self.n += u64::from(weight > 0.0);
        self.weight += weight;
        self.square += weight * weight;
    }

    /// Returns Kish's effective sample size, `weight^2 / square`: the number of equally weighted rows that carry the
    /// same information. 0 if there are no rows.
    pub fn effective(&self) -> f64 {
        if self.square > 0.0 {
            self.weight * self.weight / self.square
        } else {
            0.0
        }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            n: self.n + other.n,
            weight: self.weight + other.weight,
            square: self.square + other.square,
        }
    }
}

/// A proportion.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Share {
    /// Rows that meet the condition.
    pub numerator: Tally,
    /// All rows considered, including those of the numerator.
    pub denominator: Tally,
}

impl Share {
    /// Returns `numerator / denominator` by weight; `None` if the denominator has no weight.
    pub fn value(&self) -> Option<f64> {
        (self.denominator.weight > 0.0).then(|| self.numerator.weight / self.denominator.weight)
    }

    /// Returns the proportion with `concentration` pseudo-counts (at least 0), half of them in the numerator; `None` if
    /// the denominator including pseudo-counts is 0.
    pub fn smoothed(&self, concentration: f64) -> Option<f64> {
        let all = self.denominator.weight + concentration;
        (all > 0.0).then(|| (self.numerator.weight + concentration / 2.0) / all)
    }
}

/// The confusion matrix of one group.
///
/// Without labels every row counts as negative, without decisions as unfavourable. A metric that needs a missing column
/// is never computed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cell {
    /// Favourable decision, positive label.
    pub tp: Tally,
    /// Favourable decision, negative label.
    pub fp: Tally,
    /// Unfavourable decision, positive label.
    pub fn_: Tally,
    /// Unfavourable decision, negative label.
    pub tn: Tally,
}

impl Cell {
    /// Adds one row.
    pub fn count(&mut self, decision: bool, label: bool, weight: f64) {
        match (decision, label) {
            (true, true) => self.tp.count(weight),
            (true, false) => self.fp.count(weight),
            (false, true) => self.fn_.count(weight),
            (false, false) => self.tn.count(weight),
        }
    }

    /// All rows.
    pub fn all(&self) -> Tally {
        self.favourable() + self.unfavourable()
    }

    /// Favourable decisions.
    pub fn favourable(&self) -> Tally {
        self.tp + self.fp
    }

    /// Unfavourable decisions.
    pub fn unfavourable(&self) -> Tally {
        self.fn_ + self.tn
    }

    /// Positive labels.
    pub fn positives(&self) -> Tally {
        self.tp + self.fn_
    }

    /// Negative labels.
    pub fn negatives(&self) -> Tally {
        self.fp + self.tn
    }

    /// Decisions that agree with the label.
    pub fn correct(&self) -> Tally {
        self.tp + self.tn
    }
}

impl Add for Cell {
    type Output = Self;

    fn add(self, o: Self) -> Self {
        Self {
            tp: self.tp + o.tp,
            fp: self.fp + o.fp,
            fn_: self.fn_ + o.fn_,
            tn: self.tn + o.tn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_size_follows_kish() {
        let mut t = Tally::default();
        for w in [1.0, 3.0, 0.0] {
            t.count(w);
        }
        assert_eq!((t.n, t.weight, t.effective()), (2, 4.0, 1.6));
        assert_eq!(Tally::default().effective(), 0.0);
        assert_eq!(Share::default().value(), None);
    }
}
