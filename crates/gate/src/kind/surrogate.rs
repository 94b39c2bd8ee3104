use proofmark_domain::{Averaging, Report};
use toml::de::DeValue;

use super::fit::same;
use crate::policy::{Field, ModelRef, Named, PolicyError, find_model};

/// Models whose gradients stand for those of the model under attack.
#[derive(Debug, Clone, PartialEq)]
pub struct SurrogateSpec {
    /// The models, at least one.
    pub models: Vec<ModelRef>,
    /// What is averaged over them, if there are several.
    pub averaging: Averaging,
    /// Whether the attacked model is asked about final points alone.
    pub transfer: bool,
}

/// Reads the names of models, or a table with them and how they are used.
pub(super) fn read(field: &Field<'_>, named: &Named<'_>) -> Result<SurrogateSpec, PolicyError> {
    let mut spec = SurrogateSpec {
        models: Vec::new(),
        averaging: Averaging::default(),
        transfer: false,
    };
    if !matches!(field.node.get_ref(), DeValue::Table(_)) {
        spec.models = models(field, named)?;
        return Ok(spec);
    }
    let s = field.section(&["models", "average", "transfer"])?;
    spec.models = models(&s.need("models")?, named)?;
    if let Some(average) = s.get("average") {
        spec.averaging = average.word(&Averaging::ALL.map(|a| (a.as_str(), a)))?;
        if spec.models.len() == 1 {
            return Err(average.error("only means something for several models"));
        }
    }
    if let Some(transfer) = s.get("transfer") {
        spec.transfer = match transfer.node.get_ref() {
            DeValue::Boolean(is) => *is,
            _ => return Err(transfer.error("expected true or false")),
        };
    }
    Ok(spec)
}

fn models(field: &Field<'_>, named: &Named<'_>) -> Result<Vec<ModelRef>, PolicyError> {
    let names = names(field)?;
    if names.is_empty() {
        return Err(field.error("must not be empty: name at least one model"));
    }
    names.iter().map(|name| find_model(name, named)).collect()
}

/// Returns the fields that name a model: a text, or each text of a list.
fn names<'a>(field: &Field<'a>) -> Result<Vec<Field<'a>>, PolicyError> {
    if matches!(field.node.get_ref(), DeValue::Array(_)) {
        return field.items();
    }
    Ok(vec![field.clone()])
}

/// Returns the fields that name a model in a check's `surrogate`.
pub(crate) fn named<'a>(field: &Field<'a>) -> Result<Vec<Field<'a>>, PolicyError> {
    if matches!(field.node.get_ref(), DeValue::Table(_)) {
        return names(&field.open_section()?.need("models")?);
    }
    names(field)
}

/// Checks that a report's gradients are those that the policy asks for.
pub(super) fn fits(spec: Option<&SurrogateSpec>, report: &Report) -> Result<(), String> {
    let found = report.model.surrogate.as_ref();
    let listed = |names: Vec<&str>, transfer: bool| {
        let how = if transfer { " (transfer)" } else { "" };
        format!("{}{how}", names.join(", "))
    };
    let expected = spec.map_or_else(String::new, |s| {
        listed(s.models.iter().map(ModelRef::name).collect(), s.transfer)
    });
    let given = found.map_or_else(String::new, |s| {
        listed(
            s.models.iter().map(|m| m.name.as_str()).collect(),
            s.transfer,
        )
    });
    same("surrogate", &expected, &given)?;
    let pairs = spec.iter().flat_map(|s| &s.models);
    let pairs = pairs.zip(found.iter().flat_map(|s| &s.models));
    for (model, part) in pairs {
        if let Some(stated) = model.sha256() {
            let what = format!("surrogate `{}` sha256", part.name);
            same(&what, stated, &part.sha256.to_ascii_lowercase())?;
        }
    }
    Ok(())
}
