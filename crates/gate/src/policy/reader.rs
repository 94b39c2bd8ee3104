use std::ops::Range;

use proofmark_domain::option::{Given, Options};
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Place, PolicyError};

/// One value of the file with its position and path, and typed readers for it.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    pub source: &'a str,
    pub path: String,
    pub node: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    pub(crate) fn error(&self, message: impl Into<String>) -> PolicyError {
        PolicyError::at(self.source, self.node.span(), &self.path, message)
    }

    /// Creates an error inside a string value, `offset` bytes after its first character.
    pub(crate) fn error_inside(
        &self,
        offset: usize,
        length: usize,
        message: impl Into<String>,
    ) -> PolicyError {
        let span = self.node.span();
        let raw = &self.source[span.clone()];
        // Escapes or triple quotes shift the offsets; the error then covers the whole value.
        let plain = raw.len() >= 2 && self.node.get_ref().as_str() == Some(&raw[1..raw.len() - 1]);
        let at = if plain {
            span.start + 1 + offset..span.start + 1 + offset + length
        } else {
            span
        };
        PolicyError::at(self.source, at, &self.path, message)
    }

    fn expected(&self, what: &str) -> PolicyError {
        self.error(format!(
            "expected {what}, found {}",
            self.node.get_ref().type_str()
        ))
    }

    pub(crate) fn string(&self) -> Result<&'a str, PolicyError> {
        self.node
            .get_ref()
            .as_str()
            .ok_or_else(|| self.expected("a string"))
    }

    /// Reads a string that is not blank.
    pub(crate) fn text(&self) -> Result<String, PolicyError> {
        let text = self.string()?;
        if text.trim().is_empty() {
            Err(self.error("must not be empty"))
        } else {
            Ok(text.to_owned())
        }
    }

    /// Reads a finite number.
    pub(crate) fn number(&self) -> Result<f64, PolicyError> {
        let value = match self.node.get_ref() {
            DeValue::Integer(_) => self.integer()? as f64,
            DeValue::Float(_) => self.float()?,
            _ => return Err(self.expected("a number")),
        };
        if value.is_finite() {
            Ok(value)
        } else {
            Err(self.error(format!("expected a finite number, found {value}")))
        }
    }

    fn integer(&self) -> Result<i64, PolicyError> {
        let Some(i) = self.node.get_ref().as_integer() else {
            return Err(self.expected("a whole number"));
        };
        i64::from_str_radix(i.as_str(), i.radix()).map_err(|_| self.error("is too large a number"))
    }

    fn float(&self) -> Result<f64, PolicyError> {
        let Some(f) = self.node.get_ref().as_float() else {
            return Err(self.expected("a number"));
        };
        f.as_str()
            .parse()
            .map_err(|_| self.error("is not a number"))
    }

    /// Reads a whole number that is at least `least`.
    pub(crate) fn whole(&self, least: u64) -> Result<u64, PolicyError> {
        let value = self.integer()?;
        match u64::try_from(value) {
            Ok(v) if v >= least => Ok(v),
            _ => Err(self.error(format!(
                "expected a whole number of at least {least}, found {value}"
            ))),
        }
    }

    pub(crate) fn items(&self) -> Result<Vec<Field<'a>>, PolicyError> {
        let Some(array) = self.node.get_ref().as_array() else {
            return Err(self.expected("an array"));
        };
        let item = |(i, node)| Field {
            source: self.source,
            path: format!("{}[{}]", self.path, i + 1),
            node,
        };
        Ok(array.iter().enumerate().map(item).collect())
    }

    /// Reads the value as a table with no other keys than these.
    pub(crate) fn section(&self, allowed: &[&'static str]) -> Result<Section<'a>, PolicyError> {
        let section = self.open_section()?;
        section.only(allowed)?;
        Ok(section)
    }

    /// Reads the value as a table with any keys.
    pub(crate) fn open_section(&self) -> Result<Section<'a>, PolicyError> {
        let Some(table) = self.node.get_ref().as_table() else {
            return Err(self.expected("a table"));
        };
        Ok(Section {
            source: self.source,
            path: self.path.clone(),
            span: self.node.span(),
            table,
        })
    }

    /// Reads one of the given words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T, PolicyError> {
        let given = Given::Text(self.string()?.to_owned());
        given.word(words).map_err(|problem| self.error(problem))
    }

    /// Returns the value without positions.
    pub(crate) fn value(&self) -> Result<toml::Value, PolicyError> {
        let inner = |node| Field {
            node,
            ..self.clone()
        };
        Ok(match self.node.get_ref() {
            DeValue::String(s) => toml::Value::String(s.to_string()),
            DeValue::Integer(_) => toml::Value::Integer(self.integer()?),
            DeValue::Float(_) => toml::Value::Float(self.float()?),
            DeValue::Boolean(b) => toml::Value::Boolean(*b),
            DeValue::Datetime(d) => toml::Value::Datetime(*d),
            DeValue::Array(a) => toml::Value::Array(
                a.iter()
                    .map(|v| inner(v).value())
                    .collect::<Result<_, _>>()?,
            ),
            DeValue::Table(t) => {
                let pair = |(k, v): (&Spanned<_>, _)| {
                    let key: &std::borrow::Cow<'_, str> = k.get_ref();
                    Ok((key.to_string(), inner(v).value()?))
                };
                toml::Value::Table(t.iter().map(pair).collect::<Result<_, PolicyError>>()?)
            }
        })
    }

    /// Returns the value in the form that options take.
    fn given(&self) -> Result<Given, PolicyError> {
        Ok(match self.node.get_ref() {
            DeValue::String(s) => Given::Text(s.to_string()),
            DeValue::Integer(_) => Given::Whole(self.integer()?),
            DeValue::Float(_) => Given::Number(self.float()?),
            DeValue::Boolean(b) => Given::Truth(*b),
            DeValue::Datetime(_) => Given::Other("datetime"),
            DeValue::Array(_) => {
                let items = self.items()?;
                Given::List(items.iter().map(Field::given).collect::<Result<_, _>>()?)
            }
            DeValue::Table(_) => {
                let section = self.open_section()?;
                let names = section.table.keys().map(|k| k.get_ref().to_string());
                let pair = |name: String| {
                    let value = section.need(&name)?.given()?;
                    Ok((name, value))
                };
                Given::Table(names.map(pair).collect::<Result<_, PolicyError>>()?)
            }
        })
    }

    /// Returns its position.
    pub(crate) fn place(&self) -> Place {
        Place::of(self.source, self.node.span().start)
    }

    /// Reads a SHA-256 in hex, made lowercase.
    pub(crate) fn sha256(&self) -> Result<String, PolicyError> {
        let text = self.string()?;
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(text.to_ascii_lowercase())
        } else {
            Err(self.error("expected 64 hexadecimal digits (SHA-256)"))
        }
    }
}

