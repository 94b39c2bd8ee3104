use burn::tensor::{Bool, Device, Tensor};
use proofmark_domain::QueryCount;
use proofmark_model::wrap::{Call, Surrogate};
use proofmark_model::{
    DecisionModel, Gradient, GradientModel, ModelError, Output, Query, ScoreModel, Signature,
    guarded,
};
use proofmark_threat::{Batch, host, index, mask};

use crate::goal::decided;
use crate::rows::Rows;
use crate::tiles::Tiles;
use crate::{Aim, Criterion, EngineError, Focus, Job, Loss, Request, Rule};

/// The exact gauge of a point is computed only if its `f32` gauge is at most this far above 1.
const GAUGE_SLACK: f32 = 1e-4;

/// The only access of an attack to a model. It counts every sample-forward per row, evaluates in tiles, and keeps the
/// best point queried.
pub struct Oracle<'a, M: ?Sized> {
    model: &'a M,
    goal: &'a dyn Criterion,
    aim: Aim,
    /// How many draws of one point must succeed.
    rule: Rule,
    tile: Option<usize>,
    tiles: Tiles,
    computed: u64,
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
    /// Creates the oracle of `model` for an attack on the rows of `job`.
    pub fn new(model: &'a M, job: &Job<'a>, aim: Aim) -> Self {
        Self {
            model,
            goal: job.goal,
            aim,
            rule: job.judge.rule,
            tile: job.tile,
            tiles: Tiles::default(),
            computed: 0,
        }
    }

    /// Returns the facts about the model.
    pub fn signature(&self) -> &Signature {
        self.model.signature()
    }

    /// Returns the number of classes that attacks see ([`Job::classes`]).
    pub fn classes(&self) -> usize {
        let width = self.model.signature().classes;
        self.goal.ways().map_or(width, |w| 1 + w.count(width))
    }

    /// Returns the device on which points must be.
    pub fn device(&self) -> &Device {
        &self.model.signature().device
    }

    /// Returns the model's decisions at the points of `request`.
    pub fn decide(
        &mut self,
        rows: &mut Rows,
        request: impl Into<Request>,
    ) -> Result<Output, EngineError> {
        let request = request.into();
        let price = self.price(Call::Decisions, request.watch);
        let output = self.in_tiles(&request.query, price, |m, q, _| m.decide(q), cat_outputs)?;
        rows.count(&request.query.owner, price);
        self.watch(rows, &request, &output)?;
        Ok(output)
    }

    /// Returns the model's decisions at one point per row.
    pub fn decide_at(&mut self, rows: &mut Rows, x: &Batch) -> Result<Output, EngineError> {
        let request = rows.request(x);
        self.decide(rows, request)
    }

    /// Returns which points of `request` succeed, by the model's decisions and the run's criterion.
    pub fn succeeds(
        &mut self,
        rows: &mut Rows,
        request: impl Into<Request>,
    ) -> Result<Vec<bool>, EngineError> {
        let request = request.into();
        let price = self.price(Call::Decisions, request.watch);
        let output = self.in_tiles(&request.query, price, |m, q, _| m.decide(q), cat_outputs)?;
        rows.count(&request.query.owner, price);
        let [met, sound] = self.met(rows, &request.query, &output)?;
        let succeeds = host(&met.clone().float());
        self.keep(rows, &request, met, sound);
        Ok(succeeds.into_iter().map(|s| s > 0.5).collect())
    }

    /// Whether the attack sees a surrogate alone: its final points are the attacked model's only queries.
    pub fn is_transfer(&self) -> bool {
        self.model.surrogate().is_some_and(Surrogate::is_transfer)
    }

    /// Returns decisions of the attacked model for the judge: neither watched nor counted for a row; each point costs
    /// [`Oracle::cost`].
    pub(crate) fn remeasure(&mut self, query: &Query) -> Result<Output, EngineError> {
        let judged = |m: &M, q: &Query, _: &[usize]| match m.surrogate() {
            Some(surrogate) => surrogate.victim().decisions().decide(q),
            None => m.decide(q),
        };
        let price = QueryCount {
            forward: self.cost(),
            ..QueryCount::default()
        };
        Ok(self.in_tiles(query, price, judged, cat_outputs)?)
    }

    /// Returns the sample-forwards of the attacked model that one point costs.
    pub(crate) fn cost(&self) -> u64 {
        self.model.cost()
    }

    /// Returns what one point costs; `watched` says whether it may be kept.
    fn price(&self, call: Call, watched: bool) -> QueryCount {
        if let Some(surrogate) = self.model.surrogate() {
            return surrogate.price(call, watched);
        }
        let backward = if call == Call::Gradient {
            self.model.cost()
        } else {
            0
        };
        QueryCount {
            forward: self.model.cost(),
            backward,
            ..QueryCount::default()
        }
    }

    /// Returns the sample-forwards the model has computed so far, including padding, judging and discarded restarts.
    pub(crate) fn computed(&self) -> u64 {
        self.computed
    }

    /// Queries the model in tiles of a constant number of rows, the last one padded with copies of its first row; a model
    /// whose rows are independent gets them all at once. `ask` also receives which points of the query are in its tile;
    /// each point costs `price`.
    fn in_tiles<T: Send>(
        &mut self,
        query: &Query,
        price: QueryCount,
        ask: impl Fn(&M, &Query, &[usize]) -> Result<T, ModelError> + Sync,
        cat: impl Fn(Vec<T>, usize) -> T,
    ) -> Result<T, ModelError> {
        let (model, n) = (self.model, query.len());
        // The error names a model that panics, whether it is a `Network` or a custom implementation.
        let name = &model.signature().name;
        let ask = |query: &Query, at: &[usize]| guarded(name, || ask(model, query, at));
        // Independent rows need no padding, and the model shares them among the threads itself.
        let tile = self
            .tile
            .filter(|_| !model.signature().row_independent)
            .unwrap_or(n)
            .max(1);
        let count = n.div_ceil(tile);
        self.computed += price.forward * (count * tile) as u64;
        if n == tile || n == 0 {
            return ask(query, &(0..n).collect::<Vec<_>>());
        }
        let answers = self.tiles.each(count, |i| {
            let (from, to) = (i * tile, (i * tile + tile).min(n));
            let at: Vec<usize> = (from..to)
                .chain(std::iter::repeat(from))
                .take(tile)
                .collect();
            let x = if to - from == tile {
                query.x.slice(from..to)
            } else {
                query.x.select(&index(&at, &query.x.device()))
            };
            ask(&part(query, x, &at), &at)
        })?;
        Ok(cat(answers, n))
    }

    /// Keeps the best point of each row and marks rows whose answer gives no decision.
    fn watch(
        &self,
        rows: &mut Rows,
        request: &Request,
        output: &Output,
    ) -> Result<(), EngineError> {
        if !request.watch {
            return Ok(());
        }
        let [met, sound] = self.met(rows, &request.query, output)?;
        self.keep(rows, request, met, sound);
        Ok(())
    }

    /// Returns which points succeed, and which answers give a decision.
    fn met(
        &self,
        rows: &Rows,
        query: &Query,
        output: &Output,
    ) -> Result<[Tensor<1, Bool>; 2], EngineError> {
        // Success uses the row's own label and target, even if the request overrides them for the loss.
        let focus = if query.is_one_per_row(rows.len()) {
            rows.truth()
        } else {
            rows.truth().at(&query.owner)
        };
        let classes = self.model.signature().classes;
        let sound = decided(self.goal.outputs(), output, classes);
        let met = self.goal.met(output, &focus)?.bool_and(sound.clone());
        Ok([met, sound])
    }

    /// Returns the facts that the ways to meet the criterion need about the points of a request; `None` if attacks see
    /// the model's own scores.
    fn truth_of(&self, rows: &Rows, request: &Request) -> Result<Option<Focus>, EngineError> {
        if self.goal.ways().is_none() {
            return Ok(None);
        }
        let focus = rows.truth_of(request);
        let by_sample = !self.goal.outputs().is_classes();
        if by_sample && focus.row().iter().any(|r| r.sample().is_none()) {
            return Err(EngineError::Parameter {
                name: "criterion",
                given: format!("about the {} of each sample", self.goal.outputs()),
                expected: "an attack on single samples, or a criterion about classes".into(),
            });
        }
        Ok(Some(focus))
    }

    /// Keeps the best of the points that succeed and marks rows whose answer gives no decision.
    fn keep(
        &self,
        rows: &mut Rows,
        request: &Request,
        met: Tensor<1, Bool>,
        sound: Tensor<1, Bool>,
    ) {
        if !request.watch {
            return;
        }
        let (drawn, met, sound) = if request.draws > 1 {
            let [met, sound] = [met, sound].map(|flags| votes(&flags, request.draws as usize));
            let each: Vec<usize> = (0..request.query.len())
                .step_by(request.draws as usize)
                .collect();
            let x = request
                .query
                .x
                .select(&index(&each, &request.query.x.device()));
            let enough = met.greater_equal_scalar(self.rule.least(request.draws));
            let query = part(&request.query, x, &each);
            (
                Some(query),
                enough,
                sound.greater_equal_scalar(request.draws),
            )
        } else {
            (None, met, sound)
        };
        let query = drawn.as_ref().unwrap_or(&request.query);
        let identity = query.is_one_per_row(rows.len());
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
            return;
        }
        // Several points per row: pick each row's best on the host, then proceed as with one point per row.
        let (ok, gauge_host, sound) = (host(&ok.float()), host(&gauge), host(&sound.float()));
        let mut best: Vec<Option<usize>> = vec![None; rows.len()];
        let mut unsound = vec![false; rows.len()];
        for (q, owner) in query.owner.iter().enumerate() {
            if sound[q] < 0.5 {
                unsound[*owner] = true;
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
        let any: Vec<bool> = best.iter().map(Option::is_some).collect();
        let at = index(
            &best.iter().map(|b| b.unwrap_or(0)).collect::<Vec<_>>(),
            &device,
        );
        let gauge = gauge.select(0, at.clone());
        let better = mask(&any, &device).bool_and(rows.watch.improved_by(&gauge, self.aim));
        rows.watch.take(&better, &query.x.select(&at), gauge);
        let unsound = mask(&unsound, &device).bool_and(rows.watch.found.clone().lower_scalar(0.5));
        rows.watch.invalid = rows.watch.invalid.clone().mask_fill(unsound, 1.0);
    }
}

