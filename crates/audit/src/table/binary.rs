//! A column of two values, one of which is favourable.

use proofmark_domain::{hint, nearest};

use super::field::Field;
use super::missing::Markers;

const YES: [&str; 5] = ["1", "true", "yes", "t", "y"];
const NO: [&str; 6] = ["0", "-1", "false", "no", "f", "n"];

/// Meaning of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Favourable,
    Unfavourable,
    Missing,
}

/// The stated favourable and unfavourable values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    pub(crate) favourable: Vec<String>,
    pub(crate) unfavourable: Vec<String>,
    /// Whether every value that is not favourable is unfavourable.
    pub(crate) others: bool,
    /// Whether the unfavourable values are stated for another column too; this column may then have one unfavourable
    /// value of its own instead.
    pub(crate) shared: bool,
}

/// Reads a column of decisions or labels.
pub(crate) struct Binary {
    stated: Values,
    /// Every value met so far, and its meaning.
    seen: Vec<(String, Meaning)>,
    pub(crate) values: Vec<bool>,
}

impl Binary {
    pub(crate) fn new(stated: Values) -> Self {
        Self {
            stated,
            seen: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Reads one more value and returns whether it is missing. The error says what was expected instead.
    pub(crate) fn push(&mut self, field: Field<'_>, markers: &Markers) -> Result<bool, String> {
        let text = field.text();
        let known = self.seen.iter().find(|(t, _)| *t == *text);
        let meaning = if let Some((_, meaning)) = known {
            *meaning
        } else {
            let meaning = self.classify(field, markers)?;
            self.seen.push((text.into_owned(), meaning));
            meaning
        };
        self.values.push(meaning == Meaning::Favourable);
        Ok(meaning == Meaning::Missing)
    }

    fn classify(&self, field: Field<'_>, markers: &Markers) -> Result<Meaning, String> {
        let among = |values: &[String]| values.iter().any(|v| field.is(v));
        let Values {
            favourable,
            unfavourable,
            others,
            shared,
        } = &self.stated;
        // A stated value is a value even if it looks like a missing-value marker.
        if among(favourable) {
            return Ok(Meaning::Favourable);
        }
        let stated = among(unfavourable);
        if !stated && markers.holds(field) {
            return Ok(Meaning::Missing);
        }
        if favourable.is_empty() && unfavourable.is_empty() {
            return self.by_custom(field);
        }
        let first = self.all(Meaning::Unfavourable).next();
        let alone = first.is_none_or(|other| field.is(other));
        let unfavourable_so_far = match (shared, unfavourable.is_empty()) {
            _ if *others => true,
            (false, false) if stated => true,
            (false, false) => {
                let stated = favourable.iter().chain(unfavourable);
                return Err(format!("one of the stated values: {}", list(stated)));
            }
            (false, true) => alone,
            // Either all unfavourable values are stated, or there is only one.
            (true, _) => {
                let mut met = self.all(Meaning::Unfavourable);
                alone || stated && met.all(|other| unfavourable.contains(other))
            }
        };
        if unfavourable_so_far {
            return Ok(Meaning::Unfavourable);
        }
        let met = self.seen.iter().any(|(_, v)| *v == Meaning::Favourable);
        let text = field.text();
        let note = match nearest(&favourable[0], [&*text]) {
            _ if met => String::new(),
            None => " (not met yet)".to_owned(),
            Some(near) => format!(" (not met yet; did you mean `{near}`?)"),
        };
        Err(format!(
            "{}{note} or `{}`: this is a third value; say which ones count as unfavourable (`--unfavourable`), or that \
             all others do (`--others-unfavourable`)",
            list(favourable),
            first.map_or("", String::as_str)
        ))
    }

    /// Returns the values met so far with this meaning.
    fn all(&self, meaning: Meaning) -> impl Iterator<Item = &String> + Clone {
        self.seen
            .iter()
            .filter(move |s| s.1 == meaning)
            .map(|s| &s.0)
    }

    /// Classifies 1, 0 and similar words when no values are stated.
    fn by_custom(&self, field: Field<'_>) -> Result<Meaning, String> {
        let text = field.text().to_ascii_lowercase();
        let is = |values: &[&str]| values.iter().any(|v| *v == text || field.is(v));
        if is(&YES) {
            return Ok(Meaning::Favourable);
        }
        if !is(&NO) {
            return Err(
                "1 or 0 (or -1), true or false, yes or no; else say which value is favourable (`--favourable`)"
                    .to_owned(),
            );
        }
        match self.all(Meaning::Unfavourable).next() {
            Some(other) if other.to_ascii_lowercase() != text && !field.is(other) => Err(format!(
                "`{other}` as before: this is a third value; say which one is favourable (`--favourable`)"
            )),
            _ => Ok(Meaning::Unfavourable),
        }
    }

    /// If favourable values were stated and only other values were met: returns the stated values, a hint and the
    /// values met.
    pub(crate) fn never(&self) -> Option<(String, String, String)> {
        let Values {
            favourable,
            unfavourable,
            others,
            shared,
        } = &self.stated;
        let guessed = unfavourable.is_empty() || *others || *shared;
        let met = || self.all(Meaning::Unfavourable);
        let favoured = self.all(Meaning::Favourable).next().is_some();
        if favourable.is_empty() || !guessed || favoured || met().next().is_none() {
            return None;
        }
        let hint = hint(&favourable[0], met().map(String::as_str));
        Some((list(favourable), hint, list(met())))
    }
}

fn list<'a>(values: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = values.into_iter().map(|v| format!("`{v}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::MISSING;

    fn own(values: &[&str]) -> Vec<String> {
        values.iter().map(|s| (*s).to_owned()).collect()
    }

    /// Reads cells; a missing value gives `None`.
    fn read_by(stated: Values, cells: &[&str]) -> Result<Vec<Option<bool>>, String> {
        let markers = Markers::new(&own(&MISSING));
        let mut binary = Binary::new(stated);
        let mut gaps = Vec::new();
        for cell in cells {
            gaps.push(binary.push(Field::Text(cell), &markers)?);
        }
        match binary.never() {
            None => {
                let values = binary.values.iter().zip(gaps);
                Ok(values.map(|(v, gap)| (!gap).then_some(*v)).collect())
            }
            Some((stated, hint, seen)) => Err(format!("never {stated}{hint}: {seen}")),
        }
    }

    fn read(
        favourable: &[&str],
        unfavourable: &[&str],
        cells: &[&str],
    ) -> Result<Vec<Option<bool>>, String> {
        let stated = Values {
            favourable: own(favourable),
            unfavourable: own(unfavourable),
            ..Values::default()
        };
        read_by(stated, cells)
    }

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

    #[test]
    fn common_words_are_known_and_a_third_value_is_an_error() {
        assert_eq!(
            read(&[], &[], &["1", "0", "1.0", "0.0"]),
            Ok(vec![YES, NO, YES, NO])
        );
        assert_eq!(read(&[], &[], &["Yes", "no"]), Ok(vec![YES, NO]));
        assert_eq!(read(&[], &[], &["-1", "1"]), Ok(vec![NO, YES]));
        assert!(read(&[], &[], &["0", "-1"]).is_err_and(|e| e.contains("third value")));
        assert!(read(&[], &[], &["1", "2"]).is_err_and(|e| e.starts_with("1 or 0")));
    }

    #[test]
    fn a_marker_is_missing_and_never_unfavourable() {
        assert_eq!(
            read(&[], &[], &["1", "", "NULL", "0"]),
            Ok(vec![YES, None, None, NO])
        );
        assert_eq!(
            read(&["yes"], &[], &["yes", "NA", "no"]),
            Ok(vec![YES, None, NO])
        );
        let strict = read(&["yes"], &["no"], &["yes", "#N/A", "no"]);
        assert_eq!(strict, Ok(vec![YES, None, NO]));
        // A stated value is not missing.
        assert_eq!(
            read(&["yes"], &["None"], &["yes", "None", "NA"]),
            Ok(vec![YES, NO, None])
        );
        assert_eq!(read(&["none"], &[], &["none", "some"]), Ok(vec![YES, NO]));
    }

    #[test]
    fn stated_values_decide_what_is_favourable() {
        assert_eq!(read(&["1"], &[], &["1", "2", "2"]), Ok(vec![YES, NO, NO]));
        assert!(read(&["1"], &[], &["1", "2", "3"]).is_err_and(|e| e.contains("third value")));
        assert_eq!(read(&["0"], &[], &["0", "1"]), Ok(vec![YES, NO]));
        let low = read(&["Low"], &["High", "Medium"], &["Low", "Medium", "High"]);
        assert_eq!(low, Ok(vec![YES, NO, NO]));
        assert!(
            read(&["Low"], &["High"], &["low"]).is_err_and(|e| e.starts_with("one of the stated"))
        );
        let dotted = read(&[">50K"], &[], &["<=50K."]);
        assert!(dotted.is_err_and(|e| e.starts_with("never `>50K`: `<=50K.`")));
        let third = read(&[">50K"], &[], &["<=50K.", ">50K."]);
        assert!(third.is_err_and(|e| e.contains(
            "`>50K` (not met yet; did you mean `>50K.`?) or `<=50K.`: this is a third value"
        )));
    }

    #[test]
    fn others_unfavourable_accepts_any_other_value() {
        let others = |favourable: &[&str], cells: &[&str]| {
            let stated = Values {
                favourable: own(favourable),
                others: true,
                ..Values::default()
            };
            read_by(stated, cells)
        };
        let all = others(&["a"], &["b", "a", "c", "NA", "d"]);
        assert_eq!(all, Ok(vec![NO, YES, NO, None, NO]));
        assert!(others(&["a"], &["A", "c"]).is_err_and(|e| e.starts_with("never `a`")));
    }

    /// Labels of a table whose unfavourable values are stated for decisions and labels together.
    #[test]
    fn labels_have_the_stated_values_or_one_of_their_own() {
        let label = |cells: &[&str]| {
            let stated = Values {
                favourable: own(&["paid"]),
                unfavourable: own(&["deny", "default", "late"]),
                shared: true,
                ..Values::default()
            };
            read_by(stated, cells)
        };
        assert_eq!(label(&["late", "paid", "default"]), Ok(vec![NO, YES, NO]));
        assert_eq!(label(&["lost", "paid", "lost"]), Ok(vec![NO, YES, NO]));
        for third in [&["lost", "late"], &["late", "lost"], &["lost", "gone"]] {
            let told = label(third);
            assert!(
                told.is_err_and(|e| e.contains("this is a third value")),
                "{third:?}"
            );
        }
    }
}
