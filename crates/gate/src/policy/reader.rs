use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::PolicyError;

/// One value of the file: where it is, what it is called, and typed ways to read it.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub source: &'a str,
    pub path: String,
    pub node: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    pub(super) fn error(&self, message: impl Into<String>) -> PolicyError {
        PolicyError::at(self.source, self.node.span(), &self.path, message)
    }

    /// An error inside a string value, `offset` bytes after its first character.
    pub(super) fn error_inside(
        &self,
        offset: usize,
        length: usize,
        message: impl Into<String>,
    ) -> PolicyError {
        let span = self.node.span();
        let raw = &self.source[span.clone()];
        // Escapes or triple quotes move characters around: then the whole value is pointed at.
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

    pub(super) fn string(&self) -> Result<&'a str, PolicyError> {
        self.node
            .get_ref()
            .as_str()
            .ok_or_else(|| self.expected("a string"))
    }

    /// A string that says something.
    pub(super) fn text(&self) -> Result<String, PolicyError> {
        let text = self.string()?;
        if text.trim().is_empty() {
            Err(self.error("must not be empty"))
        } else {
            Ok(text.to_owned())
        }
    }

    /// A finite number.
    pub(super) fn number(&self) -> Result<f64, PolicyError> {
        let value = match self.node.get_ref() {
            DeValue::Integer(_) => self.integer()? as f64,
            DeValue::Float(f) => f
                .as_str()
                .parse()
                .map_err(|_| self.error("is not a number"))?,
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

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, PolicyError> {
        let truth = self.node.get_ref().as_bool();
        truth.ok_or_else(|| self.expected("true or false"))
    }

    /// A whole number that is at least `least`.
    pub(super) fn whole(&self, least: u64) -> Result<u64, PolicyError> {
        let value = self.integer()?;
        match u64::try_from(value) {
            Ok(v) if v >= least => Ok(v),
            _ => Err(self.error(format!(
                "expected a whole number of at least {least}, found {value}"
            ))),
        }
    }

    pub(super) fn items(&self) -> Result<Vec<Field<'a>>, PolicyError> {
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

    /// The value as a table with no other keys than these.
    pub(super) fn section(&self, allowed: &[&'static str]) -> Result<Section<'a>, PolicyError> {
        let section = self.open_section()?;
        section.only(allowed)?;
        Ok(section)
    }

    /// The value as a table with any keys.
    pub(super) fn open_section(&self) -> Result<Section<'a>, PolicyError> {
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

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T, PolicyError> {
        let given = self.string()?;
        words
            .iter()
            .find(|(w, _)| *w == given)
            .map(|(_, t)| *t)
            .ok_or_else(|| {
                let names: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
                self.error(format!(
                    "unknown value `{given}`{}; expected one of {}",
                    hint(given, &names),
                    names.join(", ")
                ))
            })
    }

    /// A SHA-256 in hex, made lowercase.
    pub(super) fn sha256(&self) -> Result<String, PolicyError> {
        let text = self.string()?;
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(text.to_ascii_lowercase())
        } else {
            Err(self.error("expected 64 hexadecimal digits (SHA-256)"))
        }
    }
}

/// A table of the file.
pub(super) struct Section<'a> {
    pub source: &'a str,
    pub path: String,
    pub span: Range<usize>,
    pub table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    pub(super) fn error(&self, message: impl Into<String>) -> PolicyError {
        PolicyError::at(self.source, self.span.clone(), &self.path, message)
    }

    pub(super) fn only(&self, allowed: &[&'static str]) -> Result<(), PolicyError> {
        let mut unknown: Vec<_> = self
            .table
            .keys()
            .filter(|k| !allowed.contains(&k.get_ref().as_ref()))
            .collect();
        // Tables are sorted by name; a reader goes through a file from its top.
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

    fn child(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Field<'a>> {
        let node = self.table.get(name)?;
        Some(Field {
            source: self.source,
            path: self.child(name),
            node,
        })
    }

    pub(super) fn need(&self, name: &str) -> Result<Field<'a>, PolicyError> {
        self.get(name)
            .ok_or_else(|| self.error(format!("missing field `{name}`")))
    }

    /// An optional field, read in some way.
    pub(super) fn maybe<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Field<'a>) -> Result<T, PolicyError>,
    ) -> Result<Option<T>, PolicyError> {
        self.get(name).map(|f| read(&f)).transpose()
    }

    /// The tables of `[[name]]`; none if it does not occur.
    pub(super) fn tables(&self, name: &str) -> Result<Vec<Field<'a>>, PolicyError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(field) if field.node.get_ref().is_table() => Err(field.error(format!(
                "expected a list of tables: write [[{name}]], not [{name}]"
            ))),
            Some(field) => field.items(),
        }
    }
}

/// `" (did you mean `x`?)"`, or nothing.
pub(super) fn hint(given: &str, names: &[&str]) -> String {
    proofmark_domain::hint(given, names.iter().copied())
}
