//! Tracks the quotes of a CSV byte by byte, as the parser reads.
//!
//! The parser is lenient: an unclosed quote turns the rest of the file into one cell without an error.

use std::collections::VecDeque;
use std::io::{self, Read};

use proofmark_domain::Delimiter;

/// Maximum number of line ends in a quoted cell without a note.
const TALL: u64 = 20;

/// Maximum number of tall cells named in notes.
const NAMED: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a cell, the only place where a quote opens.
    Start,
    /// In an unquoted cell, where a quote is an ordinary character.
    Plain,
    Quoted,
    /// After a quote in a quoted cell: it closes the cell, unless a second quote makes it an escaped `"`.
    Closing,
    /// Between the closing quote and the end of the cell.
    Closed,
}

/// A problem and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: u64,
    pub(crate) problem: String,
}

/// Passes bytes on and tracks their quotes.
pub(crate) struct Quotes<R> {
    inner: R,
    delimiter: u8,
    state: State,
    /// Current line, from 1.
    line: u64,
    /// Line of the quote that opened last.
    opened: u64,
    /// Number of bytes seen; `ends` holds the positions of line ends that [`Self::lines_before`] has not passed.
    seen: u64,
    ends: VecDeque<u64>,
    /// Number of line ends passed.
    passed: u64,
    /// Bytes of a byte order mark still to be skipped.
    mark: &'static [u8],
    ended: bool,
    /// First line of each tall cell and the number of lines it spans.
    tall: Vec<(u64, u64)>,
    fault: Option<Fault>,
}

impl<R> Quotes<R> {
    pub(crate) fn new(inner: R, delimiter: Delimiter) -> Self {
        Self {
            inner,
            delimiter: delimiter.byte(),
            state: State::Start,
            line: 1,
            opened: 0,
            seen: 0,
            ends: VecDeque::new(),
            passed: 0,
            mark: b"\xef\xbb\xbf",
            ended: false,
            tall: Vec::new(),
            fault: None,
        }
    }

    /// Returns the fault in the bytes read so far. Bytes are read ahead of records, so no record after a fault can be
    /// trusted.
    pub(crate) fn fault(&self) -> Option<Fault> {
        let open = self.ended && self.state == State::Quoted;
        let swallowed = || match self.line - self.opened {
            0 => "the rest of the line".to_owned(),
            1 => "the rest of the file (1 line)".to_owned(),
            n => format!("the rest of the file ({n} lines)"),
        };
        self.fault.clone().or_else(|| {
            open.then(|| Fault {
                line: self.opened,
                problem: format!(
                    "opens a quote that is never closed, and {} would be one cell; expected `\"` at the end of the cell, \
                     and `\"\"` for a quote within it",
                    swallowed()
                ),
            })
        })
    }

    /// Returns the number of lines that end before this byte; calls must pass bytes in increasing order. (The parser
    /// attributes `\r\n` and empty lines to the next record.)
    pub(crate) fn lines_before(&mut self, byte: u64) -> u64 {
        while self.ends.front().is_some_and(|end| *end < byte) {
            self.ends.pop_front();
            self.passed += 1;
        }
        self.passed
    }

    /// Returns notes on cells that span an unlikely number of lines.
    pub(crate) fn notes(&self) -> Vec<String> {
        let named = self.tall.iter().take(NAMED).map(|(line, lines)| {
            format!("line {line}: a quoted cell spans {lines} lines; is its quote closed where it should be?")
        });
        let more = self.tall.len().saturating_sub(NAMED);
        let rest = (more > 0).then(|| format!("{more} more quoted cells span over {TALL} lines"));
        named.chain(rest).collect()
    }

