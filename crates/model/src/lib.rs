//! The levels of access to a model, and the adapters that turn Burn modules and closures into models.
//!
//! Access is a trait bound: [`DecisionModel`] ⊂ [`ScoreModel`] ⊂ [`GradientModel`]. An attack that needs gradients does
//! not compile against a model that only gives labels. All three are object-safe and take a [`Query`]. A model that is
//! a forward pass on tensors implements only [`Network`] and gets all three. [`Access`] holds a model with the widest
//! access it gives, for callers that take any model; [`FromScores`] and [`FromDecisions`] make a model of a closure
//! over arrays on the host.

mod access;
mod boundary;
mod digest;
mod error;
mod host;
mod module;
mod network;
mod query;
mod weights;
/// Models that wrap other models.
pub mod wrap;

pub use access::{
    Access, DecisionModel, Features, Gradient, GradientModel, Head, Numbers, Objective, Output,
    ScoreModel, Signature, WhiteBox,
};
pub use boundary::{guarded, guarded_device, inside_boundary};
pub use digest::{digest_behaviour, digest_module};
pub use error::ModelError;
pub use host::{FromDecisions, FromScores};
pub use module::{BurnModel, image, waveform};
pub use network::Network;
pub use query::Query;
pub use weights::{load_weights, load_weights_from, save_weights};
