//! One attack on one model, measured: what `backends.rs` and `speed.rs` share.

use std::time::Instant;

use proofmark::domain::{Epsilon, Norm};
use proofmark::{Dataset, Labels, ModelSource, OpenModel, RunPlan, ThreatPlan};

/// One run, measured.
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    pub(crate) rows: u64,
    pub(crate) broken: u64,
    pub(crate) computed: u64,
}

/// Opens a model by name or file. Files are compiled to kernels, or computed operator by operator.
pub(crate) fn open(model: &str, data: &Dataset, by_operator: bool) -> OpenModel {
    let device = proofmark::device("cpu").expect("a CPU");
    let mut source = ModelSource::new(model);
    if by_operator {
        source.onnx.by_operator = true;
    }
    source.open(data, &device).expect(model)
}

/// Runs `f` with so many threads.
pub(crate) fn with_threads<T: Send>(n: usize, f: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build();
    pool.expect("threads").install(f)
}

/// One run without the trust checks' own attacks.
pub(crate) fn once(opened: &OpenModel, data: &Dataset, attack: &str, eps: f64) -> Figures {
    // `pgd` has 40 steps, `pgd-100x5` a hundred with five restarts.
    let (id, table) = match attack {
        "pgd" => ("pgd", "steps = 40\nrestarts = 1"),
        "pgd-100x5" => ("pgd", "steps = 100\nrestarts = 5"),
        other => (other, ""),
    };
    let table = table.parse().expect("TOML");
    let attacks = vec![proofmark::attacks::build(id, &table).expect("an attack")];
    let budget = ThreatPlan::new(Norm::Linf, Epsilon::new(eps).expect("above 0"));
    let mut plan = RunPlan::new(opened.model.access(), data, &attacks, vec![budget]);
    plan.labels = Labels::Predicted;
    plan.settings.trust = false;
    let began = Instant::now();
    let report = plan.run().expect("a run").report;
    let seconds = began.elapsed().as_secs_f64();
    let run = &report.attacks[0];
    Figures {
        seconds,
        rows: run.n as u64,
        broken: (run.n - run.correct) as u64,
        computed: run.cost.computed,
    }
}