    fn see(&mut self, bytes: &[u8]) {
        let ends = bytes.iter().enumerate().filter(|b| *b.1 == b'\n');
        self.ends.extend(ends.map(|(at, _)| self.seen + at as u64));
        self.seen += bytes.len() as u64;
        let mut bytes = bytes;
        while let (Some(expected), Some(byte)) = (self.mark.first(), bytes.first()) {
            if expected != byte {
                self.mark = &[];
                break;
            }
            (self.mark, bytes) = (&self.mark[1..], &bytes[1..]);
        }
        if let Some(at) = bytes.iter().position(|b| *b == 0) {
            let line = self.line + newlines(&bytes[..at]);
            self.refuse(line, "holds a NUL byte; expected UTF-8 text (UTF-16 has such bytes, and so have files that are no text)".to_owned());
        }
        // Fast path: most files have few quotes or none.
        if matches!(self.state, State::Start | State::Plain) && !bytes.contains(&b'"') {
            if let Some(last) = bytes.last() {
                self.state = self.after(*last);
                self.line += newlines(bytes);
            }
            return;
        }
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// Returns the state after a byte that is not a quote and not within quotes.
    fn after(&self, byte: u8) -> State {
        if byte == self.delimiter || matches!(byte, b'\n' | b'\r') {
            State::Start
        } else {
            State::Plain
        }
    }

    fn step(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Start, b'"') => {
                self.opened = self.line;
                State::Quoted
            }
            (State::Plain, b'"') => State::Plain,
            (State::Quoted, b'"') => State::Closing,
            (State::Quoted, _) | (State::Closing, b'"') => State::Quoted,
            (State::Closing | State::Closed, byte) => {
                let next = self.after(byte);
                if next == State::Start {
                    self.close();
                    next
                } else if matches!(byte, b' ' | b'\t') {
                    State::Closed
                } else {
                    self.stray();
                    State::Plain
                }
            }
            (State::Start | State::Plain, byte) => self.after(byte),
        };
        self.line += u64::from(byte == b'\n');
    }

    fn close(&mut self) {
        let lines = self.line - self.opened;
        if lines > TALL {
            self.tall.push((self.opened, lines + 1));
        }
    }

    /// Handles text after a closing quote. Within one line it is allowed, such as a quote used for inches; over several
    /// lines the wrong quotes opened and closed the cell, which is a fault.
    fn stray(&mut self) {
        if self.line > self.opened {
            let problem = format!(
                "opens a quote that the quote on line {} closes in the middle of a cell; expected `\"` at the end of the \
                 cell, and `\"\"` for a quote within it",
                self.line
            );
            self.refuse(self.opened, problem);
        }
    }

    fn refuse(&mut self, line: u64, problem: String) {
        self.fault.get_or_insert(Fault { line, problem });
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.split(|b| *b == b'\n').count() as u64 - 1
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.ended |= n == 0 && !buffer.is_empty();
        self.see(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads the text in pieces of `piece` bytes.
    fn read(text: &str, piece: usize) -> Quotes<&[u8]> {
        let mut quotes = Quotes::new(text.as_bytes(), Delimiter::COMMA);
        let mut buffer = vec![0; piece];
        while quotes.read(&mut buffer).expect("in memory") > 0 {}
        quotes
    }

    fn fault(text: &str) -> Option<(u64, String)> {
        read(text, 1000).fault().map(|f| (f.line, f.problem))
    }

    #[test]
    fn an_unclosed_quote_is_a_fault_with_its_line() {
        let (line, problem) = fault("a,b\n1,\"x\n2,y\n3,z\n").expect("open");
        assert_eq!(line, 2);
        assert!(
            problem.contains("the rest of the file (3 lines)"),
            "{problem}"
        );
        assert_eq!(fault("a,b\r\n1,\"x\"\r\n2,\"y\r\n").map(|f| f.0), Some(3));
        assert_eq!(fault("\u{feff}\"a,b\n1,2\n").map(|f| f.0), Some(1));
        // An escaped quote at the end closes nothing.
        assert_eq!(fault("a\n\"x\"\"").map(|f| f.0), Some(2));
    }

    #[test]
    fn closed_quotes_and_quotes_within_cells_are_no_fault() {
        for text in [
            "",
            "a,b\n\"x\",\"y\"\n",
            "a\n\"say \"\"x\"\"\"\n",
            "a\n\"\"\n",
            "a\n5\" disk\n",
            "a\n\"5\" disk\n",
            "a,b\n\"x\ny\" ,1\n",
            "\u{feff}\"a\"\n1\n",
            "a\n\"x\"",
        ] {
            assert_eq!(fault(text), None, "{text:?}");
        }
    }

    /// The next quoted cell closes the open quote, and its text follows the closing quote.
    #[test]
    fn a_quote_closed_by_another_cell_is_a_fault() {
        let (line, problem) = fault("a,b\n1,\"x\n2,\"y\"\n3,z\n").expect("stray");
        assert_eq!(line, 2);
        assert!(problem.contains("the quote on line 3 closes"), "{problem}");
    }

    #[test]
    fn tall_cells_are_noted_and_nul_bytes_refused() {
        let cell = |lines: usize| format!("\"{}\"\n", "x\n".repeat(lines));
        assert_eq!(read(&cell(20), 1000).notes(), Vec::<String>::new());
        let notes = read(&format!("a\n{}", cell(21).repeat(5)), 1000).notes();
        assert_eq!(notes.len(), 4);
        assert!(
            notes[0].starts_with("line 2: a quoted cell spans 22 lines"),
            "{notes:?}"
        );
        assert_eq!(notes[3], "2 more quoted cells span over 20 lines");
        assert_eq!(fault("a\nb\n\0").map(|f| f.0), Some(3));
    }

    proptest! {
        /// The size of the pieces changes nothing, and a quote reported as open is open.
        #[test]
        fn the_size_of_pieces_changes_nothing(
            parts in proptest::collection::vec(
                prop_oneof!["\"", ",", "\n", "\r\n", "x", " ", "\u{feff}"], 0..40),
            piece in 1_usize..9,
        ) {
            let text = parts.concat();
            let (whole, pieces) = (read(&text, 1000), read(&text, piece));
            prop_assert_eq!(whole.fault(), pieces.fault());
            prop_assert_eq!((whole.line, whole.state), (pieces.line, pieces.state));
            // One more quote closes it.
            if whole.state == State::Quoted && whole.fault.is_none() {
                let closed = format!("{text}\"");
                prop_assert_eq!(read(&closed, 1000).fault(), None);
            }
        }

        /// A table written by a CSV writer is never refused.
        #[test]
        fn well_formed_tables_are_read(
            cells in proptest::collection::vec("[a\",;\n\r ]{0,6}", 1..30),
        ) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            for pair in cells.chunks(2).filter(|c| c.len() == 2) {
                writer.write_record(pair).expect("in memory");
            }
            let bytes = writer.into_inner().expect("in memory");
            let text = String::from_utf8(bytes).expect("text");
            prop_assert_eq!(fault(&text), None);
        }
    }
}
