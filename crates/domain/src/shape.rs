//! Rules for whether samples of one shape fit the input shape of a model.

/// Why samples do not fit the model's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// The axes differ.
    Differs,
    /// The open lengths allow several shapes.
    Open,
    /// The model takes one flat row of values, and the axes could be flattened in several orders.
    Order,
}

/// Returns the shape that samples of shape `given` take in a model that expects `wanted`, where `None` is an open
/// length.
///
/// Values never move across axes: both shapes must have the same axes in the same order, up to axes of length 1. Flat
/// samples (`[features]`) fit any shape with the same number of values. If the model expects one flat row, two-axis
/// samples are flattened row by row; samples with more axes are rejected, because their order is ambiguous.
///
/// ```
/// use proofmark_domain::{Misfit, fit};
/// assert_eq!(fit(&[1, 28, 28], &[Some(28), None]), Ok(vec![28, 28]));
/// assert_eq!(fit(&[100, 3], &[Some(3), Some(100)]), Err(Misfit::Differs));
/// assert_eq!(fit(&[300], &[Some(3), Some(100)]), Ok(vec![3, 100]));
/// ```
pub fn fit(given: &[usize], wanted: &[Option<usize>]) -> Result<Vec<usize>, Misfit> {
    // If the axes match as they are, that settles the open lengths. Also try without the leading 1 that `[n, h, w]`
    // data get.
    for own in [Some(given), given.strip_prefix(&[1])]
        .into_iter()
        .flatten()
    {
        let fits = |(n, w): (&usize, &Option<usize>)| w.is_none_or(|w| w == *n);
        if own.len() == wanted.len() && own.iter().zip(wanted).all(fits) {
            return Ok(own.to_vec());
        }
    }
    let axes: Vec<usize> = given.iter().copied().filter(|n| *n != 1).collect();
    match with_ones(&axes, wanted) {
        Err(Misfit::Differs) => {}
        settled => return settled,
    }
    let features = given
        .iter()
        .try_fold(1usize, |all, n| all.checked_mul(*n))
        .ok_or(Misfit::Differs)?;
    if given.len() == 1 {
        return regrouped(features, wanted);
    }
    let row = wanted.iter().filter(|w| **w != Some(1)).count() <= 1;
    match regrouped(features, wanted) {
        Ok(shape) if row && axes.len() <= 2 => Ok(shape),
        Ok(_) if row => Err(Misfit::Order),
        _ => Err(Misfit::Differs),
    }
}

/// Returns the only way to insert axes of length 1 into `axes` so that the result matches `wanted`.
fn with_ones(axes: &[usize], wanted: &[Option<usize>]) -> Result<Vec<usize>, Misfit> {
    // `ways[i][j]`: number of ways to match `wanted[i..]` with `axes[j..]`, capped at 2 because 2 already means
    // ambiguous.
    let (rows, columns) = (wanted.len(), axes.len());
    let mut ways = vec![vec![0u8; columns + 1]; rows + 1];
    ways[rows][columns] = 1;
    for i in (0..rows).rev() {
        for j in 0..=columns {
            let one = matches!(wanted[i], None | Some(1));
            let takes = j < columns && wanted[i].is_none_or(|w| w == axes[j]);
            let ahead = if one { ways[i + 1][j] } else { 0 };
            let along = if takes { ways[i + 1][j + 1] } else { 0 };
            ways[i][j] = (ahead + along).min(2);
        }
    }
    match ways[0][0] {
        0 => return Err(Misfit::Differs),
        1 => {}
        _ => return Err(Misfit::Open),
    }
    let mut j = 0;
    Ok((0..rows)
        .map(|i| {
            let takes = j < columns && wanted[i].is_none_or(|w| w == axes[j]);
            if takes && ways[i + 1][j + 1] == 1 {
                j += 1;
                axes[j - 1]
            } else {
                1
            }
        })
        .collect())
}

