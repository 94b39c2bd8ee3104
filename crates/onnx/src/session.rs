//! A model as a function of named arrays: what `infer` runs, whatever the model is.

use burn::tensor::Device;

use crate::array::Array;
use crate::dtype::DType;
use crate::error::OnnxError;
use crate::graph::{Graph, Plan};
use crate::load::OnnxFile;
use crate::proto::ValueInfoProto;
use crate::value::Value;

/// An input or output as the file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Its element type, if it is a tensor of a supported type.
    pub dtype: Option<DType>,
    /// Its shape, if one is declared.
    pub shape: Option<Vec<Dim>>,
}

/// A declared dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// Of this length.
    Fixed(usize),
    /// Free, by name.
    Named(String),
    /// Free.
    Free,
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(n) => n.fmt(f),
            Self::Named(name) => f.write_str(name),
            Self::Free => f.write_str("?"),
        }
    }
}

impl Declared {
    pub(crate) fn of(info: &ValueInfoProto) -> Self {
        let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        Self {
            name: info.name.clone(),
            dtype: tensor.and_then(|t| DType::from_onnx(t.elem_type).ok()),
            shape: tensor.and_then(|t| t.shape.as_ref()).map(|s| {
                s.dim
                    .iter()
                    .map(|d| match (d.dim_value, &d.dim_param) {
                        // Some exporters write 0 or -1 for a free dimension.
                        (Some(n), _) if n > 0 => Dim::Fixed(n as usize),
                        (_, Some(name)) if !name.is_empty() => Dim::Named(name.clone()),
                        _ => Dim::Free,
                    })
                    .collect()
            }),
        }
    }
}

/// A model on a device, asked with arrays by name.
pub struct Session {
    file: OnnxFile,
    graph: Graph,
    plan: Plan,
    device: Device,
}

impl Session {
    /// Builds the graph on a device.
    pub fn new(file: OnnxFile, device: &Device) -> Result<Self, OnnxError> {
        let graph = file.build(device)?;
        let plan = graph.plan(&graph.outputs);
        Ok(Self {
            file,
            graph,
            plan,
            device: device.clone(),
        })
    }

    /// The inputs to be given.
    pub fn inputs(&self) -> Vec<Declared> {
        self.file.inputs()
    }

    /// The outputs that come back.
    pub fn outputs(&self) -> Vec<Declared> {
        self.file.graph().output.iter().map(Declared::of).collect()
    }

    /// Runs the model on one array per input, in their order.
    pub fn run(&self, inputs: &[Array]) -> Result<Vec<Array>, OnnxError> {
        let declared = self.inputs();
        if declared.len() != inputs.len() {
            return Err(self.file.problem(format!(
                "{} arrays for {} inputs",
                inputs.len(),
                declared.len()
            )));
        }
        let mut values = Vec::new();
        for (input, array) in declared.iter().zip(inputs) {
            if input.dtype.is_some_and(|d| d != array.dtype()) {
                return Err(self.file.problem(format!(
                    "input `{}` is {}; expected {}",
                    input.name,
                    array.dtype(),
                    input.dtype.unwrap_or(DType::F32)
                )));
            }
            values.push(if array.dtype().is_float() {
                let tensor = array
                    .on(&self.device)
                    .map_err(|e| self.file.problem(format!("input `{}`: {e}", input.name)))?;
                Value::Device(tensor)
            } else {
                Value::Host(array.clone())
            });
        }
        let outputs = self
            .graph
            .run(&self.plan, values, &self.device, 1, &mut |_, _| {})
            .map_err(|e| self.file.failure(e))?;
        outputs
            .into_iter()
            .zip(self.outputs())
            .map(|(value, declared)| {
                value
                    .host()
                    .and_then(|a| a.cast(declared.dtype.unwrap_or(a.dtype())))
                    .map_err(|e| {
                        self.file
                            .problem(format!("output `{}`: {e}", declared.name))
                    })
            })
            .collect()
    }
}
