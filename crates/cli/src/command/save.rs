use std::collections::BTreeMap;
use std::path::Path;

use proofmark::Measurement;
use proofmark::data::ndarray::ArrayD;
use proofmark::data::npz::{self, AnyArray, GROUP, NpzArray, ORIGINAL, UNIVERSAL};
use proofmark::data::{Column, Dataset};
use proofmark::domain::{AttackSummary, MapSpec, Modality, SampleRecord};
use proofmark::models::{Numbers, Signature};

use crate::failure::Failure;

/// Writer of `--save`: every sample of the report, replaced by its adversarial if it was broken.
///
/// Arrays: the inputs under their names (`float32` in data units; whole numbers for a model that takes them) with their
/// `bounds_NAME`, `y` (labels, or targets), `id`, and per sample `group_broken` (0 or 1), `group_adv_pred` (-1 if there is none),
/// `group_attack` (attack id, empty if unbroken), `group_norm`, `group_eps` (NaN if unbroken); on request
/// `original_NAME`; and for universal attacks `universal_NAME`, one change per run, with the keys of the runs in
/// `universal`. With a map also its parameters in their own units, one array `group_NAME` each (NaN if unbroken), or as
/// `group_patch`. Opened as a data set, the file yields the inputs.
pub(super) struct Saving<'a> {
    pub(super) data: &'a Dataset,
    pub(super) measured: &'a Measurement,
    /// Signature of the model; adversarials follow the order of its inputs.
    pub(super) signature: &'a Signature,
    /// The map behind which the attacks ran.
    pub(super) map: Option<MapSpec>,
    /// Whether each sample has its own budget from the set.
    pub(super) per_sample_eps: bool,
    pub(super) originals: bool,
}

/// An array and its name.
type Named<T> = (String, ArrayD<T>);

