//! The scale that an epsilon is compared with: the size of an input's values.

use proofmark_data::{Column, Dataset};
use proofmark_domain::{BudgetRecord, InputScale, Modality, ThreatRecord};
use proofmark_threat::{Budget, Radius, Threat};

use crate::samples::column;

/// Number of steps of an 8-bit lattice.
const STEPS: f32 = 255.0;

/// Maximum distance of a value from a lattice step, in steps: 32-bit arithmetic of mean and std is off by 1e-4.
const ON_STEP: f32 = 1e-3;

/// Returns the threat as a report records it, each budget with the scale of its input over all of `data`.
pub(crate) fn record(threat: &Threat, modalities: &[Modality], data: &Dataset) -> ThreatRecord {
    let mut record = threat.record();
    let budgets = threat.budgets().iter().zip(&mut record.budgets);
    for ((budget, written), input) in budgets.zip(modalities) {
        if let Some(column) = column(data, modalities, input) {
            written.scale = Some(scale(budget, written, input, column));
        }
    }
    record
}

fn scale(budget: &Budget, written: &BudgetRecord, input: &Modality, column: &Column) -> InputScale {
    let ranges: Vec<f64> = (0..input.features())
        .filter(|f| budget.mask.as_ref().is_none_or(|mask| mask[*f]))
        .map(|f| f64::from(input.bounds.high(f)) - f64::from(input.bounds.low(f)))
        .collect();
    InputScale {
        kind: column.modality.kind,
        widest: ranges.iter().copied().fold(0.0, f64::max),
        diameter: written.norm.of(ranges.iter().copied()),
        eight_bit: is_eight_bit(column),
        smallest_eps: match &budget.radius {
            Radius::Uniform(_) => None,
            Radius::PerSample(each) => Some(each.iter().copied().fold(f64::INFINITY, f64::min)),
        },
    }
}

/// Whether every value is a whole number of 255ths of its feature's range above the lower bound.
fn is_eight_bit(column: &Column) -> bool {
    let bounds = &column.modality.bounds;
    column.values.rows().into_iter().all(|row| {
        row.iter().enumerate().all(|(f, v)| {
            let low = bounds.low(f);
            let steps = (v - low) / (bounds.high(f) - low) * STEPS;
            (steps - steps.round()).abs() <= ON_STEP
        })
    })
}

#[cfg(test)]
mod tests {
    use proofmark_data::ndarray::Array2;
    use proofmark_domain::{Bounds, Kind};

    use super::*;

    fn pixels(low: f32, high: f32, values: &[f32]) -> Column {
        Column {
            modality: Modality {
                name: "x".into(),
                kind: Kind::Image,
                shape: vec![1, 1, values.len()],
                bounds: Bounds::uniform(low, high).unwrap(),
            },
            values: Array2::from_shape_vec((1, values.len()), values.to_vec()).unwrap(),
            whole: None,
        }
    }

    #[test]
    fn the_lattice_is_detected_whatever_the_range() {
        let all: Vec<u8> = (0..=255).collect();
        let in_255: Vec<f32> = all.iter().map(|p| f32::from(*p)).collect();
        let in_1: Vec<f32> = in_255.iter().map(|p| p / 255.0).collect();
        // Values after torchvision's Normalize.
        let normalised: Vec<f32> = in_1.iter().map(|p| (p - 0.485) / 0.229).collect();
        let (low, high) = ((0.0 - 0.485) / 0.229, (1.0 - 0.485) / 0.229);
        assert!(is_eight_bit(&pixels(0.0, 255.0, &in_255)));
        assert!(is_eight_bit(&pixels(0.0, 1.0, &in_1)));
        assert!(is_eight_bit(&pixels(low, high, &normalised)));
        assert!(!is_eight_bit(&pixels(0.0, 255.0, &in_1)), "another unit");
        let sixteenths: Vec<f32> = (0..=16_u8).map(|p| f32::from(p) / 16.0).collect();
        assert!(!is_eight_bit(&pixels(0.0, 1.0, &sixteenths)));
        assert!(!is_eight_bit(&pixels(0.0, 1.0, &[0.0, 1.0, 0.001])));
    }
}
