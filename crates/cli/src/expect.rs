//! Comparison of outputs with their references.

use proofmark::onnx::{Array, Data};

/// Result of comparing an output with its reference.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) agrees: bool,
    /// Description of the result in a sentence.
    pub(crate) summary: String,
}

/// Compares an output with its reference. They agree if `|a - b| <= tol * max |b| + tol / 10` for every element (the
/// maximum over finite elements of the reference), and if each row along the last axis has its largest element at the
/// same index; elements of the reference that differ by at most that tolerance count as tied. Non-finite elements must
/// be equal.
pub(crate) fn compare(given: &Array, reference: &Array, tol: f64) -> Result<Comparison, String> {
    if given.shape() != reference.shape() {
        return Ok(Comparison {
            agrees: false,
            summary: format!(
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
            summary: wrong.map_or_else(
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
    let mut summary = vec![format!(
        "largest deviation {largest:.3e}{spot} (allowed {allowed:.3e})"
    )];
    let mut same = true;
    let width = given.shape().last().copied().unwrap_or(1);
    if width > 1 {
        let decisions = Decisions::of(&a, &b, width, allowed);
        same = decisions.wrong.is_none();
        summary.push(decisions.to_string());
    }
    Ok(Comparison {
        agrees: near && same,
        summary: summary.join(", "),
    })
}

/// Agreement of the rows' largest elements.
#[derive(Debug, Default)]
struct Decisions {
    equal: usize,
    compared: usize,
    /// Rows whose two largest elements of the reference differ by at most the tolerance.
    close: usize,
    /// First row whose largest element is at another index.
    wrong: Option<usize>,
}

impl Decisions {
    fn of(a: &[f64], b: &[f64], width: usize, allowed: f64) -> Self {
        let mut all = Self::default();
        for (row, (a, b)) in a.chunks(width).zip(b.chunks(width)).enumerate() {
            let (Some(i), Some(j)) = (largest_at(a), largest_at(b)) else {
                all.compared += 1;
                all.equal += 1;
                continue;
            };
            let others = b.iter().enumerate().filter(|(at, _)| *at != j);
            let second = others.map(|(_, x)| *x).fold(f64::NEG_INFINITY, f64::max);
            let apart = |x: f64| x < b[j] && b[j] - x > allowed;
            if apart(b[i]) {
                all.compared += 1;
                all.wrong = all.wrong.or(Some(row));
            } else if apart(second) {
                all.compared += 1;
                all.equal += 1;
            } else {
                all.close += 1;
            }
        }
        all
    }
}

impl std::fmt::Display for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (equal, compared) = (self.equal, self.compared);
        write!(f, "argmax equal in {equal} of {compared} rows")?;
        if let Some(row) = self.wrong {
            write!(f, " (not in row {row})")?;
        }
        if self.close > 0 {
            write!(
                f,
                ", {} too close to compare (the two largest expected values differ by no more than is allowed)",
                self.close
            )?;
        }
        Ok(())
    }
}

/// Returns the index of the largest element; `None` if the row is empty or holds a NaN.
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

/// Formats an element with the digits of its own type.
fn number(x: f64, of: &Array) -> String {
    match of.data() {
        Data::F32(_) => (x as f32).to_string(),
        _ => x.to_string(),
    }
}

/// Formats the indices of an element.
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
        // Allowed: 1e-4 * 5.0006 + 1e-5, about 0.00051; each element is within it.
        assert!(!agree(&[5.0003, 5.0002], &[5.0, 5.0006]));
        assert!(agree(&[5.0, 5.0001], &[5.0, 5.0]), "a tie is one place");
        assert!(
            agree(&[5.0, 5.0001], &[5.0001, 5.0]),
            "a swap within the tolerance is none"
        );
        let inf = f64::INFINITY;
        assert!(agree(&[-inf, 1.0], &[-inf, 1.0]));
        assert!(!agree(&[1.0, -inf], &[-inf, 1.0]));
    }

    #[test]
    fn rows_too_close_to_compare_are_counted() {
        let rows = |v: &[f64]| Array::try_new([3, 2], v.to_vec()).expect("a shape");
        let given = rows(&[1.0, 1.00001, 3.0, 1.0, 2.0, 2.0]);
        let expected = rows(&[1.00001, 1.0, 3.0, 1.0, 2.0, 2.0]);
        let compared = compare(&given, &expected, 1e-4).expect("numbers");
        assert!(compared.agrees);
        let text = compared.summary;
        assert!(text.contains("1 of 1 rows, 2 too close"), "{text}");
    }

    #[test]
    fn non_finite_elements_must_be_equal() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        assert!(agree(&[inf, 1.0, nan], &[inf, 1.0, nan]));
        for (a, b) in [(inf, -inf), (nan, 1.0), (1.0, nan), (inf, 1.0), (1.0, inf)] {
            assert!(!agree(&[a, 0.0], &[b, 0.0]), "{a} {b}");
        }
    }

    #[test]
    fn the_summary_names_indices_and_shapes() {
        let summary = |a: &Array, b: &Array| compare(a, b, 1e-4).expect("numbers").summary;
        let far = Array::try_new([2, 2], vec![1.0, 2.0, 7.0, 4.0]).expect("a shape");
        let near = Array::try_new([2, 2], vec![1.0, 2.0, 3.0, 4.0]).expect("a shape");
        let text = summary(&far, &near);
        assert!(text.contains("[1, 0]: 7 instead of 3"), "{text}");
        assert!(text.contains("1 of 2 rows (not in row 1)"), "{text}");
        let text = summary(&far, &row(&[1.0]));
        assert!(text.contains("[2, 2]") && text.contains("[1, 1]"), "{text}");
    }
}
