//! Functions of sixteen numbers.
//!
//! All are made of the operations of [`Lanes`] alone, in one order, so they have the same bits with every instruction set.

use super::{LANES, Lanes};

/// Below it `exp` is 0, above the other it is infinite.
const LEAST: f32 = -87.0;
const MOST: f32 = 88.72;

/// The exponential function, within two units in the last place; below -87, where it has no normal number, 0.
///
/// Cody and Waite's reduction, and the polynomial of Cephes.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn exp<L: Lanes>(x: L) -> L {
    const POLYNOMIAL: [f32; 6] = [
        1.987_569_1e-4,
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5e-1,
    ];
    // SAFETY: the caller's.
    unsafe {
        let (low, high) = (L::splat(LEAST), L::splat(MOST));
        let (below, above) = (low.above(x), x.above(high));
        // Numbers out of range are replaced at the end.
        let inside = low.select(below, high.select(above, x));
        let n = inside.mul(L::splat(std::f32::consts::LOG2_E)).round();
        let r = n.mul_add(L::splat(-0.693_359_4), inside);
        let r = n.mul_add(L::splat(2.121_944_4e-4), r);
        let mut p = L::splat(POLYNOMIAL[0]);
        for c in &POLYNOMIAL[1..] {
            p = p.mul_add(r, L::splat(*c));
        }
        let y = p.mul_add(r.mul(r), r.add(L::splat(1.0)));
        // In two steps: 2 to the 128th is no number.
        let half = n.mul(L::splat(0.5)).round();
        let y = y.mul(half.pow2()).mul(n.sub(half).pow2());
        L::zero().select(below, L::splat(f32::INFINITY).select(above, y))
    }
}

/// The error function and `exp(-x^2)`; the first within 2e-7.
///
/// Abramowitz and Stegun, 7.1.26.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn erf<L: Lanes>(x: L) -> (L, L) {
    const POLYNOMIAL: [f32; 5] = [
        1.061_405_4,
        -1.453_152,
        1.421_413_7,
        -0.284_496_74,
        0.254_829_6,
    ];
    // SAFETY: the caller's.
    unsafe {
        let one = L::splat(1.0);
        let negative = L::zero().above(x);
        let size = L::zero().sub(x).select(negative, x);
        let bell = exp(L::zero().sub(x.mul(x)));
        let t = one.div(size.mul_add(L::splat(0.327_591_1), one));
        let mut p = L::splat(POLYNOMIAL[0]);
        for c in &POLYNOMIAL[1..] {
            p = p.mul_add(t, L::splat(*c));
        }
        let y = one.sub(p.mul(t).mul(bell));
        (L::zero().sub(y).select(negative, y), bell)
    }
}

/// The first `n` lanes of `x`, `other` in place of the rest; all lanes for `n` of sixteen or more.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn only<L: Lanes>(x: L, n: usize, other: f32) -> L {
    if n >= LANES {
        return x;
    }
    // SAFETY: the caller's.
    unsafe { x.select((1 << n) - 1, L::splat(other)) }
}
