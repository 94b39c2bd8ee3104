use proofmark_domain::hint;

use super::{ALL, Entry, Found, Probe, ProbeError, Subject, agreement, ids};

/// A probe that was run, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Id of the probe.
    pub id: &'static str,
    /// What it found, or why it could not run. Only [`ProbeError::Unfit`] and [`ProbeError::Stopped`] are found here.
    pub outcome: Result<Found, ProbeError>,
    /// Seconds it took, by the clock that was handed in.
    pub seconds: f64,
}

impl Member {
    /// Returns its statistic, if it has one.
    pub fn statistic(&self) -> Option<f64> {
        let found = self.outcome.as_ref().ok()?;
        found.statistic.is_finite().then_some(found.statistic)
    }
}

/// All probes that were run on one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Examined {
    /// In the order of [`ALL`], and what two of them say together ([`AGREEMENT`](super::AGREEMENT)).
    pub members: Vec<Member>,
    /// Shape of a sample.
    pub shape: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
    /// Digest of the model.
    pub sha256: String,
    /// Clean samples that probes could use.
    pub samples: usize,
}

impl Examined {
    /// Whether the run was stopped before all probes were done.
    pub fn is_stopped(&self) -> bool {
        let stopped = |m: &Member| m.outcome == Err(ProbeError::Stopped);
        self.members.iter().any(stopped)
    }
}

/// Probes with their registrations.
pub type Chosen = Vec<(&'static Entry, Box<dyn Probe>)>;

/// Probes by id with their default settings; all if none is named. An error for one that is unknown or named twice.
pub fn chosen(named: &[String]) -> Result<Chosen, ProbeError> {
    for (i, id) in named.iter().enumerate() {
        if !ids().contains(&id.as_str()) {
            return Err(ProbeError::Setting(format!(
                "probe `{id}`{}; expected one of {}",
                hint(id, ids()),
                ids().join(", ")
            )));
        }
        if named[..i].contains(id) {
            return Err(ProbeError::Setting(format!("probe `{id}`: named twice")));
        }
    }
    let wanted = |e: &&Entry| named.is_empty() || named.iter().any(|n| n == e.meta.id);
    let build = |e: &'static Entry| Ok((e, (e.build)(&toml::Table::new())?));
    ALL.iter().filter(wanted).map(build).collect()
}

/// Runs probes one after the other. A probe that cannot run on this model or was stopped is recorded as such; an error of
/// the model or a setting ends the run. `begin` is told the id of each probe before it starts.
pub fn examine(
    subject: &Subject<'_>,
    probes: &[(&'static Entry, Box<dyn Probe>)],
    clock: &dyn Fn() -> f64,
    begin: &dyn Fn(&str),
) -> Result<Examined, ProbeError> {
    subject.check()?;
    let mut members = Vec::with_capacity(probes.len());
    for (entry, probe) in probes {
        begin(entry.meta.id);
        let from = clock();
        let outcome = if subject.watch.stop() {
            Err(ProbeError::Stopped)
        } else {
            probe.run(subject)
        };
        if let Err(error @ (ProbeError::Engine(_) | ProbeError::Setting(_))) = outcome {
            return Err(error);
        }
        members.push(Member {
            id: entry.meta.id,
            outcome,
            seconds: clock() - from,
        });
    }
    members.extend(agreement::of(&members));
    Ok(Examined {
        members,
        shape: subject.input().shape.clone(),
        classes: subject.classes(),
        sha256: subject.model.signature().sha256.clone(),
        samples: subject.clean.map_or(0, proofmark_engine::Samples::len),
    })
}
