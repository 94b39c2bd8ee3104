use std::arch::aarch64::{
    float32x4_t, uint32x4_t, vaddq_f32, vaddq_s32, vaddvq_u32, vandq_u32, vbslq_f32, vceqq_f32,
    vceqq_u32, vcgtq_f32, vcltq_f32, vcvtq_s32_f32, vdivq_f32, vdupq_n_f32, vdupq_n_s32,
    vdupq_n_u32, vfmaq_f32, vld1q_f32, vld1q_u32, vmulq_f32, vmvnq_u32, vreinterpretq_f32_s32,
    vrndnq_f32, vshlq_n_s32, vst1q_f32, vsubq_f32,
};

use super::Lanes;

/// Four 128-bit registers.
#[derive(Clone, Copy)]
pub(crate) struct Neon([float32x4_t; 4]);

const EACH: [u32; 4] = [1, 2, 4, 8];

/// Bit `i` of the result is set where lane `i` of the masks is.
///
/// # Safety
/// NEON is there.
#[inline(always)]
unsafe fn gather(masks: [uint32x4_t; 4]) -> u16 {
    // SAFETY: the caller's.
    unsafe {
        let each = vld1q_u32(EACH.as_ptr());
        let mut bits = 0;
        for (i, mask) in masks.into_iter().enumerate() {
            bits |= vaddvq_u32(vandq_u32(mask, each)) << (4 * i);
        }
        bits as u16
    }
}

// SAFETY of every block: the trait's contract: NEON is there, pointers hold sixteen values.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Neon {
    #[inline(always)]
    unsafe fn zero() -> Self {
        unsafe { Self::splat(0.0) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        unsafe { Self([vdupq_n_f32(x); 4]) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe {
            Self([
                vld1q_f32(from),
                vld1q_f32(from.add(4)),
                vld1q_f32(from.add(8)),
                vld1q_f32(from.add(12)),
            ])
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        for (i, part) in self.0.into_iter().enumerate() {
            unsafe { vst1q_f32(to.add(4 * i), part) }
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        let mut sum = self;
        for (a, b) in sum.0.iter_mut().zip(other.0) {
            *a = unsafe { vaddq_f32(*a, b) };
        }
        sum
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        let mut difference = self;
        for (a, b) in difference.0.iter_mut().zip(other.0) {
            *a = unsafe { vsubq_f32(*a, b) };
        }
        difference
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        let mut quotient = self;
        for (a, b) in quotient.0.iter_mut().zip(other.0) {
            *a = unsafe { vdivq_f32(*a, b) };
        }
        quotient
    }

    #[inline(always)]
    unsafe fn round(self) -> Self {
        let mut whole = self;
        for a in &mut whole.0 {
            *a = unsafe { vrndnq_f32(*a) };
        }
        whole
    }

    #[inline(always)]
    unsafe fn pow2(self) -> Self {
        let mut power = self;
        for a in &mut power.0 {
            *a = unsafe {
                let exponent = vaddq_s32(vcvtq_s32_f32(*a), vdupq_n_s32(127));
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
            };
        }
        power
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        let mut product = self;
        for (a, b) in product.0.iter_mut().zip(other.0) {
            *a = unsafe { vmulq_f32(*a, b) };
        }
        product
    }

    #[inline(always)]
    unsafe fn mul_add(self, by: Self, to: Self) -> Self {
        let mut sum = to;
        for i in 0..4 {
            sum.0[i] = unsafe { vfmaq_f32(to.0[i], self.0[i], by.0[i]) };
        }
        sum
    }

    #[inline(always)]
    unsafe fn relu(self) -> Self {
        let mut kept = self;
        for a in &mut kept.0 {
            // What is not below 0 stays, NaN included.
            *a = unsafe { vbslq_f32(vcltq_f32(*a, vdupq_n_f32(0.0)), vdupq_n_f32(0.0), *a) };
        }
        kept
    }

    #[inline(always)]
    unsafe fn above(self, other: Self) -> u16 {
        unsafe {
            gather([
                vcgtq_f32(self.0[0], other.0[0]),
                vcgtq_f32(self.0[1], other.0[1]),
                vcgtq_f32(self.0[2], other.0[2]),
                vcgtq_f32(self.0[3], other.0[3]),
            ])
        }
    }

    #[inline(always)]
    unsafe fn nans(self) -> u16 {
        unsafe {
            gather([
                vmvnq_u32(vceqq_f32(self.0[0], self.0[0])),
                vmvnq_u32(vceqq_f32(self.0[1], self.0[1])),
                vmvnq_u32(vceqq_f32(self.0[2], self.0[2])),
                vmvnq_u32(vceqq_f32(self.0[3], self.0[3])),
            ])
        }
    }

    #[inline(always)]
    unsafe fn select(self, bits: u16, other: Self) -> Self {
        let mut chosen = other;
        for i in 0..4 {
            chosen.0[i] = unsafe {
                let each = vld1q_u32(EACH.as_ptr());
                let own = vandq_u32(vdupq_n_u32(u32::from(bits >> (4 * i) & 15)), each);
                vbslq_f32(vceqq_u32(own, each), self.0[i], other.0[i])
            };
        }
        chosen
    }
}
