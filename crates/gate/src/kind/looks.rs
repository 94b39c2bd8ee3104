use crate::kind::CheckKind;
use crate::policy::{PolicyError, Section};
use crate::sequence::Looks;

/// Field that states the looks; kinds that have it can be sampled sequentially.
pub(super) const FIELD: &str = "looks";

/// Reads `sampling` and `looks`; `None` if the number of samples is fixed.
pub(crate) fn read(s: &Section<'_>) -> Result<Option<Looks>, PolicyError> {
    let words = [("fixed", false), ("sequential", true)];
    let sampling = s.maybe("sampling", |f| f.word(&words))?;
    let Some(field) = s.get(FIELD) else {
        let is_sequential = sampling.unwrap_or(false);
        return Ok(is_sequential.then_some(Looks::Doubling));
    };
    if sampling == Some(false) {
        return Err(field.error(
            "looks are those of a sequential check, and `sampling` is \"fixed\"; drop one of the two",
        ));
    }
    let mut sizes: Vec<usize> = Vec::new();
    for item in field.items()? {
        let size = item.whole(1)? as usize;
        if let Some(last) = sizes.last().filter(|last| **last >= size) {
            return Err(item.error(format!(
                "expected more samples than the {last} of the look before, found {size}"
            )));
        }
        sizes.push(size);
    }
    if sizes.is_empty() {
        return Err(field.error(
            "expected numbers of samples such as [100, 400]; leave `looks` out for the usual ones",
        ));
    }
    Ok(Some(Looks::At(sizes)))
}

/// Refuses sequential sampling for a kind that has no looks.
pub(crate) fn supported(s: &Section<'_>, kind: &CheckKind) -> Result<(), PolicyError> {
    let has_looks = (kind.fields)().contains(&FIELD);
    match s
        .get("sampling")
        .filter(|_| !has_looks && read(s).is_ok_and(|l| l.is_some()))
    {
        None => Ok(()),
        Some(field) => Err(field.error(format!(
            "a check of kind \"{}\" judges all rows of its table; expected \"fixed\"",
            kind.id
        ))),
    }
}
