use std::str::FromStr;

use crate::names;

/// Values by name, in the order given.
pub type ByName = Vec<(String, Given)>;

/// Value of an option, as the user gave it. Its methods return errors worded to follow the option's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// From the command line: the text of each occurrence.
    Typed(Vec<String>),
    /// From a policy: true or false.
    Truth(bool),
    /// From a policy: a whole number.
    Whole(i64),
    /// From a policy: a number.
    Number(f64),
    /// From a policy: a string.
    Text(String),
    /// From a policy: an array.
    List(Vec<Self>),
    /// From a policy: a table of values by name.
    Table(ByName),
    /// From a policy: any other type, by its name.
    Other(&'static str),
}

impl Given {
    /// Describes the value, for "expected ..., found ..." messages.
    fn found(&self) -> String {
        match self {
            Self::Typed(texts) => format!("`{}`", texts.join(" ")),
            Self::Truth(_) => "a boolean".to_owned(),
            Self::Whole(n) => n.to_string(),
            Self::Number(x) => x.to_string(),
            Self::Text(text) => format!("`{text}`"),
            Self::List(_) => "an array".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Other(kind) => format!("a {kind}"),
        }
    }

    fn expected<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("expected {what}, found {}", self.found()))
    }

    /// Returns the value as one text, which may be empty.
    fn raw(&self) -> Result<&str, String> {
        match self {
            Self::Typed(texts) if texts.len() > 1 => {
                Err("given more than once, expected one value".to_owned())
            }
            Self::Typed(texts) if texts.len() == 1 => Ok(&texts[0]),
            Self::Text(text) => Ok(text),
            _ => self.expected("a string"),
        }
    }

    /// Returns the value as one non-empty text.
    pub fn text(&self) -> Result<String, String> {
        not_empty(self.raw()?)
    }

    /// Returns the value as text, for a table cell: numbers, true and false need no quotes.
    pub fn value(&self) -> Result<String, String> {
        match self {
            Self::Whole(n) => Ok(n.to_string()),
            Self::Number(x) => Ok(x.to_string()),
            Self::Truth(truth) => Ok(truth.to_string()),
            _ => self.text(),
        }
    }

    /// Returns one or several [values](Self::value).
    pub fn values(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Typed(texts) => texts.iter().map(|t| not_empty(t)).collect(),
            Self::List(items) => items.iter().map(Self::value).collect(),
            _ => Ok(vec![self.value()?]),
        }
    }

    /// Returns one or several non-empty texts.
    pub fn texts(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Typed(texts) => texts.iter().map(|t| not_empty(t)).collect(),
            Self::List(items) => items.iter().map(Self::text).collect(),
            _ => Ok(vec![self.text()?]),
        }
    }

    /// Returns names. On the command line they are separated by commas; a name that contains a comma is quoted.
    pub fn names(&self) -> Result<Vec<String>, String> {
        let Self::Typed(texts) = self else {
            return self.texts();
        };
        let mut all = Vec::new();
        for text in texts {
            all.extend(names::list(text)?);
        }
        Ok(all)
    }

    /// Parses the text as a `T`.
    pub fn parsed<T: FromStr>(&self) -> Result<T, String>
    where
        T::Err: ToString,
    {
        self.raw()?.parse().map_err(|e: T::Err| e.to_string())
    }

    /// Parses the value as a `T`; a policy may give it as a whole number.
    pub fn parsed_number_or_text<T: FromStr>(&self) -> Result<T, String>
    where
        T::Err: ToString,
    {
        match self {
            Self::Whole(n) => n.to_string().parse().map_err(|e: T::Err| e.to_string()),
            _ => self.parsed(),
        }
    }

    /// Returns the value that belongs to the given word, one of `words`.
    pub fn word<T: Clone>(&self, words: &[(&str, T)]) -> Result<T, String> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| value.clone()).ok_or_else(|| {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            format!(
                "unknown value `{text}`{}; expected one of {}",
                crate::hint(&text, names.iter().copied()),
                names.join(", ")
            )
        })
    }

    /// Returns a finite number.
    pub fn number(&self) -> Result<f64, String> {
        let number = match self {
            Self::Whole(n) => *n as f64,
            Self::Number(x) => *x,
            Self::Typed(_) => match self.text()?.trim().parse() {
                Ok(x) => x,
                Err(_) => return self.expected("a number"),
            },
            _ => return self.expected("a number"),
        };
        if number.is_finite() {
            Ok(number)
        } else {
            self.expected("a finite number")
        }
    }

    /// Returns a whole number of at least `least`.
    pub fn whole(&self, least: u64) -> Result<u64, String> {
        let number = match self {
            Self::Whole(n) => u64::try_from(*n).ok(),
            Self::Typed(_) => self.text()?.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|n| *n >= least) {
            Some(n) => Ok(n),
            None => self.expected(&format!("a whole number of at least {least}")),
        }
    }

    /// Returns a whole number of at least `least` that fits a `usize`.
    pub fn count(&self, least: u64) -> Result<usize, String> {
        let n = self.whole(least)?;
        usize::try_from(n).map_err(|_| format!("{n} is too large for this machine"))
    }

    /// Returns whether a flag is set: always true on the command line.
    pub fn truth(&self) -> Result<bool, String> {
        match self {
            Self::Typed(_) => Ok(true),
            Self::Truth(truth) => Ok(*truth),
            _ => self.expected("true or false"),
        }
    }

    /// Returns numbers; on the command line they are separated by commas.
    pub fn numbers(&self) -> Result<Vec<f64>, String> {
        match self {
            Self::Typed(_) => {
                let text = self.text()?;
                let each = text.split(',').map(|t| Self::Typed(vec![t.to_owned()]));
                each.map(|t| t.number()).collect()
            }
            Self::List(items) => items.iter().map(Self::number).collect(),
            _ => self.expected("an array of numbers"),
        }
    }

    /// Returns two numbers, the first at most the second: `LO,HI`, `[LO, HI]`.
    pub fn range(&self) -> Result<[f64; 2], String> {
        match self.numbers()?[..] {
            [low, high] if low <= high => Ok([low, high]),
            [low, high] => Err(format!(
                "expected the lower number first, found {low} and {high}"
            )),
            ref numbers => Err(format!("expected two numbers, found {}", numbers.len())),
        }
    }

    /// Returns values by name; on the command line each is `NAME=VALUE`, and a repeated name is an error.
    pub fn by_name(&self) -> Result<ByName, String> {
        let texts = match self {
            Self::Table(pairs) => return Ok(pairs.clone()),
            Self::Typed(texts) => texts,
            _ => return self.expected("a table"),
        };
        let mut all = ByName::new();
        for text in texts {
            let (name, value) = names::assignment(text)
                .ok_or_else(|| format!("expected NAME=VALUE, found `{text}`"))?;
            if all.iter().any(|(known, _)| *known == name) {
                return Err(format!("`{name}` is given twice"));
            }
            all.push((name, Self::Typed(vec![value.to_owned()])));
        }
        Ok(all)
    }

    /// Returns one value for everything, values by name, or (on the command line only) both.
    pub fn one_or_by_name(&self) -> Result<(Option<Self>, ByName), String> {
        match self {
            Self::Typed(texts) => {
                let (named, one): (Vec<&String>, Vec<&String>) =
                    texts.iter().partition(|t| t.contains('='));
                if one.len() > 1 {
                    return Err("given twice for everything".to_owned());
                }
                let one = one.first().map(|t| Self::Typed(vec![(*t).clone()]));
                let named = Self::Typed(named.into_iter().cloned().collect());
                Ok((one, named.by_name()?))
            }
            Self::Table(pairs) if pairs.is_empty() => Err("must not be empty".to_owned()),
            Self::Table(pairs) => Ok((None, pairs.clone())),
            other => Ok((Some(other.clone()), Vec::new())),
        }
    }
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        Err("must not be empty".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(texts: &[&str]) -> Given {
        Given::Typed(texts.iter().map(ToString::to_string).collect())
    }

    fn text(text: &str) -> Given {
        Given::Text(text.to_owned())
    }

    #[test]
    fn the_command_line_and_a_policy_give_the_same_values() {
        let list = Given::List(vec![text("a"), text("b,c")]);
        assert_eq!(typed(&["a,\"b,c\""]).names(), list.names());
        assert_eq!(typed(&["a", "b,c"]).texts(), list.texts());
        assert_eq!(typed(&["a"]).texts(), text("a").texts());
        let values = Given::List(vec![Given::Whole(1), Given::Truth(true)]);
        assert_eq!(typed(&["1", "true"]).values(), values.values());
        assert!(values.texts().is_err());
        assert_eq!(typed(&["2.5"]).number(), Given::Number(2.5).number());
        assert_eq!(typed(&["3"]).whole(1), Given::Whole(3).whole(1));
        assert_eq!(typed(&[]).truth(), Given::Truth(true).truth());
        let pair = Given::List(vec![Given::Whole(-1), Given::Number(0.5)]);
        assert_eq!(typed(&["-1, 0.5"]).range(), pair.range());
        let table = Given::Table(vec![("a".to_owned(), pair)]);
        let numbers = |given: Given| {
            let pairs = given.by_name().expect("pairs");
            pairs
                .into_iter()
                .map(|(n, v)| (n, v.numbers()))
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(typed(&["a=-1,0.5"])), numbers(table));
        assert_eq!(text("7").parsed::<u8>(), Ok(7));
        assert_eq!(Given::Whole(7).parsed_number_or_text::<u8>(), Ok(7));
    }

    #[test]
    fn errors_say_what_was_expected_and_found() {
        let cases: [(Result<(), String>, &str); 9] = [
            (
                typed(&["a", "b"]).text().map(drop),
                "given more than once, expected one value",
            ),
            (text(" ").text().map(drop), "must not be empty"),
            (
                Given::Truth(true).text().map(drop),
                "expected a string, found a boolean",
            ),
            (
                typed(&["x"]).number().map(drop),
                "expected a number, found `x`",
            ),
            (
                typed(&["inf"]).number().map(drop),
                "expected a finite number, found `inf`",
            ),
            (
                Given::Whole(-1).whole(0).map(drop),
                "expected a whole number of at least 0, found -1",
            ),
            (
                Given::Number(2.0).whole(0).map(drop),
                "expected a whole number of at least 0, found 2",
            ),
            (
                typed(&["a=1", "a=2"]).by_name().map(drop),
                "`a` is given twice",
            ),
            (
                typed(&["1,0"]).range().map(drop),
                "expected the lower number first, found 1 and 0",
            ),
        ];
        for (given, said) in cases {
            assert_eq!(given.expect_err(said), said);
        }
        let word = text("lef").word(&[("left", 1), ("right", 2)]);
        assert!(word.expect_err("no word").contains("did you mean `left`"));
    }

    #[test]
    fn one_value_for_everything_may_stand_beside_values_by_name() {
        let (one, named) = typed(&["0,1", "a=2,3"]).one_or_by_name().expect("both");
        assert_eq!(
            (one.map(|g| g.range()), named.len()),
            (Some(Ok([0.0, 1.0])), 1)
        );
        assert!(typed(&["0,1", "2,3"]).one_or_by_name().is_err());
        assert!(Given::Table(vec![]).one_or_by_name().is_err());
        let (one, named) = text("image").one_or_by_name().expect("one");
        assert_eq!((one, named.len()), (Some(text("image")), 0));
    }
}
