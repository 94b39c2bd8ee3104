/// What to say was expected where a cell is not the number it should be: `expected`, and that a comma is no decimal point
/// where the cell has one.
///
/// ```
/// use proofmark_data::expected_number;
/// assert_eq!(expected_number("0,5", "a number"), "a number with a decimal point, `0.5`");
/// assert_eq!(expected_number("many", "a number"), "a number");
/// ```
pub fn expected_number(cell: &str, expected: &str) -> String {
    let pointed = cell.trim().replacen(',', ".", 1);
    if pointed != cell.trim() && pointed.parse::<f64>().is_ok() {
        format!("{expected} with a decimal point, `{pointed}`")
    } else {
        expected.to_owned()
    }
}
