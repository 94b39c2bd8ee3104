//! Shipped set: the UCI handwritten digits, embedded in the library (`datasets/digits/README.md`).
//!
//! 1,797 images of 8 by 8 pixels in ten classes; values 0 to 16 are read as `v / 16` in `[0, 1]`.
//!
//! **The split** is computed from the class-stratified order of the whole set ([`Dataset::ranked`]) under the fixed
//! seed [`SPLIT_SEED`]: the first 899 rows are `digits` (test), the other 898 `digits:train`. Rows keep the order and
//! the row numbers of the source.

use std::io::Read;

use flate2::read::GzDecoder;
use proofmark_domain::{Bounds, Kind, Modality, ReadFacts, Seed};

use crate::dataset::Parts;
use crate::source::Source;
use crate::{Column, DataError, Dataset};

/// Names of the shipped sets: the test split of the digits, and the split their models are trained on.
pub const SHIPPED: [&str; 2] = ["digits", "digits:train"];

const SPLIT_SEED: Seed = Seed(1998);
const TEST_ROWS: u64 = 899;
const SIDE: usize = 8;

/// Returns a shipped set by name, one of [`SHIPPED`]. Stated bounds must be equal to its own.
pub(crate) fn shipped(name: &str, stated: Option<&Bounds>) -> Result<Dataset, DataError> {
    let test = name == SHIPPED[0];
    whole(name).and_then(|set| {
        let own = &set.modalities[0].modality;
        if stated.is_some_and(|stated| *stated != own.bounds) {
            return Err(DataError::BoundsFit {
                file: name.to_owned(),
                array: own.name.clone(),
                problem: "are not its own, 0,1; leave the bounds out".to_owned(),
            });
        }
        let set = set.ranked(SPLIT_SEED);
        let rows: Vec<usize> = (0..set.len())
            .filter(|row| (set.rank[*row] < TEST_ROWS) == test)
            .collect();
        let mut split = set.select(&rows);
        split.total = rows.len();
        Ok(split.ranked(Seed(0)))
    })
}

fn whole(name: &str) -> Result<Dataset, DataError> {
    let source = Source {
        file: name.to_owned(),
        name: name.to_owned(),
        bytes: proofmark_digits::TABLE.to_vec(),
    };
    let broken = |problem: &str| source.corrupt("embedded file", problem);
    let mut text = String::new();
    GzDecoder::new(proofmark_digits::TABLE)
        .read_to_string(&mut text)
        .map_err(|e| broken(&e.to_string()))?;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let (image, label) = line
            .rsplit_once(',')
            .ok_or_else(|| broken("has a short line"))?;
        for value in image.split(',') {
            let value: u8 = value
                .parse()
                .map_err(|_| broken("has a pixel that is no number"))?;
            pixels.push(f32::from(value) / 16.0);
        }
        labels.push(
            label
                .parse()
                .map_err(|_| broken("has a label that is no number"))?,
        );
    }
    let modality = Modality {
        name: "x".to_owned(),
        kind: Kind::Image,
        shape: vec![1, SIDE, SIDE],
        bounds: Bounds::uniform(0.0, 1.0).map_err(|e| broken(&e.to_string()))?,
    };
    let column = Column::checked(
        name,
        modality,
        pixels,
        |row, feature| format!("row {row}, pixel {feature}"),
        "",
    )?;
    let reading = ReadFacts::of("x", "0 to 16 / 16");
    let parts = Parts::of_one(
        name,
        &[proofmark_digits::TABLE],
        column,
        Some(labels),
        reading,
    );
    Dataset::assemble(name, parts)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::source::sha256;
    use crate::{Options, open};

    fn splits() -> [Dataset; 2] {
        SHIPPED.map(|name| open(name, &Options::default()).unwrap())
    }

    fn digest_of_ids(set: &Dataset) -> String {
        let ids: Vec<_> = set.ids.iter().map(ToString::to_string).collect();
        sha256(&[ids.join("\n").as_bytes()])
    }

    /// The file is the one in scikit-learn 1.9.1, byte for byte.
    #[test]
    fn the_embedded_file_is_the_published_one() {
        assert_eq!(
            sha256(&[proofmark_digits::TABLE]),
            "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
        );
        let [test, train] = splits();
        assert_eq!(
            (&test.sha256, &train.sha256),
            (
                &sha256(&[proofmark_digits::TABLE]),
                &sha256(&[proofmark_digits::TABLE])
            )
        );
    }

    #[test]
    fn the_splits_are_disjoint_whole_and_stratified() {
        let [test, train] = splits();
        assert_eq!((test.len(), train.len()), (899, 898));
        assert_eq!((test.total, train.total), (899, 898));
        let all: BTreeSet<_> = test.ids.iter().chain(&train.ids).collect();
        assert_eq!(all.len(), 1797);
        for class in 0..10 {
            let count =
                |set: &Dataset| set.labels.iter().flatten().filter(|l| **l == class).count();
            assert!(count(&test).abs_diff(count(&train)) <= 2, "class {class}");
        }
        assert_eq!((test.classes(), train.classes()), (10, 10));
    }

    /// A changed split would test trained models on their training data.
    #[test]
    fn the_splits_are_pinned() {
        assert_eq!(
            splits().map(|s| digest_of_ids(&s)),
            [
                "7e33f23f13ac51769d7d46d343f161e6408b6d7d1ae3be4da0b25fcfc2c41289",
                "a275640dfb40cd281d79a891d6b4281e97668cc0fac4595f01d2c733863d11a2"
            ]
        );
    }

    #[test]
    fn pixels_are_sixteenths_of_an_image() {
        let [test, _] = splits();
        let column = &test.modalities[0];
        assert_eq!(column.modality.kind, Kind::Image);
        assert_eq!(column.modality.shape, [1, 8, 8]);
        assert_eq!(column.values.dim(), (899, 64));
        assert!(
            column
                .values
                .iter()
                .all(|v| (v * 16.0).fract() == 0.0 && *v <= 1.0)
        );
    }
}
