//! A network as one differentiable operation on burn's flex backend.
//!
//! Autodiff sees one node whose backward pass is the network's own, so attacks, objectives and wrappers compose with it
//! as with any tensor operation, and its graph stays small however deep the network is.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, BackendTensor, DispatchTensor, DispatchTensorKind, Flex, TensorMetadata,
};
use burn::tensor::{Device, Tensor, TensorData};

use crate::{Network, Saved};

/// The outputs `[n, output features]` of rows `[n, input features]` on a flex device, tracked by autodiff where the rows
/// are.
///
/// # Panics
/// If the rows are on another backend or not `f32`, or have another number of features.
#[allow(clippy::match_wildcard_for_single_variants)] // other backends may be built in
pub fn apply(network: &Arc<Network>, rows: Tensor<2>) -> Tensor<2> {
    let DispatchTensor { kind, autodiff } = rows.into_dispatch();
    let kind = match kind {
        DispatchTensorKind::Flex(BackendTensor::Float(x)) => {
            let scores = with_values(&x, |v| network.forward(v));
            DispatchTensorKind::Flex(BackendTensor::Float(matrix(
                scores,
                &x,
                network.output().features(),
            )))
        }
        DispatchTensorKind::Autodiff(inner) => match *inner {
            DispatchTensorKind::Flex(BackendTensor::Autodiff(x)) => {
                let y = BackendTensor::Autodiff(tracked(network, x));
                DispatchTensorKind::Autodiff(Box::new(DispatchTensorKind::Flex(y)))
            }
            other => panic!("kernels compute on flex, not on {other:?}"),
        },
        other => panic!("kernels compute on flex, not on {other:?}"),
    };
    Tensor::from_dispatch(DispatchTensor { kind, autodiff })
}

#[derive(Debug)]
struct Whole;

impl Backward<Flex, 1> for Whole {
    type State = Arc<Saved>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let own = grads.consume::<Flex>(&ops.node);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            let gradient = with_values(&own, |v| ops.state.gradient(v));
            let features = ops.state.features();
            grads.register::<Flex>(parent.id, matrix(gradient, &own, features));
        }
    }
}

fn tracked(network: &Arc<Network>, x: FloatTensor<Autodiff<Flex>>) -> FloatTensor<Autodiff<Flex>> {
    let (x, node) = x.into_parts();
    let width = network.output().features();
    match Whole
        .prepare::<NoCheckpointing>([node])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let (scores, saved) = with_values(&x, |v| network.forward_saved(v));
            prep.finish(Arc::new(saved), matrix(scores, &x, width))
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(matrix(with_values(&x, |v| network.forward(v)), &x, width))
        }
    }
}

/// The values row by row, copied only where they do not lie so.
fn with_values<T>(x: &FlexTensor, f: impl FnOnce(&[f32]) -> T) -> T {
    match x.as_slice::<f32>() {
        Some(values) => f(values),
        None => f(x
            .to_contiguous()
            .as_slice::<f32>()
            .expect("contiguous `f32`")),
    }
}

/// Values as a matrix with the rows of `like`.
fn matrix(values: Vec<f32>, like: &FlexTensor, width: usize) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, [like.shape()[0], width]))
}

/// Whether a device is flex, tracked by autodiff or not.
pub fn is_flex(device: &Device) -> bool {
    let probe = Tensor::<1>::zeros([1], &device.clone().without_autodiff());
    matches!(probe.into_dispatch().kind, DispatchTensorKind::Flex(_))
}
