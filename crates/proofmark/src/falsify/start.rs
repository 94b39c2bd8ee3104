//! Start points of rows in the cube, and the choice of the best of several draws.

use burn::tensor::Tensor;
use proofmark_engine::{EngineError, Loss, Oracle, Rows};
use proofmark_model::{Query, ScoreModel};
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, host, index};

/// Where a row starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At its clean point: the middle of the box, or the point given to the run.
    Given,
    /// At a uniformly random point of the box.
    Inside,
    /// At a random corner.
    Corner,
}

impl Start {
    fn draw(self, given: &[f32], stream: &mut Stream) -> Vec<f32> {
        match self {
            Self::Given => given.to_vec(),
            Self::Inside => given
                .iter()
                .map(|_| stream.uniform().mul_add(2.0, -1.0))
                .collect(),
            Self::Corner => given.iter().map(|_| sign(stream)).collect(),
        }
    }
}

/// Draws a fair sign.
pub(super) fn sign(stream: &mut Stream) -> f32 {
    if stream.next_u32() & 1 == 0 {
        1.0
    } else {
        -1.0
    }
}

/// Returns a start for each row: of `draws` points, the one with the largest loss. The oracle is queried for all of
/// them, or for none if there is only one.
pub(super) fn begin<M: ScoreModel + ?Sized>(
    oracle: &mut Oracle<'_, M>,
    rows: &mut Rows,
    starts: &[Start],
    draws: u32,
    loss: &dyn Loss,
) -> Result<Batch, EngineError> {
    let x0 = rows.region().x0();
    let given = host(&x0.blocks()[0]);
    let inputs = x0.blocks()[0].dims()[1];
    let (draws, n) = (draws.max(1), rows.len());
    let place = rows.focus().sample();
    // One draw at a time, so that a query has one point per row.
    let mut best: Option<(Batch, Tensor<1>)> = None;
    for draw in 0..draws {
        let streams = rows.streams(Purpose::Start, draw);
        let values = (0..n)
            .flat_map(|r| {
                let given = &given[r * inputs..(r + 1) * inputs];
                starts[place[r]].draw(given, &mut Stream::new(&streams[r]))
            })
            .collect();
        let x = Batch::from_host(x0.modalities().clone(), vec![values], oracle.device())?;
        if draws == 1 {
            return Ok(x);
        }
        let query = Query::one_per_row(x.clone(), rows.keys());
        let scores = oracle.scores(rows, &query)?;
        let value = loss.per_sample(&scores, &x, &rows.focus());
        best = Some(match best {
            None => (x, value),
            Some((x_best, most)) => {
                let better = value.clone().greater(most.clone());
                (
                    x_best.replace_rows(&better, &x),
                    most.mask_where(better, value),
                )
            }
        });
    }
    Ok(best.map_or(x0, |(x, _)| x))
}

/// Returns `each` changed copies of each row's point `x`, all of one input, as a query. `propose` changes copy `k` of
/// row `r` in place, with the row's random numbers.
pub(super) fn proposals(
    rows: &Rows,
    x: &Batch,
    each: usize,
    mut propose: impl FnMut(usize, usize, &mut [f32], &mut Stream),
) -> Result<Query, EngineError> {
    let inputs = x.blocks()[0].dims()[1];
    let from = host(&x.blocks()[0]);
    let mut values = Vec::with_capacity(from.len() * each);
    let mut owner = Vec::with_capacity(rows.len() * each);
    for (r, key) in rows.streams(Purpose::Noise, 0).iter().enumerate() {
        let mut stream = Stream::new(key);
        for k in 0..each {
            let at = values.len();
            values.extend_from_slice(&from[r * inputs..(r + 1) * inputs]);
            propose(r, k, &mut values[at..], &mut stream);
            owner.push(r);
        }
    }
    Ok(Query {
        x: Batch::from_host(x.modalities().clone(), vec![values], &x.device())?,
        key: owner.iter().map(|r| rows.keys()[*r]).collect(),
        draw: vec![0; owner.len()],
        owner,
    })
}

/// Returns the index of each row's best value; `values` holds `each` values per row, those of a row together.
pub(super) fn best_of(values: &[f32], each: usize) -> Vec<usize> {
    values
        .chunks(each)
        .enumerate()
        .map(|(r, values)| {
            let best = values
                .iter()
                .enumerate()
                .fold((0, f32::NEG_INFINITY), |best, (i, v)| {
                    if *v > best.1 { (i, *v) } else { best }
                });
            r * each + best.0
        })
        .collect()
}

/// Returns the rows of `values` at `at`.
pub(super) fn pick(values: &Tensor<1>, at: &[usize]) -> Tensor<1> {
    values.clone().select(0, index(at, &values.device()))
}
