//! A model as a function of named arrays; `infer` runs any model through it.

use std::collections::BTreeMap;

use burn::tensor::Device;
use proofmark_domain::{Bounds, Kind, Modality, hint};
use proofmark_model::Numbers;

use crate::array::Array;
use crate::dtype::DType;
use crate::error::OnnxError;
use crate::graph::{Graph, Plan, Slot};
use crate::load::OnnxFile;
use crate::port::{Layout, decide, ports, undecidable};
use crate::proto::ValueInfoProto;
use crate::value::Value;

/// An input or output as the file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Name of the input or output.
    pub name: String,
    /// Element type, if it is a tensor of a supported type.
    pub dtype: Option<DType>,
    /// Shape, if one is declared.
    pub shape: Option<Vec<Dim>>,
}

/// A declared dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// Fixed length.
    Fixed(usize),
    /// Free, with a name.
    Named(String),
    /// Free, without a name.
    Free,
}

impl Dim {
    /// Returns the length, if it is fixed.
    pub(crate) fn fixed(&self) -> Option<usize> {
        match self {
            Self::Fixed(n) => Some(*n),
            _ => None,
        }
    }
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(n) => n.fmt(f),
            Self::Named(name) => f.write_str(name),
            Self::Free => f.write_str("?"),
        }
    }
}

/// Formats a declared shape for messages.
pub(crate) fn shown(dims: &[Dim]) -> String {
    let list: Vec<String> = dims.iter().map(ToString::to_string).collect();
    format!("[{}]", list.join(", "))
}

impl Declared {
    /// Returns the declared shape, such as `[N, 3, 32, 32]`; `?` if none is declared.
    pub fn shape_text(&self) -> String {
        self.shape.as_deref().map_or_else(|| "?".to_owned(), shown)
    }

    pub(crate) fn of(info: &ValueInfoProto) -> Self {
        let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        Self {
            name: info.name.clone(),
            dtype: tensor.and_then(|t| DType::from_onnx(t.elem_type).ok()),
            shape: tensor.and_then(|t| t.shape.as_ref()).map(|s| {
                s.dim
                    .iter()
                    .map(|d| match (d.dim_value, &d.dim_param) {
                        // Some exporters write 0 or -1 for a free dimension.
                        (Some(n), _) if n > 0 => Dim::Fixed(n as usize),
                        (_, Some(name)) if !name.is_empty() => Dim::Named(name.clone()),
                        _ => Dim::Free,
                    })
                    .collect()
            }),
        }
    }
}

/// A value to return.
struct Wanted {
    declared: Declared,
    slot: Slot,
}

/// A model on a device that is run on one array per input.
pub struct Session {
    file: OnnxFile,
    graph: Graph,
    wanted: Vec<Wanted>,
    plan: Plan,
    device: Device,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("file", &self.file)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// How rows are split over several runs of the model.
struct Slices {
    /// Number of rows.
    rows: usize,
    /// Rows per run.
    size: usize,
    /// Which inputs are split; the others are the same for all rows.
    cut: Vec<bool>,
}

impl Session {
    /// Builds the graph on a device, for all outputs.
    pub fn new(file: OnnxFile, device: &Device) -> Result<Self, OnnxError> {
        Self::of(file, &[], device)
    }

