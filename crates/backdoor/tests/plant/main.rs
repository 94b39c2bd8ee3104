//! Planters: what every one of them keeps to, what they refuse, and whether nets learn their backdoors.

mod common;
mod laws;
mod other_inputs;
mod refusals;
mod success;
