use proofmark_backdoor::plant::{self, Plant, Scheme};
use proofmark_data::ndarray::Array2;
use proofmark_data::{Column, Dataset, Options, open};
use proofmark_domain::{Bounds, Kind, Modality, ReadFacts, SampleId, Seed};
use proofmark_stats::random::{Purpose, Stream, StreamKey};

pub(crate) const SEED: Seed = Seed(11);

pub(crate) fn built(id: &str, parameters: &str) -> Box<dyn Plant> {
    plant::build(id, &parameters.parse().unwrap()).unwrap()
}

/// Every planter of images with its defaults, and parameters with which it fits images of 8 × 8.
pub(crate) fn of_images() -> Vec<Box<dyn Plant>> {
    let ids = plant::ids();
    let images = ids.into_iter().filter(|id| {
        let entry = plant::ALL.iter().find(|e| e.meta.id == *id).unwrap();
        entry.meta.inputs == "images"
    });
    images.map(|id| built(id, "")).collect()
}

/// The target, if the planter takes one.
pub(crate) fn target(planter: &dyn Plant) -> Option<usize> {
    (planter.scheme() != Scheme::AllToAll).then_some(7)
}

pub(crate) fn digits(name: &str) -> Dataset {
    open(name, &Options::default()).unwrap()
}

/// A set of `n` samples with values at random within the bounds, and labels in turn.
pub(crate) fn random(
    kind: Kind,
    shape: &[usize],
    bounds: Bounds,
    n: usize,
    classes: usize,
) -> Dataset {
    let modality = Modality {
        name: "x".into(),
        kind,
        shape: shape.to_vec(),
        bounds,
    };
    let features = modality.features();
    let mut stream = Stream::new(&StreamKey::new(Seed(5), 0, Purpose::Data));
    let values = (0..n * features).map(|at| {
        let (low, high) = (
            modality.bounds.low(at % features),
            modality.bounds.high(at % features),
        );
        low + stream.uniform() * (high - low)
    });
    let values = Array2::from_shape_vec((n, features), values.collect()).unwrap();
    Dataset {
        name: "random".into(),
        sha256: String::new(),
        modalities: vec![Column {
            modality,
            values,
            whole: None,
        }],
        labels: Some((0..n).map(|row| row % classes).collect()),
        targets: None,
        ids: (0..n as u64).map(SampleId::Row).collect(),
        total: n,
        rank: Vec::new(),
        eps: None,
        groups: Vec::new(),
        read_as: ReadFacts::default(),
    }
    .ranked(Seed(0))
}

/// Bits of a row.
pub(crate) fn bits(set: &Dataset, row: usize) -> Vec<u32> {
    let values = set.modalities[0].values.row(row);
    values.iter().map(|v| v.to_bits()).collect()
}
