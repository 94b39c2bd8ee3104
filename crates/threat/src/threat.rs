use std::sync::Arc;

use crate::row;
use proofmark_domain::{BudgetRecord, Coupling, Epsilon, Modality, Norm, ThreatRecord, nearest};

/// Budget of each sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Radius {
    /// The same budget for every sample.
    Uniform(Epsilon),
    /// One budget per sample of the set, in order; finite and not negative.
    PerSample(Arc<[f64]>),
}

impl Radius {
    /// Returns the budget of sample `i`.
    pub fn of(&self, i: usize) -> f64 {
        match self {
            Self::Uniform(e) => e.get(),
            Self::PerSample(v) => v[i],
        }
    }
}

/// Budget of one modality.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// Name of the modality.
    pub modality: String,
    /// Norm of the change.
    pub norm: Norm,
    /// Radius in that norm, data units; 0 freezes the modality.
    pub radius: Radius,
    /// Which features may change; `None` allows all.
    pub mask: Option<Arc<[bool]>>,
}

impl Budget {
    /// Whether the modality may change in some sample. `false` only for a uniform budget of 0.
    pub fn moves(&self) -> bool {
        !matches!(&self.radius, Radius::Uniform(e) if e.get() == 0.0)
    }
}

/// A threat model: one budget per modality and their coupling.
#[derive(Debug, Clone, PartialEq)]
pub struct Threat {
    budgets: Vec<Budget>,
    coupling: Coupling,
}

/// Errors of budgets that do not fit a model's inputs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ThreatError {
    /// A budget names a modality that the model does not have.
    #[error("no input `{given}`{hint}; the model's inputs are {known}")]
    Unknown {
        /// The name given.
        given: String,
        /// The nearest known name, as a phrase; empty if none is near.
        hint: String,
        /// All known names.
        known: String,
    },
    /// A modality has no budget, or several.
    #[error("input `{modality}` has {count} budgets; expected exactly one (epsilon 0 freezes it)")]
    Count {
        /// The modality's name.
        modality: String,
        /// Number of budgets that name it.
        count: usize,
    },
    /// A mask does not have one entry per feature.
    #[error("the mask of `{modality}` has {given} entries; expected one per feature, {expected}")]
    Mask {
        /// The modality's name.
        modality: String,
        /// Entries given.
        given: usize,
        /// Features expected.
        expected: usize,
    },
    /// Per-sample budgets do not fit the samples.
    #[error("per-sample epsilon of `{modality}`: {problem}")]
    PerSample {
        /// The modality's name.
        modality: String,
        /// What is wrong.
        problem: String,
    },
    /// A shared budget needs convex balls.
    #[error(
        "input `{modality}` has norm l0 in a shared budget; expected linf, l2 or l1 (an l0 ball has no unique projection)"
    )]
    SharedL0 {
        /// The modality's name.
        modality: String,
    },
    /// The exponent of a shared budget is out of range.
    #[error("shared budget with exponent {q}; expected a finite number of at least 1")]
    Exponent {
        /// The exponent given.
        q: f64,
    },
}

impl Threat {
    /// Checks `budgets` against the model's `modalities` and puts them in the same order.
    ///
    /// `samples` is the number of samples that per-sample budgets must cover.
    pub fn new(
        modalities: &[Modality],
        mut budgets: Vec<Budget>,
        coupling: Coupling,
        samples: usize,
    ) -> Result<Self, ThreatError> {
        for b in &budgets {
            if !modalities.iter().any(|m| m.name == b.modality) {
                let names = || modalities.iter().map(|m| m.name.as_str());
                return Err(ThreatError::Unknown {
                    given: b.modality.clone(),
                    hint: nearest(&b.modality, names())
                        .map_or_else(String::new, |n| format!(" (did you mean `{n}`?)")),
                    known: names().collect::<Vec<_>>().join(", "),
                });
            }
        }
        if let Coupling::Shared { q } = coupling
            && !(q.is_finite() && q >= 1.0)
        {
            return Err(ThreatError::Exponent { q });
        }
        let mut ordered = Vec::with_capacity(modalities.len());
        for m in modalities {
            let mut mine: Vec<Budget> = budgets.extract_if(.., |b| b.modality == m.name).collect();
            let (Some(budget), true) = (mine.pop(), mine.is_empty()) else {
                let count = if mine.is_empty() { 0 } else { mine.len() + 1 };
                return Err(ThreatError::Count {
                    modality: m.name.clone(),
                    count,
                });
            };
            check(&budget, m, &coupling, samples)?;
            ordered.push(budget);
        }
        Ok(Self {
            budgets: ordered,
            coupling,
        })
    }

