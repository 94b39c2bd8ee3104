//! Operators of classical machine learning (`ai.onnx.ml`), as the converters of scikit-learn, `XGBoost` and `LightGBM`
//! write them.
//!
//! Linear models, scalers and support vector machines have their true derivative; trees and encoders have none, so a
//! model that ends in one gives scores only.
//!
//! Specification: <https://onnx.ai/onnx/operators/index.html#ai-onnx-ml>. Where it is silent (two classes with one
//! score, ties, missing values) the results are onnxruntime's, to which `tests/golden/ml` compares them.

use super::OperatorEntry;

mod classes;
mod encode;
mod ensemble;
mod linear;
mod pick;
mod scale;
mod svm;
mod transform;
mod tree;
mod tree_read;

/// Every operator of the domain.
pub(super) const ALL: &[&[OperatorEntry]] = &[
    encode::ENTRIES,
    ensemble::ENTRIES,
    linear::ENTRIES,
    pick::ENTRIES,
    scale::ENTRIES,
    svm::ENTRIES,
];
