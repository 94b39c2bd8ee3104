use std::collections::HashMap;

/// The code of a row whose value is unknown.
pub const UNKNOWN: u32 = u32::MAX;

/// A column of names: each distinct one once, and its number in every row.
#[derive(Debug, Clone, PartialEq)]
pub struct Coded {
    name: String,
    levels: Vec<String>,
    codes: Vec<u32>,
}

impl Coded {
    /// From one value per row; `None` is unknown. Levels are put in order: by number if all are numbers, else
    /// by name.
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

    /// From levels in the order they are to keep, and the place of each row's level among them, [`UNKNOWN`] if
    /// it is not known.
    pub(crate) fn ordered(name: String, levels: Vec<String>, codes: Vec<u32>) -> Self {
        Self {
            name,
            levels,
            codes,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The distinct values.
    pub fn levels(&self) -> &[String] {
        &self.levels
    }

    /// Per row the place of its value among the levels, or [`UNKNOWN`].
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The value of a row; `None` if unknown.
    pub fn value(&self, row: usize) -> Option<&str> {
        let code = *self.codes.get(row)?;
        self.levels.get(code as usize).map(String::as_str)
    }

    /// The rows in this order, with the same levels.
    pub(crate) fn take(&self, rows: &[u32]) -> Self {
        Self {
            name: self.name.clone(),
            levels: self.levels.clone(),
            codes: rows.iter().map(|r| self.codes[*r as usize]).collect(),
        }
    }

    /// One level against all others: `V` and `not V`.
    pub(crate) fn against_rest(self, level: &str) -> Option<Self> {
        let at = self.levels.iter().position(|l| l == level)? as u32;
        let codes = self.codes.iter().map(|c| match *c {
            UNKNOWN => UNKNOWN,
            c => u32::from(c != at),
        });
        Some(Self {
            codes: codes.collect(),
            levels: vec![level.to_owned(), format!("not {level}")],
            name: self.name,
        })
    }
}

/// Gives every distinct value a number as it comes.
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
        // Neighbouring rows are often alike.
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

    pub(crate) fn levels(&self) -> usize {
        self.levels.len()
    }

    pub(crate) fn finish(self, name: String) -> Coded {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_in_order_whatever_the_order_of_the_rows() {
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
    fn one_against_the_rest_keeps_the_unknown() {
        let c = Coded::new("r", [Some("a"), Some("b"), None, Some("c")]);
        let c = c.against_rest("b").expect("a level");
        assert_eq!(c.levels(), ["b", "not b"]);
        assert_eq!(c.codes(), [1, 0, UNKNOWN, 1]);
    }
}
