//! Seeded, class-stratified order in which parts of a set are taken.
//!
//! **Idea.** There is one order of the whole set, fixed by the seed, the sample ids and the labels. `--limit N` is its
//! first `N` samples, so a larger limit includes every smaller one, and shard `i` of `k` is every `k`-th. Within a
//! class the order is random; between classes it is as even as whole samples allow.
//!
//! **Maths.** A class of `c` samples in a set of `N` is due `c (m + 1) / N` places among the first `m + 1`. Its `j`-th
//! sample may take place `floor(j N / c)` at the earliest and `ceil((j + 1) N / c) - 1` at the latest. Taking the
//! possible sample with the earliest deadline meets all deadlines, as for periodic tasks that fill one processor. So
//! the count of every class in every prefix differs from its share by less than one sample. Draws (Philox,
//! `Purpose::Subset`, keyed by sample id) order the samples of a class and break ties between classes.
//!
//! **Reference.** Baruah, Cohen, Plaxton, Varvel: *Proportionate progress*, Algorithmica 15 (1996).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use proofmark_domain::{SampleId, Seed};
use proofmark_stats::random::{Purpose, Stream, StreamKey};

/// Returns the position of each sample in the order, from 0. Without labels all samples form one class.
pub(crate) fn ranks(ids: &[SampleId], labels: Option<&[usize]>, seed: Seed) -> Vec<u64> {
    let draw = |row: usize| {
        let mut stream = Stream::new(&StreamKey::new(seed, ids[row].key(), Purpose::Subset));
        // The row breaks ties between names with the same hash.
        (stream.next_u32(), stream.next_u32(), row)
    };
    let mut classes: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for row in 0..ids.len() {
        let class = labels.map_or(0, |l| l[row]);
        classes.entry(class).or_default().push(draw(row));
    }
    let mut classes: Vec<_> = classes.into_values().collect();
    for class in &mut classes {
        class.sort_unstable();
    }

    let all = ids.len() as u128;
    let mut rank = vec![0; ids.len()];
    let mut waiting: BinaryHeap<_> = (0..classes.len()).map(|c| Reverse((0, c, 0))).collect();
    let mut possible = BinaryHeap::new();
    for place in 0..ids.len() as u64 {
        while let Some(&Reverse((earliest, c, j))) = waiting.peek()
            && earliest <= u128::from(place)
        {
            waiting.pop();
            let size = classes[c].len() as u128;
            let latest = ((j as u128 + 1) * all).div_ceil(size);
            possible.push(Reverse((latest, classes[c][j], c, j)));
        }
        let Some(Reverse((_, (_, _, row), c, j))) = possible.pop() else {
            // Unreachable: at every place at least one more sample has become possible than was taken.
            continue;
        };
        rank[row] = place;
        if j + 1 < classes[c].len() {
            let earliest = (j as u128 + 1) * all / classes[c].len() as u128;
            waiting.push(Reverse((earliest, c, j + 1)));
        }
    }
    rank
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(n: usize) -> Vec<SampleId> {
        (0..n as u64).map(SampleId::Row).collect()
    }

    proptest! {
        #[test]
        fn every_prefix_is_stratified_to_within_one(
            labels in prop::collection::vec((0_usize..12).prop_map(|x| x * x / 9), 1..300),
            seed: u64,
        ) {
            let n = labels.len();
            let rank = ranks(&rows(n), Some(&labels), Seed(seed));
            let mut order = vec![usize::MAX; n];
            for (row, place) in rank.iter().enumerate() {
                order[*place as usize] = row;
            }
            prop_assert!(!order.contains(&usize::MAX), "not a permutation");
            for class in 0..14 {
                let size = labels.iter().filter(|l| **l == class).count();
                let mut taken = 0;
                for (i, row) in order.iter().enumerate() {
                    taken += usize::from(labels[*row] == class);
                    let share = (size * (i + 1)) as f64 / n as f64;
                    prop_assert!((f64::from(taken as u32) - share).abs() < 1.0);
                }
            }
        }

        #[test]
        fn the_order_follows_the_ids(n in 1_usize..60, seed: u64) {
            let ids = rows(n);
            let labels: Vec<_> = (0..n).map(|i| i % 3).collect();
            let forward = ranks(&ids, Some(&labels), Seed(seed));
            let backward = ranks(
                &ids.iter().rev().cloned().collect::<Vec<_>>(),
                Some(&labels.iter().rev().copied().collect::<Vec<_>>()),
                Seed(seed),
            );
            prop_assert_eq!(forward, backward.into_iter().rev().collect::<Vec<_>>());
        }
    }

    #[test]
    fn seeds_differ_and_small_parts_are_not_always_the_first_classes() {
        let labels: Vec<_> = (0..100).map(|i| i % 10).collect();
        let first = |seed| {
            let rank = ranks(&rows(100), Some(&labels), Seed(seed));
            let row = rank.iter().position(|r| *r == 0).unwrap();
            labels[row]
        };
        let classes: std::collections::BTreeSet<_> = (0..100).map(first).collect();
        assert!(classes.len() > 8, "{classes:?}");
    }

    #[test]
    fn an_empty_set_has_an_empty_order() {
        assert!(ranks(&[], None, Seed(0)).is_empty());
    }
}
