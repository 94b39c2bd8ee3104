//! Checks of single operators, used by the tests in the operators' files.
//!
//! A gradient is checked against central differences computed in `f64` on the device, so that the comparison measures
//! the derivative and not the rounding of the probe.

use std::cell::RefCell;
use std::collections::BTreeMap;

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{Device, TensorData};

use crate::array::Array;
use crate::dtype::DType;
use crate::graph::{Graph, Notes};
use crate::load::Scope;
use crate::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};
use crate::tensor::{Tensor, in_double, is_double};
use crate::value::Value;

/// Newest operator set version that the operators support.
pub(crate) const NEWEST: i64 = 22;

/// One operator with its attributes and inputs.
#[derive(Clone)]
pub(crate) struct Case {
    node: NodeProto,
    opset: i64,
    inputs: Vec<Input>,
    labels: BTreeMap<usize, DType>,
}

#[derive(Clone)]
enum Input {
    /// Differentiated input: shape and values.
    Tracked(Vec<usize>, Vec<f64>),
    /// Input on the host.
    Host(Array),
}

impl Case {
    /// Returns a case of the newest operator set version with one output.
    pub(crate) fn new(op: &str) -> Self {
        Self {
            node: NodeProto {
                op_type: op.into(),
                output: vec!["out0".into()],
                ..Default::default()
            },
            opset: NEWEST,
            inputs: Vec::new(),
            labels: BTreeMap::new(),
        }
    }

    /// Sets the element type an input on the device is labelled with when the case is run.
    pub(crate) fn label(mut self, input: usize, dtype: DType) -> Self {
        self.labels.insert(input, dtype);
        self
    }

    /// Sets the version of the operator set.
    pub(crate) fn opset(mut self, opset: i64) -> Self {
        self.opset = opset;
        self
    }

    /// Returns a case of one of onnxruntime's own operators with one output.
    pub(crate) fn microsoft(op: &str) -> Self {
        let mut case = Self::new(op);
        case.node.domain = crate::op::MICROSOFT.into();
        case
    }

    /// Sets the number of outputs.
    pub(crate) fn outputs(mut self, n: usize) -> Self {
        self.node.output = (0..n).map(|i| format!("out{i}")).collect();
        self
    }

    fn attribute(mut self, attribute: AttributeProto) -> Self {
        self.node.attribute.push(attribute);
        self
    }

    /// Adds an integer attribute.
    pub(crate) fn int(self, name: &str, i: i64) -> Self {
        self.attribute(AttributeProto {
            name: name.into(),
            i,
            r#type: 2,
            ..Default::default()
        })
    }

    /// Adds a list of integers as an attribute.
    pub(crate) fn ints(self, name: &str, ints: &[i64]) -> Self {
        self.attribute(AttributeProto {
            name: name.into(),
            ints: ints.to_vec(),
            r#type: 7,
            ..Default::default()
        })
    }

    /// Adds a float attribute.
    pub(crate) fn float(self, name: &str, f: f32) -> Self {
        self.attribute(AttributeProto {
            name: name.into(),
            f,
            r#type: 1,
            ..Default::default()
        })
    }

    /// Adds a string attribute.
    pub(crate) fn text(self, name: &str, s: &str) -> Self {
        self.attribute(AttributeProto {
            name: name.into(),
            s: s.as_bytes().to_vec().into(),
            r#type: 3,
            ..Default::default()
        })
    }

    /// Adds a list of strings as an attribute.
    pub(crate) fn texts(self, name: &str, texts: &[&str]) -> Self {
        self.attribute(AttributeProto {
            name: name.into(),
            strings: texts.iter().map(|s| s.as_bytes().to_vec().into()).collect(),
            r#type: 8,
            ..Default::default()
        })
    }

    /// Adds a list of floats as an attribute.
    pub(crate) fn floats(self, name: &str, floats: &[f32]) -> Self {
        self.attribute(AttributeProto {
            name: name.into(),
            floats: floats.to_vec(),
            r#type: 6,
            ..Default::default()
        })
    }

