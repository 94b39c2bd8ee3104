//! Whether an output is the one that was expected.

use proofmark::onnx::{Array, Data};

/// One output against its reference.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) agrees: bool,
    /// In a sentence.
    pub(crate) told: String,
}

/// `|a - b| <= tol * max |b| + tol / 10` for every element (the maximum over finite elements of the reference), and
/// the largest element along the last axis at the same place; elements that tie in the reference are one place.
/// What is not finite has to be equal.
pub(crate) fn compare(given: &Array, reference: &Array, tol: f64) -> Result<Comparison, String> {
    if given.shape() != reference.shape() {
        return Ok(Comparison {
            agrees: false,
            told: format!(
                "shape {:?}; expected {:?}",
                given.shape(),
                reference.shape()
            ),
        });
    }
    if let (Data::Text(a), Data::Text(b)) = (given.data(), reference.data()) {
        let wrong = a.iter().zip(b).position(|(a, b)| a != b);
        return Ok(Comparison {
            agrees: wrong.is_none(),
            told: wrong.map_or_else(
                || "every text is equal".to_owned(),
                |i| format!("`{}` at {}; expected `{}`", a[i], place(i, given), b[i]),
            ),
        });
    }
    let (a, b) = (given.to_f64()?, reference.to_f64()?);
    let scale = b
        .iter()
        .filter(|x| x.is_finite())
        .fold(0f64, |m, x| m.max(x.abs()));
    let allowed = tol * scale + tol / 10.0;
    let apart = |a: f64, b: f64| {
        if a == b || (a.is_nan() && b.is_nan()) {
            0.0
        } else {
            let d = (a - b).abs();
            if d.is_nan() { f64::INFINITY } else { d }
        }
    };
    let (mut largest, mut at) = (0f64, None);
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        if apart(*a, *b) > largest {
            (largest, at) = (apart(*a, *b), Some(i));
        }
    }
    let near = largest <= allowed;
    let spot = match at {
        Some(i) if !near => format!(
            " at {}: {} instead of {}",
            place(i, given),
            number(a[i], given),
            number(b[i], reference)
        ),
        _ => String::new(),
    };
    let mut told = vec![format!(
        "largest deviation {largest:.3e}{spot} (allowed {allowed:.3e})"
    )];
    let mut same = true;
    let width = given.shape().last().copied().unwrap_or(1);
    if width > 1 {
        let rows = a.len() / width;
        let wrong: Vec<usize> = (0..rows)
            .filter(|r| {
                let row = r * width..(r + 1) * width;
                let (a, b) = (&a[row.clone()], &b[row]);
                matches!((largest_at(a), largest_at(b)), (Some(i), Some(j)) if b[i] != b[j])
            })
            .collect();
        same = wrong.is_empty();
        let first = wrong.first();
        let first = first.map_or_else(String::new, |row| format!(" (not in row {row})"));
        told.push(format!(
            "argmax equal in {} of {rows} rows{first}",
            rows - wrong.len()
        ));
    }
    Ok(Comparison {
        agrees: near && same,
        told: told.join(", "),
    })
}

/// Where a row is largest, if it holds numbers only.
fn largest_at(row: &[f64]) -> Option<usize> {
    let mut at = 0;
    for (i, x) in row.iter().enumerate() {
        if x.is_nan() {
            return None;
        }
        if *x > row[at] {
            at = i;
        }
    }
    (!row.is_empty()).then_some(at)
}

/// An element in the digits of its own type.
fn number(x: f64, of: &Array) -> String {
    match of.data() {
        Data::F32(_) => (x as f32).to_string(),
        _ => x.to_string(),
    }
}

/// The indices of an element.
fn place(mut element: usize, array: &Array) -> String {
    let mut indices: Vec<usize> = array
        .shape()
        .iter()
        .rev()
        .map(|n| {
            let i = element % n.max(&1);
            element /= n.max(&1);
            i
        })
        .collect();
    indices.reverse();
    format!("{indices:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f64]) -> Array {
        Array::try_new([1, values.len()], values.to_vec()).expect("a shape")
    }

    fn agree(a: &[f64], b: &[f64]) -> bool {
        compare(&row(a), &row(b), 1e-4).expect("numbers").agrees
    }

    #[test]
    fn deviations_are_measured_against_the_largest_element() {
        // Allowed: 1e-4 * 10 + 1e-5.
        assert!(agree(&[10.001, 0.0], &[10.0, 0.0]));
        assert!(agree(&[10.0, 0.001], &[10.0, 0.0]));
        assert!(!agree(&[10.00102, 0.0], &[10.0, 0.0]));
        assert!(agree(&[0.000_01, 0.0], &[0.0, 0.0]));
        assert!(!agree(&[0.000_011, 0.0], &[0.0, 0.0]));
    }

    #[test]
    fn the_largest_must_be_in_the_same_place() {
        assert!(!agree(&[5.0, 5.0001], &[5.0001, 5.0]));
        assert!(agree(&[5.0, 5.0001], &[5.0, 5.0]), "a tie is one place");
    }

    #[test]
    fn what_is_not_finite_must_be_equal() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        assert!(agree(&[inf, 1.0, nan], &[inf, 1.0, nan]));
        for (a, b) in [(inf, -inf), (nan, 1.0), (1.0, nan), (inf, 1.0), (1.0, inf)] {
            assert!(!agree(&[a, 0.0], &[b, 0.0]), "{a} {b}");
        }
    }

    #[test]
    fn places_and_shapes_are_told() {
        let told = |a: &Array, b: &Array| compare(a, b, 1e-4).expect("numbers").told;
        let far = Array::try_new([2, 2], vec![1.0, 2.0, 7.0, 4.0]).expect("a shape");
        let near = Array::try_new([2, 2], vec![1.0, 2.0, 3.0, 4.0]).expect("a shape");
        let text = told(&far, &near);
        assert!(text.contains("[1, 0]: 7 instead of 3"), "{text}");
        assert!(text.contains("1 of 2 rows (not in row 1)"), "{text}");
        let text = told(&far, &row(&[1.0]));
        assert!(text.contains("[2, 2]") && text.contains("[1, 1]"), "{text}");
    }
}
