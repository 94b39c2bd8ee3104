//! Writes small ONNX files from Rust.
//!
//! ```
//! use proofmark_onnx::writer::{Attr, OnnxWriter};
//! let bytes = OnnxWriter::new(17)
//!     .input("x", &[1, 4])
//!     .constant("w", &[4, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0])
//!     .node("MatMul", &["x", "w"], &["y"], &[])
//!     .node("Softmax", &["y"], &["p"], &[("axis", Attr::Int(1))])
//!     .output("p")
//!     .bytes();
//! assert!(!bytes.is_empty());
//! ```

use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, Message as _, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// ONNX's element type number for `float32`.
pub const FLOAT: i32 = 1;
/// ONNX's element type number for `int64`.
pub const INT64: i32 = 7;

/// Value of an attribute.
#[derive(Debug, Clone)]
pub enum Attr {
    /// An integer.
    Int(i64),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A float.
    Float(f32),
    /// A string.
    Text(&'static str),
}

/// Builder of an ONNX file; nodes must be added in topological order.
#[derive(Debug, Clone)]
pub struct OnnxWriter {
    model: ModelProto,
    graph: GraphProto,
}

impl OnnxWriter {
    /// Returns an empty model for this version of the operator set.
    pub fn new(opset: i64) -> Self {
        Self {
            model: ModelProto {
                ir_version: Some(8),
                producer_name: "testkit".into(),
                opset_import: vec![OperatorSetIdProto {
                    domain: String::new(),
                    version: opset,
                }],
                ..Default::default()
            },
            graph: GraphProto::default(),
        }
    }

    /// Adds a `float32` input; a dimension of 0 or less is left open.
    #[must_use]
    pub fn input(mut self, name: &str, shape: &[i64]) -> Self {
        let dims = shape
            .iter()
            .map(|d| dimension((*d > 0).then_some(*d), None));
        self.graph
            .input
            .push(value(name, FLOAT, Some(dims.collect())));
        self
    }

    /// Adds an input of any element type: `"N,3"` has a named dimension and a fixed one, `"?"` a free one, `""` none.
    #[must_use]
    pub fn input_of(mut self, name: &str, elem_type: i32, dims: &str) -> Self {
        let dims = Some(dimensions(dims));
        self.graph.input.push(value(name, elem_type, dims));
        self
    }

    /// Adds a `float32` output without a declared shape.
    #[must_use]
    pub fn output(mut self, name: &str) -> Self {
        self.graph.output.push(value(name, FLOAT, None));
        self
    }

    /// Adds an output of any element type, with dimensions as for an [input](Self::input_of).
    #[must_use]
    pub fn output_of(mut self, name: &str, elem_type: i32, dims: &str) -> Self {
        let dims = Some(dimensions(dims));
        self.graph.output.push(value(name, elem_type, dims));
        self
    }

    /// Adds a `float32` constant.
    #[must_use]
    pub fn constant(mut self, name: &str, shape: &[i64], values: &[f32]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: shape.to_vec(),
            data_type: FLOAT,
            float_data: values.to_vec(),
            ..Default::default()
        });
        self
    }

    /// Adds an `int64` constant, `[n]`.
    #[must_use]
    pub fn integers(mut self, name: &str, values: &[i64]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: vec![values.len() as i64],
            data_type: INT64,
            int64_data: values.to_vec(),
            ..Default::default()
        });
        self
    }

    /// Adds an `int8` scalar constant.
    #[must_use]
    pub fn int8(mut self, name: &str, number: i8) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            data_type: 3,
            int32_data: vec![number.into()],
            ..Default::default()
        });
        self
    }

    /// Adds a node, named after its operator and index (`Relu_0`); `""` leaves an input out.
    #[must_use]
    pub fn node(
        mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attr)],
    ) -> Self {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        self.graph.node.push(NodeProto {
            name: format!("{op}_{}", self.graph.node.len()),
            op_type: op.into(),
            input: list(inputs),
            output: list(outputs),
            attribute: attributes.iter().map(attribute).collect(),
            ..Default::default()
        });
        self
    }

    /// Returns the encoded file.
    pub fn bytes(mut self) -> Vec<u8> {
        self.model.graph = Some(self.graph);
        self.model.encode_to_vec()
    }
}

fn attribute((name, value): &(&str, Attr)) -> AttributeProto {
    let mut a = AttributeProto {
        name: (*name).into(),
        ..Default::default()
    };
    match value {
        Attr::Float(f) => (a.r#type, a.f) = (1, *f),
        Attr::Int(i) => (a.r#type, a.i) = (2, *i),
        Attr::Text(s) => (a.r#type, a.s) = (3, s.as_bytes().to_vec().into()),
        Attr::Ints(list) => (a.r#type, a.ints) = (7, list.clone()),
    }
    a
}

fn dimensions(text: &str) -> Vec<DimensionProto> {
    let dims = text.split(',').filter(|d| !d.is_empty());
    dims.map(|d| match d.parse() {
        Ok(number) => dimension(Some(number), None),
        Err(_) => dimension(None, (d != "?").then_some(d)),
    })
    .collect()
}

fn dimension(number: Option<i64>, name: Option<&str>) -> DimensionProto {
    DimensionProto {
        dim_value: number,
        dim_param: name.map(str::to_owned),
    }
}

fn value(name: &str, elem_type: i32, dims: Option<Vec<DimensionProto>>) -> ValueInfoProto {
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type,
                shape: dims.map(|dim| TensorShapeProto { dim }),
            }),
        }),
    }
}
