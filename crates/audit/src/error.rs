use proofmark_data::DataError;

/// What is wrong with a table, or with what was asked of it.
///
/// Every message names the file, the place, what stands there and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A file that breaks the rules of its format, a value that may not stand where it stands, columns of different
    /// lengths.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A column that the table does not have.
    #[error("{file}: has no column `{name}`{hint}")]
    Column {
        /// The path as given.
        file: String,
        /// The name asked for.
        name: String,
        /// The nearest name, or the names there are.
        hint: String,
    },
    /// A name that several columns bear.
    #[error(
        "{file}: the header names `{name}` {times} times; say which one with `{name}#1` to `{name}#{times}`"
    )]
    Twice {
        /// The path as given.
        file: String,
        /// The name.
        name: String,
        /// How often it stands in the header.
        times: usize,
    },
    /// A favourable value that no row holds.
    #[error("{file}: `{column}` never holds {stated}, the value stated as favourable{seen}")]
    NeverFavourable {
        /// The path as given.
        file: String,
        /// The column.
        column: String,
        /// The values stated.
        stated: String,
        /// The nearest value, if any is near, and the values it does hold.
        seen: String,
    },
    /// Weights that weigh nothing.
    #[error("{file}: all {rows} weights in `{column}` are 0; expected at least one above 0")]
    AllZero {
        /// The path as given.
        file: String,
        /// The column of weights.
        column: String,
        /// Rows there are.
        rows: usize,
    },
    /// No rows, or none left by the filters.
    #[error("{file}: {problem}")]
    Empty {
        /// The path as given.
        file: String,
        /// Why there are none.
        problem: String,
    },
    /// An option that cannot be followed.
    #[error("{option}: {value}; expected {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        expected: String,
    },
    /// A value that an attribute does not take.
    #[error("{file}: `{attribute}` never takes the value `{value}`{hint}")]
    Level {
        /// The path as given.
        file: String,
        /// The attribute.
        attribute: String,
        /// The value asked for.
        value: String,
        /// The nearest value, or the values it takes.
        hint: String,
    },
    /// An attribute with one group only.
    #[error("{file}: `{attribute}` {problem}; expected at least two groups")]
    OneGroup {
        /// The path as given.
        file: String,
        /// The attribute.
        attribute: String,
        /// What it holds.
        problem: String,
    },
    /// Groups that could not be told apart by their names.
    #[error("{file}: `{attribute}` {problem}; expected another name")]
    Name {
        /// The path as given.
        file: String,
        /// The attribute.
        attribute: String,
        /// Which name, and what else bears it.
        problem: String,
    },
    /// An attribute all of whose groups but one, or all, are too small to be reported.
    #[error(
        "{file}: `{attribute}`: of {groups} groups {left} {have} at least {least} (the largest has {largest}); expected two or more: lower `min_n` (`--min-n`), merge groups, or bring more data",
        have = if *left == 1 { "has" } else { "have" }
    )]
    NoGroupLeft {
        /// The path as given.
        file: String,
        /// The attribute.
        attribute: String,
        /// Groups there are.
        groups: usize,
        /// Groups that are large enough.
        left: usize,
        /// The policy, in words.
        least: String,
        /// Members of the largest.
        largest: u64,
    },
    /// An unknown metric.
    #[error("unknown metric `{given}`{hint}")]
    Metric {
        /// What was asked for.
        given: String,
        /// The nearest id, if any is near.
        hint: String,
    },
    /// A metric asked for by name of a table that cannot give it.
    #[error("`{metric}` needs {needs}, which the table does not have")]
    Needs {
        /// The metric.
        metric: &'static str,
        /// What is missing.
        needs: String,
    },
    /// Somebody asked for an end.
    #[error("stopped before the end")]
    Stopped,
    /// A report that cannot be joined with the groups of its samples.
    #[error("report: {0}")]
    Report(String),
}

impl AuditError {
    /// A value that may not stand where it stands.
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

    /// `" (did you mean `x`?)"`, or what there is to choose from.
    pub(crate) fn hint<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> String {
        /// Names listed in a message before it says how many more there are.
        const LISTED: usize = 12;
        // Nothing is nearer than the same name in other letters.
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
