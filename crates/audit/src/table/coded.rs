use std::borrow::Cow;
use std::collections::HashMap;

/// The code of a row whose value is unknown.
pub const UNKNOWN: u32 = u32::MAX;

/// A column of names: each distinct level once, and the level's index for every row.
#[derive(Debug, Clone, PartialEq)]
pub struct Coded {
    name: String,
    levels: Vec<String>,
    codes: Vec<u32>,
}

impl Coded {
    /// Builds the column from one value per row; `None` is unknown. Levels are sorted by number if all are numbers,
    /// else by name.
    pub fn new<'a>(
        name: impl Into<String>,
        values: impl IntoIterator<Item = Option<&'a str>>,
    ) -> Self {
        let mut coder = Coder::default();
        for value in values {
            coder.push(value);
        }
        coder.finish(name.into())
    }

    /// Builds the column from levels in the given order and the index of each row's level, [`UNKNOWN`] if unknown.
    pub(crate) fn ordered(name: String, levels: Vec<String>, codes: Vec<u32>) -> Self {
        Self {
            name,
            levels,
            codes,
        }
    }

    /// Returns the name of the column.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the distinct values.
    pub fn levels(&self) -> &[String] {
        &self.levels
    }

    /// Returns the index of each row's value among the levels, or [`UNKNOWN`].
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Returns the value of a row. `None` if it is unknown.
    pub fn value(&self, row: usize) -> Option<&str> {
        let code = *self.codes.get(row)?;
        self.levels.get(code as usize).map(String::as_str)
    }

    /// Returns the level that a value names: the same text, or the same plainly written number.
    pub(crate) fn level(&self, value: &str) -> Option<&str> {
        let levels = || self.levels.iter().map(String::as_str);
        let same = |level: &&str| plain_number(level) == plain_number(value);
        levels()
            .find(|l| *l == value)
            .or_else(|| levels().find(same))
    }

    /// Returns the given rows in the given order, with the same levels.
    pub(crate) fn take(&self, rows: &[u32]) -> Self {
        Self {
            name: self.name.clone(),
            levels: self.levels.clone(),
            codes: rows.iter().map(|r| self.codes[*r as usize]).collect(),
        }
    }

    /// Returns the column with one level against all others: `V` and `not V`. `None` if there is no such level.
    pub(crate) fn against_rest(self, level: &str) -> Option<Self> {
        let level = self.level(level)?.to_owned();
        let at = self.levels.iter().position(|l| *l == level)? as u32;
        let codes = self.codes.iter().map(|c| match *c {
            UNKNOWN => UNKNOWN,
            c => u32::from(c != at),
        });
        Some(Self {
            levels: vec![level.clone(), format!("not {level}")],
            codes: codes.collect(),
            name: self.name,
        })
    }
}

/// Assigns a code to every distinct value as it comes.
#[derive(Debug, Default)]
pub(crate) struct Coder {
    places: HashMap<String, u32>,
    levels: Vec<String>,
    codes: Vec<u32>,
}

impl Coder {
    pub(crate) fn push(&mut self, value: Option<&str>) {
        let code = match value {
            None => UNKNOWN,
            Some(value) => self.code(value),
        };
        self.codes.push(code);
    }

    fn code(&mut self, value: &str) -> u32 {
        // Neighbouring rows often have the same value.
        if let Some(last) = self.codes.last()
            && self.levels.get(*last as usize).is_some_and(|l| l == value)
        {
            return *last;
        }
        if let Some(code) = self.places.get(value) {
            return *code;
        }
        let code = self.levels.len() as u32;
        self.places.insert(value.to_owned(), code);
        self.levels.push(value.to_owned());
        code
    }

    /// Merges levels that are one number written in two ways, `1` and `1.0`, as in files combined from several.
    fn merge_numbers(&mut self) {
        let mut first: HashMap<Cow<'_, str>, u32> = HashMap::new();
        let of: Vec<u32> = (0..)
            .zip(&self.levels)
            .map(|(code, level)| *first.entry(plain_number(level)).or_insert(code))
            .collect();
        if first.len() == self.levels.len() {
            return;
        }
        let mut place = vec![0; of.len()];
        let mut levels = Vec::new();
        for (code, kept) in (0..).zip(&of) {
            let at = code as usize;
            let several = || of.iter().filter(|o| *o == kept).count() > 1;
            place[at] = if code == *kept {
                let level = &self.levels[at];
                let plain = || plain_number(level).into_owned();
                levels.push(if several() { plain() } else { level.clone() });
                levels.len() as u32 - 1
            } else {
                place[*kept as usize]
            };
        }
        for code in self.codes.iter_mut().filter(|c| **c != UNKNOWN) {
            *code = place[*code as usize];
        }
        self.levels = levels;
    }

