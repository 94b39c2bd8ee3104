//! Resizing: one axis at a time, as a product with a small matrix or by picking elements.

use std::sync::{Arc, Mutex, PoisonError};

use super::OperatorEntry;
use super::interpolation::{Axis, Coordinates, Kernel, Plan, Rounding, Style, filled, outside};
use crate::array::Array;
use crate::graph::{Notes, name_of};
use crate::node::{Args, NodeSpec, OpResult, Run, axes, one, run};
use crate::room;
use crate::value::Value;

/// How requested sizes treat the aspect ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Stretch,
    NotLarger,
    NotSmaller,
}

/// Positions of an operator's inputs.
#[derive(Debug, Clone)]
struct Inputs {
    roi: Option<usize>,
    scales: Option<usize>,
    sizes: Option<usize>,
    /// Scales given as an attribute.
    fixed: Option<Vec<f64>>,
}

struct Resize {
    style: Style,
    axes: Option<Vec<i64>>,
    policy: Policy,
    fill: f64,
    inputs: Inputs,
    /// Name of the node, for notes about lengths that are not whole.
    name: String,
    notes: Notes,
    /// Plans for the axes resized last.
    ready: Mutex<Option<(Vec<Axis>, Arc<Ready>)>>,
}

struct Ready {
    plans: Vec<Plan>,
    outside: Option<Array>,
}

fn kernel(node: &NodeSpec<'_>, rounding: Rounding) -> OpResult<Kernel> {
    Ok(match node.text("mode", "nearest")?.as_str() {
        "nearest" => Kernel::Nearest(rounding),
        "linear" | "bilinear" => Kernel::Linear,
        "cubic" => Kernel::Cubic(node.float("cubic_coeff_a", -0.75)?),
        other => {
            return Err(format!(
                "attribute `mode` is `{other}`; expected nearest, linear or cubic"
            ));
        }
    })
}

impl Resize {
    /// Reads the attributes of old versions, which have no choice of coordinates.
    fn old(node: &NodeSpec<'_>, inputs: Inputs) -> OpResult<Self> {
        Ok(Self {
            style: Style {
                kernel: kernel(node, Rounding::BySize)?,
                coordinates: Coordinates::Asymmetric,
                exclude_outside: false,
                antialias: false,
            },
            axes: None,
            policy: Policy::Stretch,
            fill: 0.0,
            inputs,
            name: name_of(node.proto),
            notes: node.scope.notes.clone(),
            ready: Mutex::new(None),
        })
    }

    fn new(node: &NodeSpec<'_>) -> OpResult<Self> {
        let rounding = match node.text("nearest_mode", "round_prefer_floor")?.as_str() {
            "round_prefer_floor" | "" => Rounding::PreferFloor,
            "round_prefer_ceil" => Rounding::PreferCeil,
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            other => {
                return Err(format!(
                    "attribute `nearest_mode` is `{other}`; expected round_prefer_floor, round_prefer_ceil, floor or ceil"
                ));
            }
        };
        let name = node.text("coordinate_transformation_mode", "half_pixel")?;
        let coordinates = match name.as_str() {
            "half_pixel" => Coordinates::HalfPixel,
            "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "align_corners" => Coordinates::AlignCorners,
            "asymmetric" => Coordinates::Asymmetric,
            "tf_half_pixel_for_nn" => Coordinates::HalfPixelForNearest,
            "tf_crop_and_resize" => Coordinates::Crop,
            other => {
                return Err(format!(
                    "attribute `coordinate_transformation_mode` is `{other}`; expected half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners, asymmetric, tf_half_pixel_for_nn or tf_crop_and_resize"
                ));
            }
        };
        let policy = match node.text("keep_aspect_ratio_policy", "stretch")?.as_str() {
            "stretch" => Policy::Stretch,
            "not_larger" => Policy::NotLarger,
            "not_smaller" => Policy::NotSmaller,
            other => {
                return Err(format!(
                    "attribute `keep_aspect_ratio_policy` is `{other}`; expected stretch, not_larger or not_smaller"
                ));
            }
        };
        Ok(Self {
            style: Style {
                kernel: kernel(node, rounding)?,
                coordinates,
                exclude_outside: node.flag("exclude_outside", false)?,
                antialias: node.flag("antialias", false)?,
            },
            axes: node.ints("axes")?,
            policy,
            fill: node.float("extrapolation_value", 0.0)?,
            inputs: Inputs {
                roi: Some(1),
                scales: Some(2),
                sizes: Some(3),
                fixed: None,
            },
            name: name_of(node.proto),
            notes: node.scope.notes.clone(),
            ready: Mutex::new(None),
        })
    }

