//! Sixteen `f32` at a time: the unit that every kernel computes with, whatever the instruction set.
//!
//! Maps are stored in blocks of sixteen channels, so one [`Lanes`] value holds one pixel of a block. A kernel is generic
//! over [`Lanes`] and is compiled once per instruction set; [`Isa::detect`] picks the widest at run time. A
//! multiply-add rounds once and sums run in one order in all of them, so they give the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod math;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use math::{erf, exp, only};
pub(crate) use portable::Portable;

use std::sync::OnceLock;

/// Channels in a block.
pub(crate) const LANES: usize = 16;

/// Sixteen `f32`.
///
/// # Safety
/// Every method compiles to instructions of one instruction set: the caller has checked that the processor has it.
/// Pointers are valid for sixteen `f32`; they need not be aligned.
pub(crate) trait Lanes: Copy {
    /// Blocks of output channels of which a convolution keeps sums in registers.
    const GROUP: usize = 1;
    /// Pixels of which it does.
    const PIXELS: usize = 4;
    /// All lanes 0.
    unsafe fn zero() -> Self;
    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self;
    /// Reads sixteen values.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes sixteen values.
    unsafe fn store(self, to: *mut f32);
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self - other`.
    unsafe fn sub(self, other: Self) -> Self;
    /// `self * other`.
    unsafe fn mul(self, other: Self) -> Self;
    /// `self / other`.
    unsafe fn div(self, other: Self) -> Self;
    /// The nearest whole number, the even one of two.
    unsafe fn round(self) -> Self;
    /// `2` to the power of `self`, a whole number from -126 to 127.
    unsafe fn pow2(self) -> Self;
    /// `self * by + to`, rounded once.
    unsafe fn mul_add(self, by: Self, to: Self) -> Self;
    /// The larger of `self` and 0; NaN stays NaN.
    unsafe fn relu(self) -> Self;
    /// Bit `i` says whether lane `i` is above `other`'s. False where either is NaN.
    unsafe fn above(self, other: Self) -> u16;
    /// Bit `i` says whether lane `i` is NaN.
    unsafe fn nans(self) -> u16;
    /// Lane `i` of `self` where bit `i` is set, of `other` elsewhere.
    unsafe fn select(self, bits: u16, other: Self) -> Self;

    /// The sum of all lanes, by halves: lane `i` and lane `i + 8`, then of those `i` and `i + 4`, and so on.
    #[inline(always)]
    unsafe fn total(self) -> f32 {
        let mut all = [0.0; LANES];
        // SAFETY: there is room for sixteen values.
        unsafe { self.store(all.as_mut_ptr()) };
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                all[i] += all[i + width];
            }
            width /= 2;
        }
        all[0]
    }

    /// The largest of all lanes; NaN if one is.
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        let mut all = [0.0; LANES];
        // SAFETY: there is room for sixteen values.
        unsafe { self.store(all.as_mut_ptr()) };
        all.into_iter().fold(
            f32::NEG_INFINITY,
            |m, v| if v > m || v.is_nan() { v } else { m },
        )
    }

    /// Writes sixteen times sixteen values that lie `from_step` apart as columns `to_step` apart.
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
        for i in 0..LANES {
            for k in 0..LANES {
                // SAFETY: the caller's: there are so many on both sides.
                unsafe {
                    to.add(i * to_step + k)
                        .write(from.add(k * from_step + i).read());
                };
            }
        }
    }
}

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isa {
    /// AVX-512F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// None in particular: arrays, which the compiler turns into whatever every processor of the target has (NEON on
    /// ARM).
    Portable,
}

impl Isa {
    /// The widest one that this processor has.
    pub fn detect() -> Self {
        static FOUND: OnceLock<Isa> = OnceLock::new();
        *FOUND.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            {
                if is_x86_feature_detected!("avx512f") {
                    return Self::Avx512;
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    return Self::Avx2;
                }
            }
            Self::Portable
        })
    }

    /// All that this processor has, the widest first.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::detect()];
        #[cfg(target_arch = "x86_64")]
        if all[0] == Self::Avx512
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
        {
            all.push(Self::Avx2);
        }
        if all[0] != Self::Portable {
            all.push(Self::Portable);
        }
        all
    }

    /// [`Lanes::GROUP`] of its lanes.
    pub(crate) const fn group(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::GROUP,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::GROUP,
            Self::Portable => Portable::GROUP,
        }
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            Self::Portable => "portable",
        }
    }
}
