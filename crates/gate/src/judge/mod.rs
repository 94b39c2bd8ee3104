//! Evidence times policy gives findings and a verdict: pure, so evidence can be judged again without a model.

mod assess;
mod attack_check;
mod audit_check;
mod compare;
mod excuses;
mod fit;
mod gate;
mod outcome;
mod record;

#[cfg(test)]
mod tests;

pub use assess::{Assessment, assess};
pub use gate::judge;
pub use record::{Evidence, NoRecord, Record, evidence_file};
