//! Products of matrices.

use burn::backend::Dispatch;
use burn::backend::ops::ModuleOps;
use burn::tensor::Device;

use super::OperatorEntry;
use crate::array::Array;
use crate::dtype::DType;
use crate::lower::{Lowering, floats, lowering};
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::room;
use crate::tensor::{Tensor, broadcast};

/// Shapes of two operands as matrices, and of their product.
struct Shapes {
    left: Vec<usize>,
    right: Vec<usize>,
    product: Vec<usize>,
}

/// Returns the shapes of a product. A one-dimensional operand is a row on the left and a column on the right; the
/// product drops that dimension.
fn shapes(a: &[usize], b: &[usize]) -> OpResult<Shapes> {
    if a.is_empty() || b.is_empty() {
        return Err(format!("shapes {a:?} and {b:?}; a scalar is not a matrix"));
    }
    let left = if a.len() == 1 {
        vec![1, a[0]]
    } else {
        a.to_vec()
    };
    let right = if b.len() == 1 {
        vec![b[0], 1]
    } else {
        b.to_vec()
    };
    let (l, r) = (left.len(), right.len());
    if left[l - 1] != right[r - 2] {
        return Err(format!(
            "matrices of shape {a:?} and {b:?} cannot be multiplied"
        ));
    }
    let mut product = broadcast(&left[..l - 2], &right[..r - 2])?;
    if a.len() > 1 {
        product.push(left[l - 2]);
    }
    if b.len() > 1 {
        product.push(right[r - 1]);
    }
    room::elements(&product)?;
    Ok(Shapes {
        left,
        right,
        product,
    })
}

/// Multiplies two tensors; leading dimensions broadcast.
pub(super) fn product(a: Tensor, b: Tensor, device: &Device) -> OpResult<Tensor> {
    let (sa, sb) = (a.shape(), b.shape());
    let s = shapes(&sa, &sb)?;
    if s.product.contains(&0) || sa.contains(&0) {
        // The sums or the result are empty, which backends need not support.
        return Ok(Tensor::full(&s.product, 0.0, device)?.typed(a.dtype()));
    }
    let dtype = a.dtype();
    let (a, b) = (a.reshape(&s.left)?, b.reshape(&s.right)?);
    let y = if s.right.len() == 2 && s.left.len() > 2 {
        // A single matrix on the right: the leading dimensions become rows of one product.
        let b = b.into_dispatch();
        a.with(|a| <Dispatch as ModuleOps<Dispatch>>::linear(a, b, None))
    } else {
        a.matmul(b)?
    };
    Ok(y.reshape(&s.product)?.typed(dtype))
}

/// Multiplies row-major matrices with the given addition and multiplication.
fn plain<T: Copy>(
    s: &Shapes,
    a: &[T],
    b: &[T],
    zero: T,
    add: impl Fn(T, T) -> T,
    mul: impl Fn(T, T) -> T,
) -> OpResult<Vec<T>> {
    let (l, r) = (s.left.len(), s.right.len());
    let (m, k, n) = (s.left[l - 2], s.left[l - 1], s.right[r - 1]);
    let outer = broadcast(&s.left[..l - 2], &s.right[..r - 2])?;
    let start = |own: &[usize], at: usize, size: usize| {
        // Index of the operand's matrix that belongs to matrix `at` of the product.
        let (mut rest, mut step, mut matrix) = (at, 1, 0);
        for i in 0..outer.len() {
            let d = outer.len() - 1 - i;
            let here = rest % outer[d];
            rest /= outer[d];
            if i < own.len() {
                let length = own[own.len() - 1 - i];
                if length != 1 {
                    matrix += here * step;
                }
                step *= length;
            }
        }
        matrix * size
    };
    let mut y = Vec::with_capacity(room::elements(&s.product)?);
    if !s.product.contains(&0) {
        for at in 0..outer.iter().product::<usize>() {
            let from_a = start(&s.left[..l - 2], at, m * k);
            let from_b = start(&s.right[..r - 2], at, k * n);
            for i in 0..m {
                for j in 0..n {
                    y.push((0..k).fold(zero, |sum, x| {
                        add(sum, mul(a[from_a + i * k + x], b[from_b + x * n + j]))
                    }));
                }
            }
        }
    }
    Ok(y)
}

/// Multiplies arrays whose elements are not `f32`, in their own precision.
fn host_product(a: &Array, b: &Array) -> OpResult<Array> {
    let s = shapes(a.shape(), b.shape())?;
    if a.dtype().is_float() {
        let (va, vb) = (a.to_f64()?, b.to_f64()?);
        let y = plain(&s, &va, &vb, 0.0, |x, y| x + y, |x, y| x * y)?;
        return Array::try_new(s.product, y)?.cast(a.dtype());
    }
    let (va, vb) = (a.to_ints()?, b.to_ints()?);
    let y = plain(&s, &va, &vb, 0, i64::wrapping_add, i64::wrapping_mul)?;
    Array::try_new(s.product, y)?.cast(a.dtype())
}

