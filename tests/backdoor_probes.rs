//! Probes on models with known backdoors, from `../shared/data` (or `$PROOFMARK_DATA`), and on shipped ones.
#![expect(
    clippy::print_stderr,
    reason = "a test that is skipped says so, and figures are shown"
)]

use std::path::{Path, PathBuf};

use proofmark::backdoor::probe::verdict::Status;
use proofmark::backdoor::probe::{ALL, Found, Silent, Subject};
use proofmark::burn::tensor::Tensor;
use proofmark::models::Query;
use proofmark::{
    ModelSource, OpenModel, ProbePlan, REFERENCE_TABLE, clean_samples, data::Dataset, device,
};

fn root() -> Option<PathBuf> {
    let root = proofmark_testkit::shared("backdoor");
    if root.is_none() {
        eprintln!("SKIPPED: no ../shared/data/backdoor (or $PROOFMARK_DATA)");
    }
    root?.parent().map(Path::to_path_buf)
}

fn mnist(root: &Path) -> Dataset {
    let images = root.join("datasets/mnist/t10k-2000-images-idx3-ubyte");
    let data = proofmark::open(&images.display().to_string()).unwrap();
    data.limit(100, proofmark::domain::Seed(0))
}

fn badnet(root: &Path, data: &Dataset) -> OpenModel {
    let model = root.join("backdoor/badnet_mnist_backdoored.onnx");
    let mut source = ModelSource::new(model.display().to_string());
    source.preprocess.mean = vec![0.5];
    source.preprocess.std = vec![0.5];
    source.open(data, &device("cpu").unwrap()).unwrap()
}

fn found(id: &str, opened: &OpenModel, data: &Dataset) -> Found {
    let samples = clean_samples(data, opened.model.as_ref()).unwrap();
    let mut subject = Subject::new(opened.model.as_ref());
    subject.clean = Some(&samples);
    let entry = ALL.iter().find(|e| e.meta.id == id).unwrap();
    (entry.build)(&toml::Table::new())
        .unwrap()
        .run(&subject)
        .unwrap()
}

/// The trigger of the `BadNets` MNIST network is a white square of 5 by 5 at the bottom right; its target class is 1.
#[test]
fn the_patch_of_a_real_backdoor_is_the_smallest_and_lies_where_its_trigger_is() {
    let Some(root) = root() else { return };
    let data = mnist(&root);
    let opened = badnet(&root, &data);
    let found = found("neural_cleanse", &opened, &data);
    assert_eq!(found.target, Some(1));
    let patch = found.trigger.unwrap();
    let (share, n) = patch.held_out.unwrap();
    eprintln!(
        "{:.1} pixels; moves {:.2} of {n} others",
        patch.size(),
        share
    );
    assert!(
        patch.size() <= 50.0,
        "at most twice the trigger's 25: {}",
        patch.size()
    );
    assert!(share > 0.9);
    let corner = |p: &usize| p / 28 >= 21 && p % 28 >= 21;
    let inside: f64 = (0..784)
        .filter(corner)
        .map(|p| f64::from(patch.mask[p]))
        .sum();
    assert!(inside > 0.5 * patch.size(), "{inside} of {}", patch.size());
    // No clean net of the collection has a second patch so much larger.
    assert!(found.statistic > 1.0, "{}", found.statistic);
}

#[test]
fn the_largest_margin_of_a_real_backdoor_is_that_of_its_target() {
    let Some(root) = root() else { return };
    let data = mnist(&root);
    let found = found("mm_bd", &badnet(&root, &data), &data);
    assert_eq!(found.target, Some(1));
    assert!(found.statistic > 0.3, "{}", found.statistic);
}

