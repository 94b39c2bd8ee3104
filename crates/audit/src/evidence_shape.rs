//! Determines the kind of interval that a figure needs, from its form and its parts.

use proofmark_stats::{Arm, Contrasts, Scale};

use crate::evidence::IntervalInput;
use crate::piece::{Piece, arm};
use crate::{Combine, Family, Figure, Form, Part};

/// How the parts of a figure relate to each other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// One estimate or contrast per rate.
    One {
        pieces: Vec<Piece>,
        /// Number of groups among which the comparison group was picked as the highest; 0 if it was not picked.
        picked: usize,
        /// Whether there is no contrast, and so no value that equal groups have.
        plain: bool,
    },
    /// The two furthest apart of many groups, per rate.
    Extreme(Vec<Contrasts>),
    /// The farthest of many contrasts, each a mean over rates; the flag tells whether the sign is kept.
    Farthest(Vec<Vec<Piece>>, bool),
    /// The negated logarithm of a smallest ratio.
    Logarithm(Box<IntervalInput>),
    /// The first minus the second, valid for any dependence between the two.
    Less(Box<[IntervalInput; 2]>),
    /// The mean of estimates, each with the sign of a contrast.
    Leaning(Vec<(Arm, Piece)>),
    /// An index of inequality over individuals: its rates, alpha, and whether it is the root of twice the index.
    Entropy {
        errors: Arm,
        favours: Option<Arm>,
        alpha: f64,
        root: bool,
    },
    /// An index of inequality between groups: mean benefits, weights, alpha.
    EntropyBetween(Vec<Arm>, Vec<f64>, f64),
}

impl IntervalInput {
    /// Returns the input of a figure's interval; `None` if the figure has no value or a variance is missing. `picked`
    /// is the number of groups among which the comparison group was picked as the highest, 0 if it was not picked.
    pub(crate) fn of(figure: &Figure, picked: usize) -> Option<Self> {
        figure.value()?;
        let (form, families) = (figure.basis.form, &figure.basis.families);
        if matches!(
            form,
            Form::LogRatio
                | Form::LogRatioDifference
                | Form::Leaning
                | Form::Entropy { .. }
                | Form::EntropyBetween { .. }
        ) {
            return Some(Self {
                scale: Scale::Difference,
                combine: figure.basis.combine,
                shape: special(form, families)?,
            });
        }
        let scale = match form {
            Form::Ratio | Form::Closeness | Form::Exponential | Form::ExponentialCloseness => {
                Scale::Ratio
            }
            _ => Scale::Difference,
        };
        let within = |f: &Family| f.against.is_none() && f.parts.len() > 1;
        let shape = match form {
            Form::Difference | Form::Ratio if families.iter().any(within) => Shape::Extreme(
                families
                    .iter()
                    .map(|f| groups(f, scale))
                    .collect::<Option<_>>()?,
            ),
            Form::Distance | Form::Closeness | Form::ExponentialCloseness => {
                Shape::Farthest(across(families, form)?, false)
            }
            Form::Largest => Shape::Farthest(across(families, form)?, true),
            Form::Persons if figure.comparison.is_headline() => {
                Shape::Farthest(across(families, form)?, true)
            }
            _ => Shape::One {
                pieces: across(families, form)?.into_iter().next()?,
                picked,
                plain: form == Form::Plain,
            },
        };
        Some(Self {
            scale,
            combine: figure.basis.combine,
            shape,
        })
    }
}

/// Returns the shape of a form that is not a plain contrast; `None` if a variance is missing.
fn special(form: Form, families: &[Family]) -> Option<Shape> {
    let logarithm = |families: &[Family]| {
        let sets = families.iter().map(|f| groups(f, Scale::Ratio));
        Some(IntervalInput {
            scale: Scale::Ratio,
            combine: Combine::Smallest,
            shape: Shape::Extreme(sets.collect::<Option<_>>()?),
        })
    };
    let arms = |family: &Family| {
        let arms = family
            .parts
            .iter()
            .map(|p| arm(&p.estimate, Scale::Difference));
        arms.collect::<Option<Vec<Arm>>>()
    };
    match (form, families) {
        (Form::LogRatio, _) => logarithm(families).map(|e| Shape::Logarithm(Box::new(e))),
        (Form::LogRatioDifference, _) => {
            let (first, second) = families.split_at(families.len() / 2);
            let one = |families| {
                Some(IntervalInput {
                    scale: Scale::Difference,
                    combine: Combine::Largest,
                    shape: Shape::Logarithm(Box::new(logarithm(families)?)),
                })
            };
            one(first)
                .zip(one(second))
                .map(|(a, b)| Shape::Less(Box::new([a, b])))
        }
        (Form::Leaning, [changes, leans]) => {
            let leans = leans
                .parts
                .iter()
                .map(|p| Piece::of(Form::Difference, &p.estimate, leans.against.as_ref()));
            arms(changes)
                .zip(leans.collect::<Option<Vec<_>>>())
                .map(|(arms, leans)| Shape::Leaning(arms.into_iter().zip(leans).collect()))
        }
        (Form::Entropy { alpha, root }, [errors, favours]) => {
            let one = |family: &Family| arms(family)?.into_iter().next();
            one(errors).map(|errors| Shape::Entropy {
                errors,
                // `None` if there are no errors.
                favours: one(favours),
                alpha,
                root,
            })
        }
        (Form::EntropyBetween { alpha }, [family]) => arms(family).map(|means| {
            let weights = family.parts.iter().map(|p| p.estimate.denominator().weight);
            Shape::EntropyBetween(means, weights.collect(), alpha)
        }),
        _ => None,
    }
}

/// Returns all groups of a rate for comparison with each other; `None` if a variance is missing or there are fewer than
/// two.
fn groups(family: &Family, scale: Scale) -> Option<Contrasts> {
    let arms = family.parts.iter().map(|p| arm(&p.estimate, scale));
    Some(Contrasts::Within(arms.collect::<Option<_>>()?)).filter(|c| !c.is_empty())
}

/// Returns the contrasts of families that list the same groups in the same order: per group, one piece for every rate.
fn across(families: &[Family], form: Form) -> Option<Vec<Vec<Piece>>> {
    let first = families.first()?;
    if first.parts.is_empty() {
        return None;
    }
    let at = |group: usize| {
        let one = |f: &Family| {
            let part: &Part = f.parts.get(group)?;
            Piece::of(form, &part.estimate, f.against.as_ref())
        };
        families.iter().map(one).collect::<Option<Vec<_>>>()
    };
    (0..first.parts.len()).map(at).collect()
}
