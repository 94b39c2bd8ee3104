//! Limits, ranges and shards of a set, and names that are not data sets.

use std::collections::BTreeSet;

use proofmark_data::{Dataset, Options, open};
use proofmark_domain::{Bounds, SampleId, Seed};
use proptest::prelude::*;

use crate::make::*;

fn digits() -> Dataset {
    open("digits", &Options::default()).unwrap()
}

fn ids(set: &Dataset) -> BTreeSet<SampleId> {
    set.ids.iter().cloned().collect()
}

fn per_class(set: &Dataset) -> [usize; 10] {
    let mut counts = [0; 10];
    set.labels.iter().flatten().for_each(|l| counts[*l] += 1);
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn limits_nest_stay_in_order_and_are_stratified(a in 0_usize..950, b in 0_usize..950, seed: u64) {
        let set = digits();
        let (small, large) = (set.limit(a.min(b), Seed(seed)), set.limit(a.max(b), Seed(seed)));
        prop_assert!(ids(&small).is_subset(&ids(&large)));
        prop_assert_eq!(large.len(), a.max(b).min(899));
        prop_assert!(large.ids.is_sorted());
        prop_assert_eq!(large.total, 899);
        let all = per_class(&set);
        for (class, count) in per_class(&large).into_iter().enumerate() {
            let share = (all[class] * large.len()) as f64 / 899.0;
            prop_assert!((count as f64 - share).abs() < 1.0);
        }
    }

    #[test]
    fn shards_are_a_partition(n in 1_usize..900, count in 1_usize..9, seed: u64) {
        let set = digits().limit(n, Seed(seed));
        let shards: Vec<_> = (0..count).map(|i| set.shard(i, count)).collect();
        prop_assert_eq!(shards.iter().map(Dataset::len).sum::<usize>(), set.len());
        let together: BTreeSet<_> = shards.iter().flat_map(ids).collect();
        prop_assert_eq!(together, ids(&set));
        let sizes: Vec<_> = shards.iter().map(Dataset::len).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
    }
}

#[test]
fn a_part_keeps_ids_labels_and_ranks() {
    let set = digits().ranked(Seed(5));
    let part = set.range(10..13).unwrap();
    assert_eq!((part.len(), part.total), (3, 899));
    assert_eq!(part.ids, set.ids[10..13]);
    assert_eq!(part.rank, set.rank[10..13]);
    assert_eq!(
        part.modalities[0].values.row(2),
        set.modalities[0].values.row(12)
    );
    assert_eq!(part.labels.unwrap(), set.labels.as_ref().unwrap()[10..13]);
    // The limit of a set under a seed is the front of its ranking under that seed.
    let limited = set.limit(7, Seed(5));
    assert!(limited.rank.iter().all(|r| *r < 7));
    assert_eq!(
        limited.ids,
        set.select(&(0..899).filter(|i| set.rank[*i] < 7).collect::<Vec<_>>())
            .ids
    );
}

#[test]
fn parts_that_do_not_exist_are_refused_or_empty() {
    let set = digits();
    for (start, end) in [(0, 900), (5, 5), (7, 3), (usize::MAX, usize::MAX)] {
        let message = set.range(start..end).unwrap_err().to_string();
        assert_says(&message, &["digits", &format!("{start}..{end}"), "0..899"]);
    }
    assert!(set.shard(3, 3).is_empty() && set.shard(0, 0).is_empty());
    assert!(set.limit(0, Seed(0)).is_empty());
    assert_eq!(set.limit(usize::MAX, Seed(0)).len(), 899);
}

#[test]
fn names_that_are_not_data_sets_are_refused() {
    let plain = Options::default();
    let says = |spec: &str, words: &[&str]| {
        assert_says(&open(spec, &plain).unwrap_err().to_string(), words);
    };
    says("digit", &["`digit`", "did you mean `digits`?"]);
    says("digits:trian", &["did you mean `digits:train`?"]);
    says("zebra", &["`zebra`", "no such file", "digits:train"]);
    says("missing.npz", &["missing.npz", "cannot be read"]);
    says("missing.csv", &["missing.csv", "cannot be read"]);
    says("", &["no such file"]);
    let folder = Folder::new();
    says(&folder.put("a.npx", b""), &["a.npx", "did you mean .np"]);
    says(
        &folder.put("a.parquet", b""),
        &["a.parquet", "a name ending in .npz"],
    );
    std::fs::create_dir(folder.path("b.npz")).unwrap();
    says(
        folder.path("b.npz").to_str().unwrap(),
        &["b.npz", "cannot be read"],
    );
}

#[test]
fn shipped_sets_have_bounds_of_their_own() {
    let with = |low, high| {
        let mut options = Options::default();
        options.bounds = Some(Bounds::uniform(low, high).unwrap());
        options
    };
    assert!(open("digits", &with(0.0, 1.0)).is_ok());
    let message = open("digits", &with(0.0, 255.0)).unwrap_err().to_string();
    assert_says(&message, &["digits", "0,1"]);
}
