//! Turns a data set on the host into the samples that a model is attacked on.

use proofmark_data::{Column, DataError, Dataset};
use proofmark_domain::{Modality, SampleId, fit};
use proofmark_engine::Samples;
use proofmark_model::{Numbers, Signature};

use crate::RunError;

/// Matches the columns of `data` to the inputs of a model: by position if there is one of each, by name otherwise.
/// Shapes, bounds and labels must fit.
pub(crate) fn samples(data: &Dataset, signature: &Signature) -> Result<Samples, RunError> {
    let mismatch = |problem: String| RunError::Mismatch {
        data: data.name.clone(),
        model: signature.name.clone(),
        problem,
    };
    let inputs = &signature.modalities;
    if data.modalities.len() != inputs.len() {
        let more = if inputs.len() == 1 {
            "; `--arrays INPUTS,LABELS` names the arrays to read"
        } else {
            ""
        };
        return Err(mismatch(format!(
            "the set has {} arrays ({}) and the model {} inputs ({}){more}",
            data.modalities.len(),
            names(data.modalities.iter().map(|c| c.modality.name.as_str())),
            inputs.len(),
            names(inputs.iter().map(|m| m.name.as_str())),
        )));
    }
    let mut values = Vec::with_capacity(inputs.len());
    for (input, numbers) in inputs.iter().zip(&signature.numbers) {
        let column = column(data, inputs, input).ok_or_else(|| {
            mismatch(format!(
                "no array `{}` for the model's input of that name",
                input.name
            ))
        })?;
        let (given, expected) = (column.modality.features(), input.features());
        let wanted: Vec<Option<usize>> = input.shape.iter().copied().map(Some).collect();
        if fit(&column.modality.shape, &wanted).is_err() {
            return Err(mismatch(format!(
                "array `{}` has samples of shape {:?} ({given} values); input `{}` takes {:?} ({expected}): give the array these axes in this order",
                column.modality.name, column.modality.shape, input.name, input.shape
            )));
        }
        check_numbers(*numbers, column, &data.ids).map_err(mismatch)?;
        for (row, sample) in column.values.rows().into_iter().enumerate() {
            for (f, v) in sample.iter().enumerate() {
                let (low, high) = (input.bounds.low(f), input.bounds.high(f));
                if !(low..=high).contains(v) {
                    return Err(mismatch(format!(
                        "value {v} of sample {} in array `{}` lies outside the model's bounds {low},{high}",
                        data.ids[row], column.modality.name
                    )));
                }
            }
        }
        let (own, theirs) = (&column.modality.bounds, &input.bounds);
        let differ = |f: &usize| own.low(*f) != theirs.low(*f) || own.high(*f) != theirs.high(*f);
        if let Some(f) = (0..expected).find(differ) {
            return Err(mismatch(format!(
                "array `{}` states bounds {},{} and the model takes {},{} (feature {f}): an attack would leave one of them",
                column.modality.name,
                own.low(f),
                own.high(f),
                theirs.low(f),
                theirs.high(f)
            )));
        }
        values.push(column.values.iter().copied().collect());
    }
    if data.labels.is_some() {
        data.check_labels(signature.classes)?;
    }
    let labels = data.labels.clone().unwrap_or_default();
    let keys = data
        .ids
        .iter()
        .map(proofmark_domain::SampleId::key)
        .collect();
    Ok(Samples {
        modalities: inputs.clone(),
        values,
        labels,
        targets: None,
        keys,
    })
}

/// Refuses values that are not whole numbers of the input's type.
fn check_numbers(numbers: Numbers, column: &Column, ids: &[SampleId]) -> Result<(), String> {
    let (Numbers::Whole { low, high } | Numbers::Fixed { low, high }) = numbers else {
        return Ok(());
    };
    let wrong = |v: &f32| v.fract() != 0.0 || !(low..=high).contains(v);
    for (row, sample) in column.values.rows().into_iter().enumerate() {
        if let Some(v) = sample.iter().find(|v| wrong(v)) {
            return Err(format!(
                "value {v} of sample {} in array `{}`; the input takes whole numbers from {low} to {high}, as they are stored (--units raw)",
                ids[row], column.modality.name
            ));
        }
    }
    Ok(())
}

/// Returns the column of `data` that feeds an input: the only one if the model has one input, else the one of that
/// name.
pub(crate) fn column<'a>(
    data: &'a Dataset,
    inputs: &[Modality],
    input: &Modality,
) -> Option<&'a Column> {
    if inputs.len() == 1 {
        return data.modalities.first();
    }
    data.modalities
        .iter()
        .find(|c| c.modality.name == input.name)
}

/// Refuses data without labels; `or` completes the error with another way to get labels, if there is one.
pub(crate) fn require_labels(data: &Dataset, or: &str) -> Result<(), DataError> {
    if data.labels.is_some() {
        return Ok(());
    }
    Err(DataError::Missing {
        file: data.name.clone(),
        what: "labels".to_owned(),
        has: format!(
            "inputs only; say where the labels are (`--labels-file` for .npy and IDX, `--arrays X,Y` for npz, `--label-column` for CSV){or}"
        ),
    })
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
