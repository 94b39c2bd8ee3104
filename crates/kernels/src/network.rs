//! A compiled network: rows in, scores out, and the input gradient of any weighted sum of the scores.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::builder::Builder;
use crate::fuse::{Step, steps};
use crate::kernel::Kernel;
use crate::lanes::Isa;
use crate::layout;
use crate::memory::{Arena, Memory, Places};
use crate::passes::Passes;
use crate::shape::Map;

/// Rows that go through together at most: they share weights while these are in the cache.
const TOGETHER: usize = 8;
/// Values that a part's memory holds at most (64 MiB), unless a single row takes more.
const ARENA: usize = 1 << 24;

/// A network that is ready to run; see [`Builder`].
///
/// The output of a row depends on that row alone: not on the rows beside it, their number or the number of threads. All
/// instruction sets give the same bits.
pub struct Network {
    input: Map,
    output: Map,
    isa: Isa,
    forward: Vec<Box<dyn Kernel>>,
    backward: Vec<Box<dyn Kernel>>,
    places: Places,
    plan: Vec<String>,
    /// Memory that is not in use.
    spare: Mutex<Vec<Arena>>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("input", &self.input)
            .field("output", &self.output)
            .field("isa", &self.isa)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// State that a forward pass keeps for the gradient. Dropping it returns its memory to the network.
#[derive(Debug)]
pub struct Saved {
    network: Arc<Network>,
    rows: usize,
    /// Rows of each part but the last.
    each: usize,
    parts: Vec<Mutex<Arena>>,
}

impl Drop for Saved {
    fn drop(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        self.network.give_back(
            parts
                .into_iter()
                .map(|p| p.into_inner().unwrap_or_else(PoisonError::into_inner)),
        );
    }
}

/// Rows of one part of a batch.
struct Split {
    /// Rows per part.
    each: usize,
    /// Threads that a part may use.
    threads: usize,
}

impl Network {
    pub(crate) fn compile(net: &Builder, output: usize, isa: Isa) -> Self {
        let steps = steps(net, output);
        let passes = Passes::new(net, &steps, output, isa);
        let places = layout::places(&passes);
        let describe = |s: &Step| {
            let Map {
                channels,
                height,
                width,
                ..
            } = net.maps[s.value];
            format!("{} [{channels}, {height}, {width}]", s.fused.join(" + "))
        };
        Self {
            input: net.maps[0],
            output: net.maps[output],
            isa,
            plan: steps.iter().map(describe).collect(),
            forward: passes.forward,
            backward: passes.backward,
            places,
            spare: Mutex::default(),
        }
    }

    /// The shape of a row.
    pub const fn input(&self) -> Map {
        self.input
    }

    /// The shape of a row's output.
    pub const fn output(&self) -> Map {
        self.output
    }

    /// The instruction set it was compiled for.
    pub const fn isa(&self) -> Isa {
        self.isa
    }

    /// Its steps in words: what is computed together, and the shape that comes out.
    pub fn plan(&self) -> &[String] {
        &self.plan
    }

    /// Bytes of memory that one row takes while it goes through.
    pub const fn bytes_per_row(&self) -> usize {
        (self.places.kept + self.places.scratch) * size_of::<f32>()
    }

    fn split(&self, rows: usize) -> Split {
        let threads = rayon::current_num_threads();
        let row = (self.places.kept + self.places.scratch).max(1);
        let fit = (ARENA / row).clamp(1, TOGETHER);
        let each = rows.div_ceil(threads).clamp(1, fit);
        // Parts that leave threads idle share these.
        let parts = rows.div_ceil(each).max(1);
        Split {
            each,
            threads: (threads / parts).max(1),
        }
    }

    /// The smallest spare arena with room for so many values, or a new one.
    fn arena(&self, values: usize) -> Arena {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = (0..spare.len()).filter(|i| spare[*i].len() >= values);
        match fits.min_by_key(|i| spare[*i].len()) {
            Some(at) => spare.swap_remove(at),
            None => Arena::new(values),
        }
    }

    fn give_back(&self, arenas: impl Iterator<Item = Arena>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.extend(arenas);
    }

    /// Runs a pass over the rows whose kept memory is given.
    fn run(
        &self,
        pass: &[Box<dyn Kernel>],
        kept: &mut Arena,
        rows: usize,
        threads: usize,
        given: &[f32],
        taken: &mut [f32],
    ) {
        let mut scratch = self.arena(rows * self.places.scratch);
        let memory = Memory::new(kept, &mut scratch, &self.places, rows, threads);
        for kernel in pass {
            if let Some(buffer) = kernel.writes() {
                memory.clear_border(buffer);
            }
            kernel.run(self.isa, &memory, given, taken);
        }
        self.give_back(std::iter::once(scratch));
    }

    /// The outputs of rows, part by part, and what `keep` makes of each part's kept memory.
    fn forward_parts<T: Send>(
        &self,
        rows: &[f32],
        keep: impl Fn(Arena) -> T + Sync,
    ) -> (Vec<f32>, usize, Vec<T>) {
        let (features, width) = (self.input.features(), self.output.features());
        assert!(
            rows.len().is_multiple_of(features),
            "{} values; expected a multiple of {features}",
            rows.len()
        );
        let n = rows.len() / features;
        let mut scores = vec![0.0; n * width];
        let Split { each, threads } = self.split(n);
        let parts = rows
            .par_chunks(each * features)
            .zip(scores.par_chunks_mut(each * width));
        let parts = parts.map(|(rows, scores)| {
            let n = rows.len() / features;
            let mut kept = self.arena(n * self.places.kept);
            self.run(&self.forward, &mut kept, n, threads, rows, scores);
            keep(kept)
        });
        let parts = parts.collect();
        (scores, each, parts)
    }

    /// The outputs `[rows, output features]` of rows `[rows, input features]`.
    pub fn forward(&self, rows: &[f32]) -> Vec<f32> {
        let return_memory = |kept| self.give_back(std::iter::once(kept));
        self.forward_parts(rows, return_memory).0
    }

    /// The same, and what [`Saved::gradient`] needs.
    pub fn forward_saved(self: &Arc<Self>, rows: &[f32]) -> (Vec<f32>, Saved) {
        let (scores, each, parts) = self.forward_parts(rows, Mutex::new);
        let saved = Saved {
            network: Arc::clone(self),
            rows: rows.len() / self.input.features(),
            each,
            parts,
        };
        (scores, saved)
    }
}

impl Saved {
    /// Features of a row of the gradient.
    pub fn features(&self) -> usize {
        self.network.input.features()
    }

    /// The gradient `[rows, input features]` of the sum of `weights[r, o] scores[r, o]` over a row, for weights
    /// `[rows, output features]`. Any number of gradients can be asked for.
    pub fn gradient(&self, weights: &[f32]) -> Vec<f32> {
        let (net, n) = (&*self.network, self.rows);
        let (width, features) = (net.output.features(), net.input.features());
        assert_eq!(weights.len(), n * width, "one weight per row and output");
        let mut gradient = vec![0.0; n * features];
        if n == 0 {
            return gradient;
        }
        // Parts are those of the forward pass, whatever threads there are now.
        let each = self.each;
        let threads = (rayon::current_num_threads() / self.parts.len().max(1)).max(1);
        let parts = weights
            .par_chunks(each * width)
            .zip(gradient.par_chunks_mut(each * features))
            .zip(&self.parts);
        parts.for_each(|((weights, gradient), kept)| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let rows = weights.len() / width;
            net.run(&net.backward, &mut kept, rows, threads, weights, gradient);
        });
        gradient
    }
}