    /// Returns a threat with the same norm and epsilon for every modality, all features free and independent budgets.
    pub fn uniform(modalities: &[Modality], norm: Norm, eps: &Epsilon) -> Self {
        let budgets = modalities
            .iter()
            .map(|m| Budget {
                modality: m.name.clone(),
                norm,
                radius: Radius::Uniform(eps.clone()),
                mask: None,
            })
            .collect();
        Self {
            budgets,
            coupling: Coupling::Independent,
        }
    }

    /// Returns a threat limited only by the bounds: every feature of every modality may take any value in its range.
    pub fn unbounded(modalities: &[Modality]) -> Self {
        let budgets = modalities
            .iter()
            .map(|m| {
                let widest = f64::from(m.bounds.widest());
                Budget {
                    modality: m.name.clone(),
                    norm: Norm::Linf,
                    radius: Radius::Uniform(Epsilon::new(widest).expect("bounds are finite")),
                    mask: None,
                }
            })
            .collect();
        Self {
            budgets,
            coupling: Coupling::Independent,
        }
    }

    /// Returns the threat for these of its samples, in this order.
    #[must_use]
    pub fn at(&self, samples: &[usize]) -> Self {
        let radius = |radius: &Radius| match radius {
            Radius::Uniform(e) => Radius::Uniform(e.clone()),
            Radius::PerSample(all) => Radius::PerSample(samples.iter().map(|i| all[*i]).collect()),
        };
        let budgets = self.budgets.iter().map(|b| Budget {
            radius: radius(&b.radius),
            ..b.clone()
        });
        Self {
            budgets: budgets.collect(),
            coupling: self.coupling,
        }
    }

    /// Returns one budget per modality, in the model's order.
    pub fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    /// Returns the coupling of the budgets.
    pub const fn coupling(&self) -> Coupling {
        self.coupling
    }

    /// Returns the budget that reports show first: the first that is not frozen, or the first if all are.
    pub fn leading(&self) -> &Budget {
        let moving = self.budgets.iter().find(|b| b.moves());
        moving.unwrap_or(&self.budgets[0])
    }

    /// Whether every budget is the same multiple of that of `other`, so that a nearest point in one gauge is also
    /// nearest in the other.
    pub fn is_multiple_of(&self, other: &Self) -> bool {
        /// Relative rounding error allowed between two factors.
        const SAME: f64 = 1e-12;
        let mut factor: Option<f64> = None;
        let mut agrees = |a: f64, b: f64| {
            if a == 0.0 || b == 0.0 {
                return a == b;
            }
            let f = *factor.get_or_insert(a / b);
            (a / b - f).abs() <= SAME * f.abs()
        };
        let alike = |a: &Budget, b: &Budget| {
            a.modality == b.modality && a.norm == b.norm && a.mask == b.mask
        };
        self.coupling == other.coupling
            && self.budgets.len() == other.budgets.len()
            && self.budgets.iter().zip(&other.budgets).all(|(a, b)| {
                alike(a, b)
                    && match (&a.radius, &b.radius) {
                        (Radius::Uniform(a), Radius::Uniform(b)) => agrees(a.get(), b.get()),
                        (Radius::PerSample(a), Radius::PerSample(b)) => {
                            a.len() == b.len()
                                && a.iter().zip(b.iter()).all(|(a, b)| agrees(*a, *b))
                        }
                        _ => false,
                    }
            })
    }

    /// Returns the gauge of sample `i` moved from `x0` to `x` (one slice per modality), in `f64`. At most 1 means
    /// allowed. `None` if a value is outside its bounds, masked and changed, or not a number.
    pub fn gauge(
        &self,
        modalities: &[Modality],
        i: usize,
        x: &[Vec<f32>],
        x0: &[&[f32]],
    ) -> Option<f64> {
        let mut moved = Vec::with_capacity(self.budgets.len());
        for (((b, m), x), x0) in self.budgets.iter().zip(modalities).zip(x).zip(x0) {
            for (f, (v, v0)) in x.iter().zip(*x0).enumerate() {
                let masked = b.mask.as_ref().is_some_and(|mask| !mask[f]);
                let in_bounds = *v >= m.bounds.low(f).min(*v0) && *v <= m.bounds.high(f).max(*v0);
                if !in_bounds || (masked && v != v0) {
                    return None;
                }
            }
            moved.push((row::distance(b.norm, x, x0), b.radius.of(i)));
        }
        Some(match self.coupling {
            Coupling::Independent => moved
                .into_iter()
                .map(|(d, eps)| if d == 0.0 { 0.0 } else { d / eps })
                .fold(0.0, f64::max),
            Coupling::Shared { q } => row::shared_gauge(moved, q),
        })
    }

