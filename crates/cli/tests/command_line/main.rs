//! The command line as scripts see it: exit codes, files, messages.

mod bad_input;
mod exit_codes;
mod harness;
mod runs;
mod signals;
