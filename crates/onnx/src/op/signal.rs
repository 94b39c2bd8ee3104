//! Fourier transforms, as matrix products, and the window functions that go with them.

use std::f64::consts::TAU;
use std::sync::{Mutex, PoisonError};

use burn::backend::Dispatch;
use burn::backend::ops::{ConvOptions, ModuleOps};

use super::OperatorEntry;
use crate::array::Array;
use crate::dtype::DType;
use crate::node::{Args, NodeSpec, OpResult, Run, axis, one, run};
use crate::room;

/// Size and direction of a transform: number of inputs, each of one or two parts, of a signal of length `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Transform {
    inputs: usize,
    parts: usize,
    n: usize,
    bins: usize,
    inverse: bool,
}

impl Transform {
    /// Returns the contribution of input `l`, part `p`, to bin `k`, part `q`.
    fn weight(&self, l: usize, p: usize, k: usize, q: usize) -> f64 {
        // The remainder makes the angle of a whole number of turns exactly zero.
        let angle = TAU * ((l * k) % self.n) as f64 / self.n as f64;
        let angle = if self.inverse { angle } else { -angle };
        let (sin, cos) = angle.sin_cos();
        let w = match (p, q) {
            (0, 1) => sin,
            (1, 0) => -sin,
            _ => cos,
        };
        if self.inverse { w / self.n as f64 } else { w }
    }

    /// Returns the weights as a matrix `[inputs * parts, bins * 2]`.
    fn matrix(&self) -> OpResult<Array> {
        let shape = [self.inputs * self.parts, self.bins * 2];
        let mut values = Vec::with_capacity(room::elements(&shape)?);
        for l in 0..self.inputs {
            for p in 0..self.parts {
                for k in 0..self.bins {
                    for q in 0..2 {
                        values.push(self.weight(l, p, k, q) as f32);
                    }
                }
            }
        }
        Array::try_new(shape, values)
    }

    /// Returns the weights as the kernel of a convolution, `[2 * bins, parts, inputs]`.
    fn kernel(&self) -> OpResult<Array> {
        let shape = [2 * self.bins, self.parts, self.inputs];
        let mut values = Vec::with_capacity(room::elements(&shape)?);
        for q in 0..2 {
            for k in 0..self.bins {
                for p in 0..self.parts {
                    for l in 0..self.inputs {
                        values.push(self.weight(l, p, k, q) as f32);
                    }
                }
            }
        }
        Array::try_new(shape, values)
    }
}

/// Cached weights of the last transform.
struct Kept(Mutex<Option<(Transform, Array)>>);

impl Kept {
    fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn get(&self, t: Transform, make: fn(&Transform) -> OpResult<Array>) -> OpResult<Array> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, array)) = kept.as_ref()
            && *of == t
        {
            return Ok(array.clone());
        }
        let array = make(&t)?;
        *kept = Some((t, array.clone()));
        Ok(array)
    }
}

/// Reads a length given as a single number; `None` if the input is absent.
fn length(x: &mut Args<'_>, i: usize, what: &str) -> OpResult<Option<usize>> {
    let Some(list) = x.ints_opt(i)? else {
        return Ok(None);
    };
    match list[..] {
        [n] if n > 0 && n <= i64::from(i32::MAX) => Ok(Some(n as usize)),
        _ => Err(format!("{what} is {list:?}; expected one number from 1 on")),
    }
}

