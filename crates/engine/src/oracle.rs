use burn::tensor::{Device, Tensor};
use proofmark_domain::QueryCount;
use proofmark_model::{
    DecisionModel, Gradient, GradientModel, ModelError, Output, Query, ScoreModel, Signature,
    guarded,
};
use proofmark_threat::{Batch, host, index};

use crate::goal::decided;
use crate::rows::Rows;
use crate::{Aim, Criterion, EngineError, Event, Job, Loss, Observer};

/// How far past 1 the `f32` gauge of a point may be for the exact gauge to be worth computing.
const GAUGE_SLACK: f32 = 1e-4;

/// The only way from an attack to a model: counts every sample-forward per row, evaluates in tiles, and
/// keeps the best point it was asked about.
pub struct Oracle<'a, M: ?Sized> {
    model: &'a M,
    goal: &'a dyn Criterion,
    aim: Aim,
    tile: Option<usize>,
    observer: &'a dyn Observer,
    /// By place in the samples.
    ledger: Vec<QueryCount>,
}

impl<M: ?Sized> std::fmt::Debug for Oracle<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oracle")
            .field("goal", &self.goal)
            .field("aim", &self.aim)
            .field("tile", &self.tile)
            .finish_non_exhaustive()
    }
}

impl<'a, M: DecisionModel + ?Sized> Oracle<'a, M> {
    pub(crate) fn new(model: &'a M, job: &Job<'a>, aim: Aim) -> Self {
        Self {
            model,
            goal: job.goal,
            aim,
            tile: job.tile,
            observer: job.observer,
            ledger: vec![QueryCount::default(); job.samples.len()],
        }
    }

    /// What is known of the model.
    pub fn signature(&self) -> &Signature {
        self.model.signature()
    }

    /// Where points must be.
    pub fn device(&self) -> &Device {
        &self.model.signature().device
    }

    /// The model's decisions at the points of `query`.
    pub fn decide(&mut self, rows: &mut Rows, query: &Query) -> Result<Output, EngineError> {
        let output = self.in_tiles(query, M::decide, cat_outputs)?;
        self.count(&owners(rows, query), 1, 0);
        self.watch(rows, query, &output)?;
        Ok(output)
    }

    /// One point per row.
    pub fn decide_at(&mut self, rows: &mut Rows, x: &Batch) -> Result<Output, EngineError> {
        self.decide(rows, &Query::one_per_row(x.clone(), rows.keys()))
    }

    /// Decisions for the judge: counted, not watched. `samples` are places in the samples.
    pub(crate) fn remeasure(
        &mut self,
        samples: &[usize],
        query: &Query,
    ) -> Result<Output, EngineError> {
        let output = self.in_tiles(query, M::decide, cat_outputs)?;
        self.count(samples, 1, 0);
        Ok(output)
    }

    /// What a row has been asked so far.
    pub(crate) fn spent(&self, sample: usize) -> QueryCount {
        self.ledger[sample]
    }

    pub(crate) fn ledger_mut(&mut self) -> &mut Vec<QueryCount> {
        &mut self.ledger
    }

    fn count(&mut self, samples: &[usize], forward: u64, backward: u64) {
        let cost = self.model.cost();
        for s in samples {
            self.ledger[*s] += QueryCount {
                forward: forward * cost,
                backward: backward * cost,
            };
        }
        let n = samples.len() as u64;
        self.observer.event(Event::Asked {
            forward: n * forward * cost,
            backward: n * backward * cost,
        });
    }

    /// Asks in tiles of a constant number of rows, the last one padded with copies of its first row.
    fn in_tiles<T>(
        &self,
        query: &Query,
        ask: impl Fn(&M, &Query) -> Result<T, ModelError>,
        cat: impl Fn(Vec<T>, usize) -> T,
    ) -> Result<T, ModelError> {
        // A model of any kind that panics is named, be it a `Network` or somebody's own.
        let name = &self.model.signature().name;
        let ask = |model: &M, query: &Query| guarded(name, || ask(model, query));
        let n = query.len();
        let tile = self.tile.unwrap_or(n).max(1);
        if n == tile || n == 0 {
            return ask(self.model, query);
        }
        let mut answers = Vec::new();
        for from in (0..n).step_by(tile) {
            let to = (from + tile).min(n);
            answers.push(if to - from == tile {
                ask(self.model, &part(query, from, to))?
            } else {
                let at: Vec<usize> = (from..to)
                    .chain(std::iter::repeat(from))
                    .take(tile)
                    .collect();
                ask(self.model, &pick(query, &at))?
            });
        }
        Ok(cat(answers, n))
    }

