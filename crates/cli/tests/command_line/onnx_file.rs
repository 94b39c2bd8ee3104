//! Small ONNX files, written by the tests.

use proofmark::onnx::proto::{
    DimensionProto, GraphProto, Message as _, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// ONNX's numbers for element types.
pub(crate) const FLOAT: i32 = 1;
pub(crate) const INT64: i32 = 7;

/// An ONNX file in the making, for operator set 17.
#[derive(Default)]
pub(crate) struct OnnxFile(GraphProto);

impl OnnxFile {
    /// An input: `"N,3"` has a named dimension and a fixed one, `"?"` a free one, `""` none.
    pub(crate) fn input(mut self, name: &str, elem_type: i32, dims: &str) -> Self {
        self.0.input.push(value(name, elem_type, dims));
        self
    }

    pub(crate) fn output(mut self, name: &str, elem_type: i32, dims: &str) -> Self {
        self.0.output.push(value(name, elem_type, dims));
        self
    }

    pub(crate) fn constant(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        self.0.initializer.push(TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: FLOAT,
            float_data: values.to_vec(),
            ..Default::default()
        });
        self
    }

    /// A node named after its output: `node("Add", "a,b", "sum")`.
    pub(crate) fn node(mut self, op: &str, inputs: &str, output: &str) -> Self {
        self.0.node.push(NodeProto {
            name: format!("node_{output}"),
            op_type: op.into(),
            input: inputs.split(',').map(str::to_owned).collect(),
            output: vec![output.into()],
            ..Default::default()
        });
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let model = ModelProto {
            ir_version: Some(8),
            producer_name: "tests".into(),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: 17,
            }],
            graph: Some(self.0),
            ..Default::default()
        };
        model.encode_to_vec()
    }
}

fn value(name: &str, elem_type: i32, dims: &str) -> ValueInfoProto {
    let dim = |text: &str| {
        let number = text.parse().ok();
        DimensionProto {
            dim_value: number,
            dim_param: (number.is_none() && text != "?").then(|| text.to_owned()),
        }
    };
    let dims = dims.split(',').filter(|d| !d.is_empty());
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type,
                shape: Some(TensorShapeProto {
                    dim: dims.map(dim).collect(),
                }),
            }),
        }),
    }
}
