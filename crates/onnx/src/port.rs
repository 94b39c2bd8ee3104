//! Converts samples from the shape of the data to the shape of the model's inputs.

use std::sync::Arc;

use burn::tensor::Tensor as Burn;
use proofmark_domain::{Grid, Kind, Misfit, Modality, fit};
use proofmark_model::Numbers;

use crate::array::Array;
use crate::dtype::DType;
use crate::error::OnnxError;
use crate::load::OnnxFile;
use crate::node::OpResult;
use crate::op::rounded;
use crate::room;
use crate::session::{Declared, Dim, shown};
use crate::tensor::Tensor;
use crate::value::Value;
use crate::whole;

/// Order of an image's axes in a model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
#[strum(parse_err_ty = String, parse_err_fn = unknown_layout)]
pub enum Layout {
    /// `[c, h, w]`, as `PyTorch` exports.
    Nchw,
    /// `[h, w, c]`, as TensorFlow exports.
    Nhwc,
}

fn unknown_layout(text: &str) -> String {
    format!("layout `{text}`; expected nchw or nhwc")
}

/// How one input takes samples.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    /// Name of the input.
    pub(crate) name: String,
    /// Element type of the input.
    pub(crate) dtype: DType,
    /// Numbers that the input takes.
    pub(crate) numbers: Numbers,
    /// Shape of a sample in the data.
    given: Vec<usize>,
    /// Permutation of the data's axes to the model's order.
    order: Vec<usize>,
    /// Shape of a sample in the model.
    wanted: Vec<usize>,
    /// Whether the model's input has a batch dimension.
    pub(crate) batched: bool,
}

impl Port {
    /// Whether the data's axes keep their order.
    pub(crate) fn is_straight(&self) -> bool {
        self.order.is_sorted()
    }

    /// Returns the layout that the axes are moved to, if they are moved.
    pub(crate) fn turned_to(&self) -> Option<Layout> {
        match self.order.as_slice() {
            o if o == TO_FIRST => Some(Layout::Nchw),
            o if o == TO_LAST => Some(Layout::Nhwc),
            _ => None,
        }
    }

    /// Returns the samples of an array (along its first axis) in the model's shape.
    pub(crate) fn arrange(&self, array: &Array) -> Array {
        let rows = array.shape().first().copied().unwrap_or(0);
        let one = self.order_of_features();
        let features = one.len();
        let from: Vec<usize> = (0..rows)
            .flat_map(|row| one.iter().map(move |i| row * features + *i as usize))
            .collect();
        let mut shape = vec![rows];
        shape.extend(&self.wanted);
        array.pick(&from, shape)
    }

    /// For each feature of the input, the one of a sample of the data that it holds.
    pub(crate) fn order_of_features(&self) -> Vec<u32> {
        let features: usize = self.given.iter().product();
        let turned: Vec<usize> = self.order.iter().map(|a| self.given[*a]).collect();
        // Strides of the data's axes, in the model's order.
        let step = |axis: usize| self.given[axis + 1..].iter().product::<usize>();
        let steps: Vec<usize> = self.order.iter().map(|a| step(*a)).collect();
        (0..features)
            .map(|mut i| {
                let place = turned.iter().zip(&steps).rev().fold(0, |at, (n, step)| {
                    let along = i % n;
                    i /= n;
                    at + along * step
                });
                place as u32
            })
            .collect()
    }

    /// Returns the order of the axes longer than 1: two ports with the same order give the same values.
    fn moved(&self) -> Vec<usize> {
        let long = |a: &&usize| self.given[**a] != 1;
        self.order.iter().filter(long).copied().collect()
    }

    /// Converts rows `[n, features]` to the input.
    pub(crate) fn feed(&self, block: &Burn<2>) -> OpResult<Value> {
        let n = block.dims()[0];
        let mut given = vec![n];
        given.extend(&self.given);
        let mut order = vec![0];
        order.extend(self.order.iter().map(|a| a + 1));
        let mut wanted = if self.batched { vec![n] } else { Vec::new() };
        wanted.extend(&self.wanted);
        let tensor = Tensor::from_burn(block.clone()).reshape(&given)?;
        let tensor = tensor.permute(&order).reshape(&wanted)?;
        let tensor = match self.numbers {
            Numbers::Whole { .. } => rounded(tensor)?,
            Numbers::Real | Numbers::Fixed { .. } => tensor,
        };
        Ok(tensor.typed(self.dtype).into())
    }
}

