//! Recomputes the value of a figure from its parts.

use crate::inequality;
use crate::{Basis, Combine, Family, Form, Part};

impl Basis {
    /// Returns the value that these parts give: [`crate::Figure::value`] up to rounding. `None` if there are no parts,
    /// or not the parts that the form needs. NaN if the parts give no number.
    ///
    /// When a report is judged again, only its parts count: the value it states must equal this one.
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
                // The family is empty if there are no errors.
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

    /// Returns the largest minus the smallest part of a family, or the smallest over the largest for a ratio.
    fn widest(&self, family: &Family) -> f64 {
        let (low, high) = ends(family);
        if self.form == Form::Ratio {
            low / high
        } else {
            high - low
        }
    }

    /// Returns the value of one group of a family, contrasted with `against` if the form needs it.
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

    /// Drops the sign, or inverts a value above 1, if the form asks for it.
    fn taken(&self, v: f64) -> f64 {
        match self.form {
            Form::Distance => v.abs(),
            Form::Closeness | Form::ExponentialCloseness if v > 1.0 => 1.0 / v,
            _ => v,
        }
    }

    /// Reduces the values of several groups to one.
    fn farthest(&self, values: &[f64]) -> Option<f64> {
        match self.form {
            Form::Closeness | Form::ExponentialCloseness => values.iter().copied().reduce(f64::min),
            Form::Distance | Form::Persons | Form::Largest => {
                values.iter().copied().reduce(f64::max)
            }
            _ => values.first().copied(),
        }
    }

    /// Combines the values of several families.
    fn combined(&self, values: impl ExactSizeIterator<Item = f64>) -> f64 {
        let n = values.len() as f64;
        match self.combine {
            Combine::Largest => values.fold(f64::NEG_INFINITY, f64::max),
            Combine::Smallest => values.fold(f64::INFINITY, f64::min),
            Combine::Mean => values.sum::<f64>() / n,
        }
    }
}

/// Returns the smallest and the largest part.
fn ends(family: &Family) -> (f64, f64) {
    let values = || family.parts.iter().map(Part::value);
    (
        values().fold(f64::INFINITY, f64::min),
        values().fold(f64::NEG_INFINITY, f64::max),
    )
}

/// Returns the largest `ln(max / min)` over the families.
fn log_ratio(families: &[Family]) -> f64 {
    let one = |family: &Family| {
        let (low, high) = ends(family);
        (high / low).ln()
    };
    families.iter().map(one).fold(f64::NEG_INFINITY, f64::max)
}

/// Returns the mean of `changes`, each with the sign of its group's contrast in `leans` (minus if that is not
/// positive).
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
