//! The kernels that passes are made of. Each reads buffers, writes one, and declares the borders it reads.

pub(crate) mod affine;
pub(crate) mod channelwise;
mod concat;
pub(crate) mod convolve;
mod edge;
pub(crate) mod fold;
mod function;
pub(crate) mod max_pool;
pub(crate) mod multiply;
pub(crate) mod normalise;
pub(crate) mod pointwise;
pub(crate) mod product;
pub(crate) mod rearrange;
pub(crate) mod softmax;

use std::fmt::Debug;

pub(crate) use channelwise::{Channelwise, Taps};
pub(crate) use concat::{Join, Part};
pub(crate) use edge::{Enter, Leave};
pub use function::{Function, Step};
pub(crate) use pointwise::Stage;

use crate::epilogue::Epilogue;
use crate::lanes::Isa;
use crate::memory::{Buffer, Memory};
use crate::shape::{Border, Map};

/// One step of a pass.
///
/// The result for a row depends on that row alone, not on the rows beside it or the number of threads.
pub(crate) trait Kernel: Debug + Send + Sync {
    /// Returns the buffers it reads, each with the border it needs.
    fn reads(&self) -> Vec<(Buffer, Border)>;

    /// Returns the buffer it writes, if it writes one.
    fn writes(&self) -> Option<Buffer>;

    /// Computes all rows. `given` are the rows handed in, `taken` those to be handed back; only a pass's first and last
    /// kernel look at them.
    fn run(&self, isa: Isa, memory: &Memory<'_>, given: &[f32], taken: &mut [f32]);
}

/// Buffers that an operation's forward kernel reads and writes, with their shapes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Between {
    pub(crate) from: Buffer,
    pub(crate) to: Buffer,
    pub(crate) input: Map,
    pub(crate) output: Map,
}

/// Makes the kernel of an input gradient, given the buffers of the output's gradient and of its own, and its epilogue.
pub(crate) type Back = Box<dyn FnOnce(Buffer, Buffer, Epilogue) -> Box<dyn Kernel>>;

/// An operation's forward kernel, and what makes that of its input gradient.
pub(crate) type Pair = (Box<dyn Kernel>, Back);

/// The buffers that a kernel with an epilogue reads: those given, without a border, and the addend.
fn plain_reads(buffers: &[Buffer], epilogue: &Epilogue) -> Vec<(Buffer, Border)> {
    let all = buffers.iter().copied().chain(epilogue.addend);
    all.map(|b| (b, Border::default())).collect()
}

/// Compiles a function generic over [`crate::lanes::Lanes`] once per instruction set, and calls the one for `isa`.
///
/// `per_isa!(isa, generic(a: A = x, b: B = y))` calls `generic::<L>(x, y)`.
macro_rules! per_isa {
    ($isa:expr, $generic:ident($($argument:ident: $type:ty = $value:expr),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512($($argument: $type),*) {
            // SAFETY: AVX-512F is enabled here; the rest is the caller's.
            unsafe { $generic::<$crate::lanes::Avx512>($($argument),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2($($argument: $type),*) {
            // SAFETY: AVX2 and FMA are enabled here; the rest is the caller's.
            unsafe { $generic::<$crate::lanes::Avx2>($($argument),*) }
        }
        match $isa {
            #[cfg(target_arch = "x86_64")]
            $crate::lanes::Isa::Avx512 => avx512($($value),*),
            #[cfg(target_arch = "x86_64")]
            $crate::lanes::Isa::Avx2 => avx2($($value),*),
            $crate::lanes::Isa::Portable => $generic::<$crate::lanes::Portable>($($value),*),
        }
    }};
}
pub(crate) use per_isa;