fn dft(node: &NodeSpec<'_>) -> OpResult<Run> {
    // The axis was an attribute before version 20.
    let fixed = if node.opset < 20 {
        Some(node.int("axis", 1)?)
    } else {
        None
    };
    let (inverse, onesided) = (node.flag("inverse", false)?, node.flag("onesided", false)?);
    let kept = Kept::new();
    run(move |x| {
        let input = x.tensor(0)?;
        let n = length(x, 1, "the length")?;
        let along = match (fixed, x.ints_opt(2)?.as_deref()) {
            (Some(a), _) => a,
            (None, Some([a])) => *a,
            (None, None) => -2,
            (None, Some(list)) => return Err(format!("axis {list:?}; expected one number")),
        };
        let mut shape = input.shape();
        let rank = shape.len();
        let at = axis(along, rank)?;
        let parts = *shape.last().unwrap_or(&0);
        if at + 1 == rank || !(1..=2).contains(&parts) || shape.contains(&0) {
            return Err(format!(
                "an input of shape {shape:?} along axis {along}; expected 1 or 2 parts in the last dimension"
            ));
        }
        let n = n.unwrap_or(shape[at]);
        let t = Transform {
            inputs: n.min(shape[at]),
            parts,
            n,
            bins: if onesided { n / 2 + 1 } else { n },
            inverse,
        };
        let dtype = input.dtype();
        // Move the axis next to the parts.
        let mut order: Vec<usize> = (0..rank).collect();
        order.remove(at);
        order.insert(rank - 2, at);
        let mut back: Vec<usize> = (0..rank).collect();
        back.remove(rank - 2);
        back.insert(at, rank - 2);
        let rows: usize = shape.iter().product::<usize>() / (shape[at] * parts);
        let y = input
            .narrow(at, 0, t.inputs)
            .permute(&order)
            .reshape(&[rows, t.inputs * parts])?
            .matmul(kept.get(t, Transform::matrix)?.on(x.device)?)?;
        (shape[at], shape[rank - 1]) = (t.bins, 2);
        let moved: Vec<usize> = order.iter().map(|d| shape[*d]).collect();
        one(y.reshape(&moved)?.permute(&back).typed(dtype))
    })
}

fn stft(node: &NodeSpec<'_>) -> OpResult<Run> {
    let onesided = node.flag("onesided", true)?;
    let kept = Kept::new();
    run(move |x| {
        let signal = x.tensor(0)?;
        let step = length(x, 1, "the step")?.ok_or("the step is missing")?;
        let window = x.tensor_opt(2)?;
        let frame = length(x, 3, "the length of a frame")?;
        let shape = signal.shape();
        let (batch, samples, parts) = match shape[..] {
            [batch, samples] => (batch, samples, 1),
            [batch, samples, parts @ 1..=2] => (batch, samples, parts),
            _ => return Err(format!("a signal of shape {shape:?}")),
        };
        let n = match (frame, &window) {
            (Some(n), _) => n,
            (None, Some(w)) => w.shape().iter().product(),
            (None, None) => return Err("neither a window nor the length of a frame".into()),
        };
        if n == 0 || n > samples || batch == 0 {
            return Err(format!("frames of {n} of a signal of shape {shape:?}"));
        }
        let t = Transform {
            inputs: n,
            parts,
            n,
            bins: if onesided { n / 2 + 1 } else { n },
            inverse: false,
        };
        let dtype = signal.dtype();
        let mut kernel = kept.get(t, Transform::kernel)?.on(x.device)?;
        if let Some(w) = window {
            if w.shape() != [n] {
                return Err(format!(
                    "a window of shape {:?} for frames of {n}",
                    w.shape()
                ));
            }
            kernel = kernel.mul(w)?;
        }
        let frames = (samples - n) / step + 1;
        room::elements(&[batch, frames, t.bins, 2])?;
        // Sliding a frame along the signal and transforming it is a convolution.
        let kernel = kernel.into_dispatch();
        let y = signal
            .reshape(&[batch, samples, parts])?
            .permute(&[0, 2, 1])
            .with(|s| {
                let options = ConvOptions::new([step], [0], [1], 1);
                <Dispatch as ModuleOps<Dispatch>>::conv1d(s, kernel, None, options)
            })
            .reshape(&[batch, 2, t.bins, frames])?
            .permute(&[0, 3, 2, 1]);
        one(y.typed(dtype))
    })
}

/// Builds a window function that is a sum of cosines.
fn window(node: &NodeSpec<'_>, terms: [f64; 3]) -> OpResult<Run> {
    let periodic = node.flag("periodic", true)?;
    let dtype = node.dtype("output_datatype", DType::F32)?;
    run(move |x| {
        let size = length(x, 0, "the size")?.ok_or("the size is missing")?;
        let period = if periodic { size } else { size - 1 };
        let values: Vec<f64> = (0..room::elements(&[size])?)
            .map(|i| {
                // A window of one element is evaluated at its middle.
                let at = if period == 0 {
                    0.5
                } else {
                    i as f64 / period as f64
                };
                terms[0] - terms[1] * (TAU * at).cos() + terms[2] * (2.0 * TAU * at).cos()
            })
            .collect();
        one(Array::try_new([size], values)?.cast(dtype)?)
    })
}

