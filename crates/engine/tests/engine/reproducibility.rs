//! Results do not depend on batch size, compaction, threads or the other rows of the batch.

use proofmark_domain::{Norm, RunStatus};
use proofmark_engine::run;

use crate::attacks::CLIMB;
use crate::common::{case, results};

#[test]
fn batch_size_compaction_and_threads_change_nothing() {
    let case = case(10, 70, 8);
    let model = case.model();
    let threat = case.threat(Norm::Linf, 0.06);
    let reference = run(&model, &CLIMB, &case.job(&threat)).unwrap();
    let broken = reference
        .rows
        .iter()
        .filter(|o| o.status == RunStatus::Broken)
        .count();
    assert!(
        (10..60).contains(&broken),
        "a mixed set is needed: {broken}"
    );
    for compaction in [true, false] {
        let mut counts = Vec::new();
        for batch in [1, 7, 64, 512] {
            for threads in [1, 2] {
                let mut job = case.job(&threat);
                job.batch = batch;
                job.compaction = compaction;
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let outcomes = pool.install(|| run(&model, &CLIMB, &job)).unwrap();
                assert_eq!(
                    results(&outcomes),
                    results(&reference),
                    "batch {batch} compaction {compaction}"
                );
                counts.push(outcomes.rows.iter().map(|o| o.queries).collect::<Vec<_>>());
            }
        }
        assert!(
            counts.windows(2).all(|w| w[0] == w[1]),
            "query counts, compaction {compaction}"
        );
    }
}

#[test]
fn a_row_gives_the_same_result_alone_and_among_others() {
    let case = case(10, 40, 8);
    let model = case.model();
    let threat = case.threat(Norm::L2, 0.25);
    let all = results(&run(&model, &CLIMB, &case.job(&threat)).unwrap());
    for row in [0, 13, 39] {
        let rows = [row];
        let mut job = case.job(&threat);
        job.rows = &rows;
        assert_eq!(results(&run(&model, &CLIMB, &job).unwrap())[0], all[row]);
    }
}
