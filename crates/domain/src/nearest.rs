/// Returns the candidate closest to `given` by edit distance; `None` if no candidate is close enough to suggest.
///
/// ```
/// assert_eq!(proofmark_domain::nearest("pgdd", ["fgsm", "pgd"]), Some("pgd"));
/// assert_eq!(proofmark_domain::nearest("zebra", ["fgsm", "pgd"]), None);
/// ```
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&given, c), c))
        .filter(|(d, c)| *d <= 1 + c.len() / 4)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// Returns `" (did you mean `x`?)"`, or an empty text, to append to every unknown-name error.
///
/// ```
/// assert_eq!(proofmark_domain::hint("pgdd", ["fgsm", "pgd"]), " (did you mean `pgd`?)");
/// assert_eq!(proofmark_domain::hint("zebra", ["fgsm", "pgd"]), "");
/// ```
pub fn hint<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, candidates).map_or_else(String::new, |c| format!(" (did you mean `{c}`?)"))
}
