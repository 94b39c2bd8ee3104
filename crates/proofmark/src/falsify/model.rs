//! Opens models for the inputs of a property.

use burn::tensor::Device;
use proofmark_data::vnnlib::{InputBox, Spec};
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_onnx::declared_modalities;

use crate::{ModelSource, OpenModel, RunError, shipped};

impl ModelSource {
    /// Opens the model for the inputs `X_i` of a property: flat, in C order of the model's inputs, one after the other.
    /// The outputs `Y_j` of an ONNX model are those of the file, unchanged, including a final softmax.
    pub fn open_property(&self, spec: &Spec, device: &Device) -> Result<OpenModel, RunError> {
        if !self.is_onnx() {
            // A shipped model knows its own inputs; `open_for` refuses other names.
            let shape = shipped::modality();
            return self.open_for(&[shape], device);
        }
        let bounds = around(spec);
        let flat = Modality {
            name: "X".to_owned(),
            kind: Kind::Table,
            shape: vec![spec.inputs],
            bounds: bounds.clone(),
        };
        let mut source = self.clone();
        source.onnx.raw = true;
        let declared = declared_modalities(&source.onnx_file()?, &bounds);
        let modalities = match declared {
            Ok(all)
                if all.iter().map(Modality::features).sum::<usize>() == spec.inputs
                    || all.len() > 1 =>
            {
                all.to_vec()
            }
            // The shape of the input is open, or has no batch dimension.
            _ => vec![flat],
        };
        source.open_for(&modalities, device)
    }
}

/// Returns bounds that contain every case's box, widened if they leave no room.
fn around(spec: &Spec) -> Bounds {
    let sides = |side: fn(&InputBox) -> &Vec<f64>| {
        let all = spec
            .cases
            .iter()
            .flat_map(move |c| side(&c.inputs).iter().copied());
        all.collect::<Vec<f64>>()
    };
    let low = sides(|b| &b.low).into_iter().fold(f64::INFINITY, f64::min) as f32;
    let high = sides(|b| &b.high)
        .into_iter()
        .fold(f64::NEG_INFINITY, f64::max) as f32;
    Bounds::uniform(low, high)
        .or_else(|_| Bounds::uniform(low - 1.0, high + 1.0))
        .unwrap_or_else(|_| Bounds::uniform(-1.0, 1.0).expect("-1 is below 1"))
}