impl<M: ScoreModel + ?Sized> Oracle<'_, M> {
    /// Returns scores `[q, classes]` at the points of `request`, of the classes that attacks see ([`Oracle::classes`]).
    pub fn scores(
        &mut self,
        rows: &mut Rows,
        request: impl Into<Request>,
    ) -> Result<Tensor<2>, EngineError> {
        let request = request.into();
        let price = self.price(Call::Scores, request.watch);
        let ask = |m: &M, q: &Query, _: &[usize]| match m.surrogate() {
            Some(surrogate) => surrogate.scores_and_answer(q, request.watch),
            None => m.scores(q).map(|s| (s.clone(), Output::Scores(s))),
        };
        let (scores, answer) = self.in_tiles(&request.query, price, ask, |parts, n| {
            let (scores, answers) = parts.into_iter().unzip();
            (cat_rows(scores, n), cat_outputs(answers, n))
        })?;
        rows.count(&request.query.owner, price);
        self.watch(rows, &request, &answer)?;
        Ok(match self.truth_of(rows, &request)? {
            Some(truth) => seen(self.goal, &scores, &truth),
            None => scores,
        })
    }
}

impl<M: GradientModel + ?Sized> Oracle<'_, M> {
    /// Returns scores, loss and its gradient at one point per row.
    pub fn gradient(
        &mut self,
        rows: &mut Rows,
        x: &Batch,
        loss: &dyn Loss,
    ) -> Result<Gradient, EngineError> {
        let request = rows.request(x);
        self.gradient_of(rows, request, loss)
    }

    /// Returns scores, loss and its gradient at any points (several per row: targets, classes, draws).
    ///
    /// A gradient that is not finite is returned as zero and its row marked invalid; exact zeros are counted.
    pub fn gradient_of(
        &mut self,
        rows: &mut Rows,
        request: impl Into<Request>,
        loss: &dyn Loss,
    ) -> Result<Gradient, EngineError> {
        let request = request.into();
        let focus = rows.focus_of(&request);
        let truth = self.truth_of(rows, &request)?;
        let goal = self.goal;
        let price = self.price(Call::Gradient, request.watch);
        let (mut answer, decided) = self.in_tiles(
            &request.query,
            price,
            |m, q, at| {
                let focus = focus.at(at);
                let truth = truth.as_ref().map(|t| t.at(at));
                let objective = |scores: &_, x: &_| match &truth {
                    Some(truth) => loss.per_sample(&seen(goal, scores, truth), x, &focus),
                    None => loss.per_sample(scores, x, &focus),
                };
                match m.surrogate() {
                    Some(surrogate) => surrogate.gradient_and_answer(q, &objective, request.watch),
                    None => m
                        .gradient(q, &objective)
                        .map(|g| (g.clone(), Output::Scores(g.scores))),
                }
            },
            |parts: Vec<(Gradient, Output)>, n| {
                let (parts, answers): (Vec<Gradient>, _) = parts.into_iter().unzip();
                let gradient = Gradient {
                    scores: Tensor::cat(parts.iter().map(|p| p.scores.clone()).collect(), 0)
                        .slice(0..n),
                    loss: Tensor::cat(parts.iter().map(|p| p.loss.clone()).collect(), 0)
                        .slice(0..n),
                    gradient: Batch::cat(&parts.iter().map(|p| &p.gradient).collect::<Vec<_>>())
                        .slice(0..n),
                };
                (gradient, cat_outputs(answers, n))
            },
        )?;
        rows.count(&request.query.owner, price);
        self.watch(rows, &request, &decided)?;
        mark(rows, &request, &mut answer);
        self.follow(rows, &request, &answer);
        if let Some(truth) = &truth {
            answer.scores = seen(goal, &answer.scores, truth);
        }
        Ok(answer)
    }
}

