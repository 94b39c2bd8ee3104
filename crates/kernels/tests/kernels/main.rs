//! Kernels against plain loops in `f64`, over shapes at random.

mod bounds;
mod independence;
mod operations;
mod reference;
mod whole;
