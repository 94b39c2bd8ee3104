//! The same model with its last batch norms amplified, for probes of backdoors.

use proofmark_domain::hex;
use prost::bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::OnnxFile;
use crate::error::OnnxError;
use crate::load::own_domain;
use crate::proto::{GraphProto, NodeProto, TensorProto};

/// Name of the constant with the factor, and start of the names of the products.
const FACTOR: &str = "proofmark.amplified";

/// ONNX's number for single precision.
const SINGLE: i32 = 1;

fn is_norm(node: &NodeProto) -> bool {
    node.op_type == "BatchNormalization" && own_domain(&node.domain).is_empty()
}

impl OnnxFile {
    /// Returns the number of `BatchNormalization` nodes outside branches. A model whose norms were folded into its
    /// convolutions has none.
    pub fn batch_norms(&self) -> usize {
        self.graph().node.iter().filter(|n| is_norm(n)).count()
    }

    /// Returns the model with scale and shift of its `last` last batch norms, in the order of the file, multiplied by
    /// `factor`. An error if it has fewer, or if one is not in single precision.
    pub fn amplified(&self, last: usize, factor: f32) -> Result<Self, OnnxError> {
        let norms = self.batch_norms();
        if last > norms || !factor.is_finite() {
            return Err(self.problem(format!(
                "has {norms} batch norms, and {last} are to be multiplied by {factor}; expected at most as many, and a finite factor"
            )));
        }
        if self.computes_in_half() {
            return Err(self.problem(
                "computes in half precision: its batch norms cannot be amplified; export it in single precision",
            ));
        }
        let mut proto = self.proto.clone();
        let graph = proto.graph.as_mut().expect("checked by decode");
        amplify(graph, norms - last, factor);
        let digest = Sha256::digest(format!("{}:amplified:{last}:{factor}", self.sha256));
        Ok(Self {
            name: self.name.clone(),
            folder: self.folder.clone(),
            proto,
            opsets: self.opsets.clone(),
            fixed: self.fixed.clone(),
            sha256: hex(&digest),
        })
    }
}

/// Multiplies scale and shift of all batch norms but the first `skipped`. Products of constants are constants once the
/// graph is built.
fn amplify(graph: &mut GraphProto, skipped: usize, factor: f32) {
    graph.initializer.push(TensorProto {
        name: FACTOR.to_owned(),
        data_type: SINGLE,
        raw_data: Some(Bytes::from(factor.to_le_bytes().to_vec())),
        ..TensorProto::default()
    });
    let mut seen = 0;
    for mut node in std::mem::take(&mut graph.node) {
        if is_norm(&node) {
            seen += 1;
            for (i, name) in node.input.iter_mut().enumerate().skip(1).take(2) {
                if seen <= skipped {
                    continue;
                }
                let product = format!("{FACTOR}.{seen}.{i}");
                graph.node.push(NodeProto {
                    input: vec![name.clone(), FACTOR.to_owned()],
                    output: vec![product.clone()],
                    name: product.clone(),
                    op_type: "Mul".to_owned(),
                    ..NodeProto::default()
                });
                *name = product;
            }
        }
        graph.node.push(node);
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use proofmark_domain::{Bounds, Kind, Modality};
    use proofmark_model::{Query, ScoreModel};
    use proofmark_threat::{Batch, host};

    use crate::writer::{Attr, OnnxWriter};
    use crate::{OnnxFile, OnnxModel, OnnxOptions};

    /// Two batch norms of two channels: `x ↦ 2 x + 1`, then `x ↦ 3 x − 1`.
    fn file() -> OnnxFile {
        let each = |name: &str, v: f32, w: OnnxWriter| w.constant(name, &[2], &[v, v]);
        let mut w = OnnxWriter::new(13).input("x", &[-1, 2, 1, 1]);
        for (name, v) in [
            ("s1", 2.0),
            ("b1", 1.0),
            ("s2", 3.0),
            ("b2", -1.0),
            ("mean", 0.0),
            ("var", 1.0),
        ] {
            w = each(name, v, w);
        }
        let epsilon = [("epsilon", Attr::Float(0.0))];
        let bytes = w
            .node(
                "BatchNormalization",
                &["x", "s1", "b1", "mean", "var"],
                &["y"],
                &epsilon,
            )
            .node(
                "BatchNormalization",
                &["y", "s2", "b2", "mean", "var"],
                &["z"],
                &epsilon,
            )
            .node("Flatten", &["z"], &["scores"], &[])
            .output("scores")
            .bytes();
        OnnxFile::decode("two-norms", bytes, None).unwrap()
    }

    fn scores(file: OnnxFile) -> Vec<f32> {
        let input = Modality {
            name: "x".into(),
            kind: Kind::Image,
            shape: vec![2, 1, 1],
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        };
        let device = Device::flex();
        let model = OnnxModel::new(file, &[input], &OnnxOptions::default(), &device).unwrap();
        let x = Tensor::from_data([[0.5, 1.0]], &device);
        let modalities = proofmark_model::DecisionModel::signature(&model)
            .modalities
            .clone();
        let x = Batch::new(modalities, vec![x]).unwrap();
        host(&model.scores(&Query::one_per_row(x, &[0])).unwrap())
    }

    #[test]
    fn the_last_norms_are_multiplied_and_no_other() {
        let file = file();
        assert_eq!(file.batch_norms(), 2);
        // 3 (2 x + 1) - 1 at 0.5 and 1.
        assert_eq!(scores(file.amplified(0, 10.0).unwrap()), [5.0, 8.0]);
        // 30 (2 x + 1) - 10.
        assert_eq!(scores(file.amplified(1, 10.0).unwrap()), [50.0, 80.0]);
        // 30 (20 x + 10) - 10.
        assert_eq!(scores(file.amplified(2, 10.0).unwrap()), [590.0, 890.0]);
        let amplified = file.amplified(1, 10.0).unwrap();
        assert_ne!(amplified.sha256(), file.sha256());
        let error = file.amplified(3, 2.0).unwrap_err().to_string();
        assert!(error.contains("2 batch norms"), "{error}");
        assert!(file.amplified(1, f32::NAN).is_err());
    }
}
