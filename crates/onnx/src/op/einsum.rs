//! `Einsum`: sums of products over named indices.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;

use super::OperatorEntry;
use super::equation::{Equation, Label, sizes};
use super::matmul::product;
use crate::array::Array;
use crate::dtype::DType;
use crate::node::{Args, NodeSpec, OpResult, Run, one, run};
use crate::room;
use crate::tensor::Tensor;

/// A tensor whose dimensions have names.
struct Named {
    tensor: Tensor,
    labels: Vec<Label>,
}

impl Named {
    /// Takes the diagonal over each index that occurs twice.
    fn diagonal(mut self) -> OpResult<Self> {
        loop {
            let n = self.labels.len();
            let twice = (0..n)
                .flat_map(|i| (i + 1..n).map(move |j| (i, j)))
                .find(|(i, j)| self.labels[*i] == self.labels[*j]);
            let Some((i, j)) = twice else {
                return Ok(self);
            };
            let mut order: Vec<usize> = (0..n).filter(|k| *k != i && *k != j).collect();
            let rest: Vec<usize> = order.iter().map(|k| self.tensor.shape()[*k]).collect();
            order.extend([i, j]);
            let shape = self.tensor.shape();
            let size = shape[i];
            if shape[j] != size {
                return Err(format!("an index has length {size} and {}", shape[j]));
            }
            let label = self.labels[i];
            let mut flat = rest.clone();
            flat.push(size * size);
            let mut tensor = self.tensor.permute(&order).reshape(&flat)?;
            if size > 1 {
                tensor = tensor.slice(rest.len(), 0, size * size, size as isize + 1);
            }
            let mut labels: Vec<Label> = order[..n - 2].iter().map(|k| self.labels[*k]).collect();
            labels.push(label);
            self = Self { tensor, labels };
        }
    }

    /// Sums over the indices that are not kept.
    fn summed(self, keep: impl Fn(Label) -> bool) -> OpResult<Self> {
        let axes: Vec<usize> = (0..self.labels.len())
            .filter(|i| !keep(self.labels[*i]))
            .collect();
        if axes.is_empty() {
            return Ok(self);
        }
        let left: Vec<usize> = (0..self.labels.len())
            .filter(|i| !axes.contains(i))
            .collect();
        let shape = self.tensor.shape();
        let shape: Vec<usize> = left.iter().map(|i| shape[*i]).collect();
        Ok(Self {
            tensor: self.tensor.sum(&axes).reshape(&shape)?,
            labels: left.iter().map(|i| self.labels[*i]).collect(),
        })
    }

    /// Permutes the dimensions into this order, which must list all of them.
    fn ordered(self, labels: &[Label]) -> OpResult<Tensor> {
        let order = labels
            .iter()
            .map(|l| self.labels.iter().position(|o| o == l))
            .collect::<Option<Vec<_>>>()
            .ok_or("an index is missing")?;
        Ok(self.tensor.permute(&order))
    }

    fn size(&self, label: Label) -> usize {
        let at = self.labels.iter().position(|l| *l == label);
        at.map_or(1, |at| self.tensor.shape()[at])
    }

    /// Expands each index of length 1 to its length in `other`.
    fn like(self, other: &BTreeMap<Label, usize>) -> OpResult<Self> {
        let shape: Vec<usize> = self
            .labels
            .iter()
            .zip(self.tensor.shape())
            .map(|(l, d)| {
                if d == 1 {
                    *other.get(l).unwrap_or(&1)
                } else {
                    d
                }
            })
            .collect();
        Ok(Self {
            tensor: self.tensor.expand(&shape)?,
            labels: self.labels,
        })
    }
}

