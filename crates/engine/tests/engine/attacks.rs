//! The attacks under test: `DeepFool`, a random search, a boundary walk, and plain ascent on the margin.

use burn::tensor::{Tensor, TensorData};
use proofmark_engine::{Aim, EngineError, Focus, Loss, Oracle, Rows, Stepper};
use proofmark_model::{DecisionModel, GradientModel, Output, Query, ScoreModel};
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Column, Columns, Step, prefixed};

/// `z_class - z_label` for one class: `DeepFool` uses it to compute Jacobian rows.
#[derive(Debug)]
struct Against(usize);

impl Loss for Against {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, focus: &Focus) -> Tensor<1> {
        let other = vec![self.0; focus.label().len()];
        Focus::score(scores, &other) - Focus::score(scores, focus.label())
    }
}

/// Moosavi-Dezfooli et al. 2016, for L2, minimum norm.
#[derive(Debug)]
pub(crate) struct DeepFool;

#[derive(Debug, Clone)]
pub(crate) struct Position(pub(crate) Batch);

impl Columns for Position {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        prefixed("x", &mut self.0)
    }
}

fn host(t: &Tensor<2>) -> Vec<f32> {
    proofmark_threat::host(t)
}

impl<M: GradientModel + ?Sized> Stepper<M> for DeepFool {
    type State = Position;

    fn id(&self) -> &'static str {
        "deepfool"
    }

    fn steps(&self) -> u32 {
        10
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn start(&self, _: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Position, EngineError> {
        Ok(Position(rows.region().x0()))
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        s: &mut Position,
    ) -> Result<(), EngineError> {
        let classes = oracle.signature().classes;
        let query = Query::one_per_row(s.0.clone(), rows.keys());
        let (n, f) = (rows.len(), s.0.blocks()[0].dims()[1]);
        let mut best = vec![(f64::INFINITY, vec![0.0_f32; f]); n];
        for class in 0..classes {
            let answer = oracle.gradient_of(rows, &query, &Against(class))?;
            let (g, l) = (
                host(&answer.gradient.blocks()[0]),
                proofmark_threat::host(&answer.loss),
            );
            for i in 0..n {
                let w = &g[i * f..(i + 1) * f];
                let square: f64 = w.iter().map(|v| f64::from(*v).powi(2)).sum();
                let distance = f64::from(l[i]).abs() / square.sqrt();
                if square > 0.0 && distance < best[i].0 {
                    let by = 1.02 * (f64::from(l[i]).abs() + 1e-4) / square;
                    best[i] = (
                        distance,
                        w.iter().map(|v| (f64::from(*v) * by) as f32).collect(),
                    );
                }
            }
        }
        let step: Vec<f32> = best.into_iter().flat_map(|(_, d)| d).collect();
        let step = Tensor::from_data(TensorData::new(step, [n, f]), oracle.device());
        s.0 = s.0.map(|x| (x + step.clone()).clamp(0.0, 1.0));
        Ok(())
    }

    fn last(&self, s: &Position) -> Option<Batch> {
        Some(s.0.clone())
    }
}

/// Random search on scores: keep a random step if the margin falls.
#[derive(Debug)]
pub(crate) struct RandomSearch;

#[derive(Debug, Clone)]
pub(crate) struct Search {
    x: Batch,
    margin: Tensor<1>,
}

impl Columns for Search {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.push(("margin".into(), Column::Vector(&mut self.margin)));
        all
    }
}

impl<M: ScoreModel + ?Sized> Stepper<M> for RandomSearch {
    type State = Search;

