//! Part of a Burn module, computed by kernels where the CPU computes it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Tensor, TensorData};

use crate::{Builder, KernelError, Map, Network, Value, apply, is_flex};

type Build = dyn Fn(&mut Builder, Value) -> Result<Value, KernelError> + Send + Sync;
type Networks = BTreeMap<[usize; 3], Option<Arc<Network>>>;
type Plain<const D: usize, const E: usize> = dyn Fn(Tensor<D>) -> Tensor<E> + Send + Sync;

/// A layer, or several, described twice: as operations of a network, and in burn's own operations. The first compute on
/// flex, the others on every other device and where kernels lack an operation.
///
/// Values are `[n, features]`, `[n, channels, width]` or `[n, channels, height, width]`. For each shape of a row a network
/// is compiled once, and compared with the plain form on the first rows of that shape. Weights are those at the time of
/// building: make blocks of a module that has been loaded, and mark the field `#[module(skip)]`.
///
/// ```
/// use burn::nn::conv::{Conv2d, Conv2dConfig};
/// use burn::tensor::{Device, Tensor, activation::relu};
/// use proofmark_kernels::{Block, Clamp};
///
/// let device = Device::flex();
/// let conv = Conv2dConfig::new([3, 8], [3, 3]).init(&device);
/// let plain = conv.clone();
/// let block = Block::new(
///     move |net, x| Ok({ let y = net.conv2d(x, &conv)?; net.clamp(y, Clamp::RELU) }),
///     move |x: Tensor<4>| relu(plain.forward(x)),
/// );
/// assert_eq!(block.forward(Tensor::<4>::zeros([2, 3, 9, 9], &device)).dims(), [2, 8, 7, 7]);
/// ```
#[derive(Clone)]
pub struct Block<const D: usize, const E: usize> {
    build: Arc<Build>,
    plain: Arc<Plain<D, E>>,
    /// By shape of a row; `None` where kernels lack an operation.
    networks: Arc<Mutex<Networks>>,
}

impl<const D: usize, const E: usize> fmt::Debug for Block<D, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").finish_non_exhaustive()
    }
}

/// How far values of both forms may lie apart, as a share of the largest.
const TOLERANCE: f32 = 1e-3;

impl<const D: usize, const E: usize> Block<D, E> {
    /// A block from its operations and the same in burn's.
    pub fn new(
        build: impl Fn(&mut Builder, Value) -> Result<Value, KernelError> + Send + Sync + 'static,
        plain: impl Fn(Tensor<D>) -> Tensor<E> + Send + Sync + 'static,
    ) -> Self {
        Self {
            build: Arc::new(build),
            plain: Arc::new(plain),
            networks: Arc::default(),
        }
    }

    /// Computes the block.
    ///
    /// # Panics
    /// If both forms compute other values for the first rows of a shape, or values of another shape.
    pub fn forward(&self, x: Tensor<D>) -> Tensor<E> {
        let dims = x.dims();
        let shape = match dims[1..] {
            [c] => [c, 1, 1],
            [c, w] => [c, 1, w],
            [c, h, w] => [c, h, w],
            _ => return (self.plain)(x),
        };
        if dims[0] == 0 || !is_flex(&x.device()) {
            return (self.plain)(x);
        }
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let network = networks
            .entry(shape)
            .or_insert_with(|| self.compiled(shape, &x))
            .clone();
        drop(networks);
        match network {
            Some(network) => run(&network, x),
            None => (self.plain)(x),
        }
    }

    /// The network for rows of a shape, if kernels have all its operations.
    fn compiled(&self, [c, h, w]: [usize; 3], x: &Tensor<D>) -> Option<Arc<Network>> {
        let mut net = Builder::new(Map::new(c, h, w)).ok()?;
        let start = net.input();
        let end = (self.build)(&mut net, start).ok()?;
        let network = Arc::new(net.finish(end));
        // Values alone: nothing of the comparison belongs to the caller's gradients.
        let rows = x.clone().detach().narrow(0, 0, x.dims()[0].min(2));
        let plain = (self.plain)(rows.clone());
        let (dims, given) = (plain.dims(), network.output());
        let features: usize = dims[1..].iter().product();
        assert!(
            given.features() == features,
            "the kernels of a block compute {given:?}, its plain form {dims:?}"
        );
        let numbers = |data: TensorData| data.try_to_vec::<f32>().expect("`f32`");
        let right = numbers(plain.into_data());
        let own = numbers(run::<D, E>(&network, rows).into_data());
        let most = right.iter().fold(0f32, |m, v| m.max(v.abs()));
        let apart = own.iter().zip(&right).map(|(a, b)| (a - b).abs());
        let apart = apart.fold(0f32, f32::max);
        assert!(
            apart <= TOLERANCE * most.max(1e-6),
            "the kernels of a block and its plain form lie {apart} apart, of values up to {most}"
        );
        Some(network)
    }
}

/// Rows through a network.
fn run<const D: usize, const E: usize>(network: &Arc<Network>, x: Tensor<D>) -> Tensor<E> {
    let (n, map) = (x.dims()[0], network.output());
    let features = x.dims()[1..].iter().product();
    let mut dims = [1; E];
    dims[0] = n;
    match &mut dims[1..] {
        [all] => *all = map.features(),
        [c, w] => (*c, *w) = (map.channels, map.height * map.width),
        [c, h, w] => (*c, *h, *w) = (map.channels, map.height, map.width),
        _ => {}
    }
    apply(network, x.reshape([n, features])).reshape(dims)
}
