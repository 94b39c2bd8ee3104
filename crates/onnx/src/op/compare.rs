//! Comparisons, logic, and `Where`.

use super::numbers::{aligned, offsets, strides, zip_ask};
use super::{Gradient, OperatorEntry};
use crate::array::{Array, Data};
use crate::dtype::DType;
use crate::node::{Args, NodeSpec, OpResult, Run, one, run};
use crate::tensor::{Mask, Tensor, broadcast_all};
use crate::value::Value;

/// Implementations of a comparison: on host integers, host floats and device tensors, and on the device with a scalar
/// on the right or on the left.
struct Question {
    ints: fn(&i128, &i128) -> bool,
    floats: fn(&f64, &f64) -> bool,
    device: fn(Tensor, Tensor) -> Result<Mask, String>,
    right: fn(Tensor, f64) -> Mask,
    left: fn(Tensor, f64) -> Mask,
}

/// Returns input `i` if it is a single host number with no more dimensions than the other input, `None` otherwise.
fn scalar(x: &Args<'_>, i: usize) -> OpResult<Option<f64>> {
    let rank = x.peek(1 - i)?.shape().len();
    match x.peek(i)? {
        Value::Host(a) if a.len() == 1 && a.shape().len() <= rank => Ok(Some(a.to_f64()?[0])),
        _ => Ok(None),
    }
}

fn ask(x: &mut Args<'_>, question: &Question) -> OpResult<Value> {
    if x.all_host() {
        let (a, b) = (x.array(0)?, x.array(1)?);
        if let (Data::Text(_), Data::Text(_)) = (a.data(), b.data()) {
            return text_equal(&a, &b).map(Value::from);
        }
        return Ok(zip_ask(&a, &b, question.ints, question.floats)?.into());
    }
    let mask = if let Some(value) = scalar(x, 1)? {
        (question.right)(x.tensor(0)?, value)
    } else if let Some(value) = scalar(x, 0)? {
        (question.left)(x.tensor(1)?, value)
    } else {
        let a = x.tensor(0)?;
        (question.device)(a, x.tensor(1)?)?
    };
    Ok(mask.numbers().into())
}

/// Compares strings for equality, the only comparison they support.
fn text_equal(a: &Array, b: &Array) -> OpResult<Array> {
    let (shape, both) = aligned(&[a.clone(), b.clone()])?;
    match (both[0].data(), both[1].data()) {
        (Data::Text(p), Data::Text(q)) => Array::try_new(
            shape,
            p.iter().zip(q).map(|(x, y)| x == y).collect::<Vec<_>>(),
        ),
        _ => Err("strings and numbers cannot be compared".into()),
    }
}

fn comparison(question: Question) -> OpResult<Run> {
    run(move |x| one(ask(x, &question)?))
}

fn no_text(x: &Args<'_>) -> OpResult<()> {
    if x.peek(0)?.dtype() == DType::Text {
        return Err("strings have no order".into());
    }
    Ok(())
}

fn ordered(question: Question) -> OpResult<Run> {
    run(move |x| {
        no_text(x)?;
        one(ask(x, &question)?)
    })
}

fn equal(_: &NodeSpec<'_>) -> OpResult<Run> {
    comparison(Question {
        ints: i128::eq,
        floats: f64::eq,
        device: Tensor::equal,
        right: Tensor::equal_scalar,
        left: Tensor::equal_scalar,
    })
}

fn greater(_: &NodeSpec<'_>) -> OpResult<Run> {
    ordered(Question {
        ints: i128::gt,
        floats: f64::gt,
        device: Tensor::greater,
        right: Tensor::greater_scalar,
        left: Tensor::lower_scalar,
    })
}

fn greater_or_equal(_: &NodeSpec<'_>) -> OpResult<Run> {
    ordered(Question {
        ints: i128::ge,
        floats: f64::ge,
        device: Tensor::greater_equal,
        right: Tensor::greater_equal_scalar,
        left: Tensor::lower_equal_scalar,
    })
}

fn less(_: &NodeSpec<'_>) -> OpResult<Run> {
    ordered(Question {
        ints: i128::lt,
        floats: f64::lt,
        device: Tensor::lower,
        right: Tensor::lower_scalar,
        left: Tensor::greater_scalar,
    })
}

fn less_or_equal(_: &NodeSpec<'_>) -> OpResult<Run> {
    ordered(Question {
        ints: i128::le,
        floats: f64::le,
        device: Tensor::lower_equal,
        right: Tensor::lower_equal_scalar,
        left: Tensor::greater_equal_scalar,
    })
}

fn logic(
    host: fn(bool, bool) -> bool,
    device: fn(Mask, Mask) -> Result<Mask, String>,
) -> OpResult<Run> {
    run(move |x| {
        if x.all_host() {
            let (a, b) = (
                x.array(0)?.cast(DType::Bool)?,
                x.array(1)?.cast(DType::Bool)?,
            );
            let (shape, both) = aligned(&[a, b])?;
            return match (both[0].data(), both[1].data()) {
                (Data::Bool(p), Data::Bool(q)) => one(Array::try_new(
                    shape,
                    p.iter()
                        .zip(q)
                        .map(|(x, y)| host(*x, *y))
                        .collect::<Vec<_>>(),
                )?),
                _ => Err("booleans are expected".into()),
            };
        }
        let a = x.tensor(0)?.truth();
        one(device(a, x.tensor(1)?.truth())?.numbers())
    })
}

