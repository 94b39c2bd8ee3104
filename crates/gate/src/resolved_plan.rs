//! The resolved plan of a run, as one document with one digest: evidence serves a check only if both plans agree.

use std::collections::BTreeSet;
use std::fmt;

use proofmark_domain::{Report, hex};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Keys of a report's `config` that hold the document and its digest.
const FIELD: &str = "plan";
const DIGEST: &str = "plan_sha256";

/// Maximum length of a value in messages; longer ones are cut.
const SHOWN: usize = 100;

/// Everything that determines what a run measures, resolved: model, data and selection, labels, target, preprocessing,
/// every run with its threat and parameters, seed and judge. It excludes thresholds, level, waivers, shard, batch,
/// compaction and time limits, which change no result, and the device, which a report states separately.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedPlan(Value);

impl ResolvedPlan {
    /// Creates a plan from its document.
    pub fn new(document: Map<String, Value>) -> Self {
        Self(Value::Object(document))
    }

    /// Returns the document.
    pub fn document(&self) -> &Value {
        &self.0
    }

    /// Returns the SHA-256 of the document with its fields sorted, hex.
    pub fn sha256(&self) -> String {
        let mut text = String::new();
        canonical(&self.0, &mut text);
        hex(&Sha256::digest(text.as_bytes()))
    }

    /// Writes document and digest into a report's `config`.
    pub fn write(self, config: &mut Map<String, Value>) {
        config.insert(DIGEST.to_owned(), Value::from(self.sha256()));
        config.insert(FIELD.to_owned(), self.0);
    }

    /// Returns the plan a report was made with; the error says why it is unknown.
    pub fn of(report: &Report) -> Result<Self, String> {
        let Some(document) = report.config.get(FIELD) else {
            return Err(format!(
                "it does not say what it measured: `config.{FIELD}` is absent, as in reports of older versions; measure again"
            ));
        };
        let plan = Self(document.clone());
        let (stated, found) = (report.config.get(DIGEST), plan.sha256());
        if stated.and_then(Value::as_str) == Some(&found) {
            return Ok(plan);
        }
        Err(format!(
            "`config.{DIGEST}` is {}, and the digest of `config.{FIELD}` is {found}: it was changed after it was written; measure again",
            stated.map_or_else(|| "absent".to_owned(), Value::to_string)
        ))
    }

    /// Returns the first field in which `given` differs from this plan.
    pub fn difference(&self, given: &Self) -> Option<Difference> {
        difference(&self.0, &given.0)
    }

    /// Returns the first field of `expected` in which this plan differs.
    pub fn departs_from(&self, expected: &Map<String, Value>) -> Option<Difference> {
        let null = Value::Null;
        expected.iter().find_map(|(name, value)| {
            let given = self.0.get(name).unwrap_or(&null);
            walk(name, Some(value), Some(given))
        })
    }
}

/// A field in which two documents differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Path of the field: `attacks[pgd@linf:0.1].parameters.steps`.
    pub path: String,
    /// Value expected there.
    pub expected: String,
    /// Value found there.
    pub given: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {}, expected {}",
            self.path, self.given, self.expected
        )
    }
}

/// Returns the first field in which two documents differ, in the order of field names.
pub fn difference(expected: &Value, given: &Value) -> Option<Difference> {
    walk("", Some(expected), Some(given))
}

fn walk(path: &str, expected: Option<&Value>, given: Option<&Value>) -> Option<Difference> {
    match (expected, given) {
        (Some(e), Some(g)) if e == g => None,
        (Some(Value::Object(e)), Some(Value::Object(g))) => {
            let names: BTreeSet<&String> = e.keys().chain(g.keys()).collect();
            let inside = |name: &str| {
                if path.is_empty() {
                    name.to_owned()
                } else {
                    format!("{path}.{name}")
                }
            };
            names
                .into_iter()
                .find_map(|name| walk(&inside(name), e.get(name), g.get(name)))
        }
        (Some(Value::Array(e)), Some(Value::Array(g))) => (0..e.len().max(g.len())).find_map(|i| {
            // An entry is named by its key if both sides have the same key, else by its index.
            let key = |v: Option<&Value>| Some(v?.get("key")?.as_str()?.to_owned());
            let same = key(e.get(i)).filter(|k| key(g.get(i)).as_ref() == Some(k));
            let name = same.unwrap_or_else(|| i.to_string());
            walk(&format!("{path}[{name}]"), e.get(i), g.get(i))
        }),
        _ => Some(Difference {
            path: path.to_owned(),
            expected: shown(expected),
            given: shown(given),
        }),
    }
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "absent".to_owned();
    };
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    let cut: String = text.chars().take(SHOWN).collect();
    format!("{cut}…")
}

/// Writes JSON without spaces and with the fields of every object sorted, whatever order a map keeps them in.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let fields: std::collections::BTreeMap<&String, &Value> = map.iter().collect();
            text.push('{');
            for (i, (name, value)) in fields.into_iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (i, value) in items.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                canonical(value, text);
            }
            text.push(']');
        }
        _ => text.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(value: Value) -> ResolvedPlan {
        ResolvedPlan(value)
    }

    #[test]
    fn the_digest_is_of_the_sorted_document() {
        let one = plan(json!({"b": [1, {"d": null, "c": "x\"y"}], "a": 0.1}));
        // printf '{"a":0.1,"b":[1,{"c":"x\\"y","d":null}]}' | sha256sum
        assert_eq!(
            one.sha256(),
            "870fb25c96be333bc2630dc1394e27e21673243947de91677e5a9a6da7f8df41"
        );
    }

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        let base = json!({
            "attacks": [{"key": "pgd@linf:0.1", "parameters": {"steps": 40}}],
            "labels": "given", "seed": 0, "target": null,
        });
        let cases = [
            (
                json!({"labels": "predicted"}),
                "labels is \"predicted\", expected \"given\"",
            ),
            (json!({"target": "0"}), "target is \"0\", expected null"),
            (json!({"new": true}), "new is true, expected absent"),
            (
                json!({"attacks": [{"key": "pgd@linf:0.1", "parameters": {"steps": 10}}]}),
                "attacks[pgd@linf:0.1].parameters.steps is 10, expected 40",
            ),
            (
                json!({"attacks": []}),
                "attacks[0] is absent, expected {\"key\":",
            ),
        ];
        for (change, message) in cases {
            let mut given = base.clone();
            for (name, value) in change.as_object().unwrap() {
                given[name] = value.clone();
            }
            let (base, given) = (plan(base.clone()), plan(given));
            assert_ne!(base.sha256(), given.sha256());
            let told = base.difference(&given).unwrap().to_string();
            assert!(told.starts_with(message), "{told}");
            assert_eq!(given.difference(&given), None);
        }
    }
}
