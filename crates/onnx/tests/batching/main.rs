//! How samples go through a graph: together if a rule covers every node, else in the file's own batches.

mod branches;
mod common;
mod modes;
mod operators;
mod sequences;
mod shapes;