    /// Keeps the best point of each row, marks rows whose answer decides nothing.
    fn watch(&self, rows: &mut Rows, query: &Query, output: &Output) -> Result<(), EngineError> {
        let identity = query.is_one_per_row(rows.len());
        let focus = if identity {
            rows.focus()
        } else {
            rows.focus().at(&query.owner)
        };
        let sound = decided(output, self.model.signature().classes);
        let met = self.goal.met(output, &focus)?.bool_and(sound.clone());
        let region = if identity {
            None
        } else {
            Some(rows.region().at(&query.owner))
        };
        let region = region.as_ref().unwrap_or_else(|| rows.region());
        let gauge = region.gauge(&query.x);
        let mut ok = met.bool_and(region.inside(&query.x));
        if self.aim == Aim::Within {
            ok = ok.bool_and(gauge.clone().lower_equal_scalar(1.0 + GAUGE_SLACK));
        }
        if identity {
            let better = ok.bool_and(rows.watch.improved_by(&gauge, self.aim));
            let unsound = sound
                .bool_not()
                .bool_and(rows.watch.found.clone().lower_scalar(0.5));
            rows.watch.take(&better, &query.x, gauge);
            rows.watch.invalid = rows.watch.invalid.clone().mask_fill(unsound, 1.0);
            return Ok(());
        }
        // Several points per row: pick each row's best on the host, then take them as one point per row.
        let (ok, gauge_host, sound) = (host(&ok.float()), host(&gauge), host(&sound.float()));
        let mut best: Vec<Option<usize>> = vec![None; rows.len()];
        let mut unsound = vec![0.0; rows.len()];
        for (q, owner) in query.owner.iter().enumerate() {
            if sound[q] < 0.5 {
                unsound[*owner] = 1.0;
            }
            let wins = match best[*owner] {
                None => true,
                Some(b) => gauge_host[q] < gauge_host[b],
            };
            if ok[q] > 0.5 && wins {
                best[*owner] = Some(q);
            }
        }
        let device = query.x.device();
        let column = |v: Vec<f32>| Tensor::<1>::from_floats(v.as_slice(), &device);
        let any = column(
            best.iter()
                .map(|b| f32::from(u8::from(b.is_some())))
                .collect(),
        );
        let at = index(
            &best.iter().map(|b| b.unwrap_or(0)).collect::<Vec<_>>(),
            &device,
        );
        let gauge = gauge.select(0, at.clone());
        let better = any
            .greater_scalar(0.5)
            .bool_and(rows.watch.improved_by(&gauge, self.aim));
        rows.watch.take(&better, &query.x.select(&at), gauge);
        let unsound = column(unsound)
            .greater_scalar(0.5)
            .bool_and(rows.watch.found.clone().lower_scalar(0.5));
        rows.watch.invalid = rows.watch.invalid.clone().mask_fill(unsound, 1.0);
        Ok(())
    }
}

impl<M: ScoreModel + ?Sized> Oracle<'_, M> {
    /// Scores `[q, classes]` at the points of `query`.
    pub fn scores(&mut self, rows: &mut Rows, query: &Query) -> Result<Tensor<2>, EngineError> {
        let scores = self.in_tiles(query, M::scores, cat_rows)?;
        self.count(&owners(rows, query), 1, 0);
        self.watch(rows, query, &Output::Scores(scores.clone()))?;
        Ok(scores)
    }
}

