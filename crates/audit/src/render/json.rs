use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};

use crate::AuditReport;

/// Formats the whole report as JSON for machines and for readers: indented by two spaces, with a final newline; deeper
/// values (one rate, the parts of a figure) stay on one line.
pub fn json(report: &AuditReport) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Layout::default());
    // Plain structs with string keys cannot fail to serialise; numbers that are not finite become null.
    let _ = report.serialize(&mut serializer);
    let mut text = String::from_utf8(bytes).unwrap_or_default();
    text.push('\n');
    text
}

/// JSON layout: pretty down to a depth, compact below.
#[derive(Default)]
struct Layout {
    pretty: PrettyFormatter<'static>,
    depth: usize,
}

/// Greatest depth at which each value gets its own line.
const DEEP: usize = 4;

impl Layout {
    fn is_deep(&self) -> bool {
        self.depth > DEEP
    }

    /// Enters an array or an object.
    fn open<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        bracket: u8,
        pretty: Begin<W>,
    ) -> io::Result<()> {
        self.depth += 1;
        if self.is_deep() {
            writer.write_all(&[bracket])
        } else {
            pretty(&mut self.pretty, writer)
        }
    }

    /// Leaves an array or an object.
    fn close<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        bracket: u8,
        pretty: Begin<W>,
    ) -> io::Result<()> {
        let deep = self.is_deep();
        self.depth -= 1;
        if deep {
            writer.write_all(&[bracket])
        } else {
            pretty(&mut self.pretty, writer)
        }
    }

    /// Writes the separator before a value or a key.
    fn next<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
        pretty: Next<W>,
    ) -> io::Result<()> {
        match (self.is_deep(), first) {
            (true, true) => Ok(()),
            (true, false) => writer.write_all(b", "),
            (false, _) => pretty(&mut self.pretty, writer, first),
        }
    }
}

type Begin<W> = fn(&mut PrettyFormatter<'static>, &mut W) -> io::Result<()>;
type Next<W> = fn(&mut PrettyFormatter<'static>, &mut W, bool) -> io::Result<()>;

impl Formatter for Layout {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b'[', PrettyFormatter::begin_array)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b']', PrettyFormatter::end_array)
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(writer, first, PrettyFormatter::begin_array_value)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b'{', PrettyFormatter::begin_object)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b'}', PrettyFormatter::end_object)
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(writer, first, PrettyFormatter::begin_object_key)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object_value(writer)
    }
}
