use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Runs the tiles of a query in parallel, each on its own thread.
///
/// There is one single-thread pool per available thread. Inside a pool the backend sees one thread and splits nothing,
/// so threads do not wait for each other within a tile. One shared pool would not work: a thread that waits for a part
/// of its tile would begin another tile meanwhile. The result of a tile does not depend on its number of threads.
#[derive(Default)]
pub(crate) struct Tiles {
    pools: OnceLock<Vec<ThreadPool>>,
}

impl fmt::Debug for Tiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = self.pools.get().map_or(0, Vec::len);
        f.debug_struct("Tiles").field("threads", &threads).finish()
    }
}

impl Tiles {
    /// Returns the answers to tiles 0 to `n - 1`, or the error of the lowest tile that failed.
    pub(crate) fn each<T: Send, E: Send>(
        &self,
        n: usize,
        ask: impl Fn(usize) -> Result<T, E> + Sync,
    ) -> Result<Vec<T>, E> {
        let pools = if n > 1 { self.pools() } else { &[] };
        // A tile that would run alone at the end is faster with all threads.
        let alone = pools.len() < 2 || n % pools.len() == 1;
        let together = match (pools.len() < 2, alone) {
            (true, _) => 0,
            (false, true) => n - 1,
            (false, false) => n,
        };
        let answers: Vec<Mutex<Option<Result<T, E>>>> =
            (0..together).map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(place) = answers.get(i) else { break };
                let answer = ask(i);
                *place
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(answer);
            }
        };
        let needed = pools.len().min(together);
        on_each(&pools[..needed], &work);
        answers
            .into_iter()
            .map(|a| {
                a.into_inner()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .expect("every tile was taken")
            })
            .chain((together..n).map(&ask))
            .collect()
    }

    fn pools(&self) -> &[ThreadPool] {
        self.pools.get_or_init(|| {
            let pool = |_| ThreadPoolBuilder::new().num_threads(1).build();
            // If threads cannot be created, tiles run one after another.
            (0..rayon::current_num_threads())
                .map(pool)
                .collect::<Result<_, _>>()
                .unwrap_or_default()
        })
    }
}

/// Runs `work` once in every pool, in parallel.
fn on_each(pools: &[ThreadPool], work: &(impl Fn() + Sync)) {
    if let Some((first, others)) = pools.split_first() {
        first.in_place_scope(|scope| {
            scope.spawn(|_| work());
            on_each(others, work);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order_whatever_the_threads() {
        for threads in [1, 2, 3, 8] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| {
                let tiles = Tiles::default();
                for n in 0..20 {
                    let answers = tiles.each(n, Ok::<_, ()>).unwrap();
                    assert_eq!(answers, (0..n).collect::<Vec<_>>());
                }
            });
        }
    }

    #[test]
    fn the_error_of_the_lowest_tile_is_returned() {
        let pool = ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let told =
            pool.install(|| Tiles::default().each(9, |i| if i < 3 { Ok(i) } else { Err(i) }));
        assert_eq!(told, Err(3));
    }

    /// Two tiles that wait for each other finish only if they run in parallel; a third has all threads.
    #[test]
    fn tiles_run_at_the_same_time_and_one_left_over_has_all_threads() {
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let both = std::sync::Barrier::new(2);
        let threads = pool.install(|| {
            Tiles::default().each(3, |i| {
                if i < 2 {
                    both.wait();
                }
                Ok::<_, ()>(rayon::current_num_threads())
            })
        });
        assert_eq!(threads, Ok(vec![1, 1, 2]));
    }
}
