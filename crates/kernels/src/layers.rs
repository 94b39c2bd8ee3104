//! Burn's layers as operations of a network.

use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, Linear, PaddingConfig2d};
use burn::tensor::Tensor;

use crate::{Builder, Convolution, KernelError, Scale, Value, Window};

fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, KernelError> {
    // The values alone, whatever device they lie on.
    let data = tensor.into_data().convert::<f32>();
    data.try_to_vec()
        .map_err(|e| KernelError::unsupported("layer", format!("{e:?}")))
}

/// Padding before and after one dimension that keeps its length, divided by the stride and rounded up.
fn same(size: usize, stride: usize, length: usize) -> [usize; 2] {
    let total = ((length.div_ceil(stride) - 1) * stride + size).saturating_sub(length);
    [total / 2, total - total / 2]
}

impl Builder {
    /// Burn's two-dimensional convolution. Padding that keeps the size is taken without dilation alone.
    pub fn conv2d(&mut self, x: Value, layer: &Conv2d) -> Result<Value, KernelError> {
        let map = self.map(x);
        let mut window = Window::from(layer.kernel_size);
        (window.stride, window.dilation) = (layer.stride, layer.dilation);
        window.pads = match layer.padding {
            PaddingConfig2d::Valid => [[0; 2]; 2],
            PaddingConfig2d::Explicit(top, left, bottom, right) => [[top, bottom], [left, right]],
            PaddingConfig2d::Same if layer.dilation == [1, 1] => [
                same(window.size[0], window.stride[0], map.height),
                same(window.size[1], window.stride[1], map.width),
            ],
            PaddingConfig2d::Same => {
                let problem = format!(
                    "padding that keeps the size with dilation {:?}",
                    layer.dilation
                );
                return Err(KernelError::unsupported("convolution", problem));
            }
        };
        let [out, ..] = layer.weight.val().dims();
        let mut convolution = Convolution::new(numbers(layer.weight.val())?, out, window);
        convolution.groups = layer.groups;
        if let Some(bias) = &layer.bias {
            convolution.bias = numbers(bias.val())?;
        }
        self.convolution(x, convolution)
    }

    /// Burn's dense layer over all features of a row, channel by channel as `flatten` lays them out.
    pub fn linear(&mut self, x: Value, layer: &Linear) -> Result<Value, KernelError> {
        let bias = layer.bias.as_ref().map(|b| numbers(b.val())).transpose()?;
        // Burn's weights are `[input, output]`.
        let weights = numbers(layer.weight.val().transpose())?;
        self.dense(x, weights, bias.unwrap_or_default())
    }

    /// Burn's batch norm, by its running statistics: what it computes in evaluation.
    pub fn batch_norm(&mut self, x: Value, layer: &BatchNorm) -> Result<Value, KernelError> {
        let (gamma, beta) = (numbers(layer.gamma.val())?, numbers(layer.beta.val())?);
        let mean = numbers(layer.running_mean.value())?;
        let variance = numbers(layer.running_var.value())?;
        let scale: Vec<f32> = (gamma.iter().zip(&variance))
            .map(|(g, v)| (f64::from(*g) / (f64::from(*v) + layer.epsilon).sqrt()) as f32)
            .collect();
        let shift = (beta.iter().zip(&mean))
            .zip(&scale)
            .map(|((b, m), s)| b - m * s)
            .collect();
        self.scale(x, Scale::new(scale, shift))
    }
}
