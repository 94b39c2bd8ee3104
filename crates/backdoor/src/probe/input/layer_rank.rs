//! Layer ranks: does an input come close to its class as early as clean samples do?
//!
//! # Idea
//! From layer to layer, a clean input stays among the samples of its class. An input with a trigger starts among those of
//! its true class and ends among those of the target: on the way its nearest neighbour of the class that it is decided
//! for is a distant one.
//!
//! # Maths
//! Reference samples and inputs are described by the activations of layers `l = 1..L`, and belong to the class that the
//! model decides. For an input of class `c` let `r` be the nearest reference of class `c` in layer `l`, Euclidean, and
//! `rank_l` the number of references of other classes that are nearer, divided by the number of all of other classes. If
//! `r` is farther than the tube around it, the distance from `r` to the `ceil(tube m)`-th nearest of the `m` other
//! references of its class, `rank_l` is 1. The score is the mean of `ln(1 + rank_l n)` over the layers, `n` the number of
//! references, divided by `ln(1 + n)`: 0 to 1, high is suspicious.
//!
//! # Reference
//! Mo et al., "Robust Backdoor Detection for Deep Learning via Topological Evolution Dynamics" (TED), IEEE S&P 2024; Le et
//! al., TED++, 2025 (code `namle-w/TEDpp`), which adds the tube.
//!
//! # Divergences
//! They fit an outlier detector (PCA) to the rank vectors of 5 or 20 clean samples a class and cut at its 90th
//! percentile, so that a tenth of the clean inputs is flagged by construction. Here the ranks are summed by a fixed rule
//! and the cut is conformal, on clean samples that are no references. Their rank counts references of the same class,
//! too. The logarithm keeps one layer with a large rank from outweighing the rest. Their tube
//! holds half of a class (`tube = 0.5`); with some ten references a class one that holds all of them told triggers better
//! on three of three nets, on which this default was chosen.
//!
//! # Cost
//! One sample-forward per input and clean sample; a distance per reference and layer, and the activations of the
//! references in memory.
//!
//! # When it fails
//! Without inner layers it has nothing to compare; with the penultimate alone it sees little, since triggered inputs have
//! arrived there. Classes with fewer than two references have no tube: inputs decided for a class without any reference
//! have rank 1 in every layer, which is suspicious in itself; give some samples of every class. Backdoors whose triggered
//! inputs look like the target from the start (clean-label) go unnoticed.
//!
//! # Example
//! ```
//! use proofmark_backdoor::probe::input;
//! let probe = input::build("layer_rank", &"tube = 0.5".parse().unwrap()).unwrap();
//! assert!(probe.meta().reference);
//! ```

use proofmark_domain::Needs;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ask::{self, Activations, Layers, Points, chosen_layers};
use super::entry::{Given, InputProbe, InputProbeEntry, InputProbeMeta, Scored, Scores, Tail};
use super::{ProbeError, read, require, written};

/// Points whose activations are in memory at the same time.
const AT_ONCE: usize = 64;

/// Parameters of the layer ranks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Names of the layers; default empty: `most_layers` of those that the model shows, evenly spaced.
    pub layers: Vec<String>,
    /// Layers to read if none are named, 1 to 64; default 12.
    pub most_layers: u32,
    /// Share of a class's references inside the tube around one of them, above 0, at most 1; default 1.
    pub tube: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            layers: Vec::new(),
            most_layers: 12,
            tube: 1.0,
        }
    }
}

const META: InputProbeMeta = InputProbeMeta {
    id: "layer_rank",
    version: 1,
    summary: "TED++: rank of the nearest sample of the decided class, layer by layer",
    needs: Needs::Decisions,
    tail: Tail::High,
    reference: true,
    source: "Mo et al. 2024, arXiv:2312.02673; TED++ 2025",
};

/// Layer ranks with checked parameters.
#[derive(Debug, Clone)]
pub struct LayerRank {
    config: Config,
}

impl Config {
    /// Builds the probe, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<LayerRank, ProbeError> {
        require(
            (1..=64).contains(&self.most_layers),
            META.id,
            "most_layers",
            self.most_layers,
            "1 to 64",
        )?;
        require(
            self.tube > 0.0 && self.tube <= 1.0,
            META.id,
            "tube",
            self.tube,
            "a share above 0, at most 1",
        )?;
        Ok(LayerRank { config: self })
    }
}

/// References in one layer: their activations, classes and tubes.
struct Tubes<'a> {
    activations: &'a Activations,
    classes: &'a [Option<usize>],
    /// Squared radius of the tube around each reference; infinite if its class has no other.
    radius: Vec<f64>,
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    // Sums of blocks, each of which the compiler computes in lanes.
    let block = |(a, b): (&[f32], &[f32])| -> f64 {
        let d: f32 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
        f64::from(d)
    };
    a.chunks(64).zip(b.chunks(64)).map(block).sum()
}

impl<'a> Tubes<'a> {
    fn new(activations: &'a Activations, classes: &'a [Option<usize>], tube: f64) -> Self {
        let radius = (0..classes.len())
            .map(|i| {
                let same = (0..classes.len()).filter(|j| *j != i && classes[*j] == classes[i]);
                let mut distances: Vec<f64> = same
                    .map(|j| squared(activations.row(i), activations.row(j)))
                    .collect();
                distances.sort_by(f64::total_cmp);
                let place = (tube * distances.len() as f64).ceil() as usize;
                distances
                    .get(place.max(1) - 1)
                    .copied()
                    .unwrap_or(f64::INFINITY)
            })
            .collect();
        Self {
            activations,
            classes,
            radius,
        }
    }