    /// Adds a tensor attribute (`data_type` as in ONNX).
    pub(crate) fn tensor(self, name: &str, t: TensorProto) -> Self {
        self.attribute(AttributeProto {
            name: name.into(),
            t: Some(t),
            r#type: 4,
            ..Default::default()
        })
    }

    /// Adds a graph attribute.
    pub(crate) fn graph(self, name: &str, g: GraphProto) -> Self {
        self.attribute(crate::sketch::branch(name, g))
    }

    /// Adds a differentiated input of these values.
    pub(crate) fn tracked(mut self, shape: &[usize], values: Vec<f64>) -> Self {
        self.name(true);
        self.inputs.push(Input::Tracked(shape.to_vec(), values));
        self
    }

    /// Adds a differentiated input of distinct values strictly between `low` and `high`.
    pub(crate) fn scattered(self, shape: &[usize], low: f64, high: f64) -> Self {
        let n: usize = shape.iter().product();
        let salt = self.inputs.len() as f64 * 0.37;
        // Fractional parts of multiples of the golden ratio are spread evenly.
        let values = (0..n)
            .map(|i| {
                let u = ((i as f64 + 1.0) * 0.618_033_988_749_894_9 + salt).fract();
                low + (high - low) * (0.02 + 0.96 * u)
            })
            .collect();
        self.tracked(shape, values)
    }

    /// Adds an input on the host.
    pub(crate) fn host(mut self, array: Array) -> Self {
        self.name(true);
        self.inputs.push(Input::Host(array));
        self
    }

    /// Adds an absent input.
    pub(crate) fn absent(mut self) -> Self {
        self.name(false);
        self
    }

    fn name(&mut self, given: bool) {
        let name = if given {
            format!("in{}", self.inputs.len())
        } else {
            String::new()
        };
        self.node.input.push(name);
    }

    fn build(&self, device: &Device) -> Result<Graph, String> {
        let info = |name: &String| ValueInfoProto {
            name: name.clone(),
            r#type: None,
        };
        let graph = GraphProto {
            input: self
                .node
                .input
                .iter()
                .filter(|n| !n.is_empty())
                .map(info)
                .collect(),
            output: self.node.output.iter().map(info).collect(),
            node: vec![self.node.clone()],
            ..Default::default()
        };
        let opsets = BTreeMap::from([
            (String::new(), self.opset),
            (crate::op::MICROSOFT.to_owned(), 1),
        ]);
        let scope = Scope {
            folder: None,
            opsets: &opsets,
            device,
            loaded: RefCell::new(0),
            notes: Notes::default(),
        };
        // Host inputs become constants, because some operators read them when the graph is built.
        let fixed = self
            .inputs
            .iter()
            .enumerate()
            .filter_map(|(i, x)| match x {
                // `reshape` drops the uploaded copy, whose precision depends on the run.
                Input::Host(a) => Some((format!("in{i}"), a.reshape(a.shape()).ok()?)),
                Input::Tracked(..) => None,
            })
            .collect();
        let outputs: Vec<&str> = self.node.output.iter().map(String::as_str).collect();
        Graph::build(&graph, &outputs, &fixed, Vec::new(), &scope).map_err(|e| e.problem)
    }

    /// Runs the operator and returns its outputs on the host.
    pub(crate) fn run(&self) -> Result<Vec<Array>, String> {
        let device = Device::flex();
        let graph = self.build(&device)?;
        let inputs = self
            .inputs
            .iter()
            .enumerate()
            .filter_map(|(i, x)| match x {
                Input::Tracked(shape, v) => Some(plain(shape, v, &device).map(|t| {
                    let label = self.labels.get(&i).copied().unwrap_or(t.dtype());
                    Value::Device(t.typed(label))
                })),
                Input::Host(_) => None,
            })
            .collect::<Result<_, _>>()?;
        let plan = graph.plan(&graph.outputs);
        graph
            .run(&plan, inputs, &device, 1, &mut |_, _| {})
            .map_err(|e| e.problem)?
            .into_iter()
            .map(Value::host)
            .collect()
    }

