//! After the first step nothing the size of an activation is allocated.

#![allow(unsafe_code)] // an allocator is

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proofmark_kernels::{Builder, Clamp, Convolution, Map, Window};

/// Notes the largest allocation, and how many there were above a limit.
struct Counting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
static ABOVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        if layout.size() > LIMIT.load(Ordering::Relaxed) {
            ABOVE.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_step_after_the_first_allocates_its_answers_alone() {
    let mut net = Builder::new(Map::new(3, 32, 32)).unwrap();
    let mut x = net.input();
    for _ in 0..3 {
        let channels = net.map(x).channels;
        let mut window = Window::from([3, 3]);
        window.pads = [[1, 1], [1, 1]];
        x = net
            .convolution(
                x,
                Convolution::new(vec![0.01; 32 * channels * 9], 32, window),
            )
            .unwrap();
        x = net.clamp(x, Clamp::Leaky { slope: 0.0 });
    }
    let y = net.dense(x, vec![0.01; 32 * 32 * 32 * 10], vec![]).unwrap();
    let net = Arc::new(net.finish(y));
    let rows = vec![0.5; 4 * net.input().features()];
    let weights = vec![1.0; 4 * net.output().features()];
    let step = || net.forward_saved(&rows).1.gradient(&weights);
    let in_pool = |threads: usize, work: &(dyn Fn() + Sync)| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(work);
    };
    let first = step();
    let gradient = first.len() * size_of::<f32>();
    let activation = 4 * 32 * 32 * 32 * size_of::<f32>();
    in_pool(1, &|| {
        step();
        LARGEST.store(0, Ordering::Relaxed);
        assert_eq!(step(), first);
        let largest = LARGEST.load(Ordering::Relaxed);
        assert!(
            largest <= gradient,
            "{largest} bytes were allocated at once; an activation has {activation}"
        );
    });
    // Threads that have not worked beside one another before need memory of their own once: a part of the batch each
    // holds two buffers, and a buffer may be taken for a smaller one.
    let (threads, steps) = (4, 50);
    LIMIT.store(gradient, Ordering::Relaxed);
    in_pool(threads, &|| {
        for _ in 0..steps {
            assert_eq!(step(), first);
        }
    });
    LIMIT.store(usize::MAX, Ordering::Relaxed);
    let above = ABOVE.load(Ordering::Relaxed);
    assert!(above <= 3 * threads, "{above} allocations in {steps} steps");
}
