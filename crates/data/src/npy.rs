//! The .npy format: a magic, a header that is a Python dict, then the bytes of the array.
//!
//! **Reference.** `numpy.lib.format`, versions 1.0 to 3.0.

use crate::DataError;
use crate::array::{Array, Dtype, Element};
use crate::source::Source;

/// First bytes of every .npy file.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// Parses an array from the bytes of one .npy file or archive entry. `expected` names the accepted types.
pub(crate) fn parse<'a>(
    source: &'a Source,
    name: &str,
    bytes: &'a [u8],
    expected: &'static str,
) -> Result<Array<'a>, DataError> {
    let (header, data) =
        split(bytes).map_err(|problem| source.corrupt(format!("array `{name}`"), problem))?;
    let header = Header::parse(header).map_err(|problem| {
        source.corrupt(format!("array `{name}`"), format!("its header {problem}"))
    })?;
    let dtype = dtype(&header.descr);
    if dtype.text.ends_with('O') {
        return Err(source.corrupt(
            format!("array `{name}`"),
            format!(
                "holds pickled Python objects (dtype {}), which are never loaded; expected {expected}: store it with a plain type, such as `x.astype(\"float32\")` or `names.astype(str)`",
                dtype.text
            ),
        ));
    }
    // An unsupported type has no size that could be checked.
    if dtype.element == Element::Other {
        return Err(DataError::Dtype {
            file: source.file.clone(),
            array: name.to_owned(),
            dtype: dtype.text,
            expected,
        });
    }
    Array::new(
        &source.file,
        name,
        dtype,
        header.shape,
        header.fortran,
        data,
    )
}

/// Returns the bytes before the data of an array of this type and shape, version 1.0, little-endian.
pub(crate) fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let mut axes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    if axes.len() == 1 {
        axes.push(String::new());
    }
    let mut dict = format!(
        "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}",
        axes.join(", ").trim_end_matches(' ')
    );
    // Magic, version and length take ten bytes, the newline one; data begin at a multiple of 64.
    while (dict.len() + 11) % 64 != 0 {
        dict.push(' ');
    }
    dict.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // Even 64 axes of 20 digits stay far below 65,536.
    bytes.extend((dict.len() as u16).to_le_bytes());
    bytes.extend(dict.as_bytes());
    bytes
}

