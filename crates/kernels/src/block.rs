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
/// is compiled once, and compared with the plain form, on values of its own and on the first rows of that shape. Weights are those at the time of
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
    /// If the operations do not fit a row's shape, or if both forms compute other values or values of another shape.
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

    /// The network for rows of a shape; `None` if kernels lack one of its operations.
    fn compiled(&self, [c, h, w]: [usize; 3], x: &Tensor<D>) -> Option<Arc<Network>> {
        let built = Builder::new(Map::new(c, h, w)).and_then(|mut net| {
            let start = net.input();
            let end = (self.build)(&mut net, start)?;
            Ok(net.finish(end))
        });
        let network = match built {
            Ok(network) => Arc::new(network),
            Err(KernelError::Unsupported { .. }) => return None,
            Err(e) => panic!(
                "the operations of a block on rows of shape {:?}: {e}",
                &x.dims()[1..]
            ),
        };
        // Values alone: nothing of the comparison belongs to the caller's gradients.
        let given = x.clone().detach();
        let given = given.narrow(0, 0, x.dims()[0].min(2));
        self.compare(&network, &Self::probe(&given));
        self.compare(&network, &given);
        Some(network)
    }

    /// Rows of the same shape in which no two features are alike: the given ones may be blank.
    fn probe(given: &Tensor<D>) -> Tensor<D> {
        let n: usize = given.dims().iter().product();
        let values: Vec<f32> = (0..n)
            .map(|i| 2.0 * (i as f64 * 0.618_033_988_749_894_9).fract() as f32 - 1.0)
            .collect();
        let values = Tensor::<1>::from_data(TensorData::new(values, [n]), &given.device());
        values.reshape(given.dims())
    }

    /// Compares both forms.
    ///
    /// # Panics
    /// If they differ.
    fn compare(&self, network: &Arc<Network>, rows: &Tensor<D>) {
        let (plain, own) = (
            (self.plain)(rows.clone()),
            run::<D, E>(network, rows.clone()),
        );
        let (expected, dims) = (plain.dims(), own.dims());
        assert!(
            dims == expected,
            "the kernels of a block compute values of shape {dims:?}, its plain form {expected:?}"
        );
        let numbers = |data: TensorData| data.try_to_vec::<f32>().expect("`f32`");
        let (right, own) = (numbers(plain.into_data()), numbers(own.into_data()));
        let finite = right.iter().filter(|v| v.is_finite());
        let most = finite.fold(0f32, |m, v| m.max(v.abs()));
        let near = |a: f32, b: f32| {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * most.max(1e-6)
        };
        for (i, (a, b)) in own.iter().zip(&right).enumerate() {
            assert!(
                near(*a, *b),
                "the kernels of a block compute {a} for value {i}, its plain form {b}, of values up to {most}"
            );
        }
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
