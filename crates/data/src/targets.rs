//! Numbers that a model is expected to return: targets of a regression, or 0 and 1 for each of several labels.

use ndarray::Array2;
use proofmark_domain::{Outputs, ReadFacts};

use crate::DataError;
use crate::array::{Array, Element};

/// Returns the targets `[n, outputs]` of an array `[n]` or `[n, outputs]`, and adds notes to `reading`. Refuses class
/// labels where numbers are expected, and anything but 0 and 1 where labels are.
pub(crate) fn of_array(
    array: &Array<'_>,
    outputs: Outputs,
    reading: &mut ReadFacts,
) -> Result<Array2<f64>, DataError> {
    let width = match array.shape[..] {
        [_] => 1,
        [_, width] if width > 0 => width,
        _ => {
            return Err(array.wrong_shape(match outputs {
                Outputs::Labels => "[n, labels], a 0 or 1 per sample and label",
                Outputs::Classes | Outputs::Values => {
                    "[n] or [n, outputs], a number per sample and output"
                }
            }));
        }
    };
    let values = match array.dtype.element {
        Element::Bool if outputs == Outputs::Values => None,
        _ => array.doubles(),
    };
    let values = values.ok_or_else(|| {
        array.wrong_dtype(match outputs {
            Outputs::Labels => "0 and 1 per label, as booleans, integers or floats",
            Outputs::Classes | Outputs::Values => {
                "numbers, the targets that a regression predicts (booleans and texts are classes: leave out the criterion about numbers)"
            }
        })
    })?;
    let place = |at: usize| match width {
        1 => format!("row {at}"),
        _ => format!("row {}, column {}", at / width, at % width),
    };
    if let Some(at) = values.iter().position(|v| !expected(outputs, *v)) {
        return Err(array.wrong_value(place(at), values[at], describe(outputs)));
    }
    let whole = !matches!(array.dtype.element, Element::Float);
    if outputs == Outputs::Values {
        if width > 1 && values.chunks(width).all(is_one_hot) {
            return Err(array.wrong_value(
                "every row".to_owned(),
                "a single 1 and otherwise 0",
                "numbers that a regression predicts; these are one-hot classes: leave out the criterion about numbers, or name the array of the targets with `--arrays INPUTS,TARGETS`",
            ));
        }
        if whole {
            let name = array.dtype.name();
            let text = format!("targets `{}` are whole numbers ({name})", array.name);
            reading.notes.push(text);
        }
    }
    let rows = values.len() / width;
    Array2::from_shape_vec((rows, width), values)
        .map_err(|_| array.wrong_shape("[n] or [n, outputs]"))
}

/// Returns the targets of a table's cells, row by row.
pub(crate) fn of_cells(values: Vec<f64>, width: usize) -> Option<Array2<f64>> {
    Array2::from_shape_vec((values.len() / width.max(1), width), values).ok()
}

/// Whether a number may be a target.
pub(crate) fn expected(outputs: Outputs, value: f64) -> bool {
    match outputs {
        Outputs::Labels => value == 0.0 || value == 1.0,
        Outputs::Classes | Outputs::Values => value.is_finite(),
    }
}

/// Says which numbers may be targets.
pub(crate) const fn describe(outputs: Outputs) -> &'static str {
    match outputs {
        Outputs::Labels => {
            "0 or 1, whether the label applies; for one class per sample, leave out the criterion about labels"
        }
        Outputs::Classes | Outputs::Values => "a finite number, the target",
    }
}

fn is_one_hot(row: &[f64]) -> bool {
    row.iter().all(|v| *v == 0.0 || *v == 1.0) && row.iter().filter(|v| **v == 1.0).count() == 1
}
