//! Attacks that use the model's scores, without gradients: random search, search along coordinates, and ascent along
//! estimated gradients.

mod basis;
mod canvas;
mod estimate;
pub mod nes;
mod order;
mod places;
mod pyramid;
pub mod simba;
pub mod sparse_rs;
pub mod spsa;
pub mod square;

pub use basis::Basis;
pub use estimate::{EstimatedAscent, Probe};
