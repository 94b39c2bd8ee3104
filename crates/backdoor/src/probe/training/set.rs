use proofmark_engine::Samples;

use super::linear::Matrix;
use crate::probe::input::{Layers, Points, ProbeError};

/// Fewest samples of a class that is split.
pub const LEAST: usize = 30;

/// Most activations per sample; probes compute their covariance.
pub const WIDEST: usize = 2048;

/// Activations of a labelled set in one layer of a model.
#[derive(Debug, Clone)]
pub struct FeatureSet {
    layer: String,
    features: Matrix,
    labels: Vec<usize>,
    rows: Vec<Vec<usize>>,
    /// Mean activations of trusted samples, per class that has some.
    trusted: Vec<Option<Vec<f64>>>,
}

impl FeatureSet {
    /// Reads the activations of a labelled set. There must be one layer; of several, the last is read.
    pub fn read(layers: &Layers<'_>, set: &Samples, classes: usize) -> Result<Self, ProbeError> {
        let activations = layers.read(&Points::of(set))?;
        let last = activations.into_iter().next_back().ok_or_else(|| {
            ProbeError::samples("training set", "no layer of the model to read; name one")
        })?;
        Self::new(last.layer, &last.values, &set.labels, classes)
    }

    /// Takes `n * width` activations, sample after sample, and a label below `classes` for each sample.
    pub fn new(
        layer: impl Into<String>,
        values: &[f32],
        labels: &[usize],
        classes: usize,
    ) -> Result<Self, ProbeError> {
        let wrong = |problem: String| ProbeError::samples("training set", problem);
        let (n, layer) = (labels.len(), layer.into());
        if n == 0 {
            return Err(wrong(
                "there are no labelled samples; expected some".to_owned(),
            ));
        }
        if values.is_empty() || !values.len().is_multiple_of(n) {
            return Err(wrong(format!(
                "{} activations for {n} labels; expected the same number for each",
                values.len()
            )));
        }
        let width = values.len() / n;
        if width > WIDEST {
            return Err(wrong(format!(
                "layer `{layer}` has {width} activations per sample; expected at most {WIDEST}: name a layer nearer to the end"
            )));
        }
        if let Some((row, label)) = labels.iter().enumerate().find(|(_, l)| **l >= classes) {
            return Err(wrong(format!(
                "label {label} of sample {row}; the model has classes 0 to {}",
                classes.saturating_sub(1)
            )));
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(wrong(format!(
                "layer `{layer}` has an activation that is not finite at sample {}; name another layer or remove the sample",
                at / width
            )));
        }
        let mut rows = vec![Vec::new(); classes];
        for (row, label) in labels.iter().enumerate() {
            rows[*label].push(row);
        }
        Ok(Self {
            layer,
            features: Matrix::new(n, width, values.iter().map(|v| f64::from(*v)).collect()),
            labels: labels.to_vec(),
            rows,
            trusted: vec![None; classes],
        })
    }

    /// Adds samples that are known to be clean, read in the same layer: of the two parts of a class, the one farther from
    /// their mean is then the suspicious one, whichever is smaller.
    pub fn trusting(mut self, clean: &Self) -> Result<Self, ProbeError> {
        if clean.width() != self.width() || clean.classes() != self.classes() {
            return Err(ProbeError::samples(
                "clean samples",
                format!(
                    "{} activations and {} classes; the training set has {} and {}",
                    clean.width(),
                    clean.classes(),
                    self.width(),
                    self.classes()
                ),
            ));
        }
        self.trusted = (0..self.classes())
            .map(|c| {
                let rows = clean.rows(c);
                (!rows.is_empty()).then(|| clean.features.mean(rows))
            })
            .collect();
        Ok(self)
    }

    /// Name of the layer.
    pub fn layer(&self) -> &str {
        &self.layer
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no samples; never.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of classes of the model.
    pub fn classes(&self) -> usize {
        self.rows.len()
    }

    /// Number of activations per sample.
    pub fn width(&self) -> usize {
        self.features.width()
    }

    /// Labels, in the order of the samples.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Rows of the samples of a class, in ascending order.
    pub fn rows(&self, class: usize) -> &[usize] {
        &self.rows[class]
    }

    /// Returns the activations of a class with their mean subtracted, or why the class cannot be split.
    pub(crate) fn centred(&self, class: usize) -> Result<Matrix, String> {
        let rows = self.rows(class);
        if rows.len() < LEAST {
            return Err(format!(
                "{} samples; a class needs {LEAST} to be split",
                rows.len()
            ));
        }
        let centred = self.features.select(rows).centred();
        if centred.values().iter().all(|v| v.abs() <= 1e-9) {
            return Err(
                "the activations of all samples are equal: there is nothing to split".to_owned(),
            );
        }
        Ok(centred)
    }

    /// Returns the suspicious of two parts of a class: the farther from trusted samples, else the smaller. `first` says
    /// which rows of the class are in the first part; the answer is whether the first is suspicious.
    pub(crate) fn suspicious(&self, class: usize, first: &[bool]) -> bool {
        let rows = self.rows(class);
        let part = |wanted: bool| -> Vec<usize> {
            rows.iter()
                .zip(first)
                .filter(|(_, f)| **f == wanted)
                .map(|(r, _)| *r)
                .collect()
        };
        let (a, b) = (part(true), part(false));
        let far = |rows: &[usize], trusted: &[f64]| -> f64 {
            let mean = self.features.mean(rows);
            mean.iter().zip(trusted).map(|(m, t)| (m - t).powi(2)).sum()
        };
        match &self.trusted[class] {
            Some(trusted) if !a.is_empty() && !b.is_empty() => far(&a, trusted) > far(&b, trusted),
            _ => a.len() < b.len(),
        }
    }
}
