//! The command line from a script's view: exit codes, files, messages.

mod audit;
mod audit_attack;
mod audit_bad_input;
mod audit_rows;
mod audit_wild;
mod bad_input;
mod bias_gate;
mod certify;
mod crafted;
mod criteria;
mod data;
mod exit_codes;
mod falsify;
mod harness;
mod infer;
mod infer_reading;
mod inspect;
mod onnx_attack;
mod onnx_kinds;
mod outputs;
mod policies;
mod probe;
mod runs;
mod signals;
mod surrogates;
mod units;
