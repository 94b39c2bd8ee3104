//! Builders of small models for tests.

use burn::tensor::Device;
use prost::Message;

use crate::array::{Array, Data};
use crate::load::OnnxFile;
use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::session::Session;

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Returns an operation.
pub(crate) fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        input: texts(inputs),
        output: texts(outputs),
        ..Default::default()
    }
}

impl NodeProto {
    fn with(mut self, attribute: AttributeProto) -> Self {
        self.attribute.push(attribute);
        self
    }

    /// Adds an integer attribute.
    pub(crate) fn int(self, name: &str, i: i64) -> Self {
        self.with(AttributeProto {
            name: name.into(),
            i,
            r#type: 2,
            ..Default::default()
        })
    }

    /// Adds a list of integers as an attribute.
    pub(crate) fn ints(self, name: &str, ints: &[i64]) -> Self {
        self.with(AttributeProto {
            name: name.into(),
            ints: ints.to_vec(),
            r#type: 7,
            ..Default::default()
        })
    }

    /// Adds a string attribute.
    pub(crate) fn text(self, name: &str, s: &str) -> Self {
        self.with(AttributeProto {
            name: name.into(),
            s: s.as_bytes().to_vec().into(),
            r#type: 3,
            ..Default::default()
        })
    }

    /// Adds a tensor attribute.
    pub(crate) fn tensor(self, name: &str, t: TensorProto) -> Self {
        self.with(AttributeProto {
            name: name.into(),
            t: Some(t),
            r#type: 4,
            ..Default::default()
        })
    }

    /// Adds a graph attribute.
    pub(crate) fn graph(self, name: &str, g: GraphProto) -> Self {
        self.with(branch(name, g))
    }

    /// Adds an attribute that refers to an attribute of the enclosing function.
    pub(crate) fn refers(self, name: &str, to: &str, kind: i32) -> Self {
        self.with(AttributeProto {
            name: name.into(),
            ref_attr_name: to.into(),
            r#type: kind,
            ..Default::default()
        })
    }

    /// Sets the operator set's domain.
    pub(crate) fn domain(mut self, domain: &str) -> Self {
        self.domain = domain.into();
        self
    }
}

/// Returns a graph as an attribute.
pub(crate) fn branch(name: &str, g: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        g: Some(g),
        r#type: 5,
        ..Default::default()
    }
}

/// Returns an input or output of this type and shape (below 0: free).
pub(crate) fn info(name: &str, elem_type: i32, shape: &[i64]) -> ValueInfoProto {
    let dim = |d: &i64| DimensionProto {
        dim_value: (*d >= 0).then_some(*d),
        dim_param: None,
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type,
                shape: Some(TensorShapeProto {
                    dim: shape.iter().map(dim).collect(),
                }),
            }),
        }),
    }
}

fn named(name: &str) -> ValueInfoProto {
    ValueInfoProto {
        name: name.into(),
        r#type: None,
    }
}

/// Returns a graph whose inputs and outputs have no declared type.
pub(crate) fn graph(nodes: Vec<NodeProto>, inputs: &[&str], outputs: &[&str]) -> GraphProto {
    GraphProto {
        name: "g".into(),
        node: nodes,
        input: inputs.iter().map(|n| named(n)).collect(),
        output: outputs.iter().map(|n| named(n)).collect(),
        ..Default::default()
    }
}

impl GraphProto {
    /// Adds a constant.
    pub(crate) fn constant(mut self, name: &str, array: &Array) -> Self {
        self.initializer.push(constant(name, array));
        self
    }
}

/// Returns a constant as a file stores it (floats, booleans, integers of 8, 16, 32 and 64 bits).
pub(crate) fn constant(name: &str, array: &Array) -> TensorProto {
    let mut proto = TensorProto {
        name: name.into(),
        dims: array.shape().iter().map(|d| *d as i64).collect(),
        ..Default::default()
    };
    match array.data() {
        Data::F32(v) => {
            proto.data_type = 1;
            proto.float_data.clone_from(v);
        }
        Data::I64(v) => {
            proto.data_type = 7;
            proto.int64_data.clone_from(v);
        }
        Data::Bool(v) => {
            proto.data_type = 9;
            proto.int32_data = v.iter().map(|b| i32::from(*b)).collect();
        }
        Data::U8(v) => {
            proto.data_type = 2;
            proto.int32_data = v.iter().map(|i| i32::from(*i)).collect();
        }
        Data::I8(v) => {
            proto.data_type = 3;
            proto.int32_data = v.iter().map(|i| i32::from(*i)).collect();
        }
        Data::U16(v) => {
            proto.data_type = 4;
            proto.int32_data = v.iter().map(|i| i32::from(*i)).collect();
        }
        Data::I32(v) => {
            proto.data_type = 6;
            proto.int32_data.clone_from(v);
        }
        other => panic!("{} in a sketch", other.dtype()),
    }
    proto
}

/// Returns a one-dimensional array of integers.
pub(crate) fn list(values: &[i64]) -> Array {
    Array::list(values.to_vec())
}

/// Returns an integer scalar.
pub(crate) fn int(value: i64) -> Array {
    Array::new([], vec![value])
}

/// Returns a Boolean scalar.
pub(crate) fn yes(value: bool) -> Array {
    Array::new([], vec![value])
}

/// Returns a one-dimensional array of floats.
pub(crate) fn floats(values: &[f32]) -> Array {
    Array::new([values.len()], values.to_vec())
}

/// Returns a model of opset 21.
pub(crate) fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(10),
        graph: Some(graph),
        opset_import: vec![opset("", 21)],
        ..Default::default()
    }
}

/// Returns a version of an operator set.
pub(crate) fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: domain.into(),
        version,
    }
}

/// Decodes, builds and runs a file.
pub(crate) fn run_bytes(bytes: Vec<u8>, inputs: &[Array]) -> Result<Vec<Array>, String> {
    let file = OnnxFile::decode("sketch", bytes, None).map_err(|e| e.to_string())?;
    let session = Session::new(file, &Device::flex()).map_err(|e| e.to_string())?;
    session.run(inputs).map_err(|e| e.to_string())
}

/// Encodes and runs a model.
pub(crate) fn run(model: &ModelProto, inputs: &[Array]) -> Result<Vec<Array>, String> {
    run_bytes(model.encode_to_vec(), inputs)
}

/// Runs a graph.
pub(crate) fn run_graph(graph: GraphProto, inputs: &[Array]) -> Result<Vec<Array>, String> {
    run(&model(graph), inputs)
}
