//! Parses bytes into nested lists of words, with line numbers.

/// A problem and its line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) problem: String,
}

impl Fault {
    pub(super) fn new(line: usize, problem: impl Into<String>) -> Self {
        Self {
            line,
            problem: problem.into(),
        }
    }
}

/// A word or a list, and the line it begins on.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Word(String),
    List(Vec<Node>),
}

impl Node {
    /// Returns the word; `None` for a list.
    pub(super) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(w) => Some(w),
            Kind::List(_) => None,
        }
    }

    /// Returns the first word of a list and the nodes after it; `None` if there is no such word.
    pub(super) fn call(&self) -> Option<(&str, &[Node])> {
        match &self.kind {
            Kind::List(items) => {
                let (first, rest) = items.split_first()?;
                Some((first.word()?, rest))
            }
            Kind::Word(_) => None,
        }
    }

    /// Describes the node for messages.
    pub(super) fn describe(&self) -> String {
        match (&self.kind, self.call()) {
            (Kind::Word(w), _) => format!("`{}`", short(w)),
            (_, Some((head, _))) => format!("`({} …)`", short(head)),
            _ => "a list without a name".to_owned(),
        }
    }
}

/// Cuts a word to a length that fits a message.
fn short(word: &str) -> String {
    const MOST: usize = 40;
    if word.chars().count() <= MOST {
        return word.to_owned();
    }
    word.chars().take(MOST).chain(['…']).collect()
}

/// Maximum nesting of lists: more is a mistake, or meant to exhaust the stack.
const MAX_DEPTH: usize = 64;

/// Reads the top-level lists of a file, one after the other.
pub(super) struct Forms<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Forms<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        Self {
            bytes,
            at: 0,
            line: 1,
        }
    }

    /// Returns the current line.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Returns the next list; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Node>, Fault> {
        self.skip();
        match self.bytes.get(self.at) {
            None => Ok(None),
            Some(b'(') => self.node(0).map(Some),
            Some(b')') => Err(Fault::new(self.line, "`)` without its `(`")),
            Some(_) => {
                let node = self.node(0)?;
                let describe = node.describe();
                Err(Fault::new(
                    node.line,
                    format!("{describe} outside a list; expected a command such as `(assert …)`"),
                ))
            }
        }
    }

    /// Skips white space and comments.
    fn skip(&mut self) {
        while let Some(b) = self.bytes.get(self.at) {
            match b {
                b'\n' => self.line += 1,
                b';' => {
                    let rest = &self.bytes[self.at..];
                    self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                    continue;
                }
                b if b.is_ascii_whitespace() => {}
                _ => return,
            }
            self.at += 1;
        }
    }

    /// Parses the node that begins here.
    fn node(&mut self, depth: usize) -> Result<Node, Fault> {
        let line = self.line;
        if self.bytes[self.at] != b'(' {
            return Ok(Node {
                line,
                kind: Kind::Word(self.word()?),
            });
        }
        if depth == MAX_DEPTH {
            return Err(Fault::new(
                line,
                format!("lists nested more than {MAX_DEPTH} deep"),
            ));
        }
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip();
            match self.bytes.get(self.at) {
                None => {
                    return Err(Fault::new(
                        line,
                        "`(` without its `)`: the file ends within the list",
                    ));
                }
                Some(b')') => {
                    self.at += 1;
                    return Ok(Node {
                        line,
                        kind: Kind::List(items),
                    });
                }
                Some(_) => items.push(self.node(depth + 1)?),
            }
        }
    }

    /// Parses a word, a `"string"` or a `|symbol|`.
    fn word(&mut self) -> Result<String, Fault> {
        let rest = &self.bytes[self.at..];
        let quote = rest[0];
        let length = if matches!(quote, b'"' | b'|') {
            let end = rest[1..].iter().position(|b| *b == quote);
            let end = end.ok_or_else(|| {
                Fault::new(self.line, format!("`{}` without its pair", quote as char))
            })?;
            end + 2
        } else {
            let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'(' | b')' | b';');
            rest.iter().position(ends).unwrap_or(rest.len())
        };
        let word = &rest[..length];
        let text = std::str::from_utf8(word)
            .map_err(|_| Fault::new(self.line, "bytes that are not UTF-8; expected text"))?;
        self.line += text.matches('\n').count();
        self.at += length;
        Ok(text.to_owned())
    }
}
