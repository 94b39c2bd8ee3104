//! What a model may be asked, and how a Burn module becomes one that can be.
//!
//! Access is a trait bound: [`DecisionModel`] ⊂ [`ScoreModel`] ⊂ [`GradientModel`]. An attack that needs
//! gradients does not compile against a model that only gives labels. All three are object-safe and take a
//! [`Query`]; a model that is a forward pass on tensors only writes [`Network`] and gets all three. [`Access`] is a model
//! by the most it gives, for those who are handed one; [`FromScores`] and [`FromDecisions`] make one of a closure over
//! arrays on the host.

mod access;
mod boundary;
mod digest;
mod error;
mod host;
mod module;
mod network;
mod query;
mod weights;
/// Models made of models.
pub mod wrap;

pub use access::{
    Access, DecisionModel, Features, Gradient, GradientModel, Numbers, Objective, Output,
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