/// Multiplies two operands and sums over the indices that `keep` rejects.
fn pair(a: Named, b: Named, keep: impl Fn(Label) -> bool, device: &Device) -> OpResult<Named> {
    let a = {
        let others: BTreeSet<Label> = b.labels.iter().copied().collect();
        a.summed(|l| keep(l) || others.contains(&l))?
    };
    let b = {
        let others: BTreeSet<Label> = a.labels.iter().copied().collect();
        b.summed(|l| keep(l) || others.contains(&l))?
    };
    let common = |l: &Label| a.labels.contains(l) && b.labels.contains(l);
    let of = |named: &Named, f: &dyn Fn(&Label) -> bool| -> Vec<Label> {
        named.labels.iter().filter(|l| f(l)).copied().collect()
    };
    let batch = of(&a, &|l| common(l) && keep(*l));
    let inner = of(&a, &|l| common(l) && !keep(*l));
    let left = of(&a, &|l| !common(l));
    let right = of(&b, &|l| !common(l));
    let all: BTreeMap<Label, usize> = batch
        .iter()
        .chain(&inner)
        .map(|l| {
            (
                *l,
                if a.size(*l) == 1 {
                    b.size(*l)
                } else {
                    a.size(*l)
                },
            )
        })
        .collect();
    let length = |named: &Named, labels: &[Label]| -> Vec<usize> {
        labels
            .iter()
            .map(|l| all.get(l).copied().unwrap_or_else(|| named.size(*l)))
            .collect()
    };
    let (outer, l, r) = (length(&a, &batch), length(&a, &left), length(&b, &right));
    let k: usize = length(&a, &inner).iter().product();
    let shape = [outer.clone(), l.clone(), r.clone()].concat();
    room::elements(&shape)?;
    let labels = [batch.clone(), left.clone(), right.clone()].concat();
    let tensor = if inner.is_empty() {
        let ones = |n: usize| vec![1; n];
        let a_shape = [&outer[..], &l[..], &ones(r.len())[..]].concat();
        let b_shape = [&outer[..], &ones(l.len())[..], &r[..]].concat();
        let a = a.like(&all)?.ordered(&[&batch[..], &left[..]].concat())?;
        let b = b.like(&all)?.ordered(&[&batch[..], &right[..]].concat())?;
        a.reshape(&a_shape)?.mul(b.reshape(&b_shape)?)?
    } else {
        let a = a
            .like(&all)?
            .ordered(&[&batch[..], &left[..], &inner[..]].concat())?;
        let b = b
            .like(&all)?
            .ordered(&[&batch[..], &inner[..], &right[..]].concat())?;
        let matrix = |rows: usize, columns: usize| {
            let mut shape = vec![rows, columns];
            if !outer.is_empty() {
                shape.insert(0, outer.iter().product());
            }
            shape
        };
        let a = a.reshape(&matrix(l.iter().product(), k))?;
        let b = b.reshape(&matrix(k, r.iter().product()))?;
        product(a, b, device)?.reshape(&shape)?
    };
    Ok(Named { tensor, labels })
}

fn on_device(equation: &Equation, x: &mut Args<'_>) -> OpResult<Tensor> {
    let device = x.device;
    let mut tensors = Vec::new();
    for i in 0..x.len() {
        tensors.push(x.tensor(i)?);
    }
    let dtype = tensors.first().map_or(DType::F32, Tensor::dtype);
    let shapes: Vec<Vec<usize>> = tensors.iter().map(Tensor::shape).collect();
    let (labels, output) = equation.labels(&shapes)?;
    sizes(&labels, &shapes)?;
    let mut operands = tensors
        .into_iter()
        .zip(labels.clone())
        .map(|(tensor, labels)| Named { tensor, labels }.diagonal());
    let mut all = operands.next().ok_or("no inputs")??;
    for (i, next) in operands.enumerate() {
        let later = &labels[i + 2..];
        let keep = |l: Label| output.contains(&l) || later.iter().flatten().any(|o| *o == l);
        all = pair(all, next?, keep, device)?;
    }
    Ok(all
        .summed(|l| output.contains(&l))?
        .ordered(&output)?
        .typed(dtype))
}