    /// Returns the sum of all outputs, each element times its [`weight`], with the tracked inputs set to `values`.
    fn objective(&self, values: &[Vec<f64>], device: &Device) -> f64 {
        let graph = self.build(device).expect("the operator can be built");
        let mut values = values.iter();
        let inputs = self
            .inputs
            .iter()
            .filter_map(|x| match x {
                Input::Tracked(shape, _) => Some(Value::Device(
                    plain(shape, values.next().unwrap(), device).unwrap(),
                )),
                Input::Host(_) => None,
            })
            .collect();
        let plan = graph.plan(&graph.outputs);
        let outputs = graph
            .run(&plan, inputs, device, 1, &mut |_, _| {})
            .unwrap_or_else(|e| panic!("{e}"));
        outputs
            .into_iter()
            .enumerate()
            .map(|(k, v)| {
                let v = v.host().unwrap().to_f64().unwrap();
                v.iter()
                    .enumerate()
                    .map(|(i, x)| weight(k, i) * x)
                    .sum::<f64>()
            })
            .sum()
    }

    /// Returns the gradient of [`Self::objective`], computed by autodiff.
    fn derivative(&self, device: &Device) -> Vec<Vec<f64>> {
        let graph = self.build(device).expect("the operator can be built");
        let tracked: Vec<burn::tensor::Tensor<1>> = self
            .inputs
            .iter()
            .filter_map(|x| match x {
                Input::Tracked(shape, v) => {
                    let flat = plain(shape, v, device).unwrap();
                    let flat = flat.reshape(&[v.len()]).unwrap().into_burn::<1>();
                    Some(flat.autodiff().require_grad())
                }
                Input::Host(_) => None,
            })
            .collect();
        let mut flats = tracked.iter();
        let inputs = self
            .inputs
            .iter()
            .filter_map(|x| match x {
                Input::Tracked(shape, _) => {
                    let t = Tensor::from_burn(flats.next().unwrap().clone());
                    Some(Value::Device(t.reshape(shape).unwrap()))
                }
                Input::Host(_) => None,
            })
            .collect();
        let plan = graph.plan(&graph.outputs);
        let outputs = graph
            .run(&plan, inputs, device, 1, &mut |_, _| {})
            .unwrap_or_else(|e| panic!("{e}"));
        let mut total: Option<burn::tensor::Tensor<1>> = None;
        for (k, value) in outputs.into_iter().enumerate() {
            let Value::Device(t) = value else { continue };
            let n: usize = t.shape().iter().product();
            let w: Vec<f64> = (0..n).map(|i| weight(k, i)).collect();
            let w = plain(&[n], &w, device).unwrap();
            let sum = t
                .reshape(&[n])
                .unwrap()
                .mul(w)
                .unwrap()
                .into_burn::<1>()
                .sum();
            total = Some(match total {
                Some(t) => t + sum,
                None => sum,
            });
        }
        let total = total.expect("an output on the device");
        if !total.is_tracked() {
            return self.zeros();
        }
        let gradients = total.backward();
        tracked
            .iter()
            .zip(self.zeros())
            .map(|(t, zeros)| {
                t.grad(&gradients).map_or(zeros, |g| {
                    Tensor::from_burn(g).download().unwrap().to_f64().unwrap()
                })
            })
            .collect()
    }

    /// Returns the gradients, by autodiff, of the sum of all outputs times their [`weight`]s in the tracked inputs.
    pub(crate) fn gradient(&self) -> Vec<Vec<f64>> {
        self.derivative(&Device::flex())
    }

    fn tracked_values(&self) -> Vec<Vec<f64>> {
        self.inputs
            .iter()
            .filter_map(|x| match x {
                Input::Tracked(_, v) => Some(v.clone()),
                Input::Host(_) => None,
            })
            .collect()
    }

    fn zeros(&self) -> Vec<Vec<f64>> {
        self.tracked_values()
            .iter()
            .map(|v| vec![0.0; v.len()])
            .collect()
    }

