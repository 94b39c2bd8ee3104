//! SCALE-UP: amplify an input and see whether the decision stays.
//!
//! # Idea
//! Multiplying the values of a clean image until they saturate destroys what the model sees in it. A strong trigger only
//! becomes stronger: its decision is consistent under scaling. Decisions are all that is asked for.
//!
//! # Maths
//! The score is the share of the scales `s` with `f(clip(low + s (x − low))) = f(x)`, clipped to the bounds; `low` is the
//! lower bound for images. For audio the scales are gains: `clip(s x)`. High is suspicious.
//!
//! # Reference
//! Guo et al., "SCALE-UP: An Efficient Black-box Input-level Backdoor Detection via Analyzing Scaled Prediction
//! Consistency", ICLR 2023 (the data-free version); code `JunfengGo/SCALE-UP`.
//!
//! # Divergences
//! Their threshold is 0.5; here it is calibrated on clean samples, or given (`threshold`). `BackdoorBox` and
//! `backdoor-toolbox` fail when a threshold is passed and examine the first batch alone. Their data-limited version
//! standardises by class; classes with few clean samples have no spread to standardise by.
//!
//! # Cost
//! One sample-forward per scale, 5 by default, for each input and each clean sample behind the p-values.
//!
//! # When it fails
//! * Near-binary images (digits): scaling changes next to nothing, so that clean decisions are as consistent. The probe
//!   says so, where less than `least_changed` of the values of the clean samples can change.
//! * Triggers of dark or black pixels, which stay what they are while the rest becomes bright; faint ones.
//! * Tables: their columns have no common scale. The probe says so.
//! * A model whose decisions on saturated images are mostly one class: clean images of that class look consistent. If too
//!   many clean samples have the highest score, nothing can be told, and the report says so.
//!
//! # Example
//! ```
//! use proofmark_backdoor::probe::input;
//! let probe = input::build("scale_up", &"scales = [2.0, 4.0]".parse().unwrap()).unwrap();
//! assert_eq!(probe.parameters()["scales"][1], 4.0);
//! ```

use proofmark_domain::{Kind, Modality, Needs};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ask::{self, Points};
use super::entry::{Given, InputProbe, InputProbeEntry, InputProbeMeta, Scored, Scores, Tail};
use super::{ProbeError, read, require, written};

/// Parameters of SCALE-UP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Factors, each above 1; default 3, 5, 7, 9, 11.
    pub scales: Vec<f32>,
    /// Smallest share, 0 to 1, of the values of a sample that the smallest factor must change by a hundredth of the range
    /// or more, on the mean over all points; default 0.3. Below it the probe calls itself unfit.
    pub least_changed: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            scales: vec![3.0, 5.0, 7.0, 9.0, 11.0],
            least_changed: 0.3,
        }
    }
}

const META: InputProbeMeta = InputProbeMeta {
    id: "scale_up",
    version: 1,
    summary: "SCALE-UP: share of amplified copies with the same decision; labels suffice",
    needs: Needs::Decisions,
    tail: Tail::High,
    reference: false,
    source: "Guo et al. 2023, arXiv:2302.03251",
};

/// SCALE-UP with checked parameters.
#[derive(Debug, Clone)]
pub struct ScaleUp {
    config: Config,
}

impl Config {
    /// Builds the probe, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<ScaleUp, ProbeError> {
        let shown = format!("{:?}", self.scales);
        let ok = !self.scales.is_empty() && self.scales.iter().all(|s| s.is_finite() && *s > 1.0);
        require(
            ok,
            META.id,
            "scales",
            shown,
            "at least one finite factor, each above 1",
        )?;
        require(
            (0.0..=1.0).contains(&self.least_changed),
            META.id,
            "least_changed",
            self.least_changed,
            "a share, 0 to 1",
        )?;
        Ok(ScaleUp { config: self })
    }
}

/// Returns value `x` of feature `j`, scaled and clipped to the bounds.
fn scaled(m: &Modality, j: usize, x: f32, factor: f32) -> f32 {
    let zero = match m.kind {
        Kind::Audio => 0.0,
        Kind::Image | Kind::Table => m.bounds.low(j),
    };
    (zero + factor * (x - zero)).clamp(m.bounds.low(j), m.bounds.high(j))
}

