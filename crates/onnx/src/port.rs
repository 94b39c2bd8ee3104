//! From samples as the data have them to inputs as a model wants them.

use std::str::FromStr;
use std::sync::Arc;

use burn::tensor::Tensor as Burn;
use proofmark_domain::Modality;

use crate::dtype::DType;
use crate::error::OnnxError;
use crate::load::OnnxFile;
use crate::node::OpResult;
use crate::room;
use crate::session::{Declared, Dim};
use crate::tensor::Tensor;
use crate::value::Value;

/// The order of an image's axes in a model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[c, h, w]`, as `PyTorch` exports.
    Nchw,
    /// `[h, w, c]`, as TensorFlow exports.
    Nhwc,
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "nchw" => Ok(Self::Nchw),
            "nhwc" => Ok(Self::Nhwc),
            _ => Err(format!("layout `{s}`; expected nchw or nhwc")),
        }
    }
}

/// One input that samples come through.
pub(crate) struct Port {
    /// The input's name.
    pub(crate) name: String,
    /// The input's type.
    dtype: DType,
    /// Per sample, as the data have it.
    given: Vec<usize>,
    /// Order of the data's axes that the model wants.
    order: Vec<usize>,
    /// Per sample, as the model wants it.
    wanted: Vec<usize>,
    /// Whether the model's input has an axis for the samples.
    pub(crate) batched: bool,
}

impl Port {
    /// Rows `[n, features]` as the input.
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
        Ok(tensor.typed(self.dtype).into())
    }
}

/// The modality for each input of the model, under the input's name.
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
        return Err(file.problem(format!(
            "has no input `{}`; its inputs are {}",
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

/// Whether the model wants an image's channels at the other end. They come first or last in the data; a layout that
/// is stated says where the model wants them.
fn turned(given: &[usize], layout: Option<Layout>) -> bool {
    layout.is_some_and(|l| {
        let few = |n: usize| matches!(n, 1 | 3 | 4);
        let first = given.len() == 3 && few(given[0]) && !few(given[2]);
        let last = given.len() == 3 && few(given[2]) && !few(given[0]);
        (l == Layout::Nhwc && !last) || (l == Layout::Nchw && last && !first)
    })
}

/// How the samples of a modality become an input.
pub(crate) fn port(
    file: &OnnxFile,
    declared: &Declared,
    modality: &Modality,
    layout: Option<Layout>,
) -> Result<Port, OnnxError> {
    let problem = |p: String| file.problem(format!("input `{}`: {p}", declared.name));
    if let Some(dtype) = declared.dtype
        && !dtype.is_float()
    {
        return Err(problem(format!(
            "is {dtype}; only floating-point inputs can be attacked (fix it with --fix {}=VALUE)",
            declared.name
        )));
    }
    let given = modality.shape.clone();
    let features = modality.features();
    let dtype = declared.dtype.unwrap_or(DType::F32);
    let straight = |wanted: Vec<usize>, batched| Port {
        name: declared.name.clone(),
        dtype,
        order: (0..given.len()).collect(),
        given: given.clone(),
        wanted,
        batched,
    };
    let Some(dims) = &declared.shape else {
        return Ok(straight(given.clone(), true));
    };
    let fixed: Option<Vec<usize>> = dims
        .iter()
        .map(|d| match d {
            Dim::Fixed(n) => Some(*n),
            _ => None,
        })
        .collect();
    if let Some(all) = &fixed
        && room::elements(all) == Ok(features)
        && all.first() != Some(&1)
    {
        return Ok(straight(all.clone(), false));
    }
    let Some(sample) = dims.get(1..) else {
        return Err(problem(
            "is a single number; expected an axis of samples".into(),
        ));
    };
    let shown = || {
        let list: Vec<String> = sample.iter().map(ToString::to_string).collect();
        list.join(", ")
    };
    let fits = |shape: &[usize]| {
        shape.len() == sample.len()
            && shape.iter().zip(sample).all(|(n, d)| match d {
                Dim::Fixed(m) => n == m,
                _ => true,
            })
    };
    if fits(&given) && !turned(&given, layout) {
        return Ok(straight(given.clone(), true));
    }
    if let [a, b, c] = *given.as_slice() {
        let to_last = (vec![1, 2, 0], [b, c, a]);
        let to_first = (vec![2, 0, 1], [c, a, b]);
        let allowed = match layout {
            None => vec![to_last, to_first],
            Some(Layout::Nhwc) => vec![to_last],
            Some(Layout::Nchw) => vec![to_first],
        };
        for (order, shape) in allowed {
            if fits(&shape) {
                return Ok(Port {
                    name: declared.name.clone(),
                    dtype,
                    given: given.clone(),
                    order,
                    wanted: shape.to_vec(),
                    batched: true,
                });
            }
        }
    }
    settled(sample, features)
        .map(|wanted| straight(wanted, true))
        .map_err(|why| {
            problem(format!(
                "takes samples of shape [{}]; the data have shape {given:?} ({features} values){why}",
                shown()
            ))
        })
}

/// A declared shape with its one open dimension settled by the number of values; why not, where it cannot be.
fn settled(sample: &[Dim], features: usize) -> Result<Vec<usize>, &'static str> {
    let known = sample
        .iter()
        .try_fold(1usize, |n, d| match d {
            Dim::Fixed(m) => n.checked_mul(*m),
            _ => Some(n),
        })
        .unwrap_or(0);
    let open = sample.iter().filter(|d| !matches!(d, Dim::Fixed(_)));
    match open.count() {
        _ if known == 0 || !features.is_multiple_of(known) => Err(""),
        0 if features != known => Err(""),
        0 | 1 => Ok(sample
            .iter()
            .map(|d| match d {
                Dim::Fixed(n) => *n,
                _ => features / known,
            })
            .collect()),
        _ => Err(", which does not settle it"),
    }
}

/// How many samples the file takes at a time, if it says so.
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

/// The modalities of a model's inputs as the file declares them, with `bounds` for all: for models that are asked
/// without a data set. Free dimensions other than the first are an error.
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
            let shape = sample
                .iter()
                .map(|dim| match dim {
                    Dim::Fixed(n) => Ok(*n),
                    other => Err(file.problem(format!(
                        "input `{}` leaves dimension {other} open; data are needed to settle it",
                        d.name
                    ))),
                })
                .collect::<Result<Vec<usize>, _>>()?;
            room::elements(&shape).map_err(|e| file.problem(format!("input `{}`: {e}", d.name)))?;
            Ok(Modality {
                name: d.name,
                kind: if shape.len() == 3 {
                    proofmark_domain::Kind::Image
                } else {
                    proofmark_domain::Kind::Table
                },
                shape,
                bounds: bounds.clone(),
            })
        })
        .collect()
}