/// What lies behind any cut gives the scores of the whole model, and its gradient is that of differences.
#[test]
fn an_onnx_file_shows_its_inner_values_and_what_lies_behind_them() {
    let Some(root) = root() else { return };
    let data = mnist(&root);
    let opened = badnet(&root, &data);
    let model = opened.model.as_ref();
    let samples = clean_samples(&data, model).unwrap();
    let features = 28 * 28;
    let x = proofmark::threats::Batch::from_host(
        samples.modalities.clone(),
        vec![samples.values[0][..5 * features].to_vec()],
        &model.signature().device,
    )
    .unwrap();
    let query = Query::one_per_row(x, &[0, 1, 2, 3, 4]);
    let whole = proofmark::threats::host(&model.scores(&query).unwrap());
    let cuts = model.cuts();
    assert!(cuts.len() >= 4, "{cuts:?}");
    for cut in &cuts {
        let head = model.head(cut).unwrap();
        let read = model.features(&query, &[cut.as_str()]).unwrap().remove(0);
        assert_eq!(read.dims(), [5, head.width()], "{cut}");
        let parts = proofmark::threats::host(&head.scores(&read).unwrap());
        for (a, b) in whole.iter().zip(&parts) {
            assert!((a - b).abs() < 1e-2, "{cut}: {a} {b}");
        }
        assert!(head.scores(&read.clone().slice([0..5, 0..1])).is_err());
    }
    let head = model.head(cuts.last().unwrap()).unwrap();
    let at = Tensor::<2>::full([1, head.width()], 0.3, &model.signature().device);
    let tracked = at.clone().autodiff().require_grad();
    let score = |t: &Tensor<2>| head.scores(t).unwrap().slice([0..1, 2..3]).sum();
    let gradient = tracked.grad(&score(&tracked).backward()).unwrap();
    let gradient = proofmark::threats::host(&gradient);
    let place = (0..head.width())
        .max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs()))
        .unwrap();
    let mut moved = vec![0.3; head.width()];
    moved[place] += 0.01;
    let moved =
        Tensor::<1>::from_data(moved.as_slice(), &model.signature().device).unsqueeze::<2>();
    let difference = (score(&moved) - score(&at)).into_scalar::<f32>() / 0.01;
    assert!(
        (difference / gradient[place] - 1.0).abs() < 0.05,
        "{difference} {}",
        gradient[place]
    );
    let Err(error) = model.head("nowhere") else {
        panic!("there is no such value")
    };
    assert!(error.to_string().contains("nowhere"), "{error}");
}

/// A folder of clean models is a null; their statistics are kept beside them and not computed again.
#[test]
fn a_folder_of_clean_models_is_a_null() {
    let Some(root) = root() else { return };
    let data = mnist(&root);
    let folder = tempfile::tempdir().unwrap();
    for name in ["marabou_cnn_max_mnist3", "marabou_mnist5x20_leaky_relu"] {
        let file = format!("{name}.onnx");
        std::fs::copy(root.join("models").join(&file), folder.path().join(&file)).unwrap();
    }
    let device = device("cpu").unwrap();
    let begun = std::sync::Mutex::new(Vec::new());
    let begin = |what: &str| begun.lock().unwrap().push(what.to_owned());
    let model = root.join("models/mnist8_zoo_optimised.onnx");
    let mut plan = ProbePlan::new(
        ModelSource::new(model.display().to_string()),
        &device,
        &Silent,
    );
    plan.data = Some(&data);
    plan.probes = vec!["trodo".to_owned()];
    plan.reference = Some(folder.path().to_owned());
    plan.begin = &begin;
    let first = plan.run().unwrap();
    assert_eq!(begun.lock().unwrap().len(), 3);
    let verdict = &first.report.verdict;
    assert_eq!(
        (verdict.status, verdict.null_models),
        (Status::Inconclusive, 2)
    );
    assert!(
        verdict.reason.contains("49 models or more"),
        "{}",
        verdict.reason
    );
    assert!(folder.path().join(REFERENCE_TABLE).is_file());
    let second = plan.run().unwrap();
    assert_eq!(
        begun.lock().unwrap().len(),
        4,
        "only the model itself is probed again"
    );
    assert_eq!(first.report.verdict, second.report.verdict);
    assert_eq!(first.report.members, second.report.members);
}
