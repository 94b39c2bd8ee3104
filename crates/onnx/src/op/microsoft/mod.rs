//! Operators of onnxruntime's own domain (`com.microsoft`), found in its quantised and optimised files.

use super::OperatorEntry;

mod activation;
mod attention;
mod embed;
mod fused;
mod qgemm;
mod qlinear;
mod qpool;
mod skip_norm;

pub(super) use qgemm::dynamic_product;

/// Every operator of the domain.
pub(super) const ALL: &[&[OperatorEntry]] = &[
    activation::ENTRIES,
    attention::ENTRIES,
    embed::ENTRIES,
    fused::ENTRIES,
    qgemm::ENTRIES,
    qlinear::ENTRIES,
    qpool::ENTRIES,
    skip_norm::ENTRIES,
    super::recurrent::MICROSOFT,
];