fn and(_: &NodeSpec<'_>) -> OpResult<Run> {
    logic(|a, b| a && b, Mask::and)
}

fn or(_: &NodeSpec<'_>) -> OpResult<Run> {
    logic(|a, b| a || b, Mask::or)
}

fn xor(_: &NodeSpec<'_>) -> OpResult<Run> {
    logic(
        |a, b| a != b,
        |a, b| {
            let both = a.clone().and(b.clone())?;
            a.or(b)?.and(both.not())
        },
    )
}

fn not(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        if x.all_host() {
            let a = x.array(0)?.cast(DType::Bool)?;
            return match a.data() {
                Data::Bool(v) => one(Array::try_new(
                    a.shape(),
                    v.iter().map(|b| !b).collect::<Vec<_>>(),
                )?),
                _ => Err("booleans are expected".into()),
            };
        }
        one(x.tensor(0)?.equal_scalar(0.0).numbers())
    })
}

/// Computes `Where` on the host for any type: finds, for each element, its position in `yes` followed by `no`.
fn host_where(condition: &Array, yes: &Array, no: &Array) -> OpResult<Array> {
    if yes.dtype() != no.dtype() {
        return Err(format!(
            "inputs of types {} and {}; expected the same",
            yes.dtype(),
            no.dtype()
        ));
    }
    let shape = broadcast_all([condition.shape(), yes.shape(), no.shape()])?;
    crate::room::elements(&shape)?;
    let places = |a: &Array| {
        let own = a.shape();
        let steps = strides(own)
            .into_iter()
            .zip(own)
            .map(|(stride, dim)| if *dim == 1 { 0 } else { stride });
        let steps: Vec<usize> = std::iter::repeat_n(0, shape.len() - own.len())
            .chain(steps)
            .collect();
        offsets(&shape, &steps)
    };
    let condition = condition.cast(DType::Bool)?;
    let Data::Bool(flags) = condition.data() else {
        return Err("a condition of booleans is expected".into());
    };
    let (c, y, n) = (places(&condition), places(yes), places(no));
    let first = yes.len();
    let from: Vec<usize> = (0..c.len())
        .map(|i| if flags[c[i]] { y[i] } else { first + n[i] })
        .collect();
    macro_rules! chosen {
        ($($variant:ident)*) => {
            match (yes.data(), no.data()) {
                $((Data::$variant(p), Data::$variant(q)) => Data::$variant(
                    from.iter()
                        .map(|i| if *i < first { p[*i].clone() } else { q[*i - first].clone() })
                        .collect(),
                ),)*
                _ => return Err("inputs of different types".into()),
            }
        };
    }
    let data = chosen!(Bool I8 I16 I32 I64 U8 U16 U32 U64 F16 BF16 F32 F64 Text);
    Array::try_new(shape, data)
}

