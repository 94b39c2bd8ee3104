use std::fmt::Write as _;

/// Formats bytes as lower-case hex, the form of all digests.
///
/// ```
/// assert_eq!(proofmark_domain::hex(&[0, 10, 255]), "000aff");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for b in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{b:02x}");
    }
    text
}