    /// Returns the distance that reports show: that of the leading modality, in its norm, data units.
    pub fn distance(&self, x: &[Vec<f32>], x0: &[&[f32]]) -> f64 {
        let lead = self.leading();
        let at = self
            .budgets
            .iter()
            .position(|b| b.modality == lead.modality)
            .unwrap_or(0);
        row::distance(lead.norm, &x[at], x0[at])
    }

    /// Returns the threat model for reports; per-sample budgets are given by their maximum.
    pub fn record(&self) -> ThreatRecord {
        let eps = |b: &Budget| match &b.radius {
            Radius::Uniform(e) => (e.get(), e.to_string()),
            Radius::PerSample(v) => {
                let max = v.iter().copied().fold(0.0, f64::max);
                (max, format!("per-sample, at most {max}"))
            }
        };
        let lead = self.leading();
        let (value, text) = eps(lead);
        ThreatRecord {
            norm: lead.norm,
            eps: value,
            text,
            budgets: self
                .budgets
                .iter()
                .map(|b| BudgetRecord {
                    modality: b.modality.clone(),
                    norm: b.norm,
                    eps: eps(b).0,
                    scale: None,
                })
                .collect(),
            coupling: self.coupling,
            map: None,
        }
    }
}

fn check(b: &Budget, m: &Modality, coupling: &Coupling, samples: usize) -> Result<(), ThreatError> {
    if let Some(mask) = &b.mask
        && mask.len() != m.features()
    {
        return Err(ThreatError::Mask {
            modality: m.name.clone(),
            given: mask.len(),
            expected: m.features(),
        });
    }
    if let Radius::PerSample(v) = &b.radius {
        let problem = if v.len() == samples {
            v.iter()
                .position(|e| !(e.is_finite() && *e >= 0.0))
                .map(|i| {
                    format!(
                        "value {} of sample {i}; expected a finite number of at least 0",
                        v[i]
                    )
                })
        } else {
            Some(format!("{} values for {samples} samples", v.len()))
        };
        if let Some(problem) = problem {
            return Err(ThreatError::PerSample {
                modality: m.name.clone(),
                problem,
            });
        }
    }
    if matches!(coupling, Coupling::Shared { .. }) && b.norm == Norm::L0 {
        return Err(ThreatError::SharedL0 {
            modality: m.name.clone(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofmark_domain::{Bounds, Kind};

    fn modality(name: &str) -> Modality {
        Modality {
            name: name.into(),
            kind: Kind::Table,
            shape: vec![3],
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        }
    }

    fn budget(name: &str, norm: Norm) -> Budget {
        Budget {
            modality: name.into(),
            norm,
            radius: Radius::Uniform(Epsilon::new(0.1).unwrap()),
            mask: None,
        }
    }

    #[test]
    fn budgets_are_matched_to_inputs() {
        let inputs = [modality("image"), modality("audio")];
        let both = vec![budget("audio", Norm::L2), budget("image", Norm::Linf)];
        let t = Threat::new(&inputs, both, Coupling::Independent, 1).unwrap();
        assert_eq!(t.budgets()[0].modality, "image");

        let error = |budgets, coupling| {
            Threat::new(&inputs, budgets, coupling, 1)
                .unwrap_err()
                .to_string()
        };
        let e = error(vec![budget("imgae", Norm::L2)], Coupling::Independent);
        assert!(e.contains("did you mean `image`"), "{e}");
        let e = error(vec![budget("image", Norm::L2)], Coupling::Independent);
        assert!(e.contains("`audio` has 0 budgets"), "{e}");
        let twice = vec![
            budget("image", Norm::L2),
            budget("image", Norm::L1),
            budget("audio", Norm::L2),
        ];
        let e = error(twice, Coupling::Independent);
        assert!(e.contains("has 2 budgets"), "{e}");
        let l0 = vec![budget("image", Norm::L0), budget("audio", Norm::L2)];
        assert!(error(l0, Coupling::Shared { q: 2.0 }).contains("l0"));
        let ok = vec![budget("image", Norm::L1), budget("audio", Norm::L2)];
        assert!(error(ok, Coupling::Shared { q: 0.5 }).contains("exponent 0.5"));
    }

    #[test]
    fn masks_and_per_sample_budgets_are_checked() {
        let inputs = [modality("x")];
        let mut b = budget("x", Norm::L2);
        b.mask = Some([true].into());
        assert!(Threat::new(&inputs, vec![b.clone()], Coupling::Independent, 2).is_err());
        b.mask = None;
        b.radius = Radius::PerSample([0.1, f64::NAN].into());
        assert!(Threat::new(&inputs, vec![b.clone()], Coupling::Independent, 2).is_err());
        b.radius = Radius::PerSample([0.1].into());
        assert!(Threat::new(&inputs, vec![b], Coupling::Independent, 2).is_err());
    }
}
