//! Counts of one group: what every rate is made of.

use std::ops::Add;

use serde::{Deserialize, Serialize};

/// Persons and what they weigh.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Persons of weight above 0.
    pub n: u64,
    /// Sum of their weights; `n` where there are none.
    pub weight: f64,
    /// Sum of the squares of their weights.
    pub square: f64,
}

impl Tally {
    /// One more person.
    pub fn count(&mut self, weight: f64) {
        self.n += u64::from(weight > 0.0);
        self.weight += weight;
        self.square += weight * weight;
    }

    /// Persons of equal weight that would say as much: `weight^2 / square`, Kish's effective sample size.
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

/// A proportion: some of all.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Share {
    /// Those counted.
    pub numerator: Tally,
    /// Those they are among, themselves included.
    pub denominator: Tally,
}

impl Share {
    /// `numerator / denominator` by weight; none where the denominator weighs nothing.
    pub fn value(&self) -> Option<f64> {
        (self.denominator.weight > 0.0).then(|| self.numerator.weight / self.denominator.weight)
    }

    /// Successes and trials for an interval: the counts as they are without weights, else the effective sample
    /// size times the weighted proportion.
    pub fn counts(&self) -> (f64, f64) {
        let n = self.denominator.effective();
        (self.value().unwrap_or(0.0) * n, n)
    }
}

/// The confusion matrix of one group.
///
/// Without labels every row counts as a negative, without decisions as unfavourable: a metric that needs a missing
/// column is never asked.
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
    /// One more row.
    pub fn count(&mut self, decision: bool, label: bool, weight: f64) {
        match (decision, label) {
            (true, true) => self.tp.count(weight),
            (true, false) => self.fp.count(weight),
            (false, true) => self.fn_.count(weight),
            (false, false) => self.tn.count(weight),
        }
    }

    /// Everybody.
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

    /// Decisions that are as labelled.
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
    fn weights_count_as_kish_says() {
        let mut t = Tally::default();
        for w in [1.0, 3.0, 0.0] {
            t.count(w);
        }
        assert_eq!((t.n, t.weight, t.effective()), (2, 4.0, 1.6));
        assert_eq!(Tally::default().effective(), 0.0);
        assert_eq!(Share::default().value(), None);
    }
}