impl<M: GradientModel + ?Sized> Oracle<'_, M> {
    /// Follows how the loss of each row rises; the loss of a row with several points is their mean. An attack that
    /// minimises has no loss that rises to its end.
    fn follow(&self, rows: &mut Rows, request: &Request, answer: &Gradient) {
        if self.aim != Aim::Within || !request.watch {
            return;
        }
        let owner = &request.query.owner;
        if request.query.is_one_per_row(rows.len()) {
            rows.watch.climb.add(&answer.loss);
            return;
        }
        let (mut sum, mut count) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
        for (row, loss) in owner.iter().zip(host(&answer.loss)) {
            sum[*row] += loss;
            count[*row] += 1.0;
        }
        let mean: Vec<f32> = sum.iter().zip(&count).map(|(s, n)| s / n).collect();
        // Rows without a point in this request keep what they have.
        let asked: Vec<bool> = count.iter().map(|n| *n > 0.0).collect();
        let mean = rows.region().column(&mean);
        rows.watch
            .climb
            .add_where(&mask(&asked, &mean.device()), mean);
    }

    /// Returns the activations before the model's last layer, `[q, width]`: neither watched nor a decision, but counted.
    pub(crate) fn penultimate(
        &mut self,
        rows: &mut Rows,
        query: &Query,
    ) -> Result<Tensor<2>, EngineError> {
        let ask = |m: &M, q: &Query| {
            m.penultimate(q)?.ok_or_else(|| ModelError::Signature {
                model: m.signature().name.clone(),
                problem: "shows no activations before its last layer".into(),
            })
        };
        let price = self.price(Call::Scores, true);
        let activations = self.in_tiles(query, price, |m, q, _| ask(m, q), cat_rows)?;
        rows.count(&query.owner, price);
        Ok(activations)
    }
}

