//! Certificates: samples for which no change within the budget can change the decision.
//!
//! ```text
//! budget ─► box of each sample ─► bounds of the scores' differences (kernels) ─► certified or open      interval, crown
//! sample ─► draws of noise ─► votes (engine) ─► radius (stats) ─► compared with each budget             smoothing
//! ```

mod agreement;
mod bounds;
mod smoothed_attack;
mod smoothing;

use std::fmt;

use proofmark_domain::{
    CertificateMeta, CertificateOutcome, CertificateStatus, Certifies, Cost, Norm, ThreatRecord,
};
use proofmark_engine::{Clean, Samples};
use proofmark_kernels::Method;
use proofmark_threat::{Radius, Threat};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{RunError, RunPlan};

pub(crate) use agreement::contradiction;
pub use smoothing::Smoothing;

/// A method that certifies samples.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Certificate {
    /// Interval bounds: a proof about the model, for Linf.
    Interval,
    /// Linear bounds (CROWN): the same, closer and slower.
    Crown,
    /// Randomized smoothing: a statement about the model smoothed by noise, for L2, wrong with a stated probability.
    Smoothing(Smoothing),
}

/// Parameters of a method without any.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Certificate {
    /// Every method: its id and a description.
    pub const DESCRIBED: [(&'static str, &'static str); 3] = [
        (
            "interval",
            "interval bounds on the operations of an ONNX file or a shipped model, for linf: a proof",
        ),
        (
            "crown",
            "linear bounds on the same, closer and slower, for linf: a proof",
        ),
        (
            "smoothing",
            "randomized smoothing of any model, for l2: about the smoothed model, wrong with probability alpha per sample",
        ),
    ];

    /// Ids of the methods.
    pub fn ids() -> Vec<&'static str> {
        Self::DESCRIBED.iter().map(|(id, _)| *id).collect()
    }

    /// Builds a method from its id and parameters.
    ///
    /// ```
    /// use proofmark::Certificate;
    /// assert_eq!(Certificate::build("interval", &Default::default())?, Certificate::Interval);
    /// assert!(Certificate::build("smoothing", &Default::default()).is_err(), "sigma has no default");
    /// let sigma = "sigma = 0.25".parse().expect("a table");
    /// assert_eq!(Certificate::build("smoothing", &sigma)?.id(), "smoothing");
    /// # Ok::<(), proofmark::RunError>(())
    /// ```
    pub fn build(id: &str, parameters: &toml::Table) -> Result<Self, RunError> {
        let wrong = |e: toml::de::Error| {
            RunError::Parameter(format!("certificate `{id}`: {}", e.message().trim_end()))
        };
        match id {
            "interval" | "crown" => {
                let Nothing {} = parameters.clone().try_into().map_err(wrong)?;
                Ok(if id == "crown" {
                    Self::Crown
                } else {
                    Self::Interval
                })
            }
            "smoothing" => {
                let smoothing: Smoothing = parameters.clone().try_into().map_err(wrong)?;
                smoothing.check()?;
                Ok(Self::Smoothing(smoothing))
            }
            other => Err(RunError::Parameter(format!(
                "no certificate `{other}`{}; expected one of {}",
                proofmark_domain::hint(other, Self::ids()),
                Self::ids().join(", ")
            ))),
        }
    }

    /// Returns the method's id.
    pub const fn id(&self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Crown => "crown",
            Self::Smoothing(_) => "smoothing",
        }
    }

    /// Returns every resolved parameter.
    pub fn parameters(&self) -> Map<String, Value> {
        match self {
            Self::Interval | Self::Crown => Map::new(),
            Self::Smoothing(s) => match json!(s) {
                Value::Object(fields) => fields,
                _ => Map::new(),
            },
        }
    }

    /// Returns the classifier that the certificate is about.
    pub const fn certifies(&self) -> Certifies {
        match self {
            Self::Interval | Self::Crown => Certifies::Model,
            Self::Smoothing(_) => Certifies::SmoothedModel,
        }
    }

    /// Returns the probability that the certificate of a sample is wrong, at most.
    pub const fn alpha(&self) -> f64 {
        match self {
            Self::Interval | Self::Crown => 0.0,
            Self::Smoothing(s) => s.alpha,
        }
    }

    /// The norm of the budgets that it takes.
    const fn norm(&self) -> Norm {
        match self {
            Self::Interval | Self::Crown => Norm::Linf,
            Self::Smoothing(_) => Norm::L2,
        }
    }

    const fn method(&self) -> Option<Method> {
        match self {
            Self::Interval => Some(Method::Interval),
            Self::Crown => Some(Method::Linear),
            Self::Smoothing(_) => None,
        }
    }

    fn meta(&self, threat: ThreatRecord, cost: Cost) -> CertificateMeta {
        CertificateMeta {
            key: format!("{}@{}:{}", self.id(), threat.norm, threat.text),
            method: self.id().to_owned(),
            certifies: self.certifies(),
            threat,
            parameters: self.parameters(),
            alpha: self.alpha(),
            cost,
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A certificate at one budget, with the outcome of every sample, by place.
pub(crate) struct Certified {
    pub(crate) meta: CertificateMeta,
    /// Place of its budget among the plan's.
    pub(crate) threat: usize,
    pub(crate) outcomes: Vec<CertificateOutcome>,
}

/// What certificates are computed from.
pub(crate) struct Measured<'a> {
    pub(crate) samples: &'a Samples,
    pub(crate) clean: &'a [Clean],
    pub(crate) threats: &'a [Threat],
    /// The budgets over the samples of all shards.
    pub(crate) whole: &'a [ThreatRecord],
    pub(crate) tile: Option<usize>,
}

impl RunPlan<'_> {
    /// Refuses certificates that cannot be given, before the model is queried.
    pub(crate) fn require_certificates(&self, threats: &[Threat]) -> Result<(), RunError> {
        for certificate in self.certificates {
            let refuse = |why: String| {
                Err(RunError::Parameter(format!(
                    "certificate `{certificate}`: {why}"
                )))
            };
            if threats.is_empty() {
                return refuse("needs at least one budget".into());
            }
            if !self.criterion.is_default() {
                return refuse(format!(
                    "is about the decision for a class, and this run is about criterion `{}`; run it without one",
                    self.criterion
                ));
            }
            if self.target.is_some() {
                return refuse(
                    "is about every other class, and this run has a target; run it without one"
                        .into(),
                );
            }
            let signature = self.model.signature();
            if let [_, _, ..] = *signature.modalities {
                return refuse(format!(
                    "model `{}` has {} inputs; expected one (fix the others with --fix, in a policy `fix`)",
                    signature.name,
                    signature.modalities.len()
                ));
            }
            let norm = certificate.norm();
            for threat in threats {
                let budget = threat.leading();
                if budget.norm != norm {
                    return refuse(format!(
                        "is about {norm} budgets, and this one is {} {}; run it with --norm {norm}",
                        budget.norm,
                        match &budget.radius {
                            Radius::Uniform(e) => e.to_string(),
                            Radius::PerSample(_) => "per sample".to_owned(),
                        }
                    ));
                }
            }
            match certificate {
                Certificate::Smoothing(s) => s.require(signature)?,
                _ => drop(self.program(certificate)?),
            }
        }
        Ok(())
    }

    /// Returns the certificates at every budget.
    pub(crate) fn certify(&self, measured: &Measured<'_>) -> Result<Vec<Certified>, RunError> {
        let mut all = Vec::new();
        for certificate in self.certificates {
            match certificate {
                Certificate::Smoothing(s) => all.extend(self.smoothed(certificate, s, measured)?),
                _ => all.extend(self.bounded(certificate, measured)?),
            }
        }
        // The same method may be listed twice.
        for i in 0..all.len() {
            let own = all[i].meta.key.clone();
            let again = format!("{own}#");
            let is_same = |c: &&Certified| c.meta.key == own || c.meta.key.starts_with(&again);
            let n = all[..i].iter().filter(is_same).count();
            if n > 0 {
                let key = format!("{again}{}", n + 1);
                for outcome in &mut all[i].outcomes {
                    outcome.certificate.clone_from(&key);
                }
                all[i].meta.key = key;
            }
        }
        Ok(all)
    }
}

/// An outcome without figures.
fn outcome(key: &str, status: CertificateStatus) -> CertificateOutcome {
    CertificateOutcome {
        certificate: key.to_owned(),
        status,
        margin: None,
        radius: None,
        class: None,
        votes: None,
        broken: None,
    }
}