impl ScaleUp {
    /// Returns why scaling means nothing for these points.
    fn unfit(&self, modalities: &[Modality], points: &Points) -> Option<String> {
        if let Some(table) = modalities.iter().find(|m| m.kind == Kind::Table) {
            return Some(format!(
                "input `{}` is a table, whose columns have no common scale; scale_up is for images and audio",
                table.name
            ));
        }
        let least = self
            .config
            .scales
            .iter()
            .copied()
            .fold(f32::INFINITY, f32::min);
        let (mut changed, mut all) = (0_usize, 0_usize);
        for (m, values) in modalities.iter().zip(&points.values) {
            let f = m.features();
            for (i, x) in values.iter().enumerate() {
                let j = i % f;
                let by = (scaled(m, j, *x, least) - x).abs();
                changed += usize::from(by >= 0.01 * (m.bounds.high(j) - m.bounds.low(j)));
            }
            all += values.len();
        }
        let share = changed as f64 / all.max(1) as f64;
        (share < self.config.least_changed).then(|| {
            format!(
                "the samples are near-binary or saturated: scaling by {least} changes {:.1} % of their values, and scale_up needs {:.0} % (parameter least_changed)",
                100.0 * share,
                100.0 * self.config.least_changed
            )
        })
    }
}

impl InputProbe for ScaleUp {
    fn meta(&self) -> &'static InputProbeMeta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.config)
    }

    fn scores(&self, given: &Given<'_>) -> Result<Scored, ProbeError> {
        let model = given.subject.access.decisions();
        let modalities = model.signature().modalities.clone();
        if let Some(why) = self.unfit(&modalities, given.points) {
            return Ok(Scored::Unfit(why));
        }
        let mut same = vec![0_usize; given.n()];
        let mut undecided: Vec<bool> = given.decided.iter().map(Option::is_none).collect();
        for (i, factor) in self.config.scales.iter().enumerate() {
            let amplify = |(m, values): (&Modality, &Vec<f32>)| {
                let f = m.features();
                let at = |(i, x): (usize, &f32)| scaled(m, i % f, *x, *factor);
                values.iter().enumerate().map(at).collect()
            };
            let points = Points {
                values: modalities
                    .iter()
                    .zip(&given.points.values)
                    .map(amplify)
                    .collect(),
                keys: given.points.keys.clone(),
            };
            for (at, class) in ask::decisions(model, &points)?.into_iter().enumerate() {
                undecided[at] |= class.is_none();
                same[at] += usize::from(class.is_some() && class == given.decided[at]);
            }
            given.done((i + 1) * given.n() / self.config.scales.len())?;
        }
        let scales = self.config.scales.len() as f64;
        let score = |(n, undecided): (usize, bool)| {
            if undecided {
                f64::NAN
            } else {
                n as f64 / scales
            }
        };
        Ok(Scored::Each(Scores {
            each: same.into_iter().zip(undecided).map(score).collect(),
            extreme: Some(1.0),
            notes: Vec::new(),
        }))
    }
}

/// Registry entry of SCALE-UP.
pub const ENTRY: InputProbeEntry = InputProbeEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use proofmark_domain::Bounds;

    use super::*;

    fn modality(kind: Kind, low: f32, high: f32) -> Modality {
        Modality {
            name: "x".into(),
            kind,
            shape: vec![4],
            bounds: Bounds::uniform(low, high).unwrap(),
        }
    }

    #[test]
    fn images_are_scaled_from_their_lower_bound_and_sound_from_silence() {
        let image = modality(Kind::Image, -1.0, 1.0);
        assert_eq!(scaled(&image, 0, -0.75, 3.0), -0.25);
        assert_eq!(scaled(&image, 0, 0.5, 3.0), 1.0);
        let audio = modality(Kind::Audio, -1.0, 1.0);
        assert_eq!(scaled(&audio, 0, -0.25, 3.0), -0.75);
        assert_eq!(scaled(&audio, 0, 0.5, 3.0), 1.0);
    }

    #[test]
    fn near_binary_images_and_tables_are_unfit() {
        let probe = Config::default().build().unwrap();
        let points = |values: &[f32]| Points {
            values: vec![values.to_vec()],
            keys: vec![0; values.len() / 4],
        };
        let image = [modality(Kind::Image, 0.0, 1.0)];
        let binary = points(&[0.0, 1.0, 0.0, 0.4, 0.0, 0.0, 1.0, 1.0]);
        let why = probe.unfit(&image, &binary).unwrap();
        assert!(why.contains("12.5 %"), "{why}");
        assert_eq!(probe.unfit(&image, &points(&[0.1, 0.2, 0.9, 0.5])), None);
        let table = [modality(Kind::Table, 0.0, 1.0)];
        assert!(
            probe
                .unfit(&table, &points(&[0.1; 4]))
                .unwrap()
                .contains("table")
        );
    }
}