/// A table of the file.
pub(crate) struct Section<'a> {
    pub source: &'a str,
    pub path: String,
    pub span: Range<usize>,
    pub table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    pub(crate) fn error(&self, message: impl Into<String>) -> PolicyError {
        PolicyError::at(self.source, self.span.clone(), &self.path, message)
    }

    pub(crate) fn only(&self, allowed: &[&'static str]) -> Result<(), PolicyError> {
        let mut unknown: Vec<_> = self
            .table
            .keys()
            .filter(|k| !allowed.contains(&k.get_ref().as_ref()))
            .collect();
        // The parsed table is sorted by name; the error names the unknown field that comes first in the file.
        unknown.sort_by_key(|k| k.span().start);
        let Some(key) = unknown.first() else {
            return Ok(());
        };
        let name = key.get_ref().as_ref();
        let message = format!(
            "unknown field `{name}`{}; expected one of {}",
            hint(name, allowed),
            allowed.join(", ")
        );
        Err(PolicyError::at(
            self.source,
            key.span(),
            &self.path,
            message,
        ))
    }

    /// Builds a `T` from its options that are set in this table.
    pub(crate) fn options<T: Options>(&self) -> Result<T, PolicyError> {
        let mut made = T::default();
        for option in T::ALL {
            if let Some(field) = self.get(option.name) {
                let given = field.given()?;
                (option.set)(&mut made, &given).map_err(|problem| field.error(problem))?;
            }
        }
        Ok(made)
    }

    /// Returns all fields except `but`, without positions, as reports repeat them.
    pub(crate) fn request(&self, but: &[&str]) -> Result<Value, PolicyError> {
        let mut all = serde_json::Map::new();
        for key in self.table.keys().map(|k| k.get_ref().as_ref()) {
            if !but.contains(&key) {
                let value = self.need(key)?.value()?;
                // The only TOML numbers that JSON cannot hold are infinities and NaN, which become null.
                all.insert(
                    key.to_owned(),
                    serde_json::to_value(value).unwrap_or_default(),
                );
            }
        }
        Ok(Value::Object(all))
    }

    fn child(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Field<'a>> {
        let node = self.table.get(name)?;
        Some(Field {
            source: self.source,
            path: self.child(name),
            node,
        })
    }

    pub(crate) fn need(&self, name: &str) -> Result<Field<'a>, PolicyError> {
        self.get(name)
            .ok_or_else(|| self.error(format!("missing field `{name}`")))
    }

    /// Reads an optional field with `read`.
    pub(crate) fn maybe<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Field<'a>) -> Result<T, PolicyError>,
    ) -> Result<Option<T>, PolicyError> {
        self.get(name).map(|f| read(&f)).transpose()
    }

    /// Returns the tables of `[[name]]`; empty if it does not occur.
    pub(crate) fn tables(&self, name: &str) -> Result<Vec<Field<'a>>, PolicyError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(field) if field.node.get_ref().is_table() => Err(field.error(format!(
                "expected a list of tables: write [[{name}]], not [{name}]"
            ))),
            Some(field) => field.items(),
        }
    }
}

/// Returns `" (did you mean `x`?)"`, or an empty text.
pub(crate) fn hint(given: &str, names: &[&str]) -> String {
    proofmark_domain::hint(given, names.iter().copied())
}