    fn id(&self) -> &'static str {
        "random-search"
    }

    fn steps(&self) -> u32 {
        60
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Search, EngineError> {
        let x = rows.region().x0();
        let query = Query::one_per_row(x.clone(), rows.keys());
        let scores = oracle.scores(rows, &query)?;
        Ok(Search {
            x,
            margin: Focus::margin(&scores, rows.focus().label()),
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        s: &mut Search,
    ) -> Result<(), EngineError> {
        let keys = rows.streams(Purpose::Direction, 0);
        let noise = s.x.map(|b| {
            let [n, f] = b.dims();
            let v: Vec<f32> = keys
                .iter()
                .flat_map(|k| {
                    let mut stream = Stream::new(k);
                    (0..f).map(|_| stream.normal()).collect::<Vec<_>>()
                })
                .collect();
            Tensor::from_data(TensorData::new(v, [n, f]), &b.device())
        });
        let all = |v: f32| rows.region().column(&vec![v; rows.len()]);
        let step = Step::new(all(0.5)).spread(all(1.0));
        let tried = rows.region().advance(&s.x, &noise, &step);
        let scores = oracle.scores(rows, Query::one_per_row(tried.clone(), rows.keys()))?;
        let margin = Focus::margin(&scores, rows.focus().label());
        let better = margin.clone().lower(s.margin.clone());
        s.x = s.x.replace_rows(&better, &tried);
        s.margin = s.margin.clone().mask_where(better, margin);
        Ok(())
    }
}

/// Walks towards the clean sample along the line from a random adversarial, on labels alone.
#[derive(Debug)]
pub(crate) struct BoundaryWalk;

#[derive(Debug, Clone)]
pub(crate) struct Walk {
    adversarial: Batch,
    /// Share of the way from the clean sample known to be adversarial.
    high: Vec<f64>,
    low: Vec<f64>,
}

impl Columns for Walk {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("adversarial", &mut self.adversarial);
        all.push(("high".into(), Column::Real(&mut self.high)));
        all.push(("low".into(), Column::Real(&mut self.low)));
        all
    }
}

impl<M: DecisionModel + ?Sized> Stepper<M> for BoundaryWalk {
    type State = Walk;

    fn id(&self) -> &'static str {
        "boundary-walk"
    }

    fn steps(&self) -> u32 {
        30
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Walk, EngineError> {
        let mut found = rows.region().x0();
        let mut have = Tensor::<1>::zeros([rows.len()], oracle.device());
        for draw in 0..20 {
            let x = rows.region().random(&rows.streams(Purpose::Start, draw));
            let Output::Labels(labels) = oracle.decide_at(rows, &x)? else {
                panic!("labels only")
            };
            let own: Vec<i64> = rows.focus().label().iter().map(|l| *l as i64).collect();
            let own = Tensor::from_data(TensorData::new(own, [rows.len()]), oracle.device());
            let hit = labels
                .not_equal(own)
                .bool_and(have.clone().lower_scalar(0.5));
            found = found.replace_rows(&hit, &x);
            have = have.mask_fill(hit, 1.0);
        }
        Ok(Walk {
            adversarial: found,
            high: vec![1.0; rows.len()],
            low: vec![0.0; rows.len()],
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        s: &mut Walk,
    ) -> Result<(), EngineError> {
        let middle: Vec<f32> = s
            .high
            .iter()
            .zip(&s.low)
            .map(|(h, l)| (f64::midpoint(*h, *l)) as f32)
            .collect();
        let m = Tensor::<1>::from_floats(middle.as_slice(), oracle.device()).unsqueeze_dim::<2>(1);
        let x = rows
            .region()
            .x0()
            .zip(&s.adversarial, |a, b| a.clone() + (b - a) * m.clone());
        let Output::Labels(labels) = oracle.decide_at(rows, &x)? else {
            panic!("labels only")
        };
        let labels = proofmark_threat::host(&labels.float());
        for (i, own) in rows.focus().label().iter().enumerate() {
            let end = if labels[i] as usize == *own {
                &mut s.low[i]
            } else {
                &mut s.high[i]
            };
            *end = f64::from(middle[i]);
        }
        Ok(())
    }
}

/// Plain Linf ascent on the margin with random starts, for testing the executor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Climb {
    pub(crate) steps: u32,
    pub(crate) restarts: u32,
}

#[derive(Debug)]
pub(crate) struct MarginLoss;

impl Loss for MarginLoss {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, focus: &Focus) -> Tensor<1> {
        Focus::margin(scores, focus.label()).neg()
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Climb {
    type State = Position;

    fn id(&self) -> &'static str {
        "climb"
    }

    fn steps(&self) -> u32 {
        self.steps
    }

    fn restarts(&self) -> u32 {
        self.restarts
    }

    fn start(&self, _: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Position, EngineError> {
        Ok(Position(
            rows.region().random(&rows.streams(Purpose::Start, 0)),
        ))
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        s: &mut Position,
    ) -> Result<(), EngineError> {
        let g = oracle.gradient(rows, &s.0, &MarginLoss)?.gradient;
        let size = vec![2.5 / self.steps as f32; rows.len()];
        let step = Step::new(rows.region().column(&size));
        s.0 = rows.region().advance(&s.0, &g, &step);
        Ok(())
    }

    fn last(&self, s: &Position) -> Option<Batch> {
        Some(s.0.clone())
    }
}

pub(crate) const CLIMB: Climb = Climb {
    steps: 12,
    restarts: 3,
};
