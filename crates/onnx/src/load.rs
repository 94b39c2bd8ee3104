//! Loads a file into a graph: the protobuf, constants inside and beside the file, operator sets, the digest.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use burn::tensor::Device;
use half::{bf16, f16};
use proofmark_domain::{hex, hint};
use prost::Message;
use prost::bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::array::{Array, Data};
use crate::dtype::DType;
use crate::error::OnnxError;
use crate::function;
use crate::graph::{Failure, Graph, NOT_SUPPORTED, Notes, captured, free};
use crate::inspect::{domain, walk};
use crate::node::{NodeSpec, OpResult};
use crate::op;
use crate::proto::{GraphProto, ModelProto, TensorProto, ValueInfoProto};
use crate::room;
use crate::session::{Declared, Dim};
use crate::sniff;

/// Maximum file size, which is protobuf's limit for one message.
const LARGEST: u64 = 2 << 30;

/// An ONNX file, decoded and not yet built for a device.
pub struct OnnxFile {
    pub(crate) name: String,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) proto: ModelProto,
    pub(crate) opsets: BTreeMap<String, i64>,
    /// Inputs that are fixed to constants.
    pub(crate) fixed: BTreeMap<String, Array>,
    /// Hex sha256 over the file and, where there is any, its external data.
    pub(crate) sha256: String,
}

impl std::fmt::Debug for OnnxFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxFile")
            .field("name", &self.name)
            .field("opsets", &self.opsets)
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

impl OnnxFile {
    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self, OnnxError> {
        let name = path.display().to_string();
        let problem = |problem: String| OnnxError::File {
            file: name.clone(),
            problem,
        };
        let about = fs::metadata(path).map_err(|e| problem(format!("cannot be read: {e}")))?;
        if about.is_dir() {
            return Err(problem(sniff::folder(path)));
        }
        if !about.is_file() {
            return Err(problem("is not a file; expected an .onnx file".into()));
        }
        if about.len() > LARGEST {
            return Err(problem(format!(
                "is {} bytes large; an ONNX file holds at most 2 GiB (weights beyond that are external data)",
                about.len()
            )));
        }
        let bytes = fs::read(path).map_err(|e| problem(format!("cannot be read: {e}")))?;
        let folder = path.parent().map(|p| {
            if p.as_os_str().is_empty() {
                Path::new(".")
            } else {
                p
            }
        });
        Self::decode(&name, bytes, folder)
    }

    /// Reads a model from memory. `folder` is where external data may lie; without a folder the model must have none.
    pub fn decode(name: &str, bytes: Vec<u8>, folder: Option<&Path>) -> Result<Self, OnnxError> {
        let problem = |problem: String| OnnxError::File {
            file: name.to_owned(),
            problem,
        };
        if let Some(other) = sniff::other_format(&bytes) {
            return Err(problem(other));
        }
        let mut sha256 = hex(&Sha256::digest(&bytes));
        let mut proto = ModelProto::decode(Bytes::from(bytes)).map_err(|e| {
            problem(format!(
                "is not a well-formed ONNX file ({e}); expected a model exported to ONNX"
            ))
        })?;
        function::inline(&mut proto).map_err(problem)?;
        let graph = proto
            .graph
            .as_ref()
            .ok_or_else(|| problem("is not an ONNX model: it has no graph".into()))?;
        if !graph.sparse_initializer.is_empty() {
            return Err(problem(
                "has sparse constants, which are not supported".into(),
            ));
        }
        let mut opsets = BTreeMap::new();
        for set in &proto.opset_import {
            opsets.insert(own_domain(&set.domain).to_owned(), set.version);
        }
        if let Some(missing) = unstated(graph, &opsets) {
            return Err(problem(missing));
        }
        if opsets.contains_key(op::OWN) {
            return Err(problem(format!(
                "imports the operator set `{}`, which exists only inside this program; expected ONNX's own operators",
                op::OWN
            )));
        }
        let mut beside = BTreeSet::new();
        locations(graph, &mut beside);
        if !beside.is_empty() {
            let mut hash = Sha256::new();
            hash.update(&sha256);
            for location in beside {
                let path = external_path(folder, &location).map_err(problem)?;
                let mut file = fs::File::open(&path)
                    .map_err(|e| problem(format!("external data {}: {e}", path.display())))?;
                let digest = digest(&mut file)
                    .map_err(|e| problem(format!("external data {}: {e}", path.display())))?;
                hash.update(format!("{location}:{digest};"));
            }
            sha256 = hex(&hash.finalize());
        }
        Ok(Self {
            name: name.to_owned(),
            folder: folder.map(Path::to_path_buf),
            proto,
            opsets,
            fixed: BTreeMap::new(),
            sha256,
        })
    }

