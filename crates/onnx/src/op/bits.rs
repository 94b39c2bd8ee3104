//! Operations on the bits of integers. They are of no use on the device, so they run on the host.

use super::OperatorEntry;
use super::numbers::{Numbers, zip};
use crate::array::Array;
use crate::node::{NodeSpec, OpResult, Run, one, run};

fn integers(a: &Array) -> OpResult<()> {
    if a.dtype().is_int() {
        Ok(())
    } else {
        Err(format!("a value of type {}; expected integers", a.dtype()))
    }
}

fn binary(f: fn(i128, i128) -> OpResult<i128>) -> OpResult<Run> {
    run(move |x| {
        let (a, b) = (x.array(0)?, x.array(1)?);
        integers(&a)?;
        one(zip(&a, &b, f, |_, _| f64::NAN)?)
    })
}

/// Builds `BitShift`: bits shifted out are lost, and a shift by the whole width or more gives 0.
fn bit_shift(node: &NodeSpec<'_>) -> OpResult<Run> {
    fn by(b: i128) -> u32 {
        // No type is wider than 64 bits, and a 64-bit number shifted by 63 still fits.
        u32::try_from(b).unwrap_or(64).min(64)
    }
    match node.text("direction", "")?.as_str() {
        "LEFT" => binary(|a, b| Ok(if by(b) == 64 { 0 } else { a << by(b) })),
        "RIGHT" => binary(|a, b| Ok(a >> by(b))),
        other => Err(format!(
            "attribute `direction` is `{other}`; expected LEFT or RIGHT"
        )),
    }
}

fn not(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let a = x.array(0)?;
        integers(&a)?;
        match Numbers::of(&a)? {
            Numbers::Ints(v) => {
                let all = v.into_iter().map(|b| !b).collect();
                one(Numbers::Ints(all).stored(a.shape(), a.dtype())?)
            }
            Numbers::Floats(_) => Err("bits of floating point; expected integers".into()),
        }
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("BitShift", bit_shift).on_host(),
    OperatorEntry::new("BitwiseAnd", |_| binary(|a, b| Ok(a & b))).on_host(),
    OperatorEntry::new("BitwiseOr", |_| binary(|a, b| Ok(a | b))).on_host(),
    OperatorEntry::new("BitwiseXor", |_| binary(|a, b| Ok(a ^ b))).on_host(),
    OperatorEntry::new("BitwiseNot", not).on_host(),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, computed};

    fn bytes(v: &[u8]) -> Array {
        Array::new([v.len()], v.to_vec())
    }

    #[test]
    fn shifts() {
        let shift = |way: &str| {
            computed(
                &Case::new("BitShift")
                    .text("direction", way)
                    .host(bytes(&[16, 4, 129, 1]))
                    .host(bytes(&[1, 2, 1, 200])),
            )
        };
        assert_eq!(shift("LEFT"), bytes(&[32, 16, 2, 0]));
        assert_eq!(shift("RIGHT"), bytes(&[8, 1, 64, 0]));
        let c = Case::new("BitShift")
            .text("direction", "LEFT")
            .host(Array::new([2], vec![u64::MAX, 1]))
            .host(Array::new([2], vec![63u64, 64]));
        assert_eq!(computed(&c), Array::new([2], vec![1u64 << 63, 0]));
    }

    #[test]
    fn bitwise_operators() {
        let two = |op: &str| {
            computed(
                &Case::new(op)
                    .host(bytes(&[0b1100, 255]))
                    .host(bytes(&[0b1010])),
            )
        };
        assert_eq!(two("BitwiseAnd"), bytes(&[0b1000, 0b1010]));
        assert_eq!(two("BitwiseOr"), bytes(&[0b1110, 255]));
        assert_eq!(two("BitwiseXor"), bytes(&[0b0110, 0b1111_0101]));
        let c = Case::new("BitwiseNot").host(bytes(&[0b1100]));
        assert_eq!(computed(&c), bytes(&[0b1111_0011]));
        let c = Case::new("BitwiseNot").host(Array::list(vec![0, -1]));
        assert_eq!(computed(&c), Array::list(vec![-1, 0]));
    }

    #[test]
    fn invalid_nodes_are_errors() {
        let c = Case::new("BitShift").host(bytes(&[1])).host(bytes(&[1]));
        assert!(c.run().unwrap_err().contains("expected LEFT or RIGHT"));
        let c = Case::new("BitwiseAnd")
            .host(Array::new([1], vec![1.0f32]))
            .host(Array::new([1], vec![1.0f32]));
        assert!(c.run().unwrap_err().contains("expected integers"));
    }
}
