//! Parts of figures, each list stored once: the parts of a rate serve its difference, its ratio and more, and means
//! carry a histogram for every group.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::AuditReport;
use crate::{AuditError, Basis, Combine, Family, Figure, Form, Part};

/// Parts of a headline: everything its interval is computed from, at any level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MadeOf {
    /// How parts make a number.
    pub form: Form,
    /// How families make the figure.
    pub combine: Combine,
    /// The rates the figure combines.
    pub families: Vec<FamilyOf>,
}

/// One rate over the groups that a figure compares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FamilyOf {
    /// Index of its parts in [`AuditReport::parts`].
    pub parts: usize,
    /// What each group is compared with; `None` if the groups are compared with each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Part>,
}

/// A rate of some groups of an attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartsOf {
    /// The attribute; empty for the table as a whole.
    pub attribute: String,
    /// The rate: `tpr`.
    pub rate: String,
    /// The groups that have an estimate.
    pub parts: Vec<Part>,
}

/// Collects the lists of parts, each once.
#[derive(Default)]
pub(super) struct PartsWriter {
    all: Vec<PartsOf>,
    places: HashMap<(String, &'static str), Vec<usize>>,
}

impl PartsWriter {
    pub(super) fn tell(&mut self, figure: &Figure) -> MadeOf {
        let families = figure.basis.families.iter();
        MadeOf {
            form: figure.basis.form,
            combine: figure.basis.combine,
            families: families
                .map(|family| FamilyOf {
                    parts: self.place(&figure.attribute, family),
                    against: family.against.clone(),
                })
                .collect(),
        }
    }

    fn place(&mut self, attribute: &str, family: &Family) -> usize {
        let known = self.places.entry((attribute.to_owned(), family.rate));
        let known = known.or_default();
        let known_parts = known.iter().find(|at| self.all[**at].parts == family.parts);
        if let Some(at) = known_parts {
            return *at;
        }
        known.push(self.all.len());
        self.all.push(PartsOf {
            attribute: attribute.to_owned(),
            rate: family.rate.to_owned(),
            parts: family.parts.clone(),
        });
        self.all.len() - 1
    }

    pub(super) fn into_parts(self) -> Vec<PartsOf> {
        self.all
    }
}

impl AuditReport {
    /// Returns the basis of a figure, with its parts. Refuses an index outside the lists of parts.
    pub(super) fn basis(&self, made_of: &MadeOf) -> Result<Basis, AuditError> {
        let family = |f: &FamilyOf| {
            let known_parts = self.parts.get(f.parts).ok_or_else(|| {
                AuditError::Report(format!(
                    "it has {} lists of parts, and none at {}: it was changed by hand",
                    self.parts.len(),
                    f.parts
                ))
            })?;
            Ok(Family {
                // No interval depends on the name of the rate.
                rate: "",
                parts: known_parts.parts.clone(),
                against: f.against.clone(),
            })
        };
        Ok(Basis {
            form: made_of.form,
            combine: made_of.combine,
            families: made_of
                .families
                .iter()
                .map(family)
                .collect::<Result<_, AuditError>>()?,
        })
    }
}
