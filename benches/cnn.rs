//! The network that the benches run.

use proofmark::burn::module::Module;
use proofmark::burn::nn::conv::{Conv2d, Conv2dConfig};
use proofmark::burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use proofmark::burn::tensor::module::max_pool2d;
use proofmark::burn::tensor::ops::MaxPoolOptions;
use proofmark::burn::tensor::{Device, Tensor, activation};

/// CNN for 32x32 colour images: 3x3 convolutions with 3-32-32-64-64 channels, two poolings and two dense layers.
#[derive(Module, Debug)]
pub(crate) struct Cnn {
    pub(crate) convs: Vec<Conv2d>,
    pub(crate) hidden: Linear,
    pub(crate) out: Linear,
}

impl Cnn {
    pub(crate) fn new(device: &Device) -> Self {
        let conv = |from, to| {
            Conv2dConfig::new([from, to], [3, 3])
                .with_padding(PaddingConfig2d::Same)
                .init(device)
        };
        Self {
            convs: vec![conv(3, 32), conv(32, 32), conv(32, 64), conv(64, 64)],
            hidden: LinearConfig::new(64 * 8 * 8, 128).init(device),
            out: LinearConfig::new(128, 10).init(device),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x = x;
        for (i, conv) in self.convs.iter().enumerate() {
            x = activation::relu(conv.forward(x));
            if i % 2 == 1 {
                x = max_pool2d(x, MaxPoolOptions::new([2, 2]));
            }
        }
        self.out
            .forward(activation::relu(self.hidden.forward(x.flatten::<2>(1, 3))))
    }
}
