//! Starting points for attacks that see decisions alone: points that already succeed.
//!
//! First a point that is already known ([`Job::starts`](proofmark_engine::Job::starts)), then points of the attack's
//! own choice, then uniform noise, salt and pepper and blends of both with the sample.

use proofmark_engine::Rows;
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Draw, index};

/// Number of starts that a row tries in one query.
pub(super) const AT_ONCE: usize = 8;

/// Returns how many starts a row tries next, after `tried` of `tries`.
pub(super) fn next(tries: u32, tried: u64) -> usize {
    let left = u64::from(tries).saturating_sub(tried);
    (left as usize).min(AT_ONCE)
}

/// Returns the nearest of the points that succeeded.
pub(super) fn nearest(succeeded: &[bool], gauges: &[f32]) -> Option<usize> {
    (0..succeeded.len())
        .filter(|b| succeeded[*b])
        .min_by(|a, b| gauges[*a].total_cmp(&gauges[*b]))
}

/// Returns `points` with starts in the places of the rows that search for one.
///
/// `tried` is the number of starts that each searching row has tried, `None` for the other rows; `counts` is the number
/// of points of each row. `first` are points (one per row) that a row tries after its known one and before any noise.
pub(super) fn insert(
    rows: &Rows,
    points: &Batch,
    counts: &[usize],
    tried: &[Option<u64>],
    first: &[Batch],
) -> Batch {
    let (n, region, known) = (rows.len(), rows.region(), rows.starts());
    let searching = |i: &usize| tried[*i].is_some();
    let Some(most) = (0..n).filter(searching).map(|i| counts[i]).max() else {
        return points.clone();
    };
    let first: Vec<Vec<Vec<f32>>> = first.iter().map(Batch::to_host).collect();
    let mut all = vec![points.clone()];
    for b in 0..most {
        let keys = rows.streams(Purpose::Start, b as u32);
        let drawn = region.perturb_in_box(&keys, |draw, stream| scatter(b, draw, stream));
        let mut drawn = drawn.to_host();
        for i in (0..n).filter(|i| tried[*i] == Some(0)) {
            let of_first = b.checked_sub(usize::from(known[i].is_some()));
            if let Some(start) = known[i].filter(|_| b == 0) {
                for (block, values) in drawn.iter_mut().zip(start) {
                    let width = values.len();
                    block[i * width..(i + 1) * width].copy_from_slice(values);
                }
            } else if let Some(first) = of_first.and_then(|b| first.get(b)) {
                for (block, values) in drawn.iter_mut().zip(first) {
                    let width = values.len() / n;
                    let own = i * width..(i + 1) * width;
                    block[own.clone()].copy_from_slice(&values[own]);
                }
            }
        }
        let drawn = Batch::from_host(points.modalities().clone(), drawn, &points.device());
        all.push(region.clip(&drawn.expect("drawn for these inputs")));
    }
    let mut source: Vec<usize> = (0..points.rows()).collect();
    let mut from = 0;
    for (i, count) in counts.iter().enumerate() {
        if searching(&i) {
            for b in 0..*count {
                source[from + b] = points.rows() + b * n + i;
            }
        }
        from += count;
    }
    let all = Batch::cat(&all.iter().collect::<Vec<_>>());
    all.select(&index(&source, &all.device()))
}

/// Draws the `b`-th kind of start: uniform noise, salt and pepper, and blends of both with the sample.
fn scatter(b: usize, draw: &mut Draw<'_>, stream: &mut Stream) {
    let blend = if b % 4 < 2 { 1.0 } else { stream.uniform() };
    let share = stream.uniform();
    for i in 0..draw.x.len() {
        let (low, high) = (draw.lower[i], draw.upper[i]);
        let (at, hit) = (stream.uniform(), stream.uniform());
        let to = if b.is_multiple_of(2) {
            low + at * (high - low)
        } else if hit >= share {
            draw.x[i]
        } else if at < 0.5 {
            low
        } else {
            high
        };
        draw.x[i] += blend * (to - draw.x[i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_point_that_succeeds_is_taken() {
        assert_eq!(nearest(&[false, true, true], &[1.0, 9.0, 8.0]), Some(2));
        assert_eq!(nearest(&[false; 3], &[1.0; 3]), None);
        assert_eq!([next(10, 0), next(10, 8), next(10, 11)], [8, 2, 0]);
    }
}