fn choose(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        if x.all_host() {
            return one(host_where(&x.array(0)?, &x.array(1)?, &x.array(2)?)?);
        }
        let mask = x.tensor(0)?.truth();
        let yes = x.tensor(1)?;
        one(mask.choose(yes, x.tensor(2)?)?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Equal", equal).gradient(Gradient::Zero),
    OperatorEntry::new("Greater", greater).gradient(Gradient::Zero),
    OperatorEntry::new("GreaterOrEqual", greater_or_equal).gradient(Gradient::Zero),
    OperatorEntry::new("Less", less).gradient(Gradient::Zero),
    OperatorEntry::new("LessOrEqual", less_or_equal).gradient(Gradient::Zero),
    OperatorEntry::new("And", and).gradient(Gradient::Zero),
    OperatorEntry::new("Or", or).gradient(Gradient::Zero),
    OperatorEntry::new("Xor", xor).gradient(Gradient::Zero),
    OperatorEntry::new("Not", not).gradient(Gradient::Zero),
    OperatorEntry::new("Where", choose),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, computed};

    const OPS: [&str; 5] = ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"];

    fn expected(op: &str, a: &[f64], b: &[f64]) -> Array {
        let f = match op {
            "Equal" => f64::eq,
            "Greater" => f64::gt,
            "GreaterOrEqual" => f64::ge,
            "Less" => f64::lt,
            _ => f64::le,
        };
        Array::new(
            [a.len()],
            a.iter().zip(b).map(|(x, y)| f(x, y)).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn comparisons_agree_everywhere() {
        let (a, b) = (vec![1.0, 2.0, 3.0, f64::NAN], vec![2.0, 2.0, 2.0, 2.0]);
        let host = |v: &[f64]| Array::new([4], v.to_vec());
        let two = || Array::new([], vec![2.0f64]);
        for op in OPS {
            let e = expected(op, &a, &b);
            let there = |v: &[f64]| Case::new(op).tracked(&[4], v.to_vec());
            assert_eq!(computed(&there(&a).tracked(&[4], b.clone())), e, "{op}");
            assert_eq!(computed(&there(&a).host(two())), e, "{op}");
            let c = Case::new(op).host(host(&a)).host(host(&b));
            assert_eq!(computed(&c), e, "{op}");
            let swapped = expected(op, &b, &a);
            let c = Case::new(op).host(two()).tracked(&[4], a.clone());
            assert_eq!(computed(&c), swapped, "{op}");
        }
    }

    #[test]
    fn large_integers_and_strings() {
        let big = (1i64 << 53) + 1;
        let c = Case::new("Equal")
            .host(Array::list(vec![big]))
            .host(Array::list(vec![big - 1]));
        assert_eq!(computed(&c), Array::new([1], vec![false]));
        let text = |s: &str| Array::new([1], vec![s.to_owned()]);
        let c = Case::new("Equal").host(text("a")).host(text("a"));
        assert_eq!(computed(&c), Array::new([1], vec![true]));
        let c = Case::new("Less").host(text("a")).host(text("a"));
        assert_eq!(c.run().unwrap_err(), "strings have no order");
    }

    #[test]
    fn logic_agrees_everywhere() {
        let (a, b) = (
            vec![false, false, true, true],
            vec![false, true, false, true],
        );
        let device = |v: &[bool]| {
            v.iter()
                .map(|b| f64::from(u8::from(*b)))
                .collect::<Vec<_>>()
        };
        for (op, f) in [
            ("And", (|x, y| x && y) as fn(bool, bool) -> bool),
            ("Or", |x, y| x || y),
            ("Xor", |x, y| x != y),
        ] {
            let e = Array::new([4], (0..4).map(|i| f(a[i], b[i])).collect::<Vec<_>>());
            let c = Case::new(op)
                .tracked(&[4], device(&a))
                .tracked(&[4], device(&b));
            assert_eq!(computed(&c), e, "{op}");
            let c = Case::new(op)
                .host(Array::new([4], a.clone()))
                .host(Array::new([4], b.clone()));
            assert_eq!(computed(&c), e, "{op}");
        }
        let e = Array::new([4], vec![true, true, false, false]);
        assert_eq!(computed(&Case::new("Not").tracked(&[4], device(&a))), e);
        assert_eq!(computed(&Case::new("Not").host(Array::new([4], a))), e);
    }

    #[test]
    fn gradients() {
        let flags = Array::new([2, 1], vec![true, false]);
        Case::new("Where")
            .host(flags.clone())
            .scattered(&[2, 3], -1.0, 1.0)
            .scattered(&[3], -1.0, 1.0)
            .assert_gradient();
        Case::new("Where")
            .host(flags)
            .host(Array::new([], vec![0.5f32]))
            .scattered(&[2, 3], -1.0, 1.0)
            .assert_gradient();
        for op in OPS {
            Case::new(op)
                .scattered(&[4], -1.0, 1.0)
                .scattered(&[4], -1.0, 1.0)
                .assert_gradient();
        }
    }

    #[test]
    fn choices_of_any_type() {
        let flags = || Array::new([2, 1], vec![true, false]);
        let c = Case::new("Where")
            .host(flags())
            .host(Array::list(vec![i64::MAX, 2]))
            .host(Array::new([], vec![-1i64]));
        assert_eq!(computed(&c), Array::new([2, 2], vec![i64::MAX, 2, -1, -1]));
        let text = |s: &str| Array::new([1], vec![s.to_owned()]);
        let c = Case::new("Where")
            .host(flags())
            .host(text("a"))
            .host(text("b"));
        assert_eq!(
            computed(&c),
            Array::new([2, 1], vec!["a".to_owned(), "b".to_owned()])
        );
        // Elements that are not chosen may be NaN or infinite.
        let c = Case::new("Where")
            .host(flags())
            .tracked(&[2, 1], vec![1.0, f64::NAN])
            .tracked(&[2, 1], vec![f64::INFINITY, 2.0]);
        assert_eq!(computed(&c), Array::new([2, 1], vec![1.0f32, 2.0]));
    }

    #[test]
    fn invalid_nodes_are_errors() {
        let c = Case::new("Where")
            .host(Array::new([3], vec![true; 3]))
            .scattered(&[2], 0.0, 1.0)
            .scattered(&[2], 0.0, 1.0);
        assert!(c.run().unwrap_err().contains("do not broadcast"));
        let c = Case::new("Where")
            .host(Array::new([1], vec![true]))
            .host(Array::list(vec![1]))
            .host(Array::new([1], vec![1.0f32]));
        assert!(c.run().unwrap_err().contains("types int64 and float32"));
        let c = Case::new("Less").host(Array::list(vec![1]));
        assert_eq!(c.run().unwrap_err(), "input 1 is missing");
        let c = Case::new("And")
            .host(Array::new([2], vec![true; 2]))
            .host(Array::new([3], vec![true; 3]));
        assert!(c.run().unwrap_err().contains("do not broadcast"));
    }
}