fn split(bytes: &[u8]) -> Result<(&str, &[u8]), String> {
    let short = || "is truncated within its header".to_owned();
    let rest = bytes.strip_prefix(MAGIC).ok_or(
        "does not begin like a .npy file; expected what `numpy.save` and `numpy.savez` write",
    )?;
    let ([major, _minor], rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (length, rest) = match major {
        1 => {
            let (length, rest) = rest.split_first_chunk().ok_or_else(short)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk().ok_or_else(short)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        v => return Err(format!("has .npy version {v}; expected 1, 2 or 3")),
    };
    let (header, data) = rest.split_at_checked(length).ok_or_else(short)?;
    let header =
        std::str::from_utf8(header).map_err(|_| "has a header that is not text".to_owned())?;
    Ok((header, data))
}

fn dtype(descr: &str) -> Dtype {
    let other = (Element::Other, 0);
    let (order, rest) = match descr.chars().next() {
        Some(c @ ('<' | '>' | '|' | '=')) => (c, &descr[1..]),
        _ => ('|', descr),
    };
    let mut letters = rest.chars();
    let letter = letters.next();
    let (element, size) = match (letter, letters.as_str().parse::<u32>()) {
        (Some('b'), Ok(1)) => (Element::Bool, 1),
        (Some('u'), Ok(n @ (1 | 2 | 4 | 8))) => (Element::Unsigned, n),
        (Some('i'), Ok(n @ (1 | 2 | 4 | 8))) => (Element::Signed, n),
        (Some('f'), Ok(n @ (2 | 4 | 8 | 16))) => (Element::Float, n),
        (Some('S'), Ok(n)) => (Element::Bytes, n),
        (Some('U'), Ok(n)) => n.checked_mul(4).map_or(other, |n| (Element::Text, n)),
        _ => other,
    };
    Dtype {
        element,
        size: size as usize,
        big_endian: order == '>',
        text: descr.to_owned(),
    }
}

struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { rest: text };
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        reader.expect('{')?;
        while !reader.take('}') {
            let key = reader.quoted()?;
            reader.expect(':')?;
            match key {
                "descr" => descr = Some(reader.descr()?),
                "fortran_order" => fortran = Some(reader.boolean()?),
                "shape" => shape = Some(reader.tuple()?),
                _ => return Err(format!("has an unknown key `{key}`")),
            }
            if !reader.take(',') {
                reader.expect('}')?;
                break;
            }
        }
        if !reader.rest.trim().is_empty() {
            return Err("goes on after its end".to_owned());
        }
        let missing = |key: &str| format!("has no `{key}`");
        Ok(Self {
            descr: descr.ok_or_else(|| missing("descr"))?,
            fortran: fortran.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }
}

/// Reads the few Python literals that occur in a header.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, c: char) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.take(c) {
            Ok(())
        } else {
            Err(format!("is malformed; expected `{c}`"))
        }
    }

    fn quoted(&mut self) -> Result<&'a str, String> {
        let quote = if self.take('\'') { '\'' } else { '"' };
        if quote == '"' {
            self.expect('"')?;
        }
        let (text, rest) = self
            .rest
            .split_once(quote)
            .ok_or("has a text without end")?;
        self.rest = rest;
        Ok(text)
    }

    /// Reads the text of a type; an error if it is the list of fields of a record.
    fn descr(&mut self) -> Result<String, String> {
        if self.rest.trim_start().starts_with('[') {
            return Err(
                "describes records (a structured dtype); expected plain numbers".to_owned(),
            );
        }
        self.quoted().map(str::to_owned)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.rest = self.rest.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err("is malformed; expected True or False".to_owned())
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        let mut axes = Vec::new();
        self.expect('(')?;
        while !self.take(')') {
            let digits = self.rest.trim_start();
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(digits.len());
            axes.push(digits[..end].parse().map_err(|_| {
                format!(
                    "has a shape with `{}`; expected whole numbers",
                    &digits[..end]
                )
            })?);
            self.rest = &digits[end..];
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(axes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip() {
        for shape in [vec![], vec![3], vec![0, 2], vec![5, 1, 8, 8]] {
            let bytes = header("<f4", &shape);
            assert_eq!(bytes.len() % 64, 0);
            let (text, data) = split(&bytes).unwrap();
            let parsed = Header::parse(text).unwrap();
            assert_eq!((parsed.descr.as_str(), parsed.fortran), ("<f4", false));
            assert_eq!(parsed.shape, shape);
            assert!(data.is_empty() && text.ends_with('\n'));
        }
        // As NumPy writes it.
        let text = std::str::from_utf8(&header("<i8", &[3])[10..])
            .unwrap()
            .to_owned();
        assert!(text.starts_with("{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }"));
    }

    #[test]
    fn malformed_headers_are_named() {
        for (text, problem) in [
            ("", "`{`"),
            ("{", "`\"`"),
            ("{'descr': '<f4'", "`}`"),
            ("{'descr': [('a', '<f4')]}", "records"),
            ("{'shape': (1)}", "no `descr`"),
            ("{'shape': (-1,)}", "whole numbers"),
            ("{'shape': (99999999999999999999999,)}", "whole numbers"),
            ("{'fortran_order': 1}", "True or False"),
            ("{'colour': 1}", "unknown key"),
            ("{'descr", "without end"),
            ("{} x", "after its end"),
        ] {
            let e = Header::parse(text).err().unwrap();
            assert!(e.contains(problem), "{text}: {e}");
        }
    }
}
