use proofmark_domain::{Coupling, Epsilon, MapSpec, Norm};
use toml::de::DeValue;

use crate::policy::{Field, PolicyError, Section};

/// Threat model of a check's attacks.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreatSpec {
    /// The budgets.
    pub budgets: Budgets,
    /// How the budgets of several modalities combine.
    pub coupling: Coupling,
    /// The map whose parameters attacks choose; epsilon is then a share of its limits.
    pub map: Option<MapSpec>,
}

/// Budgets as a policy states them.
#[derive(Debug, Clone, PartialEq)]
pub enum Budgets {
    /// One norm and epsilon for every modality.
    All {
        /// The norm.
        norm: Norm,
        /// Its epsilon.
        eps: Epsilon,
    },
    /// One budget per modality; a modality that is not named is frozen.
    PerModality(Vec<ModalityBudget>),
}

/// The budget of one modality.
#[derive(Debug, Clone, PartialEq)]
pub struct ModalityBudget {
    /// The modality's name.
    pub name: String,
    /// The norm.
    pub norm: Norm,
    /// Its epsilon; 0 means frozen.
    pub eps: Epsilon,
}

impl ThreatSpec {
    /// Returns the norm and epsilon that reports name first: those of the first modality that is not frozen.
    pub fn leading(&self) -> (Norm, &Epsilon) {
        match &self.budgets {
            Budgets::All { norm, eps } => (*norm, eps),
            Budgets::PerModality(each) => {
                let first = each.iter().find(|b| b.eps.get() > 0.0).unwrap_or(&each[0]);
                (first.norm, &first.eps)
            }
        }
    }
}

pub(super) fn read(field: &Field<'_>) -> Result<ThreatSpec, PolicyError> {
    let s = field.section(&["norm", "eps", "modalities", "coupling", "q", "map"])?;
    if let Some(map) = s.get("map") {
        return mapped(&s, &map);
    }
    let budgets = match s.get("modalities") {
        None => {
            let (norm, eps) = budget(&s)?;
            if eps.get() <= 0.0 {
                return Err(s.need("eps")?.error(
                    "epsilon 0 freezes everything; to check without attack, use kind = \"clean\"",
                ));
            }
            Budgets::All { norm, eps }
        }
        Some(list) => {
            if let Some(other) = s.get("norm").or_else(|| s.get("eps")) {
                return Err(
                    other.error("state the budget either here or under `modalities`, not both")
                );
            }
            Budgets::PerModality(modalities(&list)?)
        }
    };
    Ok(ThreatSpec {
        map: None,
        coupling: coupling(&s, &budgets)?,
        budgets,
    })
}

/// Reads a threat whose budget is the share of a map's limits.
fn mapped(s: &Section<'_>, field: &Field<'_>) -> Result<ThreatSpec, PolicyError> {
    let map: MapSpec = field.text()?.parse().map_err(|e: String| field.error(e))?;
    for name in ["norm", "modalities", "coupling", "q"] {
        if let Some(other) = s.get(name) {
            return Err(other.error(
                "means nothing beside `map`, whose parameters have limits of their own; leave it out",
            ));
        }
    }
    let eps = s.maybe("eps", |f| {
        let eps = epsilon(f)?;
        if eps.get() > 0.0 && eps.get() <= 1.0 {
            return Ok(eps);
        }
        Err(f.error("expected the share of the map's limits, above 0 and at most 1"))
    })?;
    Ok(ThreatSpec {
        budgets: Budgets::All {
            norm: Norm::Linf,
            eps: match eps {
                Some(eps) => eps,
                None => "1"
                    .parse()
                    .map_err(|e: proofmark_domain::EpsilonError| field.error(e.to_string()))?,
            },
        },
        coupling: Coupling::Independent,
        map: Some(map),
    })
}

fn budget(s: &Section<'_>) -> Result<(Norm, Epsilon), PolicyError> {
    let norm = s.need("norm")?;
    Ok((
        norm.string()?
            .parse()
            .map_err(|e: proofmark_domain::NormError| norm.error(e.to_string()))?,
        epsilon(&s.need("eps")?)?,
    ))
}

/// Reads an epsilon: a text such as `"8/255"`, or a number.
fn epsilon(field: &Field<'_>) -> Result<Epsilon, PolicyError> {
    let text = match field.node.get_ref() {
        DeValue::String(s) => s.to_string(),
        DeValue::Float(f) => f.as_str().to_owned(),
        DeValue::Integer(_) => field.number()?.to_string(),
        _ => return Err(field.error("expected an epsilon such as \"8/255\" or 0.03")),
    };
    text.parse()
        .map_err(|e: proofmark_domain::EpsilonError| field.error(e.to_string()))
}

fn modalities(list: &Field<'_>) -> Result<Vec<ModalityBudget>, PolicyError> {
    let mut all: Vec<ModalityBudget> = Vec::new();
    for item in list.items()? {
        let s = item.section(&["name", "norm", "eps"])?;
        let name = s.need("name")?;
        let text = name.text()?;
        if all.iter().any(|m| m.name == text) {
            return Err(name.error(format!("modality `{text}` has a budget already")));
        }
        let (norm, eps) = budget(&s)?;
        all.push(ModalityBudget {
            name: text,
            norm,
            eps,
        });
    }
    if all.iter().all(|m| m.eps.get() <= 0.0) {
        return Err(
            list.error("no modality may change; to check without attack, use kind = \"clean\"")
        );
    }
    Ok(all)
}

fn coupling(s: &Section<'_>, budgets: &Budgets) -> Result<Coupling, PolicyError> {
    let Some(field) = s.get("coupling") else {
        return match s.get("q") {
            Some(q) => Err(q.error("only means something with coupling = \"shared\"")),
            None => Ok(Coupling::Independent),
        };
    };
    let shared = field.word(&[("independent", false), ("shared", true)])?;
    if shared && matches!(budgets, Budgets::All { .. }) {
        return Err(field.error(
            "a shared budget needs the budgets it is shared by: list them under `modalities`",
        ));
    }
    let q = s.maybe("q", |f| match f.number()? {
        q if q >= 1.0 && shared => Ok(q),
        _ if !shared => Err(f.error("only means something with coupling = \"shared\"")),
        q => Err(f.error(format!("expected an exponent of at least 1, found {q}"))),
    })?;
    Ok(if shared {
        Coupling::Shared {
            q: q.unwrap_or(2.0),
        }
    } else {
        Coupling::Independent
    })
}
