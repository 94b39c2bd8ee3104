/// What to say was expected where a cell is not the number it should be: `expected`, and that a comma is no decimal point
/// where the cell has one.
///
/// ```
/// use proofmark_data::expected_number;
/// assert_eq!(expected_number("0,5", "a number"), "a number with a decimal point, `0.5`");
/// assert_eq!(expected_number("many", "a number"), "a number");
/// let either = "a number without commas, `1000` or `1.000`, whichever is meant";
/// assert_eq!(expected_number("1,000", "a number"), either);
/// assert_eq!(expected_number("1,000,000", "a number"), "a number without commas, `1000000`");
/// ```
pub fn expected_number(cell: &str, expected: &str) -> String {
    let cell = cell.trim();
    let joined = cell.replace(',', "");
    let pointed = cell.replacen(',', ".", 1);
    // `1,000` is a thousand to some and one to others.
    let mut groups = cell.split(',').skip(1);
    let grouped = cell.contains(',') && groups.all(|g| g.len() == 3 || g.find('.') == Some(3));
    if grouped && joined.parse::<f64>().is_ok() {
        let or = match pointed.parse::<f64>() {
            Ok(_) => format!(" or `{pointed}`, whichever is meant"),
            Err(_) => String::new(),
        };
        format!("{expected} without commas, `{joined}`{or}")
    } else if pointed != cell && pointed.parse::<f64>().is_ok() {
        format!("{expected} with a decimal point, `{pointed}`")
    } else {
        expected.to_owned()
    }
}