/// Returns the modality for each input of the model, under the input's name.
pub(crate) fn matched(
    file: &OnnxFile,
    declared: &[Declared],
    given: &[Modality],
) -> Result<Vec<Modality>, OnnxError> {
    let names = || {
        let list: Vec<&str> = declared.iter().map(|d| d.name.as_str()).collect();
        list.join(", ")
    };
    if let ([d], [m]) = (declared, given) {
        return Ok(vec![Modality {
            name: d.name.clone(),
            ..m.clone()
        }]);
    }
    if let Some(m) = given
        .iter()
        .find(|m| declared.iter().all(|d| d.name != m.name))
    {
        let more = if declared.len() == 1 {
            "; where the set holds more, `--arrays INPUTS,LABELS` names the arrays to read"
        } else {
            ""
        };
        return Err(file.problem(format!(
            "has no input `{}`; its inputs are {}{more}",
            m.name,
            names()
        )));
    }
    declared
        .iter()
        .map(|d| {
            given.iter().find(|m| m.name == d.name).cloned().ok_or_else(|| {
                file.problem(format!(
                    "input `{}` is given no data; give an array of that name, or fix it (--fix {}=VALUE)",
                    d.name, d.name
                ))
            })
        })
        .collect()
}

/// Permutation from channels last to channels first.
const TO_FIRST: [usize; 3] = [2, 0, 1];
/// Permutation from channels first to channels last.
const TO_LAST: [usize; 3] = [1, 2, 0];

/// Returns the layout of an image whose channel axis (1, 3 or 4 channels) is recognised at exactly one end.
fn layout_of(shape: &[Option<usize>]) -> Option<Layout> {
    let &[Some(first), _, Some(last)] = shape else {
        return None;
    };
    match (Grid::may_be_channels(first), Grid::may_be_channels(last)) {
        (true, false) => Some(Layout::Nchw),
        (false, true) => Some(Layout::Nhwc),
        _ => None,
    }
}

/// Returns the axis orders in which a model may want an image, the unchanged order first. `data`: the layout of the
/// data, if it is recognised; `model`: the model's, if it is stated.
fn orders(data: Option<Layout>, model: Option<Layout>) -> Vec<[usize; 3]> {
    let straight = [0, 1, 2];
    match (data, model) {
        (Some(data), Some(model)) if data == model => vec![straight],
        (Some(_), Some(Layout::Nchw)) => vec![TO_FIRST],
        (Some(_), Some(Layout::Nhwc)) => vec![TO_LAST],
        (None, Some(Layout::Nchw)) | (Some(Layout::Nhwc), None) => vec![straight, TO_FIRST],
        (None, Some(Layout::Nhwc)) | (Some(Layout::Nchw), None) => vec![straight, TO_LAST],
        (None, None) => vec![straight, TO_LAST, TO_FIRST],
    }
}

