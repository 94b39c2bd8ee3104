//! Filters that choose which rows are kept.

use std::fmt;
use std::str::FromStr;

use proofmark_domain::names;
use serde::{Deserialize, Serialize};

use super::field::Field;
use super::missing::Markers;
use crate::AuditError;

/// How a cell is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `=`: the same text, or the same number.
    Is,
    /// `!=`.
    IsNot,
    /// `<`.
    Below,
    /// `<=`.
    AtMost,
    /// `>`.
    Above,
    /// `>=`.
    AtLeast,
}

/// First characters of the relation signs.
const SIGNED: [char; 4] = ['=', '!', '<', '>'];

/// Signs of the relations; the longer signs come first, because they begin with the shorter ones.
const SIGNS: [(&str, Relation); 6] = [
    ("!=", Relation::IsNot),
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("=", Relation::Is),
    ("<", Relation::Below),
    (">", Relation::Above),
];

/// One condition on a row: `race=White`, `age>=25`; a column whose name contains such a sign is quoted.
///
/// Several `=` conditions on one column are combined by "or"; all other conditions by "and".
///
/// ```
/// use proofmark_audit::{Filter, Relation};
/// let filter: Filter = "age>=25".parse()?;
/// assert_eq!((filter.column.as_str(), filter.relation), ("age", Relation::AtLeast));
/// # Ok::<(), proofmark_audit::AuditError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter {
    /// The column.
    pub column: String,
    /// How the cell is compared.
    pub relation: Relation,
    /// Value the cell is compared with.
    pub value: String,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = SIGNS.iter().find(|s| s.1 == self.relation);
        let sign = sign.map_or("=", |s| s.0);
        let column = names::quoted(&self.column, &SIGNED);
        write!(f, "{column}{sign}{}", self.value)
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.to_string()
    }
}

impl TryFrom<String> for Filter {
    type Error = AuditError;

    fn try_from(text: String) -> Result<Self, AuditError> {
        text.parse()
    }
}

impl FromStr for Filter {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let wrong = || AuditError::Option {
            option: "where",
            value: format!("`{text}`"),
            expected: "COLUMN=VALUE, or `!=`, `<`, `<=`, `>` or `>=` in its place".to_owned(),
        };
        let (column, rest) = names::leading(text, &SIGNED).map_err(|_| wrong())?;
        let found = SIGNS
            .iter()
            .find_map(|(sign, r)| Some((*r, rest.strip_prefix(sign)?)));
        let (relation, value) = found.ok_or_else(wrong)?;
        let value = value.trim();
        let text_only = matches!(relation, Relation::Is | Relation::IsNot);
        if column.is_empty() || !text_only && value.parse().map_or(true, f64::is_nan) {
            return Err(wrong());
        }
        Ok(Self {
            column,
            relation,
            value: value.to_owned(),
        })
    }
}

impl Filter {
    /// Whether a cell passes. A cell that is not a number passes no numeric comparison. A value that is a missing-value
    /// marker matches every missing cell: `race!=NA` keeps the rows that have a race.
    pub(crate) fn passes(&self, field: Field<'_>, markers: &Markers) -> bool {
        if markers.holds(Field::Text(&self.value)) {
            let missing = markers.holds(field);
            return missing == (self.relation == Relation::Is);
        }
        let ordered = |f: fn(f64, f64) -> bool| {
            let numbers = field.number().zip(self.value.parse().ok());
            numbers.is_some_and(|(a, b)| f(a, b))
        };
        match self.relation {
            Relation::Is => field.is(&self.value),
            Relation::IsNot => !field.is(&self.value),
            Relation::Below => ordered(|a, b| a < b),
            Relation::AtMost => ordered(|a, b| a <= b),
            Relation::Above => ordered(|a, b| a > b),
            Relation::AtLeast => ordered(|a, b| a >= b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_relation_is_read() {
        let filter = |text: &str| text.parse::<Filter>().expect("well-formed");
        let markers = Markers::new(&["NA".to_owned(), "null".to_owned()]);
        let passes = |text: &str, cell: &str| filter(text).passes(Field::Text(cell), &markers);
        assert!(passes("a=x", "x") && !passes("a=x", "y") && passes("a!=x", "y"));
        assert!(passes("a=1", "1.0") && !passes("a!=1", "1.0"));
        assert!(passes("a<=2", "2") && !passes("a<2", "2") && passes("a>=-2", "-2"));
        assert!(passes("a>1", "1.5") && !passes("a>1", "many"));
        assert!(passes("a = b = c", "b = c"));
        assert!(passes("a=NA", "NULL") && passes("a=", "na") && !passes("a=NA", "x"));
        assert!(passes("a!=NA", "x") && !passes("a!=NA", "") && passes("a!=x", "NA"));
        let quoted = filter("\"a=b\"!=c");
        assert_eq!(
            (quoted.column.as_str(), quoted.value.as_str()),
            ("a=b", "c")
        );
        assert_eq!(quoted.to_string(), "\"a=b\"!=c");
        for text in ["a", "=1", "a<b", "a!1", "a<nan"] {
            assert!(text.parse::<Filter>().is_err(), "{text}");
        }
    }
}