    /// Returns the external data files that hold some of the model's constants.
    pub fn external_files(&self) -> Vec<PathBuf> {
        let mut beside = BTreeSet::new();
        locations(self.graph(), &mut beside);
        let paths = beside
            .iter()
            .filter_map(|l| external_path(self.folder.as_deref(), l).ok());
        paths.collect()
    }

    pub(crate) fn graph(&self) -> &GraphProto {
        self.proto.graph.as_ref().expect("checked by decode")
    }

    /// Fixes an input to a constant (a state, a sample rate).
    pub fn fix(&mut self, input: &str, value: Array) -> Result<(), OnnxError> {
        let known: Vec<String> = self
            .declared_inputs()
            .iter()
            .map(|v| v.name.clone())
            .collect();
        if !known.iter().any(|n| n == input) {
            return Err(self.problem(format!(
                "has no input `{input}`; its inputs are {}",
                known.join(", ")
            )));
        }
        self.fixed.insert(input.to_owned(), value);
        Ok(())
    }

    /// Fixes an input to a constant that holds the same number everywhere; open dimensions get length 1.
    pub fn fix_number(&mut self, input: &str, number: f64) -> Result<(), OnnxError> {
        let declared = self.inputs().into_iter().find(|d| d.name == input);
        let shape: Vec<usize> = declared
            .as_ref()
            .and_then(|d| d.shape.as_ref())
            .map(|dims| {
                dims.iter()
                    .map(|d| if let Dim::Fixed(n) = d { *n } else { 1 })
                    .collect()
            })
            .unwrap_or_default();
        let dtype = declared.and_then(|d| d.dtype).unwrap_or(DType::F32);
        let value = room::elements(&shape)
            .and_then(|n| Array::try_new(shape, vec![number; n]))
            .and_then(|a| a.cast(dtype))
            .map_err(|e| self.problem(format!("input `{input}`: {e}")))?;
        self.fix(input, value)
    }

    /// Name of the file, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hex sha256 over the file and, where there is any, its external data.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns the inputs to be given: neither constants nor fixed.
    pub fn inputs(&self) -> Vec<Declared> {
        self.declared_inputs()
            .into_iter()
            .map(Declared::of)
            .collect()
    }

    /// Returns the outputs.
    pub fn outputs(&self) -> Vec<Declared> {
        self.graph().output.iter().map(Declared::of).collect()
    }

    /// Returns the inputs of the graph that are neither constants nor fixed.
    pub(crate) fn declared_inputs(&self) -> Vec<&ValueInfoProto> {
        let graph = self.graph();
        graph
            .input
            .iter()
            .filter(|v| !graph.initializer.iter().any(|t| t.name == v.name))
            .filter(|v| !self.fixed.contains_key(&v.name))
            .collect()
    }

    /// Returns the names of the outputs.
    pub(crate) fn output_names(&self) -> Vec<&str> {
        self.graph()
            .output
            .iter()
            .map(|o| o.name.as_str())
            .collect()
    }

    /// Returns the second output of a file of `ai.onnx.ml` whose first one is the class chosen by it, as skl2onnx and
    /// onnxmltools write classifiers.
    pub(crate) fn scores_beside_label(&self) -> Option<String> {
        const WHOLE_OR_TEXT: [i32; 3] = [6, 7, 8];
        let graph = self.graph();
        let is_classical = graph.node.iter().any(|n| n.domain == op::CLASSICAL);
        let [label, scores, ..] = graph.output.as_slice() else {
            return None;
        };
        let kind = |info: &ValueInfoProto| {
            let tensor = info.r#type.as_ref()?.tensor_type.as_ref()?;
            Some(tensor.elem_type)
        };
        let is_label = kind(label).is_some_and(|k| WHOLE_OR_TEXT.contains(&k));
        // Scores in a map, by class name, have no tensor type.
        let has_scores = kind(scores).is_none_or(|k| !WHOLE_OR_TEXT.contains(&k));
        (is_classical && is_label && has_scores).then(|| scores.name.clone())
    }

