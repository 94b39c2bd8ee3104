use std::collections::BTreeSet;

use proofmark_domain::{
    AttackSummary, CertificateMeta, Cost, REPORT_SCHEMA, Report, RunMeta, SampleId, Sampling,
};
use serde_json::{Map, Value, json};

use crate::resolved_plan::{ResolvedPlan, difference};
use crate::summary::{apart, summarise};

/// Config keys that may differ between shards without changing a sample's result: a row's result depends only on seed
/// and sample id.
const FREE_CONFIG: [&str; 9] = [
    // The plan itself is compared: a digest would not name the field that differs.
    "plan_sha256",
    "shard",
    "compaction",
    "seconds",
    "out",
    "save",
    "batch_size",
    "batch-size",
    "threads",
];

/// Maximum number of missing shards that an error names.
const NAMED: usize = 8;

/// Why reports cannot be merged as the shards of one run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// There is no report to merge.
    #[error("no report to merge")]
    Empty,
    /// A value that all shards of one run share differs.
    #[error(
        "report {index}: {field} is {given}, but report 1 has {expected}; only shards of one run can be merged"
    )]
    Differs {
        /// Index of the report, from 1, in the order given.
        index: usize,
        /// The field that differs.
        field: String,
        /// Value in the first report.
        expected: String,
        /// Value in this report.
        given: String,
    },
    /// A report has another schema.
    #[error("report {index}: schema is `{given}`; expected `{REPORT_SCHEMA}`")]
    Schema {
        /// Index of the report, from 1.
        index: usize,
        /// Schema of the report.
        given: String,
    },
    /// A report does not state what it measured, or was changed after it was written.
    #[error("report {index}: {problem}")]
    Plan {
        /// Index of the report, from 1.
        index: usize,
        /// The problem.
        problem: String,
    },
    /// One of several reports does not state its shard.
    #[error(
        "report {index} is not a shard (it has no `shard`): several whole runs cannot be merged"
    )]
    NotAShard {
        /// Index of the report, from 1.
        index: usize,
    },
    /// A shard index is not below the number of shards.
    #[error("report {index}: shard {shard} of {count} does not exist; shards count from 0")]
    NoSuchShard {
        /// Index of the report, from 1.
        index: usize,
        /// Shard index it states.
        shard: usize,
        /// Number of shards.
        count: usize,
    },
    /// Two reports have the same shard.
    #[error("report {index}: shard {shard} was given before")]
    SameShard {
        /// Index of the report, from 1.
        index: usize,
        /// Index of the shard.
        shard: usize,
    },
    /// Some shards are missing.
    #[error("missing shards of {count}: {missing}")]
    MissingShards {
        /// Indices of the missing shards, from 0.
        missing: String,
        /// Number of shards.
        count: usize,
    },
    /// A sample is in two reports.
    #[error("sample `{id}` is in more than one report")]
    SameSample {
        /// Id of the sample.
        id: SampleId,
    },
    /// The reports together do not hold as many samples as the run planned.
    #[error("the reports hold {found} samples, the run planned {planned}")]
    SampleCount {
        /// Number of samples found.
        found: usize,
        /// Number of samples planned.
        planned: usize,
    },
    /// A report's samples are in a file beside it and were not loaded.
    #[error("report {index}: its samples are in `{file}` and were not loaded")]
    SamplesElsewhere {
        /// Index of the report, from 1.
        index: usize,
        /// Name of that file.
        file: String,
    },
}

