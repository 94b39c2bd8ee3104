//! Opens models for the inputs of a property.

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_data::vnnlib::{InputBox, Spec};
use proofmark_domain::{Bounds, Kind, Modality, Seed};
use proofmark_model::Signature;
use proofmark_onnx::declared_modalities;
use proofmark_stats::random::{Purpose, Stream, StreamKey};

use crate::{ModelSource, OpenModel, RunError, shipped};

impl ModelSource {
    /// Opens the model for the inputs `X_i` of a property: flat, in C order of the model's inputs, one after the other.
    /// The outputs `Y_j` of an ONNX model are those of the file, unchanged, including a final softmax.
    pub fn open_property(&self, spec: &Spec, device: &Device) -> Result<OpenModel, RunError> {
        if !self.is_onnx() {
            // A shipped model knows its own inputs; `open_for` refuses other names.
            let shape = shipped::modality();
            return self.open_for(&[shape], None, device);
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
        source.open_for(
            &modalities,
            Some(&|signature| samples(spec, signature)),
            device,
        )
    }
}

/// Number of boxes that set the slopes of a surrogate, and of corners of each.
const SAMPLED: (usize, usize) = (4, 4);

/// Returns the centre and some corners of the first boxes, as samples of the model's inputs.
fn samples(spec: &Spec, signature: &Signature) -> Vec<Vec<Tensor<2>>> {
    let (boxes, corners) = SAMPLED;
    // The search refuses such a property and says why.
    if signature
        .modalities
        .iter()
        .map(Modality::features)
        .sum::<usize>()
        != spec.inputs
    {
        return Vec::new();
    }
    let mut distinct: Vec<&InputBox> = Vec::new();
    for case in &spec.cases {
        // Cases that share a box are adjacent.
        if distinct.len() < boxes && distinct.last().is_none_or(|b| **b != *case.inputs) {
            distinct.push(&case.inputs);
        }
    }
    let rows = 1 + corners;
    let points = |of: &InputBox| -> Vec<Vec<f32>> {
        let sides = || of.low.iter().zip(&of.high);
        let mut points = vec![sides().map(|(l, h)| (l / 2.0 + h / 2.0) as f32).collect()];
        for corner in 0..corners {
            let key = StreamKey::new(Seed(0), corner as u64, Purpose::Start);
            let mut stream = Stream::new(&key);
            let end = |(l, h): (&f64, &f64)| {
                if stream.next_u32() & 1 == 0 {
                    *l as f32
                } else {
                    *h as f32
                }
            };
            points.push(sides().map(end).collect());
        }
        points
    };
    let blocks = |of: &&InputBox| {
        let points = points(of);
        let mut from = 0;
        let block = |m: &Modality| {
            let to = from + m.features();
            let values: Vec<f32> = points.iter().flat_map(|p| p[from..to].to_vec()).collect();
            from = to;
            Tensor::from_data(
                TensorData::new(values, [rows, m.features()]),
                &signature.device,
            )
        };
        signature.modalities.iter().map(block).collect()
    };
    distinct.iter().map(blocks).collect()
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