/// Whether host values of this type are multiplied on the host, because `f32` cannot hold them exactly.
fn exact(dtype: DType) -> bool {
    dtype == DType::F64 || dtype.is_int()
}

fn matmul(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        if x.all_host() && exact(x.peek(0)?.dtype()) {
            let a = x.array(0)?;
            return one(host_product(&a, &x.array(1)?)?);
        }
        let a = x.tensor(0)?;
        let b = x.tensor(1)?;
        one(product(a, b, x.device)?)
    })
}

fn gemm(node: &NodeSpec<'_>) -> OpResult<Run> {
    let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
    let (flip_a, flip_b) = (node.flag("transA", false)?, node.flag("transB", false)?);
    run(move |x| {
        if x.all_host() && exact(x.peek(0)?.dtype()) && alpha == 1.0 && beta == 1.0 {
            return host_gemm(&x.array(0)?, &x.array(1)?, x.array_opt(2)?, flip_a, flip_b);
        }
        let (a, b, c) = (x.tensor(0)?, x.tensor(1)?, x.tensor_opt(2)?);
        let (sa, sb) = (a.shape(), b.shape());
        if sa.len() != 2 || sb.len() != 2 {
            return Err(format!("shapes {sa:?} and {sb:?}; expected two matrices"));
        }
        let dtype = a.dtype();
        let a = if flip_a { a.transposed() } else { a };
        let b = if flip_b { b.transposed() } else { b };
        let (m, n) = (a.shape()[0], b.shape()[1]);
        let y = product(a, b, x.device)?;
        let y = if alpha == 1.0 { y } else { y.mul_scalar(alpha) };
        let Some(c) = c else {
            return one(y.typed(dtype));
        };
        let c = if beta == 1.0 { c } else { c.mul_scalar(beta) };
        let y = y.add(c)?;
        if y.shape() != [m, n] {
            return Err(format!(
                "the third input makes an output of shape {:?} of a product of shape [{m}, {n}]",
                y.shape()
            ));
        }
        one(y.typed(dtype))
    })
}

fn flipped(a: Array, flip: bool) -> OpResult<Array> {
    let [m, n] = *a.shape() else {
        return Err(format!("shape {:?}; expected a matrix", a.shape()));
    };
    if !flip {
        return Ok(a);
    }
    let from: Vec<usize> = (0..m * n).map(|i| i % m * n + i / m).collect();
    Ok(a.pick(&from, [n, m]))
}

fn host_gemm(
    a: &Array,
    b: &Array,
    c: Option<Array>,
    flip_a: bool,
    flip_b: bool,
) -> OpResult<Vec<crate::value::Value>> {
    let y = host_product(&flipped(a.clone(), flip_a)?, &flipped(b.clone(), flip_b)?)?;
    let Some(c) = c else { return one(y) };
    let shape = y.shape().to_vec();
    if broadcast(&shape, c.shape())? != shape {
        return Err(format!(
            "a third input of shape {:?} for {shape:?}",
            c.shape()
        ));
    }
    let own = c.shape();
    let (rows, columns) = match *own {
        [r, n] => (r, n),
        [n] => (1, n),
        _ => (1, 1),
    };
    let from: Vec<usize> = (0..y.len())
        .map(|i| {
            let (r, n) = (i / shape[1], i % shape[1]);
            (if rows == 1 { 0 } else { r * columns }) + if columns == 1 { 0 } else { n }
        })
        .collect();
    let c = c.pick(&from, shape.clone());
    if y.dtype().is_float() {
        let sum = y.to_f64()?.into_iter().zip(c.to_f64()?).map(|(a, b)| a + b);
        return one(Array::try_new(shape, sum.collect::<Vec<f64>>())?.cast(y.dtype())?);
    }
    let sum = y
        .to_ints()?
        .into_iter()
        .zip(c.to_ints()?)
        .map(|(a, b)| a.wrapping_add(b));
    one(Array::try_new(shape, sum.collect::<Vec<i64>>())?.cast(y.dtype())?)
}

fn lowered_matmul(_: &NodeSpec<'_>) -> OpResult<Lowering> {
    lowering(|x| {
        if !x.is_constant(1) {
            let (a, b) = (x.sample(0)?, x.sample(1)?);
            return x.product(&a, &b);
        }
        let matrix = x.constant(1)?;
        let [width, out] = *matrix.shape() else {
            return Err(format!(
                "a constant of shape {:?} is not a matrix",
                matrix.shape()
            ));
        };
        let (weights, s) = (floats(matrix)?, x.sample(0)?);
        x.dense(&s, width, |i, o| weights[i * out + o], vec![0.0; out])
    })
}