    /// Asserts that the gradient of every tracked input agrees with central differences in `f64`: to 1e-6 when it is
    /// computed in `f64`, to 1e-3 in `f32`, relative to the largest.
    #[track_caller]
    pub(crate) fn assert_gradient(&self) {
        const STEP: f64 = 1e-5;
        let device = Device::flex();
        let (double, probes) = in_double(|| {
            let values = self.tracked_values();
            let mut probes = self.zeros();
            for k in 0..values.len() {
                for i in 0..values[k].len() {
                    let at = |d: f64| {
                        let mut moved = values.clone();
                        moved[k][i] += d;
                        self.objective(&moved, &device)
                    };
                    probes[k][i] = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                }
            }
            (self.derivative(&device), probes)
        });
        let single = self.derivative(&device);
        let size = probes.iter().flatten().fold(1e-3f64, |m, x| m.max(x.abs()));
        for (k, probe) in probes.iter().enumerate() {
            for (i, p) in probe.iter().enumerate() {
                let (d, s) = (double[k][i], single[k][i]);
                assert!(
                    (d - p).abs() <= 1e-6 * size.max(1.0),
                    "{}: input {k}, element {i}: {d} in f64; central differences give {p}",
                    self.node.op_type
                );
                assert!(
                    (s - p).abs() <= 1e-3 * size,
                    "{}: input {k}, element {i}: {s} in f32; central differences give {p}",
                    self.node.op_type
                );
            }
        }
    }
}

/// Runs a case and returns its first output.
pub(crate) fn computed(case: &Case) -> Array {
    case.run().unwrap().remove(0)
}

/// Returns a one-dimensional array of integers.
pub(crate) fn list(v: &[i64]) -> Array {
    Array::list(v.to_vec())
}

/// Returns a float scalar.
pub(crate) fn number(v: f32) -> Array {
    Array::new([], vec![v])
}

/// Returns a byte scalar.
pub(crate) fn byte(v: u8) -> Array {
    Array::new([], vec![v])
}

/// Returns the weight of an output element in the objective; the weights follow no symmetry that an operator could
/// cancel.
pub(crate) fn weight(output: usize, element: usize) -> f64 {
    let u = ((element as f64 + 1.0) * 0.754_877_666_246_693 + output as f64 * 0.29).fract();
    0.5 + u
}

fn plain(shape: &[usize], values: &[f64], device: &Device) -> Result<Tensor, String> {
    let n = values.len();
    // In double precision the values are exact; in single precision they are rounded once.
    let data = if is_double() {
        TensorData::new(values.to_vec(), [n])
    } else {
        TensorData::new(values.iter().map(|x| *x as f32).collect::<Vec<_>>(), [n])
    };
    let flat = <Dispatch as FloatTensorOps<Dispatch>>::float_from_data(data, device.as_dispatch());
    Tensor::from_dispatch(flat).reshape(shape)
}

#[test]
fn rank_zero_lives_on_the_device() {
    let device = Device::flex();
    let a = Tensor::upload(vec![2.0], &[], crate::DType::F32, &device).unwrap();
    let b = Tensor::upload(vec![3.0, 4.0], &[2], crate::DType::F32, &device).unwrap();
    assert_eq!(a.shape(), Vec::<usize>::new());
    let c = a.clone().mul(b).unwrap().download().unwrap();
    assert_eq!(c, Array::new([2], vec![6.0f32, 8.0]));
    let d = a.clone().add(a).unwrap().relu();
    assert_eq!(d.shape(), Vec::<usize>::new());
    assert_eq!(d.download().unwrap(), Array::new(vec![], vec![4.0f32]));
}

#[test]
fn a_gradient_is_checked() {
    Case::new("Relu")
        .scattered(&[2, 3], -1.0, 1.0)
        .assert_gradient();
    Case::new("Add")
        .scattered(&[2, 3], -1.0, 1.0)
        .scattered(&[3], -1.0, 1.0)
        .assert_gradient();
    Case::new("Add")
        .scattered(&[2, 3], -1.0, 1.0)
        .scattered(&[], -1.0, 1.0)
        .assert_gradient();
}
