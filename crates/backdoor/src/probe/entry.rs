use std::fmt;

use super::{ALL, Found, ProbeError, Subject};

/// Facts about a probe, known without running it.
#[derive(Debug, Clone, Copy)]
pub struct Meta {
    /// Id on the command line and in null tables.
    pub id: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// The paper.
    pub reference: &'static str,
    /// Fewest clean samples that it needs; 0 if it needs none.
    pub samples: usize,
}

/// A probe with its settings.
pub trait Probe: fmt::Debug + Send + Sync {
    /// Computes the statistic of a model.
    fn run(&self, subject: &Subject<'_>) -> Result<Found, ProbeError>;
}

/// Registration of a probe.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Facts about it.
    pub meta: Meta,
    /// Builds it from a table of settings; those left out have their defaults.
    pub build: fn(&toml::Table) -> Result<Box<dyn Probe>, ProbeError>,
}

/// Returns the ids of all probes of a model.
pub fn ids() -> Vec<&'static str> {
    ALL.iter().map(|e| e.meta.id).collect()
}
