//! Reads and writes lists of column and attribute names. A name that contains a separator must be quoted.

/// Reads the name at the start of a text and returns it with the rest of the text. A quoted name may contain any
/// character, with `"` doubled; an unquoted name ends before the first character in `signs`.
pub fn leading<'t>(text: &'t str, signs: &[char]) -> Result<(String, &'t str), String> {
    let trimmed = text.trim_start();
    let Some(quoted) = trimmed.strip_prefix('"') else {
        let end = text.find(signs).unwrap_or(text.len());
        return Ok((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let end = rest
            .find('"')
            .ok_or_else(|| format!("`{text}`: a quote is not closed"))?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => rest = after,
            None => break,
        }
        name.push('"');
    }
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with(signs) {
        Ok((name, rest))
    } else {
        Err(format!("`{text}`: unexpected `{rest}` after a quoted name"))
    }
}

/// Reads names separated by commas: `sex,"income, net"`.
///
/// ```
/// assert_eq!(proofmark_domain::names::list("sex,\"income, net\"")?, ["sex", "income, net"]);
/// # Ok::<(), String>(())
/// ```
pub fn list(text: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = leading(rest, &[','])?;
        all.push(name);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(all),
        }
    }
}

/// Splits a name and its value at the first `=` outside quotes: `race=White`, or `"a=b"=White`. `None` if either is
/// empty or there is no `=`.
///
/// ```
/// let (column, value) = proofmark_domain::names::assignment("\"a=b\"=x=y").ok_or("no value")?;
/// assert_eq!((column.as_str(), value), ("a=b", "x=y"));
/// # Ok::<(), &str>(())
/// ```
pub fn assignment(text: &str) -> Option<(String, &str)> {
    let (name, rest) = leading(text, &['=']).ok()?;
    let value = rest.strip_prefix('=')?;
    (!name.is_empty() && !value.is_empty()).then_some((name, value))
}

/// Writes a name so that [`leading`] reads it back, quoted if necessary.
pub fn quoted(name: &str, signs: &[char]) -> String {
    let plain = !name.starts_with('"') && name.trim() == name && !name.contains(signs);
    if plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quoted_names_may_contain_separators() {
        assert_eq!(
            list("a, b ,\"c,\"\"d\"\"\" ,e"),
            Ok(["a", "b", "c,\"d\"", "e"].map(str::to_owned).to_vec())
        );
        assert_eq!(list("a,,b").map(|n| n.len()), Ok(3));
        assert!(list("\"a").is_err() && list("\"a\"b").is_err());
        assert_eq!(assignment("a=b=c"), Some(("a".to_owned(), "b=c")));
        assert_eq!(
            assignment("=b").or(assignment("a=")).or(assignment("a")),
            None
        );
    }

    proptest! {
        #[test]
        fn any_name_can_be_written(name in "[a-c\",= ()]{1,8}") {
            let text = quoted(&name, &[',']);
            prop_assert_eq!(list(&text), Ok(vec![name.clone()]));
            let text = format!("{}=v", quoted(&name, &['=']));
            prop_assert_eq!(assignment(&text), Some((name.clone(), "v")));
            let whole = quoted(&name, &[]);
            prop_assert_eq!(leading(&whole, &[]), Ok((name, "")));
        }
    }
}