/// Merges the shards of one run and recomputes every figure, interval and flag.
///
/// The result equals the report of the unsharded run, except for the seconds, which are summed. A single unsharded
/// report is recomputed and otherwise returned unchanged. Shards of a sequential run hold all planned samples, and so does
/// what they are merged into; judging drops those beyond the deciding look.
pub fn merge(reports: Vec<Report>) -> Result<Report, MergeError> {
    let Some(first) = reports.first() else {
        return Err(MergeError::Empty);
    };
    for (i, report) in reports.iter().enumerate() {
        well_formed(i + 1, report)?;
        alike(i + 1, first, report)?;
    }
    complete(&reports)?;

    let planned = first.data.planned;
    let seconds = reports.iter().map(|r| r.seconds).sum();
    let mut runs: Vec<RunMeta> = first.attacks.iter().map(AttackSummary::meta).collect();
    for (i, run) in runs.iter_mut().enumerate() {
        run.cost = Cost::default();
        for report in &reports {
            run.cost += report.attacks[i].cost;
        }
    }
    let costs: Vec<Cost> = (0..first.certified.len())
        .map(|i| {
            let mut sum = Cost::default();
            for report in &reports {
                sum += report.certified[i].meta.cost;
            }
            sum
        })
        .collect();
    let mut parts = reports.into_iter().map(apart);
    let Some((mut head, _, mut samples)) = parts.next() else {
        return Err(MergeError::Empty);
    };
    for (meta, cost) in head.certificates.iter_mut().zip(costs) {
        meta.cost = cost;
    }
    samples.extend(parts.flat_map(|(_, _, s)| s));

    let mut seen = BTreeSet::new();
    if let Some(twice) = samples.iter().find(|s| !seen.insert(&s.id)) {
        return Err(MergeError::SameSample {
            id: twice.id.clone(),
        });
    }
    // A sequential run may end at any of its looks.
    let is_look = matches!(&head.sampling, Some(Sampling::Sequential { looks, .. })
        if head.shard.is_none() && looks.contains(&samples.len()));
    if samples.len() != planned && !is_look {
        return Err(MergeError::SampleCount {
            found: samples.len(),
            planned,
        });
    }
    head.seconds = seconds;
    head.shard = None;
    if let Some(shard) = head.config.get_mut("shard") {
        *shard = Value::Null;
    }
    Ok(summarise(head, runs, samples))
}

fn well_formed(index: usize, report: &Report) -> Result<(), MergeError> {
    if report.schema != REPORT_SCHEMA {
        return Err(MergeError::Schema {
            index,
            given: report.schema.clone(),
        });
    }
    match &report.samples_file {
        Some(file) if report.samples.is_empty() => Err(MergeError::SamplesElsewhere {
            index,
            file: file.clone(),
        }),
        _ => ResolvedPlan::of(report)
            .map(drop)
            .map_err(|problem| MergeError::Plan { index, problem }),
    }
}

/// Checks that a report agrees with the first one; the error names the first field that differs.
fn alike(index: usize, first: &Report, report: &Report) -> Result<(), MergeError> {
    match difference(&facts(first), &facts(report)) {
        None => Ok(()),
        Some(d) => Err(MergeError::Differs {
            index,
            field: d.path,
            expected: d.expected,
            given: d.given,
        }),
    }
}

