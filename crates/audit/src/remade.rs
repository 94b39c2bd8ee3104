//! The number that the parts of a figure make: what its value must be.

use crate::inequality;
use crate::{Basis, Combine, Family, Form, Part};

impl Basis {
    /// The value that these parts make, as [`crate::Figure::value`] had it but for rounding; none where there are no parts,
    /// or not those that the form asks for. Not a number where they make none.
    ///
    /// A report that is judged again is judged by its parts: the value it tells has to be theirs.
    pub fn value(&self) -> Option<f64> {
        let families = self.families.as_slice();
        match (self.form, families) {
            (Form::LogRatioDifference, [_, ..]) => {
                let (first, second) = families.split_at(families.len() / 2);
                Some(log_ratio(first) - log_ratio(second))
            }
            (Form::LogRatio, [_, ..]) => Some(log_ratio(families)),
            (Form::Leaning, [changes, leans]) => leaning(changes, leans),
            (Form::Entropy { alpha, root }, [errors, favours]) => {
                let errors = errors.parts.first()?.value();
                // None where there are no errors.
                let favours = favours.parts.first().map_or(0.0, Part::value);
                let index = inequality::of_persons(errors, favours, alpha);
                Some(if root { (2.0 * index).sqrt() } else { index })
            }
            (Form::EntropyBetween { alpha }, [family]) => {
                let part = |p: &Part| (p.value(), p.estimate.denominator().weight);
                let groups: Vec<(f64, f64)> = family.parts.iter().map(part).collect();
                (!groups.is_empty()).then(|| inequality::of_means(&groups, alpha))
            }
            (Form::Entropy { .. } | Form::EntropyBetween { .. } | Form::Leaning, _) | (_, []) => {
                None
            }
            (Form::Difference | Form::Ratio, [first, ..])
                if first.against.is_none() && first.parts.len() > 1 =>
            {
                Some(self.combined(families.iter().map(|f| self.widest(f))))
            }
            (_, [first, ..]) => {
                let each = (0..first.parts.len()).map(|at| {
                    let pieces: Option<Vec<f64>> =
                        families.iter().map(|f| self.piece(f, at)).collect();
                    Some(self.taken(self.combined(pieces?.into_iter())))
                });
                self.farthest(&each.collect::<Option<Vec<f64>>>()?)
            }
        }
    }

    /// The largest less the smallest of a family, or the smallest over the largest.
    fn widest(&self, family: &Family) -> f64 {
        let (low, high) = ends(family);
        if self.form == Form::Ratio {
            low / high
        } else {
            high - low
        }
    }

    /// One group of a family, as it is or against what it is compared with.
    fn piece(&self, family: &Family, at: usize) -> Option<f64> {
        let part = family.parts.get(at)?;
        let value = part.value();
        let against = family.against.as_ref().map(Part::value);
        Some(match (self.form, against) {
            (Form::Exponential | Form::ExponentialCloseness, _) => value.exp(),
            (Form::Persons, Some(against)) => {
                part.estimate.denominator().weight * (against - value)
            }
            (Form::Ratio | Form::Closeness, Some(against)) => value / against,
            (Form::Difference | Form::Distance, Some(against)) => value - against,
            _ => value,
        })
    }

    /// Without its sign, or not above 1, where the form asks for it.
    fn taken(&self, v: f64) -> f64 {
        match self.form {
            Form::Distance => v.abs(),
            Form::Closeness | Form::ExponentialCloseness if v > 1.0 => 1.0 / v,
            _ => v,
        }
    }

    /// Of several groups.
    fn farthest(&self, values: &[f64]) -> Option<f64> {
        match self.form {
            Form::Closeness | Form::ExponentialCloseness => values.iter().copied().reduce(f64::min),
            Form::Distance | Form::Persons | Form::Largest => {
                values.iter().copied().reduce(f64::max)
            }
            _ => values.first().copied(),
        }
    }

    /// Of several families.
    fn combined(&self, values: impl ExactSizeIterator<Item = f64>) -> f64 {
        let n = values.len() as f64;
        match self.combine {
            Combine::Largest => values.fold(f64::NEG_INFINITY, f64::max),
            Combine::Smallest => values.fold(f64::INFINITY, f64::min),
            Combine::Mean => values.sum::<f64>() / n,
        }
    }
}

/// The smallest and the largest part.
fn ends(family: &Family) -> (f64, f64) {
    let values = || family.parts.iter().map(Part::value);
    (
        values().fold(f64::INFINITY, f64::min),
        values().fold(f64::NEG_INFINITY, f64::max),
    )
}

/// The logarithm of the largest over the smallest part, in the family where that is most.
fn log_ratio(families: &[Family]) -> f64 {
    let one = |family: &Family| {
        let (low, high) = ends(family);
        (high / low).ln()
    };
    families.iter().map(one).fold(f64::NEG_INFINITY, f64::max)
}

/// The mean of parts, each with the sign of its group's contrast.
fn leaning(changes: &Family, leans: &Family) -> Option<f64> {
    let base = leans.against.as_ref()?.value();
    let signed = changes
        .parts
        .iter()
        .zip(&leans.parts)
        .map(|(change, lean)| {
            if lean.value() > base {
                change.value()
            } else {
                -change.value()
            }
        });
    let n = changes.parts.len();
    (n > 0 && n == leans.parts.len()).then(|| signed.sum::<f64>() / n as f64)
}
