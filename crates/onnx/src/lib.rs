//! Runs ONNX files at run time on any Burn device, with gradients.

mod amplify;
mod array;
mod batch;
#[cfg(test)]
mod check;
mod classifier;
mod decision;
mod dtype;
mod error;
mod function;
mod graph;
#[cfg(test)]
mod hostile;
mod inspect;
mod load;
mod lower;
mod model;
mod node;
mod op;
mod port;
pub mod proto;
mod room;
mod rows;
mod session;
#[cfg(test)]
mod sketch;
mod sniff;
mod surrogate;
mod tensor;
mod value;
mod whole;
pub mod writer;

pub use array::{Array, Data};
pub use dtype::DType;
pub use error::OnnxError;
pub use inspect::{OperatorUse, Summary, Support, UnsupportedNode};
pub use load::OnnxFile;
pub use model::{BatchMode, OnnxModel, OnnxOptions};
pub use op::{Gradient, operators};
pub use port::{Layout, declared_modalities};
pub use session::{Declared, Dim, Session};
