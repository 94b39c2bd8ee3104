//! Suites: several attacks, each on the samples that are left.

pub mod autoattack;
pub mod listed;
pub mod proofmark;

use proofmark_engine::{
    Access, Attack, BuildError, EngineError, Job, Meta, Outcomes, Parameters, check_norms, run_all,
};

/// Attacks one after the other, each on the samples that earlier ones did not break.
#[derive(Debug)]
pub struct Suite {
    meta: &'static Meta,
    parameters: Parameters,
    members: Vec<Box<dyn Attack>>,
    /// What an error about a norm adds to the list of those that are supported.
    also: &'static str,
}

impl Suite {
    fn new(meta: &'static Meta, parameters: Parameters, members: Vec<Box<dyn Attack>>) -> Self {
        Self {
            meta,
            parameters,
            members,
            also: "",
        }
    }

    /// The same with other norms that errors point to.
    const fn also(mut self, also: &'static str) -> Self {
        self.also = also;
        self
    }

    /// A suite whose members are fixed: ids, and their parameters in TOML.
    fn fixed(
        meta: &'static Meta,
        parameters: Parameters,
        members: &[(&str, &str)],
    ) -> Result<Self, BuildError> {
        Ok(Self::new(meta, parameters, built(meta, members)?))
    }
}

/// Builds the members of a suite: ids, and their parameters in TOML.
fn built(meta: &Meta, members: &[(&str, &str)]) -> Result<Vec<Box<dyn Attack>>, BuildError> {
    let member = |(id, table): &(&str, &str)| {
        let table = table.parse().map_err(|e| BuildError {
            attack: meta.id.to_owned(),
            field: None,
            problem: format!("`{id}`: {e}"),
        })?;
        crate::build(id, &table)
    };
    members.iter().map(member).collect()
}

impl Attack for Suite {
    fn meta(&self) -> &'static Meta {
        self.meta
    }

    fn parameters(&self) -> Parameters {
        self.parameters.clone()
    }

    fn members(&self) -> &[Box<dyn Attack>] {
        &self.members
    }

    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        check_norms(self.meta, job).map_err(|mut e| {
            if let EngineError::Norm { supported, .. } = &mut e {
                supported.push_str(self.also);
            }
            e
        })?;
        self.members.iter().try_for_each(|m| m.check(job))
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let members: Vec<&dyn Attack> = self.members.iter().map(AsRef::as_ref).collect();
        run_all(&members, access, job)
    }
}