/// Computes term by term on the host, for arrays whose elements are not `f32`.
fn on_host<T: Copy>(
    arrays: &[(Vec<usize>, Vec<T>)],
    equation: &Equation,
    zero: T,
    add: impl Fn(T, T) -> T,
    mul: impl Fn(T, T) -> T,
) -> OpResult<(Vec<usize>, Vec<T>)> {
    let shapes: Vec<Vec<usize>> = arrays.iter().map(|(s, _)| s.clone()).collect();
    let (labels, output) = equation.labels(&shapes)?;
    let sizes = sizes(&labels, &shapes)?;
    let mut order = output.clone();
    order.extend(sizes.keys().filter(|l| !output.contains(l)));
    let lengths: Vec<usize> = order.iter().map(|l| sizes[l]).collect();
    let total = room::elements(&lengths)?;
    let shape: Vec<usize> = lengths[..output.len()].to_vec();
    let mut y = vec![zero; room::elements(&shape)?];
    // How far a step along each index moves in each operand.
    let strides: Vec<Vec<usize>> = labels
        .iter()
        .zip(&shapes)
        .map(|(labels, shape)| {
            order
                .iter()
                .map(|l| {
                    (0..shape.len())
                        .filter(|i| labels[*i] == *l && shape[*i] != 1)
                        .map(|i| shape[i + 1..].iter().product::<usize>())
                        .sum()
                })
                .collect()
        })
        .collect();
    let inner = total.checked_div(y.len()).unwrap_or(0).max(1);
    for at in 0..total {
        let mut place = vec![0; arrays.len()];
        let mut rest = at;
        for d in (0..lengths.len()).rev() {
            let i = rest % lengths[d];
            rest /= lengths[d];
            for (p, s) in place.iter_mut().zip(&strides) {
                *p += i * s[d];
            }
        }
        let mut factors = arrays.iter().zip(&place).map(|((_, v), p)| v[*p]);
        if let Some(first) = factors.next() {
            let term = factors.fold(first, &mul);
            y[at / inner] = add(y[at / inner], term);
        }
    }
    Ok((shape, y))
}