impl<M: GradientModel + ?Sized> Oracle<'_, M> {
    /// Scores, loss and its gradient at one point per row.
    ///
    /// A gradient that is not finite is handed out as zero and its row marked invalid; exact zeros are
    /// counted.
    pub fn gradient(
        &mut self,
        rows: &mut Rows,
        x: &Batch,
        loss: &dyn Loss,
    ) -> Result<Gradient, EngineError> {
        let query = Query::one_per_row(x.clone(), rows.keys());
        let mut answer = self.gradient_of(rows, &query, loss)?;
        // What may not change has no say in whether the attack has anything to go by.
        let free = rows.region().free(&answer.gradient);
        let moves: Vec<f32> = rows
            .region()
            .leading_eps()
            .iter()
            .map(|e| f32::from(u8::from(*e > 0.0)))
            .collect();
        let moves = Tensor::<1>::from_floats(moves.as_slice(), self.device());
        let watch = &mut rows.watch;
        let mut sums = free.blocks().iter().map(|g| {
            // The sum is NaN or infinite as soon as one entry is, and zero only if all are.
            g.clone().abs().sum_dim(1).squeeze_dim::<1>(1)
        });
        let first = sums.next().expect("at least one modality");
        let size = sums.fold(first, |a, b| a + b);
        let bad = size.clone().is_finite().bool_not();
        let unbroken = watch.found.clone().lower_scalar(0.5);
        let untouched = watch.invalid.clone().lower_scalar(0.5);
        watch.invalid = watch
            .invalid
            .clone()
            .mask_fill(bad.clone().bool_and(unbroken).bool_and(untouched), 2.0);
        // A row that may not move at all proves nothing about gradients.
        watch.gradients = watch.gradients.clone() + moves;
        watch.zero = watch.zero.clone() + size.equal_scalar(0.0).float();
        if bad.clone().any().into_scalar::<bool>() {
            let zeros = answer.gradient.map(|g| g.zeros_like());
            answer.gradient = answer.gradient.replace_rows(&bad, &zeros);
        }
        Ok(answer)
    }

    /// The same at any points (several per row: targets, classes, draws).
    pub fn gradient_of(
        &mut self,
        rows: &mut Rows,
        query: &Query,
        loss: &dyn Loss,
    ) -> Result<Gradient, EngineError> {
        let answer = self.in_tiles(
            query,
            |m, q| {
                let focus = rows.focus().at(&q.owner);
                m.gradient(q, &|scores, x| loss.per_sample(scores, x, &focus))
            },
            |parts: Vec<Gradient>, n| Gradient {
                scores: Tensor::cat(parts.iter().map(|p| p.scores.clone()).collect(), 0)
                    .slice(0..n),
                loss: Tensor::cat(parts.iter().map(|p| p.loss.clone()).collect(), 0).slice(0..n),
                gradient: Batch::cat(&parts.iter().map(|p| &p.gradient).collect::<Vec<_>>())
                    .slice(0..n),
            },
        )?;
        self.count(&owners(rows, query), 1, 1);
        self.watch(rows, query, &Output::Scores(answer.scores.clone()))?;
        Ok(answer)
    }
}

fn owners(rows: &Rows, query: &Query) -> Vec<usize> {
    let samples = rows.samples();
    query.owner.iter().map(|o| samples[*o]).collect()
}

fn part(query: &Query, from: usize, to: usize) -> Query {
    Query {
        x: query.x.slice(from..to),
        owner: query.owner[from..to].to_vec(),
        key: query.key[from..to].to_vec(),
        draw: query.draw[from..to].to_vec(),
    }
}

fn pick(query: &Query, at: &[usize]) -> Query {
    Query {
        x: query.x.select(&index(at, &query.x.device())),
        owner: at.iter().map(|i| query.owner[*i]).collect(),
        key: at.iter().map(|i| query.key[*i]).collect(),
        draw: at.iter().map(|i| query.draw[*i]).collect(),
    }
}

fn cat_rows(parts: Vec<Tensor<2>>, n: usize) -> Tensor<2> {
    Tensor::cat(parts, 0).slice(0..n)
}

fn cat_outputs(parts: Vec<Output>, n: usize) -> Output {
    let mut labels = Vec::new();
    let mut scores = Vec::new();
    for p in parts {
        match p {
            Output::Labels(l) => labels.push(l),
            Output::Scores(s) => scores.push(s),
        }
    }
    if scores.is_empty() {
        Output::Labels(Tensor::cat(labels, 0).slice(0..n))
    } else {
        Output::Scores(cat_rows(scores, n))
    }
}
