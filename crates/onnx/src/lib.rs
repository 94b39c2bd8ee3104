//! ONNX files run at run time on any Burn device, with gradients.

mod array;
#[cfg(test)]
mod check;
mod dtype;
mod error;
mod function;
mod graph;
#[cfg(test)]
mod hostile;
mod load;
mod node;
mod op;
mod proto;
mod room;
mod session;
#[cfg(test)]
mod sketch;
mod tensor;
mod value;

pub use array::{Array, Data};
pub use dtype::DType;
pub use error::OnnxError;
pub use load::OnnxFile;
pub use op::Gradient;
pub use session::{Declared, Dim, Session};
