//! Sliding windows of convolution and pooling: which elements each one covers.

use proofmark_kernels::Window;

use crate::node::{NodeSpec, OpResult};
use crate::room;
use crate::tensor::Tensor;

/// Maximum size in a file; sums and products of two sizes then fit.
const LARGEST: usize = i32::MAX as usize;

/// Padding around the input.
#[derive(Debug, Clone)]
pub(super) enum Padding {
    /// Explicit padding: all beginnings, then all ends. `None` is no padding.
    Given(Option<Vec<usize>>),
    /// As much as makes the output `input / stride`, rounded up; an odd element goes to the end.
    SameUpper,
    /// The same, but an odd element goes to the beginning.
    SameLower,
}

/// Attributes that convolution and pooling share.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    pub(super) kernel: Option<Vec<usize>>,
    pub(super) strides: Option<Vec<usize>>,
    pub(super) dilations: Option<Vec<usize>>,
    pub(super) padding: Padding,
    ceil: bool,
}

/// The windows along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) input: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    /// Padding that the file requests before and after the input.
    pub(super) begin: usize,
    pub(super) end: usize,
    /// Padding that the last window needs after the input: more than `end` when sizes are rounded up.
    pub(super) reach: usize,
    /// Number of windows.
    pub(super) output: usize,
}

fn sizes(node: &NodeSpec<'_>, name: &str, least: usize) -> OpResult<Option<Vec<usize>>> {
    let list = node.sizes(name)?;
    for i in list.iter().flatten() {
        if *i < least || *i > LARGEST {
            return Err(format!(
                "attribute `{name}` holds {i}; expected {least} to {LARGEST}"
            ));
        }
    }
    Ok(list)
}

/// Returns the list, or `default` for every axis if there is none.
pub(super) fn per_axis(
    list: Option<&Vec<usize>>,
    default: usize,
    axes: usize,
    name: &str,
) -> OpResult<Vec<usize>> {
    match list {
        None => Ok(vec![default; axes]),
        Some(l) if l.len() == axes => Ok(l.clone()),
        Some(l) => Err(format!(
            "attribute `{name}` has {} entries; expected {axes}",
            l.len()
        )),
    }
}

impl Windows {
    /// Reads and checks the attributes.
    pub(super) fn read(node: &NodeSpec<'_>) -> OpResult<Self> {
        let pads = sizes(node, "pads", 0)?;
        let padding = match node.text("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" | "" => Padding::Given(pads),
            "VALID" => Padding::Given(None),
            "SAME_UPPER" => Padding::SameUpper,
            "SAME_LOWER" => Padding::SameLower,
            other => {
                return Err(format!(
                    "attribute `auto_pad` is `{other}`; expected NOTSET, VALID, SAME_UPPER or SAME_LOWER"
                ));
            }
        };
        Ok(Self {
            kernel: sizes(node, "kernel_shape", 1)?,
            strides: sizes(node, "strides", 1)?,
            dilations: sizes(node, "dilations", 1)?,
            padding,
            ceil: node.flag("ceil_mode", false)?,
        })
    }

    /// Reads and checks the attributes of a pooling operator, which must declare its kernel.
    pub(super) fn pooling(node: &NodeSpec<'_>) -> OpResult<(Self, Vec<usize>)> {
        let windows = Self::read(node)?;
        let kernel = windows
            .kernel
            .clone()
            .ok_or("attribute `kernel_shape` is missing")?;
        Ok((windows, kernel))
    }

    /// Returns the windows over an input of these lengths.
    pub(super) fn spans(&self, input: &[usize], kernel: &[usize]) -> OpResult<Vec<Span>> {
        let n = input.len();
        if kernel.len() != n {
            return Err(format!(
                "a kernel with {} dimensions over an input with {n}",
                kernel.len()
            ));
        }
        if !(1..=3).contains(&n) {
            return Err(format!(
                "windows over {n} dimensions; only 1, 2 and 3 are supported"
            ));
        }
        let strides = per_axis(self.strides.as_ref(), 1, n, "strides")?;
        let dilations = per_axis(self.dilations.as_ref(), 1, n, "dilations")?;
        let pads = match &self.padding {
            Padding::Given(pads) => Some(per_axis(pads.as_ref(), 0, 2 * n, "pads")?),
            _ => None,
        };
        (0..n)
            .map(|i| {
                let (stride, dilation) = (strides[i], dilations[i]);
                if kernel[i] == 0 || kernel[i] > LARGEST || input[i] > LARGEST {
                    return Err(format!(
                        "a kernel of length {} over an input of length {}",
                        kernel[i], input[i]
                    ));
                }
                let extent = (kernel[i] - 1) * dilation + 1;
                let (begin, end) = if let Some(pads) = &pads {
                    (pads[i], pads[i + n])
                } else {
                    let output = input[i].div_ceil(stride);
                    let covered = output.saturating_sub(1) * stride + extent;
                    let total = covered.saturating_sub(input[i]);
                    match self.padding {
                        Padding::SameUpper => (total / 2, total - total / 2),
                        _ => (total - total / 2, total / 2),
                    }
                };
                let padded = input[i] + begin + end;
                let Some(spare) = padded.checked_sub(extent) else {
                    return Err(format!(
                        "a kernel that spans {extent} elements over an input of {padded} (padding included)"
                    ));
                };
                let mut output = spare / stride + 1;
                let mut reach = end;
                if self.ceil && spare % stride != 0 {
                    // The additional window must start on the input or the padding before it.
                    let last = output * stride;
                    if last < input[i] + begin {
                        output += 1;
                        reach = last + extent - input[i] - begin;
                    }
                }
                Ok(Span {
                    input: input[i],
                    kernel: kernel[i],
                    stride,
                    dilation,
                    begin,
                    end,
                    reach,
                    output,
                })
            })
            .collect()
    }
}