    /// Returns an error if one of the names is not a value of the graph.
    pub(crate) fn has_values(&self, names: &[&str]) -> Result<(), OnnxError> {
        let graph = self.graph();
        let mut known = BTreeSet::new();
        values(graph, &mut known);
        match names.iter().find(|n| !known.contains(*n)) {
            None => Ok(()),
            Some(name) => Err(self.problem(format!(
                "has no value `{name}`{}; its outputs are {}",
                hint(name, known),
                self.output_names().join(", ")
            ))),
        }
    }

    /// Returns the graph for all outputs, ready to run on a device.
    pub(crate) fn build(&self, device: &Device) -> Result<Graph, OnnxError> {
        self.build_for(&self.output_names(), device, &BTreeMap::new())
    }

    /// Returns the graph for the values `wanted`, with the values `pins` known.
    pub(crate) fn build_for(
        &self,
        wanted: &[&str],
        device: &Device,
        pins: &BTreeMap<String, Array>,
    ) -> Result<Graph, OnnxError> {
        let mut known = self.fixed.clone();
        known.extend(pins.iter().map(|(n, a)| (n.clone(), a.clone())));
        let scope = Scope {
            folder: self.folder.as_deref(),
            opsets: &self.opsets,
            device,
            loaded: RefCell::new(0),
            notes: Notes::default(),
        };
        if self.computes_in_half() {
            scope.notes.leave(IN_SINGLE.to_owned());
        }
        room::refuel();
        Graph::build(self.graph(), wanted, &known, Vec::new(), &scope).map_err(|e| {
            // Inside branches this text is part of a longer sentence.
            if e.problem.contains(NOT_SUPPORTED) {
                OnnxError::Unsupported {
                    file: self.name.clone(),
                    nodes: self
                        .unsupported(wanted)
                        .iter()
                        .map(ToString::to_string)
                        .collect(),
                    hint: self.without_unsupported(),
                }
            } else {
                self.failure(e)
            }
        })
    }

    pub(crate) fn failure(&self, e: Failure) -> OnnxError {
        OnnxError::Node {
            file: self.name.clone(),
            node: e.node,
            op: e.op,
            opset: e.opset,
            problem: e.problem,
        }
    }

    pub(crate) fn problem(&self, problem: impl Into<String>) -> OnnxError {
        OnnxError::File {
            file: self.name.clone(),
            problem: problem.into(),
        }
    }
}

/// Note left for a file in half precision.
const IN_SINGLE: &str = "the file computes in half precision; here it is computed in single precision, so its outputs differ from a half-precision run by some 1e-3 of the largest (`infer --expect`: pass --tol 1e-2)";

/// Returns the name of a domain; ONNX's own is empty.
pub(crate) fn own_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// Facts about the file that building a graph, or a branch inside it, needs.
pub(crate) struct Scope<'a> {
    pub(crate) folder: Option<&'a Path>,
    pub(crate) opsets: &'a BTreeMap<String, i64>,
    pub(crate) device: &'a Device,
    /// Elements of all constants read so far: many constants may refer to the same few external bytes.
    pub(crate) loaded: RefCell<usize>,
    /// Collects the operators' notes.
    pub(crate) notes: Notes,
}

/// Maximum number of elements of all constants of a file (16 GiB of `f32`).
const ALL_CONSTANTS: usize = 1 << 32;

impl Scope<'_> {
    /// Returns the version of an operator set, if the file states it.
    pub(crate) fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets.get(own_domain(domain)).copied()
    }

    /// Reads a constant of the file.
    pub(crate) fn array(&self, proto: &TensorProto) -> OpResult<Array> {
        let array = read_array(proto, self.folder)?;
        let mut loaded = self.loaded.borrow_mut();
        *loaded += array.len();
        if *loaded > ALL_CONSTANTS {
            return Err(format!(
                "all constants together have more than {ALL_CONSTANTS} elements"
            ));
        }
        Ok(array)
    }

    /// Builds a branch of a node. Its inputs are its own, then one for each value that any of the node's branches
    /// captures. Values that only the other branches read have no name in this one, so that it may use the name for
    /// something else.
    pub(crate) fn branch(&self, proto: &GraphProto, node: &NodeSpec<'_>) -> OpResult<Graph> {
        let read = free(proto);
        let known = node.known.iter().skip(node.declared()).cloned();
        let captures = captured(node.proto)
            .into_iter()
            .map(|name| {
                if read.contains(&name) {
                    name
                } else {
                    String::new()
                }
            })
            .zip(known)
            .collect();
        let outputs: Vec<&str> = proto.output.iter().map(|o| o.name.as_str()).collect();
        Graph::build(proto, &outputs, &BTreeMap::new(), captures, self).map_err(|e| e.to_string())
    }
}

