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
        self.places.len * size_of::<f32>()
    }

    fn split(&self, rows: usize) -> Split {
        let threads = rayon::current_num_threads();
        let fit = (ARENA / self.places.len.max(1)).clamp(1, TOGETHER);
        let each = rows.div_ceil(threads).clamp(1, fit);
        // Parts that leave threads idle share these.
        let parts = rows.div_ceil(each).max(1);
        Split {
            each,
            threads: (threads / parts).max(1),
        }
    }

    fn arena(&self, rows: usize) -> Arena {
        let needed = rows * self.places.len;
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        match spare.iter().position(|a| a.len() >= needed) {
            Some(at) => spare.swap_remove(at),
            None => Arena::new(needed),
        }
    }

    fn give_back(&self, arenas: impl Iterator<Item = Arena>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.extend(arenas);
    }

    fn run(&self, pass: &[Box<dyn Kernel>], memory: &Memory<'_>, given: &[f32], taken: &mut [f32]) {
        for kernel in pass {
            if let Some(buffer) = kernel.writes() {
                memory.clear_border(buffer);
            }
            kernel.run(self.isa, memory, given, taken);
        }
    }

    /// The outputs `[rows, output features]` of rows `[rows, input features]`.
    pub fn forward(&self, rows: &[f32]) -> Vec<f32> {
        let (n, mut scores) = self.count(rows);
        let Split { each, threads } = self.split(n);
        let parts = rows
            .par_chunks(each * self.input.features())
            .zip(scores.par_chunks_mut(each * self.output.features()));
        parts.for_each(|(rows, scores)| {
            let n = rows.len() / self.input.features();
            let mut arena = self.arena(n);
            self.run(
                &self.forward,
                &Memory::new(&mut arena, &self.places, n, threads),
                rows,
                scores,
            );
            self.give_back(std::iter::once(arena));
        });
        scores
    }

    fn count(&self, rows: &[f32]) -> (usize, Vec<f32>) {
        let features = self.input.features();
        assert!(
            rows.len().is_multiple_of(features),
            "{} values; expected a multiple of {features}",
            rows.len()
        );
        let n = rows.len() / features;
        (n, vec![0.0; n * self.output.features()])
    }

    /// The same, and what [`Saved::gradient`] needs.
    pub fn forward_saved(self: &Arc<Self>, rows: &[f32]) -> (Vec<f32>, Saved) {
        let (n, mut scores) = self.count(rows);
        let Split { each, threads } = self.split(n);
        let parts = rows
            .par_chunks(each * self.input.features())
            .zip(scores.par_chunks_mut(each * self.output.features()));
        let parts = parts.map(|(rows, scores)| {
            let n = rows.len() / self.input.features();
            let mut arena = self.arena(n);
            self.run(
                &self.forward,
                &Memory::new(&mut arena, &self.places, n, threads),
                rows,
                scores,
            );
            Mutex::new(arena)
        });
        let parts = parts.collect();
        (
            scores,
            Saved {
                network: Arc::clone(self),
                rows: n,
                each,
                parts,
            },
        )
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
        parts.for_each(|((weights, gradient), arena)| {
            let mut arena = arena.lock().unwrap_or_else(PoisonError::into_inner);
            let memory = Memory::new(&mut arena, &net.places, weights.len() / width, threads);
            net.run(&net.backward, &memory, weights, gradient);
        });
        gradient
    }
}