/// Returns the scores that attacks see, `[q, 1 + ways]`: 0 for "not met", and by how much each way is met.
fn seen(goal: &dyn Criterion, scores: &Tensor<2>, truth: &Focus) -> Tensor<2> {
    let Some(ways) = goal.ways() else {
        return scores.clone();
    };
    let excess = ways.excess(scores, truth);
    let n = excess.dims()[0];
    let zero = excess.clone().slice([0..n, 0..1]).zeros_like();
    Tensor::cat(vec![zero, excess], 1)
}

/// Marks the rows whose gradient is not finite, sets those gradients to zero, and counts exact zeros.
fn mark(rows: &mut Rows, request: &Request, answer: &mut Gradient) {
    let owner = &request.query.owner;
    let identity = request.query.is_one_per_row(rows.len());
    let region = rows.region();
    // Ignore frozen features when checking for zero gradients.
    let free = if identity {
        region.free(&answer.gradient)
    } else {
        region.at(owner).free(&answer.gradient)
    };
    let eps = region.leading_eps();
    let moves: Vec<f32> = eps.iter().map(|e| f32::from(u8::from(*e > 0.0))).collect();
    let moves = region.column(&moves);
    let mut sums = free.blocks().iter().map(|g| {
        // The sum is NaN or infinite if any entry is, and zero only if all are.
        g.clone().abs().sum_dim(1).squeeze_dim::<1>(1)
    });
    let first = sums.next().expect("at least one modality");
    let size = sums.fold(first, |a, b| a + b);
    let bad = size.clone().is_finite().bool_not();
    // Per row: whether any of its gradients is not finite, how many it has, and how many are zero.
    let (bad_row, asked, zero) = if identity {
        (bad.clone(), moves, size.equal_scalar(0.0).float())
    } else {
        let (mut spoilt, mut asked, mut zero) = (
            vec![0.0; rows.len()],
            vec![0.0; rows.len()],
            vec![0.0; rows.len()],
        );
        for (row, size) in owner.iter().zip(host(&size)) {
            asked[*row] += f32::from(u8::from(eps[*row] > 0.0));
            if size == 0.0 {
                zero[*row] += 1.0;
            }
            if !size.is_finite() {
                spoilt[*row] = 1.0;
            }
        }
        let column = |v: &[f32]| region.column(v);
        (
            column(&spoilt).greater_scalar(0.5),
            column(&asked),
            column(&zero),
        )
    };
    let watch = &mut rows.watch;
    let unbroken = watch.found.clone().lower_scalar(0.5);
    let untouched = watch.invalid.clone().lower_scalar(0.5);
    watch.invalid = watch
        .invalid
        .clone()
        .mask_fill(bad_row.bool_and(unbroken).bool_and(untouched), 2.0);
    // `asked` is 0 for a row with a zero budget, which says nothing about gradients.
    watch.gradients = watch.gradients.clone() + asked;
    watch.zero = watch.zero.clone() + zero;
    if bad.clone().any().into_scalar::<bool>() {
        let zeros = answer.gradient.map(|g| g.zeros_like());
        answer.gradient = answer.gradient.replace_rows(&bad, &zeros);
    }
}

/// Returns how many of each point's draws are set, `[points]`.
fn votes(flags: &Tensor<1, Bool>, draws: usize) -> Tensor<1> {
    let points = flags.dims()[0] / draws;
    let flags = flags.clone().float().reshape([points, draws]);
    flags.sum_dim(1).squeeze_dim::<1>(1)
}

fn part(query: &Query, x: Batch, at: &[usize]) -> Query {
    Query {
        x,
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