    /// Returns the rank of a point, 0 to 1; NaN for activations that are not finite.
    fn rank(&self, point: &[f32], class: usize) -> f64 {
        if point.iter().any(|v| !v.is_finite()) {
            return f64::NAN;
        }
        let distances: Vec<f64> = (0..self.classes.len())
            .map(|i| squared(point, self.activations.row(i)))
            .collect();
        let own = |i: &usize| self.classes[*i] == Some(class);
        let nearest = (0..distances.len())
            .filter(own)
            .min_by(|a, b| distances[*a].total_cmp(&distances[*b]));
        let Some(nearest) = nearest else { return 1.0 };
        if distances[nearest] > self.radius[nearest] {
            return 1.0;
        }
        let others = (0..distances.len()).filter(|i| !own(i));
        let (mut nearer, mut all) = (0_usize, 0_usize);
        for i in others {
            all += 1;
            nearer += usize::from(distances[i] < distances[nearest]);
        }
        nearer as f64 / all.max(1) as f64
    }
}

impl InputProbe for LayerRank {
    fn meta(&self) -> &'static InputProbeMeta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.config)
    }

    fn scores(&self, given: &Given<'_>) -> Result<Scored, ProbeError> {
        let Some(features) = given.subject.features else {
            return Ok(Scored::Unfit(
                "the model shows no inner layers; layer_rank needs an ONNX file or a Burn module with taps".to_owned(),
            ));
        };
        let names = if self.config.layers.is_empty() {
            chosen_layers(features, given.reference, self.config.most_layers as usize)?
        } else {
            self.config.layers.clone()
        };
        if names.is_empty() {
            return Ok(Scored::Unfit(
                "none of the model's inner values has a row of numbers per sample".to_owned(),
            ));
        }
        let layers = Layers::Named(features, names.clone());
        let points = Points::of(given.reference);
        let decided = ask::decisions(given.subject.access.decisions(), &points)?;
        let distinct: std::collections::BTreeSet<usize> =
            decided.iter().flatten().copied().collect();
        if distinct.len() < 2 {
            return Ok(Scored::Unfit(format!(
                "the model decides on {} class for all {} clean samples it is compared with; layer_rank needs samples of several classes",
                distinct.len(),
                given.reference.len()
            )));
        }
        let references = layers.read(&points)?;
        if let Some(bad) = references
            .iter()
            .find(|a| a.values.iter().any(|v| !v.is_finite()))
        {
            return Ok(Scored::Unfit(format!(
                "layer `{}` has activations of clean samples that are not finite",
                bad.layer
            )));
        }
        let tubes: Vec<Tubes<'_>> = references
            .iter()
            .map(|a| Tubes::new(a, &decided, self.config.tube))
            .collect();
        let n = given.reference.len() as f64;
        let mut each = Vec::with_capacity(given.n());
        for from in (0..given.n()).step_by(AT_ONCE) {
            let rows = from..(from + AT_ONCE).min(given.n());
            let piece = Points {
                values: given
                    .points
                    .values
                    .iter()
                    .zip(given.reference.modalities.iter())
                    .map(|(v, m)| v[rows.start * m.features()..rows.end * m.features()].to_vec())
                    .collect(),
                keys: given.points.keys[rows.clone()].to_vec(),
            };
            let activations = layers.read(&piece)?;
            for (i, at) in rows.clone().enumerate() {
                let Some(class) = given.decided[at] else {
                    each.push(f64::NAN);
                    continue;
                };
                let ranks = tubes
                    .iter()
                    .zip(&activations)
                    .map(|(t, a)| t.rank(a.row(i), class));
                let logs: f64 = ranks.map(|r| (r * n).ln_1p()).sum();
                each.push(logs / tubes.len() as f64 / n.ln_1p());
            }
            given.done(rows.end)?;
        }
        Ok(Scored::Each(Scores {
            each,
            extreme: Some(1.0),
            notes: vec![format!("layers read: {}", names.join(", "))],
        }))
    }
}

/// Registry entry of the layer ranks.
pub const ENTRY: InputProbeEntry = InputProbeEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes on a line: 0, 1, 2 and 10, 11, 12.
    #[test]
    fn ranks_by_hand() {
        let activations = Activations {
            layer: "l".into(),
            width: 1,
            values: vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0],
        };
        let classes: Vec<Option<usize>> = [0, 0, 0, 1, 1, 1].map(Some).to_vec();
        let tubes = Tubes::new(&activations, &classes, 0.5);
        // Half of the two others of the class: the nearest.
        assert_eq!(tubes.radius, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(tubes.rank(&[0.4], 0), 0.0);
        // Decided for the other class: outside the tube.
        assert_eq!(tubes.rank(&[0.4], 1), 1.0);
        assert_eq!(tubes.rank(&[0.4], 2), 1.0);
        let wide = Tubes::new(&activations, &classes, 1.0);
        assert_eq!(wide.radius, [4.0, 1.0, 4.0, 4.0, 1.0, 4.0]);
        // 10 is 2 away, inside its tube, and 2 of the other class is 6 away: none is nearer.
        assert_eq!(wide.rank(&[8.0], 1), 0.0);
        assert!(wide.rank(&[f32::NAN], 1).is_nan());
    }
}
