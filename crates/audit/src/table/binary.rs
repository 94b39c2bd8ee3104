//! A column of two values, one of which is the favourable one.

use proofmark_domain::nearest;

use super::field::Field;

const YES: [&str; 5] = ["1", "true", "yes", "t", "y"];
const NO: [&str; 6] = ["0", "-1", "false", "no", "f", "n"];

/// Reads a column of decisions or labels.
pub(crate) struct Binary {
    favourable: Vec<String>,
    unfavourable: Vec<String>,
    /// Every value met so far, and what it counts as.
    seen: Vec<(String, bool)>,
    pub(crate) values: Vec<bool>,
}

impl Binary {
    pub(crate) fn new(favourable: &[String], unfavourable: &[String]) -> Self {
        Self {
            favourable: favourable.to_vec(),
            unfavourable: unfavourable.to_vec(),
            seen: Vec::new(),
            values: Vec::new(),
        }
    }

    /// One more value; the error is what was expected in its place.
    pub(crate) fn push(&mut self, field: Field<'_>) -> Result<(), String> {
        let text = field.text();
        let known = self.seen.iter().find(|(t, _)| *t == *text);
        let value = if let Some((_, value)) = known {
            *value
        } else {
            let value = self.classify(field)?;
            self.seen.push((text.into_owned(), value));
            value
        };
        self.values.push(value);
        Ok(())
    }

    fn classify(&self, field: Field<'_>) -> Result<bool, String> {
        let among = |values: &[String]| values.iter().any(|v| field.is(v));
        if field.text().is_empty() {
            return Err("a value in every row; leave such rows out with a filter".to_owned());
        }
        if among(&self.favourable) {
            return Ok(true);
        }
        if !self.unfavourable.is_empty() {
            if among(&self.unfavourable) {
                return Ok(false);
            }
            let stated = self.favourable.iter().chain(&self.unfavourable);
            return Err(format!("one of the stated values: {}", list(stated)));
        }
        if self.favourable.is_empty() {
            return self.by_custom(field);
        }
        match self.seen.iter().find(|(_, v)| !v) {
            None => Ok(false),
            Some((other, _)) if field.is(other) => Ok(false),
            Some((other, _)) => {
                let met = self.seen.iter().any(|(_, v)| *v);
                let text = field.text();
                let near = nearest(&self.favourable[0], [&*text]);
                let note = match near {
                    _ if met => String::new(),
                    None => " (not met yet)".to_owned(),
                    Some(near) => format!(" (not met yet; did you mean `{near}`?)"),
                };
                Err(format!(
                    "{}{note} or `{other}`: this is a third value; say which ones count as unfavourable (`--unfavourable`)",
                    list(&self.favourable)
                ))
            }
        }
    }

    /// 1 and 0 and their like, when nothing is stated.
    fn by_custom(&self, field: Field<'_>) -> Result<bool, String> {
        let text = field.text().to_ascii_lowercase();
        let is = |values: &[&str]| values.iter().any(|v| *v == text || field.is(v));
        if is(&YES) {
            return Ok(true);
        }
        if !is(&NO) {
            return Err(
                "1 or 0 (or -1), true or false, yes or no; else say which value is favourable (`--favourable`)"
                    .to_owned(),
            );
        }
        match self.seen.iter().find(|(_, v)| !v) {
            Some((other, _)) if other.to_ascii_lowercase() != text && !field.is(other) => {
                Err(format!(
                    "`{other}` as before: this is a third value; say which one is favourable (`--favourable`)"
                ))
            }
            _ => Ok(false),
        }
    }

    /// If values were stated and none was met: the stated, a hint, and what was met.
    pub(crate) fn never(&self) -> Option<(String, String, String)> {
        let none = !self.favourable.is_empty() && self.unfavourable.is_empty();
        if !none || self.seen.is_empty() || self.seen.iter().any(|(_, v)| *v) {
            return None;
        }
        let near = nearest(&self.favourable[0], self.seen.iter().map(|s| s.0.as_str()));
        let hint = near.map_or_else(String::new, |n| format!(" (did you mean `{n}`?)"));
        let seen = list(self.seen.iter().map(|s| &s.0));
        Some((list(&self.favourable), hint, seen))
    }
}

fn list<'a>(values: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = values.into_iter().map(|v| format!("`{v}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        favourable: &[&str],
        unfavourable: &[&str],
        cells: &[&str],
    ) -> Result<Vec<bool>, String> {
        let own = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let mut binary = Binary::new(&own(favourable), &own(unfavourable));
        for cell in cells {
            binary.push(Field::Text(cell))?;
        }
        match binary.never() {
            None => Ok(binary.values),
            Some((stated, hint, seen)) => Err(format!("never {stated}{hint}: {seen}")),
        }
    }

    #[test]
    fn custom_is_known_and_a_third_value_is_not() {
        assert_eq!(
            read(&[], &[], &["1", "0", "1.0", "0.0"]),
            Ok(vec![true, false, true, false])
        );
        assert_eq!(read(&[], &[], &["Yes", "no"]), Ok(vec![true, false]));
        assert_eq!(read(&[], &[], &["-1", "1"]), Ok(vec![false, true]));
        assert!(read(&[], &[], &["0", "-1"]).is_err_and(|e| e.contains("third value")));
        assert!(read(&[], &[], &["1", "2"]).is_err_and(|e| e.starts_with("1 or 0")));
        assert!(read(&[], &[], &["1", ""]).is_err());
    }

    #[test]
    fn stated_values_are_held_to() {
        assert_eq!(
            read(&["1"], &[], &["1", "2", "2"]),
            Ok(vec![true, false, false])
        );
        assert!(read(&["1"], &[], &["1", "2", "3"]).is_err_and(|e| e.contains("third value")));
        assert_eq!(read(&["0"], &[], &["0", "1"]), Ok(vec![true, false]));
        let low = read(&["Low"], &["High", "Medium"], &["Low", "Medium", "High"]);
        assert_eq!(low, Ok(vec![true, false, false]));
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
}
