/// Describes the number expected in a cell, for an error message: `expected`, and advice if the cell has a comma
/// instead of a decimal point, or a percentage instead of a share.
///
/// ```
/// use proofmark_data::expected_number;
/// assert_eq!(expected_number("0,5", "a number"), "a number with a decimal point, `0.5`");
/// assert_eq!(expected_number("32.5%", "a number"), "a number without `%`, `0.325`");
/// assert_eq!(expected_number("many", "a number"), "a number");
/// let either = "a number without commas, `1000` or `1.000`, whichever is meant";
/// assert_eq!(expected_number("1,000", "a number"), either);
/// assert_eq!(expected_number("1,000,000", "a number"), "a number without commas, `1000000`");
/// ```
pub fn expected_number(cell: &str, expected: &str) -> String {
    let cell = cell.trim();
    let percent = cell.strip_suffix('%');
    if let Some(number) = percent.and_then(|p| p.trim().parse::<f64>().ok()) {
        // Rounding to 12 decimals removes the error of the division.
        let share = format!("{:.12}", number / 100.0);
        let share = share.trim_end_matches('0').trim_end_matches('.');
        return format!("{expected} without `%`, `{share}`");
    }
    let joined = cell.replace(',', "");
    let pointed = cell.replacen(',', ".", 1);
    // `1,000` may mean a thousand or one.
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