/// Returns the values that the shards of one run share: their plan (in `config`), the device, and the report's facts
/// about model, data and runs.
fn facts(report: &Report) -> Value {
    let free = |key: &String| FREE_CONFIG.contains(&key.as_str());
    let config: Map<String, Value> = report
        .config
        .iter()
        .filter(|(key, _)| !free(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let runs: Vec<RunMeta> = report
        .attacks
        .iter()
        .map(|a| RunMeta {
            cost: Cost::default(),
            ..a.meta()
        })
        .collect();
    let certificates: Vec<CertificateMeta> = report
        .certified
        .iter()
        .map(|c| CertificateMeta {
            cost: Cost::default(),
            ..c.meta.clone()
        })
        .collect();
    json!({
        "attacks": runs,
        "certified": certificates,
        "config": config,
        "data": {
            "bounds": report.data.bounds,
            "planned": report.data.planned,
            "read_as": report.data.read_as,
            "sha256": report.data.sha256,
            "total": report.data.total,
        },
        "device": report.device,
        "model": { "classes": report.model.classes, "sha256": report.model.sha256 },
        "preprocessing": report.preprocessing,
        "seed": report.seed,
        "tile": report.tile,
        "tool": { "version": report.tool.version },
    })
}

fn complete(reports: &[Report]) -> Result<(), MergeError> {
    if let [whole] = reports
        && whole.shard.is_none()
    {
        return Ok(());
    }
    let mut given = BTreeSet::new();
    let mut count = None;
    for (i, report) in reports.iter().enumerate() {
        let index = i + 1;
        let Some(shard) = report.shard else {
            return Err(MergeError::NotAShard { index });
        };
        let expected = *count.get_or_insert(shard.count);
        if shard.count != expected {
            let field = "shard.count".to_owned();
            return Err(MergeError::Differs {
                index,
                field,
                expected: expected.to_string(),
                given: shard.count.to_string(),
            });
        }
        if shard.index >= shard.count {
            return Err(MergeError::NoSuchShard {
                index,
                shard: shard.index,
                count: shard.count,
            });
        }
        if !given.insert(shard.index) {
            return Err(MergeError::SameShard {
                index,
                shard: shard.index,
            });
        }
    }
    let count = count.unwrap_or(0);
    if given.len() < count {
        // A file may claim any number of shards, so the error names only the first few.
        let named: Vec<String> = (0..count)
            .filter(|i| !given.contains(i))
            .take(NAMED)
            .map(|i| i.to_string())
            .collect();
        let more = count - given.len() - named.len();
        let tail = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        return Err(MergeError::MissingShards {
            missing: format!("{}{tail}", named.join(", ")),
            count,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust, Stopped};
    use proofmark_domain::Shard;
    use proptest::prelude::*;

    use super::*;
    use crate::trust::fixture::{attack, head, noise, plan, report, sample, wrong};

    fn whole(n: u64) -> Report {
        let status = |i: u64| {
            [
                [Broken, Broken],
                [Robust, Broken],
                [Robust, Robust],
                [Stopped, Robust],
            ][(i % 4) as usize]
        };
        let rows = (0..n)
            .map(|i| {
                if i % 7 == 3 {
                    wrong(sample(i, &status(i)))
                } else {
                    sample(i, &status(i))
                }
            })
            .collect();
        report(vec![attack("pgd", 0.1), noise(0.1)], rows)
    }

    fn shards(whole: &Report, count: usize) -> Vec<Report> {
        (0..count)
            .map(|index| {
                let (mut head, runs, samples) = apart(whole.clone());
                head.shard = Some(Shard { index, count });
                head.config
                    .insert("shard".into(), Value::from(format!("{index}/{count}")));
                let part = samples
                    .into_iter()
                    .enumerate()
                    .filter(|(i, _)| i % count == index)
                    .map(|(_, s)| s)
                    .collect();
                summarise(head, runs, part)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn merged_shards_equal_the_whole_run(n in 0_u64..60, count in 1_usize..5, turn in 0_usize..5) {
            let whole = whole(n);
            let mut parts = shards(&whole, count);
            parts.rotate_left(turn % count);
            let mut merged = merge(parts).unwrap();
            prop_assert_eq!(merged.seconds.to_bits(), (whole.seconds * count as f64).to_bits());
            merged.seconds = whole.seconds;
            for (m, w) in merged.attacks.iter_mut().zip(&whole.attacks) {
                prop_assert_eq!(m.cost.seconds.to_bits(), (w.cost.seconds * count as f64).to_bits());
                prop_assert_eq!(m.cost.computed, w.cost.computed * count as u64);
                m.cost = w.cost;
            }
            prop_assert_eq!(merged, whole);
        }
    }

    #[test]
    fn a_whole_report_comes_back_as_it_was() {
        let whole = whole(20);
        assert_eq!(merge(vec![whole.clone()]).unwrap(), whole);
    }

    #[test]
    fn missing_shards_are_named() {
        let mut parts = shards(&whole(20), 4);
        parts.remove(1);
        parts.remove(2);
        assert_eq!(
            merge(parts).unwrap_err().to_string(),
            "missing shards of 4: 1, 3"
        );

        let mut absurd = shards(&whole(20), 1);
        absurd[0].shard = Some(Shard {
            index: 3,
            count: usize::MAX,
        });
        assert!(
            merge(absurd)
                .unwrap_err()
                .to_string()
                .starts_with(&format!("missing shards of {}: 0, 1, 2, 4", usize::MAX))
        );
    }

    #[test]
    fn a_difference_is_named_with_both_values() {
        type Break = fn(&mut Report);
        let cases: [(&str, Break); 11] = [
            ("seed is 7, but report 1 has 0", |r| r.seed = 7),
            ("tile is 32, but report 1 has 64", |r| r.tile = 32),
            ("model.sha256 is \"x\"", |r| r.model.sha256 = "x".into()),
            ("data.sha256 is \"x\"", |r| r.data.sha256 = "x".into()),
            ("config.limit is 5", |r| {
                drop(r.config.insert("limit".into(), Value::from(5)));
            }),
            ("config.new is true, but report 1 has absent", |r| {
                drop(r.config.insert("new".into(), Value::from(true)));
            }),
            ("attacks[1] is absent", |r| drop(r.attacks.pop())),
            ("attacks[pgd@linf:0.1].threat.eps is 0.2", |r| {
                r.attacks[0].threat.eps = 0.2;
            }),
            (
                "config.plan.labels is \"predicted\", but report 1 has \"given\"",
                |r| {
                    plan(r, "labels", Value::from("predicted"));
                },
            ),
            ("it was changed after it was written", |r| {
                r.config["plan"]["labels"] = Value::from("predicted");
            }),
            ("schema is `other`", |r| r.schema = "other".into()),
        ];
        for (message, spoil) in cases {
            let mut parts = shards(&whole(20), 2);
            spoil(&mut parts[1]);
            let error = merge(parts).unwrap_err().to_string();
            assert!(
                error.starts_with("report 2: ") && error.contains(message),
                "{error}"
            );
        }
    }

    #[test]
    fn other_refusals() {
        assert_eq!(merge(vec![]).unwrap_err(), MergeError::Empty);
        assert_eq!(
            merge(vec![whole(5), whole(5)]).unwrap_err(),
            MergeError::NotAShard { index: 1 }
        );
        let parts = shards(&whole(20), 2);
        assert_eq!(
            merge(vec![parts[0].clone(), parts[0].clone()]).unwrap_err(),
            MergeError::SameShard { index: 2, shard: 0 }
        );
        let mut beyond = parts.clone();
        beyond[1].shard = Some(Shard { index: 2, count: 2 });
        assert_eq!(
            merge(beyond).unwrap_err(),
            MergeError::NoSuchShard {
                index: 2,
                shard: 2,
                count: 2
            }
        );
        let mut twice = parts.clone();
        let stolen = parts[0].samples[0].clone();
        twice[1].samples[0] = stolen;
        assert_eq!(
            merge(twice).unwrap_err(),
            MergeError::SameSample {
                id: SampleId::Row(0)
            }
        );
        let mut few = parts.clone();
        few[0].samples.pop();
        assert_eq!(
            merge(few).unwrap_err(),
            MergeError::SampleCount {
                found: 19,
                planned: 20
            }
        );
        let mut elsewhere = parts;
        elsewhere[1].samples.clear();
        elsewhere[1].samples_file = Some("samples.jsonl".into());
        assert!(matches!(
            merge(elsewhere).unwrap_err(),
            MergeError::SamplesElsewhere { index: 2, .. }
        ));
        assert_eq!(head(5).data.planned, 5);
    }
}