    pub(crate) fn levels(&self) -> usize {
        self.levels.len()
    }

    pub(crate) fn finish(mut self, name: String) -> Coded {
        self.merge_numbers();
        let mut order: Vec<usize> = (0..self.levels.len()).collect();
        let numbers: Option<Vec<f64>> = self.levels.iter().map(|l| l.parse().ok()).collect();
        match numbers {
            Some(numbers) => order.sort_by(|a, b| {
                let by_number = numbers[*a].total_cmp(&numbers[*b]);
                by_number.then_with(|| self.levels[*a].cmp(&self.levels[*b]))
            }),
            None => order.sort_by(|a, b| self.levels[*a].cmp(&self.levels[*b])),
        }
        let mut place = vec![0; order.len()];
        for (to, from) in order.iter().enumerate() {
            place[*from] = to as u32;
        }
        let codes = self.codes.into_iter().map(|c| match c {
            UNKNOWN => UNKNOWN,
            c => place[c as usize],
        });
        Coded {
            codes: codes.collect(),
            levels: order.iter().map(|i| self.levels[*i].clone()).collect(),
            name,
        }
    }
}

/// Returns a plainly written number without zeros at the end of its fraction: `1` for `1.0`. A number with leading
/// zeros is a code and stays as it is, and so does any text that is not a plain number.
fn plain_number(text: &str) -> Cow<'_, str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let is_code = whole.len() > 1 && whole.starts_with('0');
    if !all_digits(whole) || !all_digits(fraction) || is_code {
        return text.into();
    }
    match fraction.trim_end_matches('0') {
        "" if whole == "0" => "0".into(),
        "" => text[..text.len() - digits.len() + whole.len()].into(),
        fraction => text[..text.len() - digits.len() + whole.len() + 1 + fraction.len()].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_sorted_whatever_the_order_of_the_rows() {
        let c = Coded::new("age", [Some("10"), Some("9"), None, Some("10")]);
        assert_eq!(c.levels(), ["9", "10"]);
        assert_eq!(c.codes(), [1, 0, UNKNOWN, 1]);
        let c = Coded::new("sex", [Some("m"), Some("f"), Some("10")]);
        assert_eq!(c.levels(), ["10", "f", "m"]);
        assert_eq!(
            (c.value(0), c.value(1), c.value(9)),
            (Some("m"), Some("f"), None)
        );
    }

    #[test]
    fn two_spellings_of_a_number_are_one_level() {
        let c = Coded::new("g", ["1.0", "2", "1", "2.50", "2.5", "01"].map(Some));
        assert_eq!(c.levels(), ["01", "1", "2", "2.5"]);
        assert_eq!(c.codes(), [1, 2, 1, 3, 3, 0]);
        assert_eq!((c.level("2.0"), c.level("02")), (Some("2"), None));
        // Numbers written in one way only keep their spelling.
        let c = Coded::new("g", ["1.0", "2.0"].map(Some));
        assert_eq!(
            (c.levels(), c.level("1")),
            (&["1.0".to_owned(), "2.0".to_owned()][..], Some("1.0"))
        );
        for (text, plain) in [
            ("-0.0", "0"),
            ("1e3", "1e3"),
            ("1.", "1."),
            ("-1.50", "-1.5"),
            ("", ""),
            ("a", "a"),
            (".5", ".5"),
        ] {
            assert_eq!(plain_number(text), plain, "{text}");
        }
    }

    #[test]
    fn one_against_the_rest_keeps_unknown_values() {
        let c = Coded::new("r", [Some("a"), Some("b"), None, Some("c")]);
        let c = c.against_rest("b").expect("a level");
        assert_eq!(c.levels(), ["b", "not b"]);
        assert_eq!(c.codes(), [1, 0, UNKNOWN, 1]);
    }
}