    /// Builds the graph for the named outputs, or values inside the graph; operators that these do not need may be
    /// unsupported. With no names, builds it for all outputs.
    pub fn of(file: OnnxFile, outputs: &[String], device: &Device) -> Result<Self, OnnxError> {
        let names: Vec<String> = match outputs {
            [] => file.outputs().into_iter().map(|d| d.name).collect(),
            named => named.to_vec(),
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        file.has_values(&names)?;
        let graph = file.build_for(&names, device, &BTreeMap::new())?;
        let plan = graph.plan(&graph.outputs);
        let declared = file.outputs();
        let declared = names.iter().map(|name| {
            let own = declared.iter().find(|d| d.name == *name).cloned();
            own.unwrap_or_else(|| Declared {
                name: (*name).to_owned(),
                dtype: None,
                shape: None,
            })
        });
        let wanted = declared
            .zip(&graph.outputs)
            .map(|(declared, slot)| Wanted {
                declared,
                slot: *slot,
            })
            .collect();
        Ok(Self {
            file,
            graph,
            wanted,
            plan,
            device: device.clone(),
        })
    }

    /// Also returns a value inside the model: the value of this name, or all values that the node of this name
    /// computes.
    pub fn watch(&mut self, name: &str) -> Result<(), OnnxError> {
        let values = if self.graph.names.contains_key(name) {
            vec![name.to_owned()]
        } else {
            self.computed_by(name).ok_or_else(|| {
                let values = self.graph.names.keys().map(String::as_str);
                let hint = hint(name, values);
                self.file
                    .problem(format!("has no value or node `{name}`{hint}"))
            })?
        };
        for value in values {
            if self.wanted.iter().any(|w| w.declared.name == value) {
                continue;
            }
            self.wanted.push(Wanted {
                slot: self.graph.names[&value],
                declared: Declared {
                    name: value,
                    dtype: None,
                    shape: None,
                },
            });
        }
        let slots: Vec<Slot> = self.wanted.iter().map(|w| w.slot).collect();
        self.plan = self.graph.plan(&slots);
        Ok(())
    }

    /// Returns the names of the values that a node computes, if there is a node of that name.
    fn computed_by(&self, node: &str) -> Option<Vec<String>> {
        if let Some(node) = self.graph.nodes.iter().find(|n| n.name == node) {
            let slots = node.outputs.iter().flatten();
            return Some(slots.map(|s| self.graph.name(*s).to_owned()).collect());
        }
        // The node may have been folded into constants.
        let node = self.file.graph().node.iter().find(|n| n.name == node)?;
        let known = |o: &&String| self.graph.names.contains_key(*o);
        Some(node.output.iter().filter(known).cloned().collect())
    }

    /// Returns the notes on how the graph is computed; running the model may add more.
    pub fn notes(&self) -> Vec<String> {
        self.graph.notes.all()
    }

    /// Returns the inputs to be given.
    pub fn inputs(&self) -> Vec<Declared> {
        self.file.inputs()
    }

    /// Returns the declarations of the values returned: the model's outputs, then the watched values.
    pub fn outputs(&self) -> Vec<Declared> {
        self.wanted.iter().map(|w| w.declared.clone()).collect()
    }

    /// Runs the model on one array per input, in the order of the inputs.
    ///
    /// A model exported for a fixed number of rows (usually one) takes any number: the rows are run in parts of that
    /// number, and the results are concatenated along their first axis. Inputs without that axis are passed whole to
    /// each part.
    pub fn run(&self, inputs: &[Array]) -> Result<Vec<Array>, OnnxError> {
        let Some(slices) = self.slices(inputs)? else {
            return self.run_once(inputs);
        };
        let mut parts: Vec<Vec<Array>> = vec![Vec::new(); self.wanted.len()];
        for start in (0..slices.rows).step_by(slices.size) {
            let slice: Vec<Array> = inputs
                .iter()
                .zip(&slices.cut)
                .map(|(array, cut)| {
                    if *cut {
                        array.rows(start, start + slices.size)
                    } else {
                        array.clone()
                    }
                })
                .collect();
            let left = slices.rows - start;
            for ((array, parts), wanted) in self
                .run_once(&slice)?
                .into_iter()
                .zip(&mut parts)
                .zip(&self.wanted)
            {
                if left >= slices.size || self.graph.known[wanted.slot].is_some() {
                    parts.push(array);
                } else if array.shape().first() == Some(&slices.size) {
                    parts.push(array.rows(0, left));
                } else {
                    return Err(self.file.problem(format!(
                        "output `{}` has shape {:?} for {} rows, so the last {left} cannot be told apart; give a multiple of {} rows",
                        wanted.declared.name,
                        array.shape(),
                        slices.size,
                        slices.size
                    )));
                }
            }
        }
        parts
            .iter()
            .zip(&self.wanted)
            .map(|(parts, wanted)| {
                // Constants are the same for all rows.
                if self.graph.known[wanted.slot].is_some() {
                    return Ok(parts[0].clone());
                }
                Array::joined(parts).map_err(|e| {
                    self.file
                        .problem(format!("output `{}` {e}", wanted.declared.name))
                })
            })
            .collect()
    }

    /// Converts arrays to the shapes the model takes, and returns notes on the changes. Arrays with the declared shape
    /// are unchanged; the others are read by the rules for samples, along their first axis.
    pub fn arranged(
        &self,
        mut arrays: Vec<Array>,
        layout: Option<Layout>,
    ) -> Result<(Vec<Array>, Vec<String>), OnnxError> {
        let mut notes = Vec::new();
        for (i, declared) in self.inputs().into_iter().enumerate().take(arrays.len()) {
            let problem = |p| self.file.problem(format!("input `{}`: {p}", declared.name));
            let shape = arrays[i].shape().to_vec();
            let (Some(dims), Some((rows, given))) = (&declared.shape, shape.split_first()) else {
                continue;
            };
            let fits = |(d, n): (&Dim, &usize)| d.fixed().is_none_or(|d| d == *n);
            let sample = dims.get(1..).unwrap_or_default();
            let same = dims.len() == shape.len() && sample.iter().zip(given).all(fits);
            if same && layout.is_none() {
                continue;
            }
            let bounds = Bounds::uniform(0.0, 1.0).map_err(|e| problem(e.to_string()))?;
            let modality = Modality {
                name: declared.name.clone(),
                kind: Kind::Image,
                shape: given.to_vec(),
                bounds,
            };
            let readings = match ports(&self.file, &declared, &modality, Numbers::Real, layout) {
                Ok(readings) => readings,
                Err(e) if layout.is_some() => return Err(e),
                // `run` reports arrays that do not fit with all their axes.
                Err(_) => continue,
            };
            let chosen = decide(readings, |port| {
                let mut tried = arrays.clone();
                tried[i] = port.arrange(&arrays[i]);
                self.run(&tried).is_ok()
            });
            let port = chosen.map_err(|runs| problem(undecidable(&declared, given, runs)))?;
            // Without a batch dimension there can be only one sample.
            if !port.batched && *rows != 1 {
                continue;
            }
            let arranged = port.arrange(&arrays[i]);
            let arranged = if port.batched {
                arranged
            } else {
                let one = arranged.shape()[1..].to_vec();
                arranged.reshape(&one).map_err(problem)?
            };
            if arranged.shape() != shape {
                notes.push(format!(
                    "`{}`: {shape:?} read as {:?}",
                    declared.name,
                    arranged.shape()
                ));
            }
            arrays[i] = arranged;
        }
        Ok((arrays, notes))
    }

    /// Checks the arrays against the declared shapes; returns how rows are split, unless all run at once.
    fn slices(&self, given: &[Array]) -> Result<Option<Slices>, OnnxError> {
        let inputs = self.inputs();
        if inputs.len() != given.len() {
            return Err(self.file.problem(format!(
                "{} arrays for {} inputs",
                given.len(),
                inputs.len()
            )));
        }
        let mut named: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        let mut rows: Option<(usize, usize, &str)> = None;
        for (input, array) in inputs.iter().zip(given) {
            let problem = |p: String| self.file.problem(format!("input `{}` {p}", input.name));
            if let Some(dtype) = input.dtype.filter(|d| *d != array.dtype()) {
                return Err(problem(format!(
                    "is given {}; expected {dtype}",
                    array.dtype()
                )));
            }
            let Some(dims) = &input.shape else { continue };
            let wrong = |why: &str| {
                problem(format!(
                    "is given shape {:?}; expected {}{why}",
                    array.shape(),
                    shown(dims)
                ))
            };
            if dims.len() != array.shape().len() {
                return Err(wrong(""));
            }
            for (axis, (dim, n)) in dims.iter().zip(array.shape()).enumerate() {
                match dim {
                    Dim::Fixed(m) if m == n => {}
                    Dim::Fixed(size) if axis == 0 => match rows {
                        _ if *n == 0 => return Err(wrong("")),
                        None => rows = Some((*n, *size, &input.name)),
                        Some((all, each, _)) if (all, each) == (*n, *size) => {}
                        Some((all, _, other)) => {
                            return Err(wrong(&format!(", as `{other}` has {all} rows")));
                        }
                    },
                    Dim::Fixed(_) => return Err(wrong("")),
                    Dim::Named(name) => match named.get(name.as_str()) {
                        None => _ = named.insert(name, (*n, &input.name)),
                        Some((m, _)) if m == n => {}
                        Some((m, other)) => {
                            return Err(wrong(&format!(" with {name} = {m}, as in `{other}`")));
                        }
                    },
                    Dim::Free => {}
                }
            }
        }
        let Some((rows, size, _)) = rows else {
            return Ok(self.beside_a_fixed_state(&inputs, given));
        };
        let cut = inputs
            .iter()
            .zip(given)
            .map(|(input, array)| {
                let declared = input.shape.as_ref().and_then(|s| s.first());
                let fixed = matches!(declared, Some(Dim::Fixed(n)) if *n != size);
                array.shape().first() == Some(&rows) && !fixed
            })
            .collect();
        Ok(Some(Slices { rows, size, cut }))
    }

    /// Splits rows one by one if an input with open dimensions was fixed: such a state belongs to a single row.
    fn beside_a_fixed_state(&self, inputs: &[Declared], given: &[Array]) -> Option<Slices> {
        let open = |d: &Dim| !matches!(d, Dim::Fixed(_));
        let state = self
            .file
            .graph()
            .input
            .iter()
            .filter(|v| self.file.fixed.contains_key(&v.name))
            .any(|v| Declared::of(v).shape.is_some_and(|s| s.iter().any(open)));
        if !state {
            return None;
        }
        let leading = |d: &Declared| d.shape.as_ref().and_then(|s| s.first()).is_none_or(open);
        let rows = inputs
            .iter()
            .zip(given)
            .find_map(|(d, a)| a.shape().first().copied().filter(|_| leading(d)))?;
        let cut = inputs
            .iter()
            .zip(given)
            .map(|(d, a)| leading(d) && a.shape().first() == Some(&rows))
            .collect();
        (rows > 1).then_some(Slices { rows, size: 1, cut })
    }

    fn run_once(&self, inputs: &[Array]) -> Result<Vec<Array>, OnnxError> {
        let values = self
            .inputs()
            .iter()
            .zip(inputs)
            .map(|(input, array)| {
                if array.dtype().is_float() {
                    array
                        .on(&self.device)
                        .map(Value::Device)
                        .map_err(|e| self.file.problem(format!("input `{}`: {e}", input.name)))
                } else {
                    Ok(Value::Host(array.clone()))
                }
            })
            .collect::<Result<_, _>>()?;
        let outputs = self
            .graph
            .run(&self.plan, values, &self.device, 1, &mut |_, _| {})
            .map_err(|e| self.file.failure(e))?;
        outputs
            .into_iter()
            .zip(&self.wanted)
            .map(|(value, Wanted { declared, .. })| {
                value
                    .host()
                    .and_then(|a| a.cast(declared.dtype.unwrap_or(a.dtype())))
                    .map_err(|e| {
                        self.file
                            .problem(format!("output `{}`: {e}", declared.name))
                    })
            })
            .collect()
    }
}
