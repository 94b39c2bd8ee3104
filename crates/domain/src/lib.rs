//! Shared vocabulary of proofmark: pure data, no tensors, no I/O.
//!
//! Every other crate may depend on this one; it depends on no other proofmark crate.

mod averaging;
mod certificate;
mod criterion;
mod delimiter;
mod epsilon;
mod finding;
mod grid;
mod hex;
mod map;
mod modality;
pub mod names;
mod nearest;
mod needs;
mod norm;
pub mod option;
mod output_kind;
mod query;
mod read_facts;
mod report;
mod sample;
mod seed;
mod shape;
mod trust;
mod verdict;

pub use averaging::Averaging;
pub use certificate::{
    CertificateMeta, CertificateOutcome, CertificateStatus, CertificateSummary, Certifies,
};
pub use criterion::{Criteria, CriterionSpec, Outputs};
pub use delimiter::{Delimiter, DelimiterError};
pub use epsilon::{Epsilon, EpsilonError};
pub use finding::{Finding, FindingStatus, Location};
pub use grid::Grid;
pub use hex::hex;
pub use map::{MapSpec, Padding, PatchShape, PlacementRule};
pub use modality::{Bounds, BoundsError, Kind, Modality};
pub use nearest::{hint, nearest};
pub use needs::Needs;
pub use norm::{Norm, NormError};
pub use output_kind::OutputKind;
pub use query::QueryCount;
pub use read_facts::{ClassOrder, ReadFacts};
pub use report::{
    AttackSummary, BudgetRecord, ClassSummary, CleanSummary, Cost, Coupling, CurvePoint, DataFacts,
    HeldOut, InputScale, Interval, ModelFacts, ModelPart, Observation, REPORT_SCHEMA, Reading,
    Report, Role, RunMeta, RunOutcome, RunStatus, SampleRecord, Sampling, Shard, StepRecord,
    SurrogateFacts, ThreatRecord, ToolFacts, WorstCase,
};
pub use sample::SampleId;
pub use seed::Seed;
pub use shape::{Misfit, fit};
pub use trust::{TrustCode, TrustFlag};
pub use verdict::Verdict;