fn lowered_gemm(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let (alpha, beta) = (
        node.float("alpha", 1.0)? as f32,
        node.float("beta", 1.0)? as f32,
    );
    let (flip_a, flip_b) = (node.flag("transA", false)?, node.flag("transB", false)?);
    lowering(move |x| {
        let (matrix, s) = (x.constant(1)?, x.sample(0)?);
        let ([m, n], [_, _], false) = (matrix.shape(), s.shape(), flip_a) else {
            return Err(format!("shape {:?} times {:?}", s.shape(), matrix.shape()));
        };
        let (m, n) = (*m, *n);
        let (width, out) = if flip_b { (n, m) } else { (m, n) };
        let weights = floats(matrix)?;
        let mut bias = match x.numbers(2)? {
            None => vec![0.0; out],
            Some(all) if all.len() == 1 => vec![all[0]; out],
            Some(all) => match *x.constant(2)?.shape() {
                [n] | [1, n] if n == out => all,
                // A number per row, or per row and output.
                ref other => {
                    return Err(format!(
                        "a third input of shape {other:?} for {out} outputs"
                    ));
                }
            },
        };
        for b in &mut bias {
            *b *= beta;
        }
        let weight =
            |i: usize, o: usize| alpha * weights[if flip_b { o * n + i } else { i * n + o }];
        x.dense(&s, width, weight, bias)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("MatMul", matmul).lowered(lowered_matmul),
    OperatorEntry::new("Gemm", gemm).lowered(lowered_gemm),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::Case;

    fn case(op: &str, shapes: &[&[usize]]) -> Case {
        shapes
            .iter()
            .fold(Case::new(op), |c, s| c.scattered(s, -1.0, 1.0))
    }

    #[test]
    fn gradients() {
        let pairs: [(&[usize], &[usize]); 8] = [
            (&[3], &[3]),
            (&[2, 3], &[3]),
            (&[3], &[2, 3, 4]),
            (&[2, 3], &[3, 4]),
            (&[2, 2, 3], &[3, 4]),
            (&[2, 3], &[2, 3, 4]),
            (&[2, 1, 2, 3], &[3, 3, 2]),
            (&[2, 2, 3], &[2, 3, 2]),
        ];
        for (a, b) in pairs {
            case("MatMul", &[a, b]).assert_gradient();
        }
        case("Gemm", &[&[2, 3], &[3, 4], &[4]]).assert_gradient();
        case("Gemm", &[&[3, 2], &[4, 3], &[2, 1]])
            .int("transA", 1)
            .int("transB", 1)
            .float("alpha", 0.5)
            .float("beta", 2.0)
            .assert_gradient();
        case("Gemm", &[&[2, 3], &[4, 3]])
            .int("transB", 1)
            .assert_gradient();
    }

    #[test]
    fn whole_numbers_are_exact() {
        let y = Case::new("MatMul")
            .host(Array::new([1, 2], vec![16_777_217i32, 1]))
            .host(Array::new([2, 2, 1], vec![1i32, 2, 3, 4]))
            .run()
            .unwrap();
        assert_eq!(y[0], Array::new([2, 1, 1], vec![16_777_219i32, 50_331_655]));
        let y = Case::new("Gemm")
            .int("transA", 1)
            .host(Array::new([2, 1], vec![1i64 << 60, 1]))
            .host(Array::new([2, 2], vec![1i64, 2, 3, 4]))
            .host(Array::new([1], vec![5i64]))
            .run()
            .unwrap();
        let expected = vec![(1i64 << 60) + 8, (1i64 << 61) + 9];
        assert_eq!(y[0], Array::new([1, 2], expected));
    }

    #[test]
    fn empty_sums_are_zero() {
        let y = case("MatMul", &[&[2, 0], &[0, 3]]).run().unwrap();
        assert_eq!(y[0], Array::new([2, 3], vec![0.0f32; 6]));
        let y = case("MatMul", &[&[0, 2], &[2, 3]]).run().unwrap();
        assert_eq!(y[0].shape(), [0, 3]);
        let y = case("Gemm", &[&[2, 0], &[0, 3], &[3]]).run().unwrap();
        assert_eq!(y[0].shape(), [2, 3]);
        let y = Case::new("MatMul")
            .host(Array::new([0, 2], Vec::<i64>::new()))
            .host(Array::new([2, 1], vec![1i64, 2]))
            .run()
            .unwrap();
        assert_eq!(y[0].shape(), [0, 1]);
    }

    #[test]
    fn invalid_shapes_are_errors() {
        let e = |c: Case| c.run().unwrap_err();
        assert!(e(case("MatMul", &[&[2, 3], &[2, 3]])).contains("cannot be multiplied"));
        assert!(e(case("MatMul", &[&[], &[2, 3]])).contains("scalar"));
        assert!(e(case("MatMul", &[&[2, 2, 3], &[3, 3, 1]])).contains("broadcast"));
        assert!(e(case("Gemm", &[&[2, 3, 1], &[2, 3]])).contains("two matrices"));
        assert!(e(case("Gemm", &[&[1, 3], &[3, 2], &[2, 2]])).contains("third input"));
    }
}
