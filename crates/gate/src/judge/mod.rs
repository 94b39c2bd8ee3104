//! Judges evidence by a policy and yields findings and a verdict. Pure, so evidence can be judged again without a
//! model.

mod assess;
mod exemptions;
mod gate;
mod judging;
mod record;

#[cfg(test)]
mod tests;

pub use assess::{Assessment, assess};
pub use gate::judge;
pub(crate) use judging::{Judging, Reason};
pub use record::{Evidence, NoRecord, REQUEST, Record, evidence_file};