/// Returns the error if a node belongs to a known operator set whose version the file does not state.
fn unstated(graph: &GraphProto, opsets: &BTreeMap<String, i64>) -> Option<String> {
    let mut missing = None;
    walk(graph, "", &mut |node, name| {
        let stated = opsets.contains_key(own_domain(&node.domain));
        if missing.is_none() && !stated && op::find(&node.domain, &node.op_type).is_some() {
            missing = Some(format!(
                "states no version of the operator set `{}` (opset_import), which node `{name}` ({}) belongs to",
                domain(node),
                node.op_type
            ));
        }
    });
    missing
}

/// Collects the names of all values of a graph and of the graphs inside it.
fn values<'a>(graph: &'a GraphProto, found: &mut BTreeSet<&'a str>) {
    found.extend(graph.input.iter().map(|v| v.name.as_str()));
    found.extend(graph.initializer.iter().map(|t| t.name.as_str()));
    for node in &graph.node {
        found.extend(node.output.iter().map(String::as_str));
        for inner in node.attribute.iter().filter_map(|a| a.g.as_ref()) {
            values(inner, found);
        }
    }
    found.remove("");
}

fn locations(graph: &GraphProto, found: &mut BTreeSet<String>) {
    let mut see = |t: &TensorProto| {
        if t.data_location == 1
            && let Some(e) = t.external_data.iter().find(|e| e.key == "location")
        {
            found.insert(e.value.clone());
        }
    };
    graph.initializer.iter().for_each(&mut see);
    for attribute in graph.node.iter().flat_map(|n| &n.attribute) {
        attribute.t.iter().for_each(&mut see);
    }
    for inner in graph
        .node
        .iter()
        .flat_map(|n| &n.attribute)
        .filter_map(|a| a.g.as_ref())
    {
        locations(inner, found);
    }
}

/// Returns the path of an external data file, which must lie in the model's folder after following links.
fn external_path(folder: Option<&Path>, location: &str) -> OpResult<PathBuf> {
    let folder = folder.ok_or("external data, and no folder to look for it in")?;
    let relative = Path::new(location);
    let plain = relative
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if location.is_empty() || !plain {
        return Err(format!(
            "external data `{location}` leaves the model's folder; expected a path inside it"
        ));
    }
    let missing = |e: std::io::Error| format!("external data `{location}`: {e}");
    let root = folder.canonicalize().map_err(missing)?;
    let path = folder.join(relative).canonicalize().map_err(missing)?;
    if !path.starts_with(&root) {
        return Err(format!(
            "external data `{location}` leaves the model's folder through a link; expected a file inside it"
        ));
    }
    // Opening a pipe would block forever.
    if !path.is_file() {
        return Err(format!("external data `{location}` is not a file"));
    }
    Ok(path)
}

fn external_bytes(proto: &TensorProto, folder: Option<&Path>, expected: usize) -> OpResult<Bytes> {
    let entry = |key: &str| {
        proto
            .external_data
            .iter()
            .find(|e| e.key == key)
            .map(|e| e.value.as_str())
    };
    let number = |key: &str| {
        entry(key)
            .map(|v| {
                v.parse::<u64>()
                    .map_err(|_| format!("external data: {key} `{v}` is not a number"))
            })
            .transpose()
    };
    let location = entry("location").ok_or("external data without a location")?;
    let path = external_path(folder, location)?;
    let fail = |e: std::io::Error| format!("external data `{location}`: {e}");
    let mut file = fs::File::open(&path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    let offset = number("offset")?.unwrap_or(0);
    let length = number("length")?.unwrap_or_else(|| size.saturating_sub(offset));
    if length != expected as u64 || offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(format!(
            "external data `{location}`: {length} bytes from {offset} of {size}; expected {expected} bytes inside the file"
        ));
    }
    file.seek(SeekFrom::Start(offset)).map_err(fail)?;
    let mut bytes = vec![0; expected];
    file.read_exact(&mut bytes).map_err(fail)?;
    Ok(bytes.into())
}

