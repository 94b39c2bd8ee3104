//! Training and test sets of the zoo's nets.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use proofmark_data::ndarray::Array2;
use proofmark_data::{Column, Dataset, Options};
use proofmark_domain::{SampleId, Seed};
use proofmark_stats::random::{Purpose, Stream, StreamKey};

use super::plan::{Data, Entry, Part};

/// The sets that nets are trained on.
#[derive(Debug)]
pub struct Sets {
    digits: [Dataset; 2],
    mnist: Option<[Dataset; 2]>,
    cifar: Option<[Dataset; 2]>,
}

impl Sets {
    /// Opens the shipped digits, and what the folder `datasets` of `root` has of MNIST and CIFAR-10.
    pub fn open(root: &Path) -> Result<Self, Box<dyn Error>> {
        let open =
            |spec: PathBuf| proofmark_data::open(&spec.to_string_lossy(), &Options::default());
        let both = |[train, test]: [&str; 2]| {
            let (train, test) = (root.join(train), root.join(test));
            if !train.exists() || !test.exists() {
                return Ok(None);
            }
            Ok::<_, Box<dyn Error>>(Some([open(train)?, open(test)?]))
        };
        let mnist = both([
            "datasets/mnist/train-10000-images-idx3-ubyte",
            "datasets/mnist/t10k-2000-images-idx3-ubyte",
        ])?;
        let cifar = both([
            "datasets/cifar10/train-2500.bin",
            "datasets/cifar10/test-2000.bin",
        ])?;
        Ok(Self {
            digits: [open("digits:train".into())?, open("digits".into())?],
            mnist: mnist.map(|sets| sets.map(|s| reshaped(s, [1, 28, 28]))),
            cifar: cifar.map(|sets| sets.map(|s| reshaped(s, [3, 32, 32]))),
        })
    }

    /// Returns the clean training and test set of a net; `None` if its data is absent.
    ///
    /// Nets that nulls are fitted on and the others share no training and no test sample, but for the halves of digits
    /// and CIFAR-10, where one's training set is the other's test set.
    pub fn of(&self, entry: &Entry) -> Option<[Dataset; 2]> {
        let fitted = entry.part == Part::Null;
        let swapped = |[train, test]: &[Dataset; 2]| {
            let (train, test) = (train.clone(), test.clone());
            if fitted { [train, test] } else { [test, train] }
        };
        match entry.data {
            Data::Digits => return Some(swapped(&self.digits)),
            Data::Cifar => return self.cifar.as_ref().map(swapped),
            _ => {}
        }
        let halves = self.mnist.as_ref()?.each_ref();
        let [train, test] = halves.map(|set| set.shard(usize::from(!fitted), 2));
        let seed = Seed(entry.seed);
        Some(match entry.data {
            Data::Imbalanced => [imbalanced(&train, seed), test],
            Data::Pair => [&train, &test].map(|set| pair(set, seed)),
            Data::Composites(classes) => [
                composites(&train, classes, 60 * classes.max(80), 0, seed),
                composites(&test, classes, 2_000, 1, seed),
            ],
            _ => [train, test],
        })
    }
}

fn reshaped(mut set: Dataset, shape: [usize; 3]) -> Dataset {
    set.modalities[0].modality.shape = shape.to_vec();
    set
}

fn stream(seed: Seed, part: u32) -> Stream {
    Stream::new(&StreamKey {
        step: part,
        ..StreamKey::new(seed, 0, Purpose::Sequence)
    })
}

/// Returns the numbers below `n` in a random order.
fn shuffled(n: usize, stream: &mut Stream) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, stream.below(last as u32 + 1) as usize);
    }
    order
}

fn labels(set: &Dataset) -> &[usize] {
    set.labels.as_deref().unwrap_or_default()
}

/// Keeps of the classes, in random order, shares that fall from 1 to 1/20 in equal ratios.
fn imbalanced(set: &Dataset, seed: Seed) -> Dataset {
    let places = shuffled(10, &mut stream(seed, 0));
    let mut left: Vec<usize> = (0..10)
        .map(|class| {
            let all = labels(set).iter().filter(|l| **l == class).count();
            let share = 20_f64.powf(-(places[class] as f64) / 9.0);
            (all as f64 * share).round() as usize
        })
        .collect();
    let mut keep = |row: &usize| {
        let left = &mut left[labels(set)[*row]];
        *left = left.saturating_sub(1);
        *left > 0
    };
    let rows: Vec<usize> = (0..set.len()).filter(|row| keep(row)).collect();
    set.select(&rows)
}

/// Keeps two classes and counts them from 0.
fn pair(set: &Dataset, seed: Seed) -> Dataset {
    let chosen = &shuffled(10, &mut stream(seed, 1))[..2];
    let place = |row: usize| chosen.iter().position(|c| *c == labels(set)[row]);
    let rows: Vec<usize> = (0..set.len()).filter(|r| place(*r).is_some()).collect();
    let mut part = set.select(&rows);
    part.labels = Some(rows.into_iter().filter_map(place).collect());
    part
}

/// Numbers of two digits: `n` pairs of images, each squeezed to half the width, in `classes` of the 100 classes.
fn composites(set: &Dataset, classes: usize, n: usize, part: u32, seed: Seed) -> Dataset {
    let numbers = &shuffled(100, &mut stream(seed, 2))[..classes];
    let mut by_digit: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, label) in labels(set).iter().enumerate() {
        by_digit.entry(*label).or_default().push(row);
    }
    let mut draws = stream(seed, 3 + part);
    let images = &set.modalities[0].values;
    let mut values = Vec::with_capacity(n * 28 * 28);
    let mut classes_of = Vec::with_capacity(n);
    for at in 0..n {
        let class = at % classes;
        let mut digit = |digit: usize| {
            let rows = &by_digit[&digit];
            rows[draws.below(rows.len() as u32) as usize]
        };
        let halves = [digit(numbers[class] / 10), digit(numbers[class] % 10)];
        for y in 0..28 {
            for row in halves {
                let pixel = |x: usize| images[[row, 28 * y + x]];
                values.extend((0..14).map(|x| f32::midpoint(pixel(2 * x), pixel(2 * x + 1))));
            }
        }
        classes_of.push(class);
    }
    let mut result = set.select(&[]);
    let values = Array2::from_shape_vec((n, 28 * 28), values).expect("n images");
    result.modalities = vec![Column {
        values,
        ..set.modalities[0].clone()
    }];
    result.labels = Some(classes_of);
    result.ids = (0..n as u64).map(SampleId::Row).collect();
    result.total = n;
    result.rank = Vec::new();
    result.ranked(Seed(0))
}
