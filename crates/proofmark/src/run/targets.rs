//! Target classes of a run's samples, start points of these classes, and samples to mix in.

use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_data::Dataset;
use proofmark_engine::{Aim, Attack, Clean, Needs, Others, Samples, Starts};

use super::{Labels, RunPlan};
use crate::{RunError, Target, samples, trust};

impl RunPlan<'_> {
    /// Returns each sample's target class (`None` for a sample without a prediction), or `None` if the run is
    /// untargeted.
    pub(super) fn targets(
        &self,
        samples: &Samples,
        clean: &[Clean],
    ) -> Result<Option<Vec<Option<usize>>>, RunError> {
        let Some(target) = self.target else {
            return Ok(None);
        };
        let classes = self.model.signature().classes;
        if let Target::Class(c) = target
            && c >= classes
        {
            return Err(RunError::Parameter(format!(
                "target class {c}; the model has classes 0 to {}",
                classes - 1
            )));
        }
        let mut targets = vec![None; samples.labels.len()];
        for c in clean.iter().filter(|c| c.pred.is_some()) {
            targets[c.row] = target.of(samples.labels[c.row], classes, c.scores.as_deref());
        }
        Ok(Some(targets))
    }

    /// Returns samples to mix into others: the first of the seeded stratified order over the samples of all shards, so
    /// that every shard uses the same. `None` if no attack mixes samples.
    pub(super) fn others(&self) -> Result<Option<Arc<Others>>, RunError> {
        if !self.attacks.iter().any(|a| a.mixes()) || self.map.is_some() {
            return Ok(None);
        }
        let order = self.order();
        let probed = trust::Ranks::of(&order).probed;
        let places: Vec<usize> = (0..self.data.len())
            .filter(|place| order[*place] < probed)
            .collect();
        let chosen = samples::samples(&self.data.select(&places), self.model.signature())?;
        // The model's own predictions on other shards are not known.
        let labels = (self.labels == Labels::Given).then_some(chosen.labels);
        Ok(Some(Arc::new(Others {
            values: chosen.values,
            labels,
            keys: chosen.keys,
        })))
    }

    /// Returns start points for attacks that begin at a point that succeeds: per sample, one of another class or of its
    /// target. They are the first of each class in the seeded order over the samples of all shards, so that every shard
    /// uses the same.
    pub(super) fn starts(
        &self,
        data: &Dataset,
        targets: Option<&[Option<usize>]>,
    ) -> Result<Option<Arc<Starts>>, RunError> {
        let begins_at_one =
            |a: &dyn Attack| a.meta().needs == Needs::Decisions && a.aim() == Aim::Minimise;
        let wanted = (self.attacks.iter()).any(|a| {
            begins_at_one(a.as_ref()) || a.members().iter().any(|m| begins_at_one(m.as_ref()))
        });
        // Needs the given labels: the model's own predictions on other shards are not known.
        let Some(labels) = self
            .data
            .labels
            .as_ref()
            // A point of another class is no set of parameters of a map.
            .filter(|_| wanted && self.labels == Labels::Given && self.map.is_none())
        else {
            return Ok(None);
        };
        let order = self.order();
        let mut first: BTreeMap<usize, usize> = BTreeMap::new();
        for (place, label) in labels.iter().enumerate() {
            let of_class = first.entry(*label).or_insert(place);
            if order[place] < order[*of_class] {
                *of_class = place;
            }
        }
        let places: Vec<usize> = first.values().copied().collect();
        let points = samples::samples(&self.data.select(&places), self.model.signature())?;
        let point = |i: usize| -> Arc<[Vec<f32>]> {
            points.sample(i).into_iter().map(<[f32]>::to_vec).collect()
        };
        let points: BTreeMap<usize, Arc<[Vec<f32>]>> = first
            .keys()
            .enumerate()
            .map(|(i, class)| (*class, point(i)))
            .collect();
        let other = |own: usize| {
            let others = first.iter().filter(|(class, _)| **class != own);
            others
                .min_by_key(|(_, place)| order[**place])
                .map(|(class, _)| *class)
        };
        let own = data.labels.as_deref().unwrap_or_default();
        let start = |row: usize| {
            let class = match targets {
                Some(targets) => targets[row]?,
                None => other(own[row])?,
            };
            Some((row, points.get(&class)?.clone()))
        };
        Ok(Some(Arc::new((0..own.len()).filter_map(start).collect())))
    }
}
