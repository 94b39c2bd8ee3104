//! Resolves a plan: its runs, and everything that a result depends on.

use std::collections::BTreeSet;

use proofmark_domain::{Needs, Report, ThreatRecord};
use proofmark_engine::{Aim, Rule, Samples};
use proofmark_gate::{ResolvedPlan, difference};
use proofmark_threat::Threat;
use serde_json::{Map, Value, json};

use super::{Labels, RunPlan};
use crate::record::{self, Run};
use crate::{RunError, scale, trust};

impl RunPlan<'_> {
    pub(super) fn trust_runs(
        &self,
        threats: &[Threat],
        whole: &[ThreatRecord],
    ) -> Result<Vec<trust::TrustRun>, RunError> {
        if self.settings.trust && !self.attacks.is_empty() {
            trust::runs(self, threats, whole, self.model.signature())
        } else {
            Ok(Vec::new())
        }
    }

    /// Returns every attack at every budget, then the trust runs.
    pub(super) fn runs<'b>(
        &'b self,
        threats: &[Threat],
        whole: &[ThreatRecord],
        extra: &'b [trust::TrustRun],
    ) -> Result<Vec<Run<'b>>, RunError> {
        let inputs = self.without_samples()?;
        let mut runs = Vec::new();
        let mut done = BTreeSet::new();
        for t in 0..threats.len() {
            for (a, attack) in self.attacks.iter().enumerate() {
                if !done.insert((t, a)) {
                    continue;
                }
                let attack = attack.as_ref();
                let run =
                    |t: usize| Run::new(attack, attack.meta().role, &threats[t], whole[t].clone());
                let own = run(t);
                let job = self.plain_job(&inputs, &[], &threats[t], None);
                let chosen = attack.chosen(self.model.gives(), &job)?;
                let members = chosen.iter().map(|i| attack.members()[*i].as_ref());
                let members: Vec<Run<'_>> = (members.enumerate())
                    .map(|(i, member)| own.member(i, member))
                    .collect();
                runs.push(own.of_members(&members));
                runs.extend(members);
                // The nearest points fill the curve at all later budgets that are multiples of this one.
                if attack.aim() == Aim::Minimise {
                    for other in t + 1..threats.len() {
                        if threats[other].is_multiple_of(&threats[t]) && done.insert((other, a)) {
                            runs.push(run(other).follows());
                        }
                    }
                }
            }
        }
        runs.extend(
            extra
                .iter()
                .map(|e| Run::new(e.attack.as_ref(), e.role, &e.threat, e.record.clone())),
        );
        record::unique_keys(&mut runs);
        let is_property = !self.criterion.outputs().is_classes();
        for run in &mut runs {
            run.is_property = is_property;
        }
        Ok(runs)
    }

    /// Returns the model's inputs without any sample, for a question about budgets alone.
    pub(crate) fn without_samples(&self) -> Result<Samples, RunError> {
        let modalities = self.inputs()?;
        Ok(Samples {
            values: vec![Vec::new(); modalities.len()],
            modalities,
            labels: Vec::new(),
            targets: None,
            keys: Vec::new(),
        })
    }

    /// Returns each threat model over the samples of all shards, as reports record it.
    pub(super) fn whole_threats(&self) -> Result<Vec<ThreatRecord>, RunError> {
        let modalities = self.inputs()?;
        self.threats
            .iter()
            .map(|t| {
                let threat = t.fit(&modalities, self.data)?;
                if self.map.is_some() {
                    // Parameters have no values in the data to be compared with.
                    return Ok(self.name_map(threat.record()));
                }
                Ok(scale::record(&threat, &modalities, self.data))
            })
            .collect()
    }

    /// Returns what this plan measures, as reports record it: everything a result depends on except the device.
    pub fn resolved(&self) -> Result<ResolvedPlan, RunError> {
        let signature = self.model.signature();
        let threats = self.fitted(self.data)?;
        let records = threats.iter().map(Threat::record);
        let records: Vec<ThreatRecord> = records.map(|r| self.name_map(r)).collect();
        let extra = self.trust_runs(&threats, &records)?;
        let runs = self.runs(&threats, &records, &extra)?;
        let inputs: Vec<Value> = signature
            .modalities
            .iter()
            .map(|m| json!({ "name": m.name, "shape": m.shape }))
            .collect();
        let judge = self.judge();
        let mut model = json!({
            "sha256": signature.sha256,
            "classes": signature.classes,
            "inputs": inputs,
            "reading": self.reading,
        });
        // Absent if gradients are given, as in reports.
        let gives = self.model.judged().gives();
        if gives != Needs::Gradients {
            model["gives"] = json!(gives);
        }
        if let Some(surrogate) = self.model.surrogate() {
            model["surrogate"] = json!(surrogate.facts());
        }
        let mut document = vec![
            ("model", model),
            ("preprocessing", json!(self.preprocessing)),
            (
                "data",
                json!({
                    "sha256": self.data.sha256,
                    "total": self.data.total,
                    "samples": self.data.len(),
                    "samples_sha256": self.data.content_sha256(),
                }),
            ),
            (
                "labels",
                json!(match self.labels {
                    Labels::Given => "given",
                    Labels::Predicted => "predicted",
                }),
            ),
            ("target", json!(self.target.map(|t| t.to_string()))),
            (
                "threats",
                self.threats.iter().map(|t| t.details(self.data)).collect(),
            ),
            ("attacks", runs.iter().map(Run::resolved).collect()),
            ("trust_runs", json!(self.settings.trust)),
            ("seed", json!(self.settings.seed.0)),
            ("forwards_per_sample", json!(self.settings.forwards)),
            (
                "judge",
                json!({
                    "draws": judge.draws,
                    "rule": match judge.rule {
                        Rule::Majority => "majority",
                        Rule::Any => "any",
                        Rule::All => "all",
                    },
                }),
            ),
        ];
        // Absent for misclassification, as in plans of older versions.
        if !self.criterion.is_default() {
            document.push(("criterion", json!(self.criterion)));
        }
        let fields = document.into_iter().map(|(k, v)| (k.to_owned(), v));
        let mut fields: Map<String, Value> = fields.collect();
        // Absent if the number of samples is fixed, as in reports.
        if let Some(looks) = &self.looks {
            fields.insert("looks".to_owned(), json!(looks.sizes(self.data.len())));
        }
        // Absent without a map, as in reports.
        if let Some(map) = &self.map {
            fields.insert("map".to_owned(), json!(map));
        }
        // Absent if there are none, as in reports.
        if !self.certificates.is_empty() {
            let each = self.certificates.iter();
            let each = each.map(|c| json!({ "method": c.id(), "parameters": c.parameters() }));
            fields.insert("certificates".to_owned(), each.collect());
        }
        Ok(ResolvedPlan::new(fields))
    }

    /// Checks that `report` is what this plan would measure, finished or not; the error says what differs.
    pub fn made(&self, report: &Report) -> Result<(), String> {
        let resolved = self.resolved().map_err(|e| e.to_string())?;
        let found = ResolvedPlan::of(report)?;
        if let Some(difference) = resolved.difference(&found) {
            return Err(difference.to_string());
        }
        let mut measured = self.clone();
        // A sequential run may end at any look; a shard of one never does.
        if self.looks.is_some() && self.shard.is_none() {
            measured.look = Some(0..report.samples.len());
        }
        let part = measured.part().map_err(|e| e.to_string())?;
        let mut ids: Vec<_> = part.ids.iter().collect();
        ids.sort();
        let expected = json!({
            "model": { "name": self.model.signature().name },
            "data": { "name": self.data.name },
            "shard": self.shard,
            "samples": ids,
        });
        let found = json!({
            "model": { "name": report.model.name },
            "data": { "name": report.data.name },
            "shard": report.shard,
            "samples": report.samples.iter().map(|s| &s.id).collect::<Vec<_>>(),
        });
        difference(&expected, &found).map_or(Ok(()), |d| Err(d.to_string()))
    }
}