    /// Notes where other implementations behave differently.
    fn note_differences(&self, wanted: &[Axis]) {
        let note = |mode: &str, axis: &Axis, text: &str| {
            self.notes.leave(format!(
                "node `{}` (Resize, {mode}): scale {} × length {} is not whole; {text} (ONNX's reference implementation differs)",
                self.name, axis.scale as f32, axis.input
            ));
        };
        for axis in wanted.iter().filter(|a| a.is_fractional()) {
            if self.keeps(axis, wanted) {
                let text = "an axis that keeps its length is left as it is, as in onnxruntime";
                let mode = if self.style.antialias {
                    "antialias"
                } else {
                    "no length changes"
                };
                note(mode, axis, text);
            } else if self.style.coordinates == Coordinates::AlignCorners {
                let text = format!(
                    "its corners are those of the {} outputs, as in onnxruntime and PyTorch",
                    axis.output
                );
                note("align_corners", axis, &text);
            }
        }
        let is_ignored = |a: &&Axis| a.crop != (0.0, 1.0) && a.input == a.output && a.scale == 1.0;
        if let Some(axis) = wanted.iter().find(is_ignored) {
            self.notes.leave(format!(
                "node `{}` (Resize, tf_crop_and_resize): an axis of length {} is cropped and brought back to that length, as ONNX has it; onnxruntime does not crop it",
                self.name, axis.input
            ));
        }
    }

    /// Whether an axis is left as it is. With antialias, and if no axis changes its length, onnxruntime compares
    /// lengths and not scales.
    fn keeps(&self, axis: &Axis, all: &[Axis]) -> bool {
        let is_same = |a: &Axis| a.input == a.output && a.crop == (0.0, 1.0);
        is_same(axis) && (axis.scale == 1.0 || self.style.antialias || all.iter().all(is_same))
    }

    /// Returns what to do with every axis of an input of this shape.
    fn wanted(&self, x: &mut Args<'_>, shape: &[usize]) -> OpResult<Vec<Axis>> {
        let named = match &self.axes {
            Some(list) => axes(list, shape.len())?,
            None => (0..shape.len()).collect(),
        };
        let mut floats = |i: Option<usize>| -> OpResult<Option<Vec<f64>>> {
            let list = match i {
                Some(i) => x.array_opt(i)?.map(|a| a.to_f64()).transpose()?,
                None => None,
            };
            // An absent input may be given as an empty one.
            Ok(list.filter(|l| !l.is_empty()))
        };
        let (roi, sizes) = (floats(self.inputs.roi)?, floats(self.inputs.sizes)?);
        let scales = match &self.inputs.fixed {
            Some(scales) => Some(scales.clone()),
            None => floats(self.inputs.scales)?,
        };
        let count = named.len();
        let fits = |list: &Option<Vec<f64>>, n: usize, what: &str| match list {
            Some(l) if l.len() != n => Err(format!("{} {what} for {count} dimensions", l.len())),
            _ => Ok(()),
        };
        fits(&scales, count, "scales")?;
        fits(&sizes, count, "sizes")?;
        let cropping = self.style.coordinates == Coordinates::Crop;
        if cropping {
            fits(&roi, 2 * count, "ends of a region")?;
        }
        let mut all: Vec<Axis> = shape
            .iter()
            .map(|d| Axis {
                input: *d,
                output: *d,
                scale: 1.0,
                crop: (0.0, 1.0),
            })
            .collect();
        if let (true, Some(roi)) = (cropping, &roi) {
            for (k, i) in named.iter().enumerate() {
                all[*i].crop = (roi[k], roi[k + count]);
            }
        }
        if let Some(scales) = scales {
            for (k, i) in named.iter().enumerate() {
                let axis = &mut all[*i];
                let scale = scales[k];
                // Computed in the precision of the file: 0.6 of 5 is 3. Uses the length of the whole axis even if it is
                // cropped: ONNX's text multiplies by the cropped part; its reference, its shape inference and
                // onnxruntime do not.
                let length = (axis.input as f32 * scale as f32).floor();
                if scale.is_nan() || scale <= 0.0 || !(0.0..=i32::MAX as f32).contains(&length) {
                    return Err(format!("a scale of {scale} for length {}", axis.input));
                }
                axis.scale = scale;
                axis.output = length as usize;
            }
        } else if let Some(sizes) = sizes {
            self.fit(&mut all, &named, &sizes)?;
        } else {
            return Err("neither scales nor sizes are given".into());
        }
        Ok(all)
    }

