//! Seeded order in which a sequential run takes its samples.
//!
//! **Idea.** A plain random order of the whole set, fixed by the seed and the sample ids: labels have no part in it. The
//! first `n` samples are a simple random sample without replacement, which is what the binomial bounds at the looks
//! assume. The stratified order of `--limit` does not have this property: where a set has more classes than a look has
//! samples, it takes the larger classes first. The order of some samples among themselves depends on them alone, so
//! samples that were kept can be put in order without the others.
//!
//! **Maths.** Samples are sorted by a draw of 64 bits (Philox, `Purpose::Sequence`, keyed by sample id), then by id.

use proofmark_domain::{SampleId, Seed};
use proofmark_stats::random::{Purpose, Stream, StreamKey};

/// Returns the position of each sample in the plain random order of `seed`, from 0. The first samples of the order of a
/// set are in the same order among themselves as in that of any set that includes them.
pub fn sequence<'a>(ids: impl IntoIterator<Item = &'a SampleId>, seed: Seed) -> Vec<u64> {
    let draw = |(row, id): (usize, &'a SampleId)| {
        let mut stream = Stream::new(&StreamKey::new(seed, id.key(), Purpose::Sequence));
        // The id breaks ties between names with the same hash.
        (stream.next_u32(), stream.next_u32(), id, row)
    };
    let mut drawn: Vec<_> = ids.into_iter().enumerate().map(draw).collect();
    drawn.sort_unstable();
    let mut rank = vec![0; drawn.len()];
    for (place, (.., row)) in (0..).zip(drawn) {
        rank[row] = place;
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: u64) -> Vec<SampleId> {
        (0..n).map(SampleId::Row).collect()
    }

    #[test]
    fn a_part_is_in_the_order_of_the_whole() {
        let ids = rows(500);
        let whole = sequence(&ids, Seed(3));
        let mut sorted = whole.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..500));
        let kept: Vec<usize> = (0..500).filter(|i| whole[*i] % 3 == 1).collect();
        let part = sequence(kept.iter().map(|i| &ids[*i]), Seed(3));
        let order = |ranks: &[u64]| {
            let mut order: Vec<usize> = (0..ranks.len()).collect();
            order.sort_by_key(|i| ranks[*i]);
            order
        };
        let of_whole: Vec<u64> = kept.iter().map(|i| whole[*i]).collect();
        assert_eq!(order(&part), order(&of_whole));
    }

    /// Every sample is among the first 30 of 100 in three of ten orders, whatever its place in the file.
    #[test]
    fn every_sample_is_as_likely_to_be_early() {
        let ids = rows(100);
        let mut early = [0_u32; 100];
        for seed in 0..4_000 {
            for (row, rank) in sequence(&ids, Seed(seed)).iter().enumerate() {
                early[row] += u32::from(*rank < 30);
            }
        }
        // 1,200 expected, with a standard deviation of 29.
        assert!(early.iter().all(|e| e.abs_diff(1_200) < 130), "{early:?}");
    }

    /// Why looks do not follow the stratified order: more classes than samples, and the smaller ones are not seen.
    #[test]
    fn small_classes_are_not_left_for_later() {
        // Thirty classes of three samples, thirty of two.
        let class = |i: usize| if i < 90 { i / 3 } else { 30 + (i - 90) / 2 };
        let labels: Vec<usize> = (0..150).map(class).collect();
        let ids = rows(150);
        let small = |ranks: Vec<u64>| {
            let early = (0..150).filter(|i| ranks[*i] < 30 && labels[*i] >= 30);
            early.count()
        };
        let stratified = crate::subset::ranks(&ids, Some(&labels), Seed(0));
        assert_eq!(small(stratified), 0);
        // 12 expected, with a standard deviation of 2.4.
        assert!((5..20).contains(&small(sequence(&ids, Seed(0)))));
    }

    #[test]
    fn the_order_is_not_that_of_subsets() {
        let ids = rows(200);
        assert_ne!(
            sequence(&ids, Seed(0)),
            crate::subset::ranks(&ids, None, Seed(0))
        );
    }
}
