//! The quotes of a CSV, followed byte by byte as the parser reads.
//!
//! The parser is lenient: a quote that is never closed makes one cell of the rest of the file, and it does not say so.

use std::collections::VecDeque;
use std::io::{self, Read};

use proofmark_domain::Delimiter;

/// Line ends in a quoted cell beyond which it is worth a look.
const TALL: u64 = 20;

/// Tall cells that are named.
const NAMED: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Where a cell begins: only here does a quote open.
    Start,
    /// In a cell that is not quoted: a quote is a character.
    Plain,
    Quoted,
    /// After a quote in a quoted cell: it closes the cell, or the next one makes `"` of the two.
    Closing,
    /// Between the closing quote and the end of the cell.
    Closed,
}

/// What is wrong, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: u64,
    pub(crate) problem: String,
}

/// Passes bytes on and keeps account of their quotes.
pub(crate) struct Quotes<R> {
    inner: R,
    delimiter: u8,
    state: State,
    /// From 1.
    line: u64,
    /// Where the quote opened that was opened last.
    opened: u64,
    /// Bytes seen, and where those are that end a line and were not passed by [`Self::lines_before`].
    seen: u64,
    ends: VecDeque<u64>,
    /// Line ends that were.
    passed: u64,
    /// Bytes of a byte order mark still to be passed over.
    mark: &'static [u8],
    ended: bool,
    /// Where tall cells begin and how many lines they span.
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

    /// What is wrong with what was read so far. Bytes are read ahead of records: no record after it is to be believed.
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

    /// How many lines end before this byte; asked for bytes in their order. (The parser counts `\r\n` to the next record, and
    /// empty lines, too.)
    pub(crate) fn lines_before(&mut self, byte: u64) -> u64 {
        while self.ends.front().is_some_and(|end| *end < byte) {
            self.ends.pop_front();
            self.passed += 1;
        }
        self.passed
    }

    /// Cells that span an unlikely number of lines.
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
        // Most files have no quotes, or few.
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

    /// The state after a byte that is no quote and not within quotes.
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

    /// Text after a closing quote. In one line it is somebody's spelling of inches; over several lines the quotes that
    /// open and close are not the ones that were meant to.
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

    /// Read in pieces of so many bytes.
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
    fn an_open_quote_is_told_with_its_line() {
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
    fn quotes_that_are_closed_or_open_nothing_are_no_fault() {
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

    /// The next quoted cell closes the open quote, and its text stands behind.
    #[test]
    fn a_quote_closed_by_that_of_another_cell_is_told() {
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
        /// How much is read at once changes nothing, and whoever is told of an open quote has one.
        #[test]
        fn pieces_change_nothing(
            parts in proptest::collection::vec(
                prop_oneof!["\"", ",", "\n", "\r\n", "x", " ", "\u{feff}"], 0..40),
            piece in 1_usize..9,
        ) {
            let text = parts.concat();
            let (whole, pieces) = (read(&text, 1000), read(&text, piece));
            prop_assert_eq!(whole.fault(), pieces.fault());
            prop_assert_eq!((whole.line, whole.state), (pieces.line, pieces.state));
            // One quote more closes it.
            if whole.state == State::Quoted && whole.fault.is_none() {
                let closed = format!("{text}\"");
                prop_assert_eq!(read(&closed, 1000).fault(), None);
            }
        }

        /// A table that a writer of CSV has written is never refused.
        #[test]
        fn what_is_well_formed_is_read(
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
