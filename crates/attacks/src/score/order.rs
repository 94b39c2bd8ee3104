//! A random order of many items, computed item by item: an attack that takes directions without replacement keeps no
//! list of them per row.

use proofmark_stats::random::{Stream, StreamKey, philox4x32_10};

/// Rounds of the network; four make a permutation that looks random (Luby and Rackoff 1988).
const ROUNDS: usize = 4;

/// Returns which of `count` items is at place `at` (below `count`) of the random order of a key.
///
/// A Feistel network permutes the numbers of an even number of bits; numbers that are not below `count` are permuted
/// again until one is (cycle walking: Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
pub(super) fn shuffled(key: &StreamKey, count: usize, at: usize) -> usize {
    let bits = count.next_power_of_two().trailing_zeros().max(2);
    let half = bits.div_ceil(2);
    let low = (1_usize << half) - 1;
    let mut stream = Stream::new(key);
    let keys: [[u32; 2]; ROUNDS] = [(); ROUNDS].map(|()| [stream.next_u32(), stream.next_u32()]);
    let mut item = at;
    loop {
        let (mut left, mut right) = (item >> half, item & low);
        for key in keys {
            let mixed = philox4x32_10([right as u32, 0, 0, 0], key)[0];
            (left, right) = (right, left ^ (mixed as usize & low));
        }
        item = left << half | right;
        if item < count {
            return item;
        }
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Seed;
    use proofmark_stats::random::Purpose;

    use super::*;

    #[test]
    fn every_item_comes_once_and_orders_differ() {
        let key = |sample| StreamKey::new(Seed(2), sample, Purpose::Direction);
        for count in [1, 2, 3, 5, 64, 65, 1000, 3072] {
            let order: Vec<usize> = (0..count).map(|at| shuffled(&key(0), count, at)).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.iter().enumerate().all(|(i, v)| i == *v), "{count}");
            let other: Vec<usize> = (0..count).map(|at| shuffled(&key(1), count, at)).collect();
            assert!(count < 64 || order != other, "{count}");
        }
    }

    /// Each item comes first about equally often.
    #[test]
    fn no_place_is_preferred() {
        let mut first = [0; 20];
        for sample in 0..4000 {
            let key = StreamKey::new(Seed(2), sample, Purpose::Direction);
            first[shuffled(&key, 20, 0)] += 1;
        }
        // 200 expected, standard deviation 13.8.
        assert!(first.iter().all(|n| (130..270).contains(n)), "{first:?}");
    }
}