    fn fit(&self, all: &mut [Axis], named: &[usize], sizes: &[f64]) -> OpResult<()> {
        if let Some(s) = sizes
            .iter()
            .find(|s| !(1.0..=f64::from(i32::MAX)).contains(*s))
        {
            return Err(format!("a size of {s}"));
        }
        let ratios: Vec<f64> = named
            .iter()
            .zip(sizes)
            .map(|(i, s)| s / all[*i].input as f64)
            .collect();
        if ratios.iter().any(|r| !r.is_finite()) {
            return Err("an input without elements".into());
        }
        let common = match self.policy {
            Policy::Stretch => None,
            Policy::NotLarger => Some(ratios.iter().copied().fold(f64::INFINITY, f64::min)),
            Policy::NotSmaller => Some(ratios.iter().copied().fold(0.0, f64::max)),
        };
        for (k, i) in named.iter().enumerate() {
            let axis = &mut all[*i];
            axis.scale = common.unwrap_or(ratios[k]);
            axis.output = match common {
                // Halves round up.
                Some(scale) => (scale * axis.input as f64 + 0.5).floor() as usize,
                None => sizes[k] as usize,
            };
        }
        Ok(())
    }

    fn ready(&self, wanted: &[Axis]) -> OpResult<Arc<Ready>> {
        // A thread that panicked with the lock had finished writing, or had not begun.
        let mut kept = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((axes, ready)) = kept.as_ref()
            && axes == wanted
        {
            return Ok(Arc::clone(ready));
        }
        self.note_differences(wanted);
        let plans = wanted
            .iter()
            .map(|a| {
                if self.keeps(a, wanted) {
                    Ok(Plan::Same)
                } else {
                    a.plan(&self.style)
                }
            })
            .collect::<OpResult<_>>()?;
        let outside = if self.style.coordinates == Coordinates::Crop {
            let axes: Vec<Vec<bool>> = wanted.iter().map(|a| a.outside(&self.style)).collect();
            outside(&axes)?
        } else {
            None
        };
        let ready = Arc::new(Ready { plans, outside });
        *kept = Some((wanted.to_vec(), Arc::clone(&ready)));
        Ok(ready)
    }

    fn apply(&self, x: &mut Args<'_>) -> OpResult<Vec<Value>> {
        let shape = x.peek(0)?.shape();
        let all_host = x.all_host();
        let wanted = self.wanted(x, &shape)?;
        let output: Vec<usize> = wanted.iter().map(|a| a.output).collect();
        room::elements(&output)?;
        let ready = self.ready(&wanted)?;
        let nearest = matches!(self.style.kernel, Kernel::Nearest(_));
        if all_host && nearest && ready.outside.is_none() {
            return one(self.picked(&x.array(0)?, &wanted)?);
        }
        let mut y = x.tensor(0)?;
        // Axes that shrink come first: the others then have less to do.
        let mut order: Vec<usize> = (0..shape.len()).collect();
        order.sort_by(|a, b| wanted[*a].scale.total_cmp(&wanted[*b].scale));
        for i in order {
            y = ready.plans[i].apply(y, i, x.device)?;
        }
        match &ready.outside {
            Some(outside) => one(filled(y, outside, self.fill, x.device)?),
            None => one(y),
        }
    }

    /// Picks elements on the host, for any type.
    fn picked(&self, a: &Array, wanted: &[Axis]) -> OpResult<Array> {
        let shape: Vec<usize> = wanted.iter().map(|a| a.output).collect();
        let mut from = vec![0; room::elements(&shape)?];
        let mut step = a.len();
        let mut repeat = from.len();
        for axis in wanted {
            let places = axis.places(&self.style);
            step /= axis.input.max(1);
            repeat /= axis.output.max(1);
            for (at, f) in from.iter_mut().enumerate() {
                *f += places[at / repeat % places.len()] * step;
            }
        }
        Ok(a.pick(&from, shape))
    }
}

fn resize(node: &NodeSpec<'_>) -> OpResult<Run> {
    let resize = if node.opset < 11 {
        let inputs = Inputs {
            roi: None,
            scales: Some(1),
            sizes: None,
            fixed: None,
        };
        Resize::old(node, inputs)?
    } else {
        Resize::new(node)?
    };
    run(move |x| resize.apply(x))
}

fn upsample(node: &NodeSpec<'_>) -> OpResult<Run> {
    let fixed = if node.opset < 9 {
        Some(
            node.floats("scales")?
                .ok_or("attribute `scales` is missing")?,
        )
    } else {
        None
    };
    let inputs = Inputs {
        roi: None,
        scales: Some(1),
        sizes: None,
        fixed,
    };
    let resize = Resize::old(node, inputs)?;
    run(move |x| resize.apply(x))
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Resize", resize),
    OperatorEntry::new("Upsample", upsample),
];

#[cfg(test)]
mod tests;