impl Saving<'_> {
    /// Writes the file, whole or not at all.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let report = &self.measured.report;
        let place: BTreeMap<_, _> = self
            .data
            .ids
            .iter()
            .enumerate()
            .map(|(i, id)| (id, i))
            .collect();
        let rows: Vec<usize> = report.samples.iter().map(|s| place[&s.id]).collect();
        let run_of: BTreeMap<&str, &AttackSummary> =
            report.attacks.iter().map(|a| (a.key.as_str(), a)).collect();
        let breaker = |s: &SampleRecord| s.broken_by.as_deref().map(|key| run_of[key]);
        let of_breaker = |f: &dyn Fn(&AttackSummary) -> String| {
            self.column(|_, s| breaker(s).map_or_else(String::new, f))
        };

        let mut inputs: Vec<(String, AnyArray)> = Vec::new();
        let mut floats: Vec<Named<f32>> = Vec::new();
        for input in &self.data.modalities {
            let shape = shape(input, rows.len());
            let stored = |values| self.stored(input, &shape, values);
            let name = &input.modality.name;
            inputs.push((name.clone(), stored(self.samples(input, &rows))?));
            floats.push((format!("bounds_{name}"), bounds(&input.modality)?));
            if self.originals {
                let values = originals(input, &rows);
                inputs.push((format!("{ORIGINAL}{name}"), stored(values)?));
            }
        }
        let eps = self.column(|i, s| match (breaker(s), &self.data.eps) {
            (None, _) => f32::NAN,
            (Some(_), Some(own)) if self.per_sample_eps => own[rows[i]],
            (Some(run), _) => run.threat.eps as f32,
        })?;
        floats.push((format!("{GROUP}eps"), eps));
        // Outputs that are not classes have targets in place of labels, if the set has any.
        let is_classes = report.model.outputs.is_classes();
        let targets: Option<ArrayD<f64>> = match &self.data.targets {
            Some(targets) if !is_classes => {
                let values = rows.iter().flat_map(|row| targets.row(*row).to_vec());
                Some(array(values.collect(), &[rows.len(), targets.ncols()])?)
            }
            _ => None,
        };
        let labels = is_classes.then(|| self.column(|_, s| s.label as i64));
        let labels = labels.transpose()?.map(|labels| ("y".to_owned(), labels));
        floats.extend(self.universal()?);
        floats.extend(self.parameters()?);
        let mut whole: Vec<Named<i64>> = labels.into_iter().collect();
        whole.extend([
            (
                format!("{GROUP}adv_pred"),
                self.column(|_, s| s.adv_pred.map_or(-1, |p| p as i64))?,
            ),
            (
                format!("{GROUP}broken"),
                self.column(|_, s| i64::from(s.broken_by.is_some()))?,
            ),
        ]);
        let mut texts: Vec<Named<String>> = vec![
            (format!("{GROUP}attack"), of_breaker(&|run| run.id.clone())?),
            (
                format!("{GROUP}norm"),
                of_breaker(&|run| run.threat.norm.to_string())?,
            ),
        ];
        let keys: Vec<String> = self
            .measured
            .universal
            .iter()
            .map(|u| u.0.clone())
            .collect();
        if !keys.is_empty() {
            let n = keys.len();
            texts.push((
                UNIVERSAL.trim_end_matches('_').to_owned(),
                array(keys, &[n])?,
            ));
        }
        let ids: Vec<_> = report.samples.iter().map(|s| s.id.clone()).collect();
        let mut arrays: Vec<(&str, NpzArray<'_>)> = Vec::new();
        arrays.extend(inputs.iter().map(|(n, a)| (n.as_str(), a.view())));
        arrays.extend(
            floats
                .iter()
                .map(|(n, a)| (n.as_str(), NpzArray::F32(a.view()))),
        );
        arrays.extend(
            whole
                .iter()
                .map(|(n, a)| (n.as_str(), NpzArray::I64(a.view()))),
        );
        arrays.extend(
            texts
                .iter()
                .map(|(n, a)| (n.as_str(), NpzArray::Text(a.view()))),
        );
        arrays.extend(targets.iter().map(|a| ("y", NpzArray::F64(a.view()))));
        arrays.push(("id", NpzArray::Ids(&ids)));
        Ok(npz::write(path, &arrays)?)
    }

    /// Returns the universal changes of each input, one per run that fitted one; nothing if none did.
    fn universal(&self) -> Result<Vec<Named<f32>>, Failure> {
        let changes = &self.measured.universal;
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let of_input = |input: &Column| {
            let m = self.place(input);
            let values = changes.iter().flat_map(|(_, c)| c[m].iter().copied());
            let name = format!("{UNIVERSAL}{}", input.modality.name);
            let shape = match &self.measured.map {
                Some(map) => [&[changes.len()], &map.shape[..]].concat(),
                None => shape(input, changes.len()),
            };
            Ok((name, array(values.collect(), &shape)?))
        };
        self.data.modalities.iter().map(of_input).collect()
    }

    /// Returns the parameters of the map that broke each sample; nothing without a map.
    fn parameters(&self) -> Result<Vec<Named<f32>>, Failure> {
        let (Some(map), Some(spec)) = (&self.measured.map, &self.map) else {
            return Ok(Vec::new());
        };
        let n = map.each.len();
        if map.names.is_empty() {
            let width = map.shape.iter().product();
            let none = vec![f32::NAN; width];
            let each = map.each.iter();
            let values = each.flat_map(|p| p.as_ref().unwrap_or(&none).clone());
            let shape = [&[n], &map.shape[..]].concat();
            let name = format!("{GROUP}{}", spec.name());
            return Ok(vec![(name, array(values.collect(), &shape)?)]);
        }
        let column = |(i, name): (usize, &&str)| {
            let value = |p: &Option<Vec<f32>>| p.as_ref().map_or(f32::NAN, |p| p[i]);
            let values = map.each.iter().map(value).collect();
            Ok((format!("{GROUP}{name}"), array(values, &[n])?))
        };
        map.names.iter().enumerate().map(column).collect()
    }

    /// Returns an array with one value per sample of the report.
    fn column<T>(&self, value: impl Fn(usize, &SampleRecord) -> T) -> Result<ArrayD<T>, Failure> {
        let samples = self.measured.report.samples.iter().enumerate();
        let values: Vec<T> = samples.map(|(i, s)| value(i, s)).collect();
        let n = values.len();
        array(values, &[n])
    }

    /// Returns the index of an input in the model's order, which adversarials follow; a single input may have any name.
    fn place(&self, input: &Column) -> usize {
        let mut inputs = self.signature.modalities.iter();
        inputs
            .position(|i| i.name == input.modality.name)
            .unwrap_or(0)
    }

    /// Converts values to the type that the model and other tools take: if the model takes whole numbers, the integer
    /// type of the set (`int64` if it has none); else `float32`.
    fn stored(
        &self,
        input: &Column,
        shape: &[usize],
        values: Vec<f32>,
    ) -> Result<AnyArray, Failure> {
        if self.signature.numbers[self.place(input)] != Numbers::Real {
            let own = input.whole.and_then(|t| AnyArray::whole(t, shape, &values));
            let whole = own.or_else(|| AnyArray::whole("int64", shape, &values));
            return whole.ok_or_else(|| {
                Failure(format!(
                    "array `{}` cannot be saved: it holds a value that is not a whole number, and the model takes only whole numbers",
                    input.modality.name
                ))
            });
        }
        Ok(array(values, shape)?.into())
    }

    fn samples(&self, input: &Column, rows: &[usize]) -> Vec<f32> {
        let m = self.place(input);
        let mut values = Vec::with_capacity(rows.len() * input.modality.features());
        for (row, adversarial) in rows.iter().zip(&self.measured.adversarials) {
            match adversarial {
                Some(x) => values.extend_from_slice(&x[m]),
                None => values.extend(input.values.row(*row).iter().copied()),
            }
        }
        values
    }
}

fn originals(input: &Column, rows: &[usize]) -> Vec<f32> {
    let rows = rows.iter().map(|row| input.values.row(*row));
    rows.flat_map(|row| row.to_vec()).collect()
}

/// Returns the shape of `n` samples of an input.
pub(super) fn shape(input: &Column, n: usize) -> Vec<usize> {
    std::iter::once(n)
        .chain(input.modality.shape.iter().copied())
        .collect()
}

/// Returns bounds of shape `[2]`, or `[2, features]` if each feature has its own.
pub(super) fn bounds(input: &Modality) -> Result<ArrayD<f32>, Failure> {
    let b = &input.bounds;
    match b.features() {
        None => array(vec![b.low(0), b.high(0)], &[2]),
        Some(f) => {
            let low = (0..f).map(|i| b.low(i));
            array(low.chain((0..f).map(|i| b.high(i))).collect(), &[2, f])
        }
    }
}

/// Shapes values.
pub(super) fn array<T>(values: Vec<T>, shape: &[usize]) -> Result<ArrayD<T>, Failure> {
    Ok(ArrayD::from_shape_vec(shape, values)?)
}
