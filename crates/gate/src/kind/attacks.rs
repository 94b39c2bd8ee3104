use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeValue;

use crate::policy::{Field, Known, PolicyError, hint};

/// One attack of a check: its id, and the parameters from which the caller builds it.
#[derive(Debug, Clone, PartialEq)]
pub struct AttackSpec {
    /// The attack's id.
    pub id: String,
    /// Its parameters as written, without the id.
    pub parameters: toml::Table,
    pub(crate) path: String,
    pub(crate) span: Range<usize>,
    pub(crate) spans: BTreeMap<String, Range<usize>>,
}

impl AttackSpec {
    /// Returns the byte range of a parameter, or of the attack if the file does not set the parameter.
    pub(crate) fn span_of(&self, parameter: Option<&str>) -> Range<usize> {
        parameter
            .and_then(|p| self.spans.get(p))
            .unwrap_or(&self.span)
            .clone()
    }
}

pub(super) fn read(field: &Field<'_>, known: &Known<'_>) -> Result<Vec<AttackSpec>, PolicyError> {
    let items = field.items()?;
    if items.is_empty() {
        return Err(field.error("must not be empty: name at least one attack"));
    }
    items.iter().map(|item| one(item, known)).collect()
}

fn one(item: &Field<'_>, known: &Known<'_>) -> Result<AttackSpec, PolicyError> {
    let mut spec = AttackSpec {
        id: String::new(),
        parameters: toml::Table::new(),
        path: item.path.clone(),
        span: item.node.span(),
        spans: BTreeMap::new(),
    };
    let id = match item.node.get_ref() {
        DeValue::String(_) => item.clone(),
        DeValue::Table(table) => {
            for (key, value) in table.iter().filter(|(k, _)| k.get_ref() != "id") {
                let name = key.get_ref().to_string();
                spec.spans.insert(name.clone(), value.span());
                let field = Field {
                    node: value,
                    ..item.clone()
                };
                spec.parameters.insert(name, field.value()?);
            }
            item.open_section()?.need("id")?
        }
        _ => {
            return Err(
                item.error("expected the id of an attack, or a table { id = \"pgd\", steps = 40 }")
            );
        }
    };
    let name = id.string()?;
    if !known.attacks.contains(&name) {
        let names = known.attacks.join(", ");
        return Err(id.error(format!(
            "unknown attack `{name}`{}; known are {names}",
            hint(name, known.attacks)
        )));
    }
    name.clone_into(&mut spec.id);
    Ok(spec)
}