/// Returns the ways to read the samples of a modality as an input: the one that is stated or follows from the shapes.
/// If the file leaves the axes of images open, returns all candidates, the unchanged order first, and running the model
/// has to decide.
pub(crate) fn ports(
    file: &OnnxFile,
    declared: &Declared,
    modality: &Modality,
    numbers: Numbers,
    layout: Option<Layout>,
) -> Result<Vec<Port>, OnnxError> {
    let problem = |p: String| file.problem(format!("input `{}`: {p}", declared.name));
    let dtype = declared.dtype.unwrap_or(DType::F32);
    if let Some(why) = whole::misfit(numbers, modality, dtype) {
        return Err(problem(why));
    }
    let given = modality.shape.as_slice();
    let dims = match &declared.shape {
        Some(dims) => dims.clone(),
        None => vec![Dim::Free; 1 + given.len()],
    };
    // A declared shape without a batch dimension holds all the values of one sample.
    let lengths: Vec<Option<usize>> = dims.iter().map(Dim::fixed).collect();
    let whole = lengths.iter().copied().collect::<Option<Vec<usize>>>();
    let batched = !whole.is_some_and(|whole| {
        whole.first() != Some(&1) && room::elements(&whole) == Ok(modality.features())
    });
    let sample = usize::from(batched)..;
    let Some(wanted) = lengths.get(sample.clone()) else {
        return Err(problem(
            "is a single number; expected an axis of samples".into(),
        ));
    };
    if let (Some(stated), Some(own)) = (layout, layout_of(wanted))
        && stated != own
    {
        return Err(problem(format!(
            "--layout {stated} contradicts the file, which declares {}; drop --layout or pass --layout {own}",
            declared.shape_text()
        )));
    }
    let seen: Vec<Option<usize>> = given.iter().copied().map(Some).collect();
    // Only images may be transposed; for a flat input, the stated layout gives the order of the values.
    let row = fit(given, wanted) == Err(Misfit::Order) && layout.is_some();
    let orders: Vec<Vec<usize>> = if given.len() == 3 && (wanted.len() == 3 || row) {
        let orders = orders(layout_of(&seen), layout);
        orders.iter().map(|o| o.to_vec()).collect()
    } else {
        vec![(0..given.len()).collect()]
    };
    let mut found: Vec<Port> = Vec::new();
    let mut why = Misfit::Differs;
    for order in orders {
        let turned: Vec<usize> = order.iter().map(|a| given[*a]).collect();
        let shape = if row {
            fit(&[modality.features()], wanted)
        } else {
            fit(&turned, wanted)
        };
        match shape {
            Ok(shape) => found.push(Port {
                name: declared.name.clone(),
                dtype,
                numbers,
                given: given.to_vec(),
                order,
                wanted: shape,
                batched,
            }),
            Err(Misfit::Differs) => {}
            Err(other) => why = other,
        }
    }
    // With axes of length 1, different orders may give the same values.
    let mut distinct: Vec<Vec<usize>> = Vec::new();
    found.retain(|port| {
        let moved = port.moved();
        let new = !distinct.contains(&moved);
        distinct.push(moved);
        new
    });
    let undecided = layout.is_none() && matches!(wanted, [None, _, None]);
    match found.as_slice() {
        [] => Err(problem(misfit(&dims[sample], modality, layout, why))),
        [first, _, ..] if first.is_straight() && !undecided => Ok(found.drain(..1).collect()),
        [first, _, ..] if !first.is_straight() => Err(problem(undecidable(declared, given, None))),
        _ => Ok(found),
    }
}

/// Returns why samples cannot be read as an input, and what to do.
fn misfit(wanted: &[Dim], modality: &Modality, layout: Option<Layout>, why: Misfit) -> String {
    let given = modality.shape.as_slice();
    // Data `[n, h, w]` are stored as images of one channel; the message shows the two axes the user knows.
    let own = match given.strip_prefix(&[1]) {
        Some(own) if own.len() == wanted.len() => own,
        _ => given,
    };
    let features = modality.features();
    let stated = layout.map_or_else(String::new, |l| format!(" with --layout {l}"));
    let text = format!(
        "takes samples of shape {}{stated}; the data have shape {own:?} ({features} values)",
        shown(wanted)
    );
    let sorted = |axes: Vec<usize>| {
        let mut axes: Vec<usize> = axes.into_iter().filter(|n| *n != 1).collect();
        axes.sort_unstable();
        axes
    };
    let fixed: Option<Vec<usize>> = wanted.iter().map(Dim::fixed).collect();
    let count = fixed.as_deref().map(|f| f.iter().product::<usize>());
    let todo = match why {
        Misfit::Order => {
            "; say in which order the model was trained to take them: --layout nchw (channel by channel) or --layout nhwc (pixel by pixel)"
        }
        Misfit::Open => {
            ", which does not settle it; give the array every axis of the model, those of length 1 too"
        }
        Misfit::Differs if fixed.is_some_and(|f| sorted(f) == sorted(given.to_vec())) => {
            ": the same axes in another order; transpose the array"
        }
        Misfit::Differs if count == Some(features) => {
            ": as many values along other axes; give the array the axes of the model"
        }
        Misfit::Differs => differing_images(wanted, modality),
    };
    text + todo
}