fn einsum(node: &NodeSpec<'_>) -> OpResult<Run> {
    let equation = Equation::parse(&node.text("equation", "")?)?;
    run(move |x| {
        let dtype = x.peek(0)?.dtype();
        if !x.all_host() || !(dtype == DType::F64 || dtype.is_int()) {
            return one(on_device(&equation, x)?);
        }
        let mut arrays = Vec::new();
        for i in 0..x.len() {
            arrays.push(x.array(i)?);
        }
        let shape = |a: &Array| a.shape().to_vec();
        let y = if dtype.is_float() {
            let all = arrays
                .iter()
                .map(|a| Ok((shape(a), a.to_f64()?)))
                .collect::<OpResult<Vec<_>>>()?;
            let (shape, y) = on_host(&all, &equation, 0.0, |a, b| a + b, |a, b| a * b)?;
            Array::try_new(shape, y)?
        } else {
            let all = arrays
                .iter()
                .map(|a| Ok((shape(a), a.to_ints()?)))
                .collect::<OpResult<Vec<_>>>()?;
            let (shape, y) = on_host(&all, &equation, 0, i64::wrapping_add, i64::wrapping_mul)?;
            Array::try_new(shape, y)?
        };
        one(y.cast(dtype)?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[OperatorEntry::new("Einsum", einsum)];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::Case;

    fn case(equation: &str, shapes: &[&[usize]]) -> Case {
        shapes
            .iter()
            .fold(Case::new("Einsum").text("equation", equation), |c, s| {
                c.scattered(s, -1.0, 1.0)
            })
    }

    const EQUATIONS: &[(&str, &[&[usize]])] = &[
        ("ij->ji", &[&[2, 3]]),
        ("ij->", &[&[2, 3]]),
        ("ij->j", &[&[2, 3]]),
        ("ii->i", &[&[3, 3]]),
        ("ii", &[&[3, 3]]),
        ("...ii->...i", &[&[2, 3, 3]]),
        ("iji->j", &[&[3, 2, 3]]),
        ("iii->i", &[&[2, 2, 2]]),
        ("ij,jk->ik", &[&[2, 3], &[3, 2]]),
        ("ij,jk", &[&[2, 3], &[3, 2]]),
        ("bij,bjk->bik", &[&[2, 2, 3], &[2, 3, 2]]),
        ("bhqd,bhkd->bhqk", &[&[2, 2, 2, 3], &[2, 2, 3, 3]]),
        ("...ij,...jk->...ik", &[&[2, 2, 3], &[3, 2]]),
        ("...,...->...", &[&[2, 3], &[3]]),
        ("i,j->ij", &[&[2], &[3]]),
        ("i,i", &[&[3], &[3]]),
        ("ij,ij->ij", &[&[2, 3], &[2, 3]]),
        ("ij,ik,kl->jl", &[&[2, 3], &[2, 2], &[2, 3]]),
        ("ij,j->i", &[&[2, 1], &[3]]),
        ("ab,cd->d", &[&[2, 3], &[2, 2]]),
        (" b i , i -> b ", &[&[2, 3], &[3]]),
    ];

    #[test]
    fn gradients() {
        for (equation, shapes) in EQUATIONS {
            case(equation, shapes).assert_gradient();
        }
    }

    /// The two implementations are independent of each other.
    #[test]
    fn device_and_host_agree() {
        for (equation, shapes) in EQUATIONS {
            let mut device = Case::new("Einsum").text("equation", equation);
            let mut host = Case::new("Einsum").text("equation", equation);
            for (k, shape) in shapes.iter().enumerate() {
                let n = shape.iter().product::<usize>();
                let values: Vec<i64> = (0..n).map(|i| ((i * 7 + k * 3) % 11) as i64 - 5).collect();
                device = device.tracked(shape, values.iter().map(|v| *v as f64).collect());
                host = host.host(Array::new(shape.to_vec(), values));
            }
            let (a, b) = (device.run().unwrap(), host.run().unwrap());
            assert_eq!(a[0].shape(), b[0].shape(), "{equation}");
            assert_eq!(a[0].to_f64().unwrap(), b[0].to_f64().unwrap(), "{equation}");
        }
    }

    #[test]
    fn an_implicit_output_has_the_ellipsis_first_and_letters_in_order() {
        let shape = |equation: &str, shapes: &[&[usize]]| {
            case(equation, shapes).run().unwrap()[0].shape().to_vec()
        };
        assert_eq!(shape("ba", &[&[2, 3]]), [3, 2]);
        assert_eq!(shape("...i,i", &[&[2, 3, 4], &[4]]), [2, 3]);
        assert_eq!(shape("b...,a", &[&[2, 3, 4], &[5]]), [3, 4, 5, 2]);
    }

    #[test]
    fn invalid_equations_and_shapes_are_errors() {
        let e = |equation: &str, shapes: &[&[usize]]| case(equation, shapes).run().unwrap_err();
        assert!(e("ij->k", &[&[2, 3]]).contains("output"));
        assert!(e("ij->ii", &[&[2, 3]]).contains("output"));
        assert!(e("ij", &[&[2]]).contains("2 dimensions"));
        assert!(e("i", &[&[2, 3]]).contains("1 dimensions"));
        assert!(e("i,j", &[&[2]]).contains("1 inputs"));
        assert!(e("ij,jk", &[&[2, 3], &[2, 3]]).contains("length 3 and 2"));
        assert!(e("ii", &[&[2, 3]]).contains("length 2 and 3"));
        assert!(e("i1", &[&[2, 3]]).contains("`1`"));
        assert!(e("ö", &[&[2]]).contains("`ö`"));
        assert!(e("...i...", &[&[2, 3]]).contains("twice"));
    }
}
