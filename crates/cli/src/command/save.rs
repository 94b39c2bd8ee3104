use std::collections::BTreeMap;
use std::path::Path;

use proofmark::Measurement;
use proofmark::data::ndarray::ArrayD;
use proofmark::data::npz::{self, AnyArray, GROUP, NpzArray, ORIGINAL};
use proofmark::data::{Column, Dataset};
use proofmark::domain::{AttackSummary, Modality, SampleRecord};
use proofmark::models::{Numbers, Signature};

use crate::failure::Failure;

/// What `--save` writes: every sample of the report, its adversarial where it was broken, else itself.
///
/// Arrays: the inputs under their names (`float32` in data units; whole numbers for a model that takes those) with their
/// `bounds_NAME`, `y`, `id`, and per sample `group_broken` (0 or 1),
/// `group_adv_pred` (-1 where there is none), `group_attack` (its id, empty where unbroken), `group_norm`, `group_eps`
/// (NaN where unbroken); on request `original_NAME`. Read back as a set, the file holds the inputs.
pub(super) struct Saving<'a> {
    pub(super) data: &'a Dataset,
    pub(super) measured: &'a Measurement,
    /// Those of the model, in its order.
    pub(super) signature: &'a Signature,
    /// Whether the budget of a sample is the set's own.
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
        let whole: Vec<Named<i64>> = vec![
            ("y".into(), self.column(|_, s| s.label as i64)?),
            (
                format!("{GROUP}adv_pred"),
                self.column(|_, s| s.adv_pred.map_or(-1, |p| p as i64))?,
            ),
            (
                format!("{GROUP}broken"),
                self.column(|_, s| i64::from(s.broken_by.is_some()))?,
            ),
        ];
        let texts: Vec<Named<String>> = vec![
            (format!("{GROUP}attack"), of_breaker(&|run| run.id.clone())?),
            (
                format!("{GROUP}norm"),
                of_breaker(&|run| run.threat.norm.to_string())?,
            ),
        ];
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
        arrays.push(("id", NpzArray::Ids(&ids)));
        Ok(npz::write(path, &arrays)?)
    }

    /// One value per sample of the report.
    fn column<T>(&self, value: impl Fn(usize, &SampleRecord) -> T) -> Result<ArrayD<T>, Failure> {
        let samples = self.measured.report.samples.iter().enumerate();
        let values: Vec<T> = samples.map(|(i, s)| value(i, s)).collect();
        let n = values.len();
        array(values, &[n])
    }

    /// Adversarials come in the model's order; a single input is matched whatever its name.
    fn place(&self, input: &Column) -> usize {
        let mut inputs = self.signature.modalities.iter();
        inputs
            .position(|i| i.name == input.modality.name)
            .unwrap_or(0)
    }

    /// Values in the type that a model and other tools take: where the model takes whole numbers, the type of whole numbers
    /// that they have in the set (`int64` where it has none there); else `float32`.
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
                    "array `{}` cannot be saved: a value is no whole number, though the model takes no others",
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

fn shape(input: &Column, n: usize) -> Vec<usize> {
    std::iter::once(n)
        .chain(input.modality.shape.iter().copied())
        .collect()
}

/// `[2]`, or `[2, features]` where each feature has its own.
fn bounds(input: &Modality) -> Result<ArrayD<f32>, Failure> {
    let b = &input.bounds;
    match b.features() {
        None => array(vec![b.low(0), b.high(0)], &[2]),
        Some(f) => {
            let low = (0..f).map(|i| b.low(i));
            array(low.chain((0..f).map(|i| b.high(i))).collect(), &[2, f])
        }
    }
}

fn array<T>(values: Vec<T>, shape: &[usize]) -> Result<ArrayD<T>, Failure> {
    Ok(ArrayD::from_shape_vec(shape, values)?)
}