impl Windows {
    /// Returns the windows of a kernel over a sample `[1, channels, lengths ..]` with one or two lengths.
    pub(super) fn window(&self, sample: &[usize], kernel: &[usize]) -> OpResult<Window> {
        let lengths = sample.get(2..).unwrap_or_default();
        let plane = match *self.spans(lengths, kernel)? {
            [w] => [Span::none(), w],
            [h, w] => [h, w],
            _ => return Err("kernels compute windows over one or two dimensions".into()),
        };
        let mut window = Window::from(plane.map(|s| s.kernel));
        window.stride = plane.map(|s| s.stride);
        window.dilation = plane.map(|s| s.dilation);
        window.pads = plane.map(|s| [s.begin, s.reach]);
        Ok(window)
    }
}

impl Span {
    /// Returns the padding that both sides share, which Burn applies itself; 0 if a window could lie in it entirely.
    pub(super) fn even(&self) -> usize {
        let shared = self.begin.min(self.reach);
        let touches = shared <= (self.kernel - 1) * self.dilation && self.dilation <= self.input;
        if touches { shared } else { 0 }
    }

    /// Returns the span of an axis that does not exist: one element and one window.
    pub(super) const fn none() -> Self {
        Self {
            input: 1,
            kernel: 1,
            stride: 1,
            dilation: 1,
            begin: 0,
            end: 0,
            reach: 0,
            output: 1,
        }
    }

    /// Returns one window per element.
    pub(super) const fn every(input: usize) -> Self {
        Self {
            input,
            output: input,
            ..Self::none()
        }
    }
}

/// Pads the last dimensions with `value` where the two sides differ: adds only what the even padding lacks.
pub(super) fn evened(x: Tensor, spans: &[Span], value: f64) -> OpResult<Tensor> {
    let mut pads = vec![(0, 0); x.rank() - spans.len()];
    pads.extend(
        spans
            .iter()
            .map(|s| (s.begin - s.even(), s.reach - s.even())),
    );
    x.padded(&pads, value)
}

/// Returns batch, channels and the lengths of the other dimensions.
pub(super) fn spatial(shape: &[usize]) -> OpResult<(usize, usize, &[usize])> {
    match shape {
        [batch, channels, rest @ ..] if !rest.is_empty() => Ok((*batch, *channels, rest)),
        _ => Err(format!(
            "an input of shape {shape:?}; expected batch, channels and at least one more dimension"
        )),
    }
}

/// Returns the shape of the output, and whether it is empty. An error if there is no room for it.
pub(super) fn shape(batch: usize, channels: usize, spans: &[Span]) -> OpResult<(Vec<usize>, bool)> {
    let mut shape = vec![batch, channels];
    shape.extend(spans.iter().map(|s| s.output));
    let empty = room::elements(&shape)? == 0;
    Ok((shape, empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(padding: Padding, stride: usize, ceil: bool) -> Windows {
        Windows {
            kernel: None,
            strides: Some(vec![stride]),
            dilations: None,
            padding,
            ceil,
        }
    }

    #[test]
    fn same_upper_puts_the_odd_element_last_and_same_lower_first() {
        let upper = windows(Padding::SameUpper, 2, false)
            .spans(&[6], &[3])
            .unwrap()[0];
        assert_eq!((upper.begin, upper.end, upper.output), (0, 1, 3));
        let lower = windows(Padding::SameLower, 2, false)
            .spans(&[6], &[3])
            .unwrap()[0];
        assert_eq!((lower.begin, lower.end, lower.output), (1, 0, 3));
    }

    #[test]
    fn a_last_window_does_not_start_in_the_padding_after() {
        let given = Padding::Given(Some(vec![1, 1]));
        // Windows start at 0, 2, 4 of 1 + 5 + 1; 6 would be past the input.
        let s = windows(given.clone(), 2, true).spans(&[5], &[2]).unwrap()[0];
        assert_eq!((s.output, s.reach), (3, 1));
        let s = windows(given.clone(), 2, true).spans(&[6], &[3]).unwrap()[0];
        assert_eq!((s.output, s.reach), (4, 2));
        let s = windows(given, 2, false).spans(&[6], &[3]).unwrap()[0];
        assert_eq!((s.output, s.reach), (3, 1));
    }

    #[test]
    fn invalid_shapes_are_errors() {
        let w = windows(Padding::Given(None), 1, false);
        assert!(w.spans(&[2], &[3]).unwrap_err().contains("spans 3"));
        assert!(w.spans(&[2, 2], &[1]).unwrap_err().contains("a kernel"));
        assert!(w.spans(&[2, 2], &[1, 1]).unwrap_err().contains("strides"));
    }
}
