//! Results on the CPU are the same, bit for bit, for any batch size, compaction, thread count and sharding, gauges,
//! flags and intervals included.
//!
//! A batch of one row costs a whole tile, so this is slow (its cost is in ARCHITECTURE.md).

use std::sync::OnceLock;

use proofmark::domain::{Epsilon, Norm, Report, Shard};
use proofmark::policy::merge;
use proofmark::{BurnModel, Dataset, RunPlan, ThreatPlan};

fn model() -> &'static BurnModel {
    static MODEL: OnceLock<BurnModel> = OnceLock::new();
    MODEL.get_or_init(|| {
        proofmark::model("digits-standard", &proofmark::device("cpu").unwrap()).unwrap()
    })
}

fn data() -> Dataset {
    proofmark::open("digits")
        .unwrap()
        .limit(60, Default::default())
}

fn report(data: &Dataset, batch: usize, compaction: bool, shard: Option<Shard>) -> Report {
    let attacks: Vec<_> = [
        ("fgsm", ""),
        // More restarts than surviving rows: most run early, in slots that would be padding.
        ("pgd", "steps = 10\nrestarts = 5"),
        ("mi-fgsm", "steps = 5"),
        ("adam-pgd", "steps = 5"),
    ]
    .iter()
    .map(|(id, p)| proofmark::attacks::build(id, &p.parse().unwrap()).unwrap())
    .collect();
    let threats = [(Norm::Linf, 0.08), (Norm::Linf, 0.15), (Norm::L2, 0.6)]
        .map(|(norm, eps)| ThreatPlan::new(norm, Epsilon::new(eps).unwrap()));
    let mut plan = RunPlan::new(model(), data, &attacks, threats.to_vec());
    plan.settings.batch = batch;
    plan.settings.compaction = compaction;
    plan.shard = shard;
    plan.run().unwrap().report
}

/// Returns the results as JSON: the report without how it was made, and with query counts if `queries`.
fn results(mut report: Report, queries: bool) -> String {
    report.config.clear();
    report.shard = None;
    for a in &mut report.attacks {
        a.cost = Default::default();
    }
    if !queries {
        for a in &mut report.attacks {
            (a.forward, a.backward) = (0, 0);
        }
        for s in &mut report.samples {
            for r in &mut s.runs {
                (r.forward, r.backward) = (0, 0);
            }
        }
    }
    serde_json::to_string(&report).unwrap()
}

#[test]
fn batch_size_compaction_and_threads_change_nothing() {
    let data = data();
    let whole = report(&data, 64, true, None);
    assert!(whole.worst_case.correct > 0 && whole.worst_case.correct < whole.clean.correct);
    for batch in [1, 7, 512] {
        let again = report(&data, batch, true, None);
        assert_eq!(
            results(again, true),
            results(whole.clone(), true),
            "batch {batch}"
        );
    }
    for threads in [1, 2, 8] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let again = pool.install(|| report(&data, 64, true, None));
        assert_eq!(
            results(again, true),
            results(whole.clone(), true),
            "{threads} threads"
        );
    }
    let slow = report(&data, 64, false, None);
    assert_eq!(
        results(slow.clone(), false),
        results(whole, false),
        "compaction off"
    );
    assert_eq!(
        results(report(&data, 7, false, None), true),
        results(slow, true),
        "compaction off, batch 7"
    );
}

#[test]
fn three_shards_merged_are_the_whole() {
    let data = data();
    let whole = report(&data, 64, true, None);
    let part = |index| {
        let shard = report(&data, 16, true, Some(Shard { index, count: 3 }));
        // Through JSON, as shards travel.
        serde_json::from_str(&serde_json::to_string(&shard).unwrap()).unwrap()
    };
    let merged = merge(vec![part(2), part(0), part(1)]).unwrap();
    assert_eq!(results(merged, true), results(whole, true));
}