/// Reshapes `features` values to `wanted`, in which at most one length may be open.
fn regrouped(features: usize, wanted: &[Option<usize>]) -> Result<Vec<usize>, Misfit> {
    let known = wanted
        .iter()
        .flatten()
        .try_fold(1usize, |all, n| all.checked_mul(*n))
        .ok_or(Misfit::Differs)?;
    let open = wanted.iter().filter(|w| w.is_none()).count();
    if known == 0 || !features.is_multiple_of(known) || (open == 0 && features != known) {
        return Err(Misfit::Differs);
    }
    if open > 1 {
        return Err(Misfit::Open);
    }
    Ok(wanted
        .iter()
        .map(|w| w.unwrap_or(features / known))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Vec<Option<usize>> {
        text.split(' ').map(|w| w.parse().ok()).collect()
    }

    #[test]
    fn the_same_axes_fit_up_to_axes_of_length_one() {
        for (given, text, shape) in [
            (vec![3, 100], "3 100", vec![3, 100]),
            // `[n, h, w]` data are images of one channel.
            (vec![1, 3, 100], "3 100", vec![3, 100]),
            (vec![1, 3, 100], "? 100", vec![3, 100]),
            (vec![1, 3, 100], "? ?", vec![3, 100]),
            (vec![28, 28], "1 28 28", vec![1, 28, 28]),
            (vec![28, 28, 1], "1 28 28", vec![1, 28, 28]),
            (vec![16000], "1 ?", vec![1, 16000]),
            (vec![16000], "1 16000 1", vec![1, 16000, 1]),
            (vec![1, 1], "1", vec![1]),
            (vec![5, 1, 1, 5], "? 5", vec![5, 5]),
        ] {
            assert_eq!(fit(&given, &wanted(text)), Ok(shape), "{given:?} {text}");
        }
    }

    #[test]
    fn different_axes_do_not_fit_even_with_equal_numbers_of_values() {
        for (given, text) in [
            (vec![100, 3], "3 100"),
            (vec![1, 100, 3], "3 100"),
            (vec![3, 16, 12], "3 12 16"),
            (vec![3, 12, 16], "12 16 3"),
            (vec![3, 12, 16], "3 192"),
            (vec![6, 6], "4 9"),
            (vec![6, 6], "? 9"),
            (vec![2, 6], "13"),
            (vec![7], "2 3"),
            (vec![7], "2 ?"),
        ] {
            let result = fit(&given, &wanted(text));
            assert_eq!(result, Err(Misfit::Differs), "{given:?} {text}");
        }
    }

    #[test]
    fn flat_samples_are_reshaped_and_two_axes_are_flattened() {
        assert_eq!(fit(&[48], &wanted("3 4 4")), Ok(vec![3, 4, 4]));
        assert_eq!(fit(&[48], &wanted("? 4 4")), Ok(vec![3, 4, 4]));
        assert_eq!(fit(&[1, 28, 28], &wanted("784")), Ok(vec![784]));
        assert_eq!(fit(&[28, 28], &wanted("1 ? 1")), Ok(vec![1, 784, 1]));
        // Channels could come first or last: two orders.
        assert_eq!(fit(&[3, 4, 4], &wanted("48")), Err(Misfit::Order));
        assert_eq!(fit(&[3, 4, 4], &wanted("47")), Err(Misfit::Differs));
    }

    #[test]
    fn several_possible_shapes_are_reported_as_open() {
        assert_eq!(fit(&[16000], &wanted("? ?")), Err(Misfit::Open));
        assert_eq!(fit(&[2, 3], &wanted("? ? ?")), Err(Misfit::Open));
        assert_eq!(fit(&[32], &wanted("? 4 ?")), Err(Misfit::Open));
    }

    #[test]
    fn sizes_beyond_the_address_space_fit_nothing() {
        let huge = usize::MAX;
        assert_eq!(fit(&[6], &[Some(huge), Some(huge)]), Err(Misfit::Differs));
        assert_eq!(fit(&[huge, huge], &[None]), Err(Misfit::Differs));
    }
}
