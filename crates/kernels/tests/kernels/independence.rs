//! A row's bits depend on that row alone.

use proofmark_kernels::Isa;

use crate::reference::scattered;
use crate::whole::all;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Scores and gradients of all rows, `each` at a time.
fn in_batches(
    twin: usize,
    isa: Isa,
    rows: usize,
    each: usize,
    threads: usize,
) -> (Vec<u32>, Vec<u32>) {
    let net = all()[twin].compiled(isa);
    let (features, width) = (net.input().features(), net.output().features());
    let (x, weights) = (scattered(rows * features, 1), scattered(rows * width, 2));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| {
        let (mut scores_of_all, mut gradients) = (Vec::new(), Vec::new());
        for (x, w) in x.chunks(each * features).zip(weights.chunks(each * width)) {
            assert_eq!(bits(&net.forward(x)), bits(&net.forward_saved(x).0));
            let (scores, saved) = net.forward_saved(x);
            scores_of_all.extend(bits(&scores));
            gradients.extend(bits(&saved.gradient(w)));
        }
        (scores_of_all, gradients)
    })
}

#[test]
fn neither_batch_size_nor_threads_change_a_bit() {
    for twin in 0..all().len() {
        for isa in Isa::all() {
            let alone = in_batches(twin, isa, 70, 1, 1);
            for each in [1, 7, 64, 512] {
                for threads in [1, 2, 8] {
                    assert_eq!(
                        in_batches(twin, isa, 70, each, threads),
                        alone,
                        "{isa:?} {each} {threads}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_gradient_can_be_asked_for_again() {
    for twin in all() {
        let net = twin.compiled(Isa::detect());
        let width = net.output().features();
        let (_, saved) = net.forward_saved(&scattered(9 * net.input().features(), 1));
        let (one, other) = (scattered(9 * width, 2), scattered(9 * width, 3));
        let first = bits(&saved.gradient(&one));
        assert_ne!(bits(&saved.gradient(&other)), first);
        assert_eq!(bits(&saved.gradient(&one)), first);
    }
}

/// Every sum runs in one order and every multiply-add rounds once, whatever registers it is done in.
#[test]
fn no_instruction_set_changes_a_bit() {
    for twin in 0..all().len() {
        let first = in_batches(twin, Isa::all()[0], 20, 20, 1);
        for isa in Isa::all() {
            assert_eq!(in_batches(twin, isa, 20, 20, 1), first, "{isa:?}");
        }
    }
}

#[test]
fn a_row_that_is_not_finite_leaves_its_neighbours_alone() {
    for twin in all() {
        let net = twin.compiled(Isa::detect());
        let (features, width) = (net.input().features(), net.output().features());
        let x = scattered(12 * features, 1);
        let (scores, saved) = net.forward_saved(&x);
        let gradient = saved.gradient(&vec![1.0; 12 * width]);
        for bad in [f32::NAN, f32::INFINITY] {
            let mut spoilt = x.clone();
            spoilt[5 * features + 3] = bad;
            let (other, saved) = net.forward_saved(&spoilt);
            assert!(
                other[5 * width..6 * width].iter().any(|s| !s.is_finite()),
                "it shows in the row's own scores"
            );
            let others = saved.gradient(&vec![1.0; 12 * width]);
            for r in (0..12).filter(|r| *r != 5) {
                assert_eq!(
                    bits(&scores[r * width..][..width]),
                    bits(&other[r * width..][..width])
                );
                assert_eq!(
                    bits(&gradient[r * features..][..features]),
                    bits(&others[r * features..][..features])
                );
            }
        }
        // And leaves nothing behind in memory that is used again.
        assert_eq!(bits(&net.forward(&x)), bits(&scores));
    }
}
