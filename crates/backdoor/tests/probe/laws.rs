//! Results depend on the model, the samples and the seed: not on the batch, threads or time.

use std::sync::atomic::{AtomicIsize, Ordering};

use proofmark_backdoor::probe::{ALL, ProbeError, Subject, Watch, chosen, examine};
use proofmark_domain::Seed;

use crate::common::{clean, planted, probe};

/// Fewer steps, so that all probes run in a moment.
fn quick(id: &str) -> String {
    match id {
        "neural_cleanse" => "steps = 40".to_owned(),
        _ => "steps = 10".to_owned(),
    }
}

#[test]
fn no_result_depends_on_the_batch_or_on_threads() {
    let (model, samples) = (planted(true), clean(40));
    for entry in ALL {
        let run = |batch| {
            let mut subject = Subject::new(&model);
            subject.clean = Some(&samples);
            subject.batch = batch;
            probe(entry.meta.id, &quick(entry.meta.id))
                .run(&subject)
                .unwrap()
        };
        let whole = run(1000);
        assert_eq!(whole, run(1), "{}", entry.meta.id);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        assert_eq!(whole, pool.install(|| run(24)), "{}", entry.meta.id);
    }
}

#[test]
fn the_seed_decides_where_it_may() {
    let (model, samples) = (planted(true), clean(40));
    let run = |seed| {
        let mut subject = Subject::new(&model);
        subject.clean = Some(&samples);
        subject.seed = Seed(seed);
        probe("mm_bd", "steps = 3").run(&subject).unwrap()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// Stops after so many questions whether to stop.
struct After(AtomicIsize);

impl Watch for After {
    fn step(&self, done: usize, all: usize) {
        assert!(done <= all, "{done} of {all}");
    }

    fn stop(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) <= 1
    }
}

#[test]
fn a_stop_leaves_what_is_finished() {
    let (model, samples) = (planted(true), clean(40));
    // Enough for trodo (1 + 10 questions) and the beginning of the next.
    let watch = After(AtomicIsize::new(20));
    let mut subject = Subject::new(&model);
    subject.clean = Some(&samples);
    subject.watch = &watch;
    let examined = examine(&subject, &chosen(&[]).unwrap(), &|| 0.0, &|_| {}).unwrap();
    assert!(examined.is_stopped());
    assert_eq!(examined.members.len(), ALL.len());
    assert!(examined.members[0].statistic().is_some());
    for member in &examined.members[1..] {
        assert_eq!(member.outcome, Err(ProbeError::Stopped), "{}", member.id);
    }
}
