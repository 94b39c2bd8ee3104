use proofmark_data::DataError;

/// An error in a table or in the options of an audit.
///
/// Messages name the file, the location, the value found and the value expected, as far as they apply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A file that violates its format, a value that is not allowed in its column, or columns of different lengths.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A column that the table does not have.
    #[error("{file}: has no column `{name}`{hint}")]
    Column {
        /// The path as given.
        file: String,
        /// The name asked for.
        name: String,
        /// The nearest name, or the available names.
        hint: String,
    },
    /// A name that several columns share.
    #[error(
        "{file}: the header names `{name}` {times} times; say which one with `{name}#1` to `{name}#{times}`"
    )]
    Twice {
        /// The path as given.
        file: String,
        /// The name.
        name: String,
        /// Number of times it occurs in the header.
        times: usize,
    },
    /// A favourable value that does not occur in its column.
    #[error("{file}: `{column}` never holds {stated}, the value stated as favourable{seen}")]
    NeverFavourable {
        /// The path as given.
        file: String,
        /// The column.
        column: String,
        /// The values stated.
        stated: String,
        /// The nearest value, if any is close, and the values that occur.
        seen: String,
    },
    /// Weights that are all 0.
    #[error("{file}: all {rows} weights in `{column}` are 0; expected at least one above 0")]
    AllZero {
        /// The path as given.
        file: String,
        /// The column of weights.
        column: String,
        /// Number of rows.
        rows: usize,
    },
    /// No rows, or none left after filtering.
    #[error("{file}: {problem}")]
    Empty {
        /// The path as given.
        file: String,
        /// Why there are no rows.
        problem: String,
    },
    /// An option with an invalid value.
    #[error("{option}: {value}; expected {expected}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// The value given.
        value: String,
        /// The values accepted.
        expected: String,
    },
    /// A value that does not occur in an attribute.
    #[error("{file}: `{attribute}` never takes the value `{value}`{hint}")]
    Level {
        /// The path as given.
        file: String,
        /// The attribute.
        attribute: String,
        /// The value given.
        value: String,
        /// The nearest value, or the values that occur.
        hint: String,
    },
    /// An attribute with fewer than two groups.
    #[error("{file}: `{attribute}` {problem}; expected at least two groups")]
    OneGroup {
        /// The path as given.
        file: String,
        /// The attribute.
        attribute: String,
        /// What the attribute holds instead.
        problem: String,
    },
    /// Groups that their names do not distinguish.
    #[error("{file}: `{attribute}` {problem}; expected another name")]
    Name {
        /// The path as given.
        file: String,
        /// The attribute.
        attribute: String,
        /// The name, and what else has it.
        problem: String,
    },
    /// An attribute with fewer than two groups that are large enough to be reported.
    #[error(
        "{file}: `{attribute}`: of {groups} groups {left} {have} at least {least} (the largest has {largest}); expected two or more: lower `min_n` (`--min-n`), merge groups, or bring more data",
        have = if *left == 1 { "has" } else { "have" }
    )]
    NoGroupLeft {
        /// The path as given.
        file: String,
        /// The attribute.
        attribute: String,
        /// Number of groups.
        groups: usize,
        /// Number of groups that are large enough.
        left: usize,
        /// The minimum size, in words.
        least: String,
        /// Size of the largest group.
        largest: u64,
    },
    /// An unknown metric.
    #[error("unknown metric `{given}`{hint}")]
    Metric {
        /// The name given.
        given: String,
        /// The nearest id, if any is close.
        hint: String,
    },
    /// A metric requested by name whose columns the table lacks.
    #[error("`{metric}` needs {needs}, which the table does not have")]
    Needs {
        /// The metric.
        metric: &'static str,
        /// The missing columns.
        needs: String,
    },
    /// The caller cancelled the scan.
    #[error("stopped before the end")]
    Stopped,
    /// An attack report that cannot be joined with the groups of its samples.
    #[error("report: {0}")]
    Report(String),
}

impl AuditError {
    /// Returns the error for a value that is not allowed in its column.
    pub(crate) fn value(
        file: &str,
        column: &str,
        at: &str,
        value: String,
        expected: impl Into<String>,
    ) -> Self {
        Self::Data(DataError::Value {
            file: file.to_owned(),
            at: format!("`{column}`, {at}"),
            value,
            expected: expected.into(),
        })
    }

    /// Returns `" (did you mean `x`?)"`, or a list of the available names.
    pub(crate) fn hint<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> String {
        /// Maximum number of names listed; the message counts the rest.
        const LISTED: usize = 12;
        // Compares in lower case: the same name in other letter case is the nearest.
        let all: Vec<&str> = names.into_iter().collect();
        let small: Vec<String> = all.iter().map(|n| n.to_ascii_lowercase()).collect();
        let near = proofmark_domain::nearest(given, small.iter().map(String::as_str));
        if let Some(at) = near.and_then(|near| small.iter().position(|n| n == near)) {
            return format!(" (did you mean `{}`?)", all[at]);
        }
        let more = all.len().saturating_sub(LISTED);
        let listed: Vec<String> = all.iter().take(LISTED).map(|n| format!("`{n}`")).collect();
        match (listed.is_empty(), more) {
            (true, _) => "; it has none".to_owned(),
            (_, 0) => format!("; it has {}", listed.join(", ")),
            _ => format!("; it has {} and {more} more", listed.join(", ")),
        }
    }
}