/// Returns what to do about images with another number of channels or another size than the model takes.
fn differing_images(wanted: &[Dim], modality: &Modality) -> &'static str {
    let (Kind::Image, [channels, height, width], 3) =
        (modality.kind, modality.shape.as_slice(), wanted.len())
    else {
        return "";
    };
    let takes = |n: usize| wanted.iter().any(|d| d.fixed() == Some(n));
    match channels {
        1 if takes(3) => {
            "; the data are grey and the model takes colours: `--color rgb` makes three channels of the images of a folder"
        }
        3 if takes(1) => {
            "; the data are in colour and the model takes grey: `--color gray` converts the images of a folder"
        }
        _ if !takes(*height) || !takes(*width) => {
            "; `--resize` and `--crop` make the images of a folder the size that the model was trained on"
        }
        _ => "",
    }
}

/// Chooses among several readings. Takes the first if it keeps the order of the axes and the model runs on it alone, or
/// if the model runs on none, so that the failure can be reported. Otherwise the error holds the only layout the model
/// runs as, if there is one.
pub(crate) fn decide(
    mut readings: Vec<Port>,
    mut runs: impl FnMut(&Port) -> bool,
) -> Result<Port, Option<Layout>> {
    if readings.len() == 1 {
        return Ok(readings.remove(0));
    }
    let run: Vec<bool> = readings.iter().map(&mut runs).collect();
    let several = run.iter().filter(|r| **r).count() > 1;
    match run.iter().position(|r| *r) {
        None | Some(0) if !several => Ok(readings.remove(0)),
        Some(at) if !several => Err(readings[at].turned_to()),
        _ => Err(None),
    }
}

/// Returns the error for images that fit in several axis orders when nothing decides between them. `runs`: the only
/// layout as which the model runs, if there is one.
pub(crate) fn undecidable(declared: &Declared, given: &[usize], runs: Option<Layout>) -> String {
    let only = runs.map_or_else(String::new, |l| format!(" (it runs as {l} only)"));
    format!(
        "the file declares {}, so the order of the axes of images {given:?} is not known; say how the model wants them: --layout nchw or --layout nhwc{only}",
        declared.shape_text(),
    )
}

/// Returns how many samples the file takes at a time, if it fixes that number.
pub(crate) fn chunk(
    file: &OnnxFile,
    declared: &[Declared],
    ports: &[Port],
) -> Result<Option<usize>, OnnxError> {
    let mut size = None;
    for (d, port) in declared.iter().zip(ports) {
        let own = match d.shape.as_deref().and_then(<[Dim]>::first) {
            Some(Dim::Fixed(n)) if port.batched => Some(*n),
            _ if !port.batched => Some(1),
            _ => None,
        };
        match (size, own) {
            (Some(a), Some(b)) if a != b => {
                return Err(file.problem(format!(
                    "input `{}` takes {b} samples at a time and another one {a}",
                    d.name
                )));
            }
            (_, Some(b)) => size = Some(b),
            _ => {}
        }
    }
    Ok(size)
}

/// Returns the modalities of a model's inputs as the file declares them, with `bounds` for all, for use without a data
/// set. Free dimensions other than the first are an error.
pub fn declared_modalities(
    file: &OnnxFile,
    bounds: &proofmark_domain::Bounds,
) -> Result<Arc<[Modality]>, OnnxError> {
    file.inputs()
        .into_iter()
        .map(|d| {
            let dims = d.shape.clone().unwrap_or_default();
            let sample = if dims.len() > 1 {
                &dims[1..]
            } else {
                &dims[..]
            };
            let open = sample.iter().filter(|dim| dim.fixed().is_none());
            let open: Vec<String> = open.map(ToString::to_string).collect();
            if !open.is_empty() {
                let several = if open.len() == 1 { "" } else { "s" };
                return Err(file.problem(format!(
                    "input `{}` leaves dimension{several} {} open; data are needed to settle it",
                    d.name,
                    open.join(", ")
                )));
            }
            let shape: Vec<usize> = sample.iter().filter_map(Dim::fixed).collect();
            room::elements(&shape).map_err(|e| file.problem(format!("input `{}`: {e}", d.name)))?;
            Ok(Modality {
                name: d.name,
                kind: if shape.len() == 3 {
                    Kind::Image
                } else {
                    Kind::Table
                },
                shape,
                bounds: bounds.clone(),
            })
        })
        .collect()
}