fn hann(node: &NodeSpec<'_>) -> OpResult<Run> {
    window(node, [0.5, 0.5, 0.0])
}

fn hamming(node: &NodeSpec<'_>) -> OpResult<Run> {
    window(node, [25.0 / 46.0, 21.0 / 46.0, 0.0])
}

fn blackman(node: &NodeSpec<'_>) -> OpResult<Run> {
    window(node, [0.42, 0.5, 0.08])
}

fn mel_weights(node: &NodeSpec<'_>) -> OpResult<Run> {
    let dtype = node.dtype("output_datatype", DType::F32)?;
    run(move |x| {
        let mut number = |i: usize| {
            x.scalar_opt(i)?
                .ok_or_else(|| format!("input {i} is missing"))
        };
        let (mels, n, rate) = (number(0)?, number(1)?, number(2)?);
        let (low, high) = (number(3)?, number(4)?);
        let largest = f64::from(i32::MAX);
        if !(0.0..=largest).contains(&mels) || !(1.0..=largest).contains(&n) || rate <= 0.0 {
            return Err(format!("{mels} bands of {n} samples at a rate of {rate}"));
        }
        let (mels, bins) = (mels as usize, n as usize / 2 + 1);
        let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
        let step = (mel(high) - mel(low)) / (mels + 2) as f64;
        let edges = (0..mels + 2)
            .map(|i| {
                let hertz = 700.0 * (10f64.powf((mel(low) + i as f64 * step) / 2595.0) - 1.0);
                let bin = ((n + 1.0) * hertz / rate).floor();
                // Also rejects NaN.
                if (0.0..bins as f64).contains(&bin) {
                    Ok(bin as usize)
                } else {
                    Err(format!("{low} to {high} hertz at a rate of {rate}"))
                }
            })
            .collect::<OpResult<Vec<_>>>()?;
        let mut values = vec![0.0; room::elements(&[bins, mels])?];
        for i in 0..mels {
            let (left, centre, right) = (edges[i], edges[i + 1], edges[i + 2]);
            values[centre * mels + i] = 1.0;
            for j in left..centre {
                values[j * mels + i] = (j - left) as f64 / (centre - left) as f64;
            }
            for j in centre..right {
                values[j * mels + i] = (right - j) as f64 / (right - centre) as f64;
            }
        }
        one(Array::try_new([bins, mels], values)?.cast(dtype)?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("DFT", dft),
    OperatorEntry::new("STFT", stft),
    OperatorEntry::new("HannWindow", hann).on_host(),
    OperatorEntry::new("HammingWindow", hamming).on_host(),
    OperatorEntry::new("BlackmanWindow", blackman).on_host(),
    OperatorEntry::new("MelWeightMatrix", mel_weights).on_host(),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Case;

    fn number(n: i64) -> Array {
        Array::new([], vec![n])
    }

    #[test]
    fn gradients() {
        let dft = |shape: &[usize]| Case::new("DFT").scattered(shape, -1.0, 1.0);
        dft(&[2, 5, 1]).assert_gradient();
        dft(&[2, 4, 3, 2])
            .absent()
            .host(number(1))
            .assert_gradient();
        dft(&[2, 4, 1])
            .host(number(3))
            .int("onesided", 1)
            .assert_gradient();
        dft(&[2, 4, 2])
            .host(number(6))
            .int("inverse", 1)
            .assert_gradient();
        dft(&[2, 4, 3, 2])
            .int("axis", 2)
            .opset(17)
            .assert_gradient();
        for (shape, onesided) in [(&[2, 9, 1][..], 1), (&[1, 9, 2], 0), (&[2, 9], 1)] {
            Case::new("STFT")
                .scattered(shape, -1.0, 1.0)
                .host(number(2))
                .scattered(&[4], 0.1, 1.0)
                .host(number(4))
                .int("onesided", onesided)
                .assert_gradient();
        }
    }

    #[test]
    fn the_inverse_undoes_the_transform() {
        let values: Vec<f64> = (0..24).map(|i| f64::from(i * i % 13) - 5.0).collect();
        let at = |axis: i64, inverse: i64, v: Vec<f64>| {
            Case::new("DFT")
                .tracked(&[2, 3, 2, 2], v)
                .absent()
                .host(number(axis))
                .int("inverse", inverse)
                .run()
                .unwrap()[0]
                .to_f64()
                .unwrap()
        };
        for axis in [0, 1, -2] {
            let there = at(axis, 0, values.clone());
            assert!(there.iter().zip(&values).any(|(a, b)| (a - b).abs() > 1.0));
            for (a, b) in at(axis, 1, there).iter().zip(&values) {
                assert!((a - b).abs() < 1e-4, "{a} and {b}");
            }
        }
    }

    #[test]
    fn windows_by_hand() {
        let window = |op: &str, n: i64, periodic: i64| {
            let c = Case::new(op).host(number(n)).int("periodic", periodic);
            c.int("output_datatype", 11).run().unwrap()[0]
                .to_f64()
                .unwrap()
        };
        let close = |a: Vec<f64>, b: &[f64]| {
            assert_eq!(a.len(), b.len());
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9), "{a:?}");
        };
        close(window("HannWindow", 4, 1), &[0.0, 0.5, 1.0, 0.5]);
        close(window("HannWindow", 3, 0), &[0.0, 1.0, 0.0]);
        close(window("HannWindow", 1, 0), &[1.0]);
        close(window("HammingWindow", 2, 1), &[4.0 / 46.0, 1.0]);
        close(window("BlackmanWindow", 2, 1), &[0.0, 1.0]);
    }

    #[test]
    fn bands_are_triangles() {
        let y = Case::new("MelWeightMatrix")
            .host(number(8))
            .host(number(16))
            .host(number(8192))
            .host(Array::new([], vec![0.0f32]))
            .host(Array::new([], vec![4096.0f32]))
            .run()
            .unwrap();
        assert_eq!(y[0].shape(), [9, 8]);
        let v = y[0].to_f64().unwrap();
        // The bands are so narrow that each holds only its centre.
        let mut expected = vec![0.0; 72];
        for (band, bin) in [0, 0, 1, 1, 2, 3, 4, 5].into_iter().enumerate() {
            expected[bin * 8 + band] = 1.0;
        }
        assert_eq!(v, expected);
        let y = Case::new("MelWeightMatrix")
            .host(number(1))
            .host(number(16))
            .host(number(16))
            .host(Array::new([], vec![0.0f32]))
            .host(Array::new([], vec![6.0f32]))
            .run()
            .unwrap();
        // Edges at 0, 2 and 4.
        let v = y[0].to_f64().unwrap();
        assert_eq!(v, [0.0, 0.5, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn invalid_shapes_and_attributes_are_errors() {
        let e = |c: Case| c.run().unwrap_err();
        let dft = |shape: &[usize]| Case::new("DFT").scattered(shape, -1.0, 1.0);
        assert!(e(dft(&[2, 5])).contains("parts"));
        assert!(e(dft(&[2, 5, 1]).absent().host(number(2))).contains("parts"));
        assert!(e(dft(&[2, 5, 1]).absent().host(number(3))).contains("axis 3"));
        assert!(e(dft(&[2, 5, 1]).host(number(0))).contains("length"));
        let stft = |shape: &[usize]| Case::new("STFT").scattered(shape, -1.0, 1.0);
        assert!(e(stft(&[1, 5, 1]).host(number(0))).contains("step"));
        assert!(e(stft(&[1, 5, 1]).host(number(1))).contains("neither"));
        let long = stft(&[1, 5, 1]).host(number(1)).absent().host(number(6));
        assert!(e(long).contains("frames of 6"));
        let window = stft(&[1, 5, 1]).host(number(1)).scattered(&[3], 0.0, 1.0);
        assert!(e(window.host(number(4))).contains("window"));
        assert!(e(Case::new("HannWindow").host(number(-1))).contains("size"));
        let mel = |n: i64, high: f32| {
            let c = Case::new("MelWeightMatrix").host(number(8)).host(number(n));
            let c = c.host(number(8192)).host(Array::new([], vec![0.0f32]));
            e(c.host(Array::new([], vec![high])))
        };
        assert!(mel(0, 1.0).contains("bands"));
        assert!(mel(16, 9000.0).contains("hertz"));
        assert!(mel(16, f32::NAN).contains("hertz"));
    }
}
