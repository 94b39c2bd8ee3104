//! Evidence times policy gives findings and a verdict: pure, so evidence can be judged again without a model.

mod assess;
mod compare;
mod excuses;
mod fit;
mod gate;

#[cfg(test)]
mod tests;

pub use assess::{Assessment, assess};
pub use gate::{Evidence, evidence_file, judge};
