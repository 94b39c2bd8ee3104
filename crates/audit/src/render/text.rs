//! Aligned terminal text without control characters.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

/// Maximum width, in characters, of a table with several columns before its columns are split over several tables.
const WIDEST: usize = 100;

/// Formats aligned columns under a header, two spaces apart.
pub fn grid(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.add_rows(rows);
    let lines = table.lines();
    lines.fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

/// Formats the columns as several tables if they do not fit side by side; each repeats the first column.
pub(super) fn grids(columns: &[(String, Vec<String>)]) -> Vec<String> {
    let width = |(name, cells): &(String, Vec<String>)| {
        let all = cells.iter().chain([name]).map(|c| c.chars().count());
        2 + all.max().unwrap_or(0)
    };
    let Some((first, others)) = columns.split_first() else {
        return Vec::new();
    };
    let mut tables: Vec<Vec<&(String, Vec<String>)>> = Vec::new();
    let mut left = 0;
    for column in others {
        match tables.last_mut() {
            Some(table) if width(column) <= left => table.push(column),
            _ => {
                tables.push(vec![first, column]);
                left = WIDEST.saturating_sub(width(first));
            }
        }
        left = left.saturating_sub(width(column));
    }
    let one = |table: Vec<&(String, Vec<String>)>| {
        let header: Vec<&str> = table.iter().map(|c| c.0.as_str()).collect();
        let rows = (0..first.1.len()).map(|row| table.iter().map(|c| c.1[row].clone()).collect());
        grid(&header, rows.collect())
    };
    tables.into_iter().map(one).collect()
}

/// Replaces characters that could control a terminal: names are foreign text.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Returns an SVG file of this size in pixels on a white ground. `title` is any text, `body` is SVG.
pub fn drawing(width: f64, height: f64, title: &str, body: &str) -> String {
    let title = xml(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n<title>{title}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

/// Escapes foreign text for XML.
pub fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if steers(c) => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// Whether a character can control a terminal: control characters, line ends, and marks that change the direction of
/// the text around them.
pub(super) fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::grids;

    #[test]
    fn columns_that_do_not_fit_go_to_the_next_table() {
        let column = |name: &str, width: usize| (name.to_owned(), vec!["x".repeat(width)]);
        let columns = [
            column("who", 18),
            column("a", 38),
            column("b", 38),
            column("c", 38),
        ];
        let tables = grids(&columns);
        assert_eq!(tables.len(), 2);
        assert!(tables[0].starts_with("who") && tables[1].starts_with("who"));
        assert!(tables[0].contains('b') && tables[1].contains('c') && !tables[1].contains('b'));
        let widest = tables.iter().flat_map(|t| t.lines()).map(str::len).max();
        assert_eq!(widest, Some(98));
        assert!(grids(&[]).is_empty());
    }
}
