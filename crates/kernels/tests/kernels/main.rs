//! Kernels against plain loops in `f64`, over shapes at random.

mod independence;
mod operations;
mod reference;
mod whole;
