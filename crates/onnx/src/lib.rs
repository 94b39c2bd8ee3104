//! ONNX files run at run time on any Burn device, with gradients.

mod array;
mod batch;
#[cfg(test)]
mod check;
mod classifier;
mod dtype;
mod error;
mod graph;
mod load;
mod model;
mod node;
mod op;
pub mod proto;
mod room;
mod session;
mod tensor;
mod value;

pub use array::{Array, Data};
pub use dtype::DType;
pub use error::OnnxError;
pub use load::OnnxFile;
pub use model::{BatchMode, Layout, OnnxModel, OnnxOptions, declared_modalities};
pub use op::Gradient;
pub use session::{Declared, Dim, Session};