impl Array {
    /// Reads a constant as an ONNX file stores it (a `TensorProto`), without external data.
    pub fn from_onnx(bytes: &[u8]) -> Result<Self, String> {
        let proto = TensorProto::decode(bytes).map_err(|e| e.to_string())?;
        read_array(&proto, None)
    }
}

/// Reads a constant; sizes are checked before memory is allocated.
pub(crate) fn read_array(proto: &TensorProto, folder: Option<&Path>) -> OpResult<Array> {
    let dtype = DType::from_onnx(proto.data_type)?;
    let shape: Vec<usize> = proto
        .dims
        .iter()
        .map(|d| usize::try_from(*d).map_err(|_| format!("dimension {d}; expected 0 or more")))
        .collect::<Result<_, _>>()?;
    let count = room::elements(&shape)?;
    let raw = if proto.data_location == 1 {
        let size = dtype
            .size()
            .ok_or("strings cannot be external data")?
            .checked_mul(count)
            .ok_or("too large")?;
        Some(external_bytes(proto, folder, size)?)
    } else {
        proto.raw_data.clone()
    };
    let data = match raw {
        Some(bytes) => from_bytes(dtype, &bytes, count)?,
        None => from_fields(dtype, proto),
    };
    Array::try_new(shape, data)
}

fn from_bytes(dtype: DType, bytes: &[u8], count: usize) -> OpResult<Data> {
    let size = dtype.size().ok_or("strings cannot be raw data")?;
    if count.checked_mul(size) != Some(bytes.len()) {
        return Err(format!(
            "{} bytes of data; expected {count} elements of {size} bytes",
            bytes.len()
        ));
    }
    macro_rules! little {
        ($variant:ident, $type:ty, $size:literal) => {
            Data::$variant(
                bytes
                    .chunks_exact($size)
                    .map(|b| <$type>::from_le_bytes(b.try_into().expect("a chunk of that size")))
                    .collect(),
            )
        };
    }
    Ok(match dtype {
        DType::Bool => Data::Bool(bytes.iter().map(|b| *b != 0).collect()),
        DType::I8 => little!(I8, i8, 1),
        DType::U8 => Data::U8(bytes.to_vec()),
        DType::I16 => little!(I16, i16, 2),
        DType::U16 => little!(U16, u16, 2),
        DType::F16 => little!(F16, f16, 2),
        DType::BF16 => little!(BF16, bf16, 2),
        DType::I32 => little!(I32, i32, 4),
        DType::U32 => little!(U32, u32, 4),
        DType::F32 => little!(F32, f32, 4),
        DType::I64 => little!(I64, i64, 8),
        DType::U64 => little!(U64, u64, 8),
        DType::F64 => little!(F64, f64, 8),
        DType::Text => unreachable!("has no size"),
    })
}

/// Reads a constant from its typed fields. Small types share the `int32_data` field; it holds half floats as their
/// bits.
fn from_fields(dtype: DType, proto: &TensorProto) -> Data {
    let ints = &proto.int32_data;
    match dtype {
        DType::Bool => Data::Bool(ints.iter().map(|i| *i != 0).collect()),
        DType::I8 => Data::I8(ints.iter().map(|i| *i as i8).collect()),
        DType::U8 => Data::U8(ints.iter().map(|i| *i as u8).collect()),
        DType::I16 => Data::I16(ints.iter().map(|i| *i as i16).collect()),
        DType::U16 => Data::U16(ints.iter().map(|i| *i as u16).collect()),
        DType::F16 => Data::F16(ints.iter().map(|i| f16::from_bits(*i as u16)).collect()),
        DType::BF16 => Data::BF16(ints.iter().map(|i| bf16::from_bits(*i as u16)).collect()),
        DType::I32 => Data::I32(ints.clone()),
        DType::U32 => Data::U32(proto.uint64_data.iter().map(|i| *i as u32).collect()),
        DType::F32 => Data::F32(proto.float_data.clone()),
        DType::I64 => Data::I64(proto.int64_data.clone()),
        DType::U64 => Data::U64(proto.uint64_data.clone()),
        DType::F64 => Data::F64(proto.double_data.clone()),
        DType::Text => Data::Text(
            proto
                .string_data
                .iter()
                .map(|s| String::from_utf8_lossy(s).into_owned())
                .collect(),
        ),
    }
}

fn digest(file: &mut fs::File) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&block[..n]),
        }
    }
}
