use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use proofmark_domain::Modality;

/// Rows of samples on a device, as one block `[rows, features]` per modality, in data units.
///
/// The input space is the product of the modalities; every block has the same number of rows.
#[derive(Debug, Clone)]
pub struct Batch {
    modalities: Arc<[Modality]>,
    blocks: Vec<Tensor<2>>,
}

/// Errors of building a batch from blocks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The number of blocks differs from the number of modalities, or is 0.
    #[error("{blocks} blocks for {modalities} modalities; expected one block each, at least one")]
    Count {
        /// Blocks given.
        blocks: usize,
        /// Modalities declared.
        modalities: usize,
    },
    /// A block has the wrong shape.
    #[error("block `{modality}` has shape [{}, {}]; expected [{}, {}]", given[0], given[1], expected[0], expected[1])]
    Shape {
        /// The modality's name.
        modality: String,
        /// Rows and features given.
        given: [usize; 2],
        /// Rows and features expected.
        expected: [usize; 2],
    },
}

/// Makes a mask over rows from flags on the host.
pub fn mask(flags: &[bool], device: &Device) -> Tensor<1, Bool> {
    let n = flags.len();
    Tensor::from_data(TensorData::new(flags.to_vec(), [n]), device)
}

/// Makes an index tensor from host indices.
pub fn index(indices: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = indices.iter().map(|i| *i as i64).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

impl Batch {
    /// Makes a batch from one block `[rows, features]` per modality.
    pub fn new(modalities: Arc<[Modality]>, blocks: Vec<Tensor<2>>) -> Result<Self, BatchError> {
        if blocks.len() != modalities.len() || blocks.is_empty() {
            return Err(BatchError::Count {
                blocks: blocks.len(),
                modalities: modalities.len(),
            });
        }
        let rows = blocks[0].dims()[0];
        for (block, modality) in blocks.iter().zip(modalities.iter()) {
            let expected = [rows, modality.features()];
            if block.dims() != expected {
                return Err(BatchError::Shape {
                    modality: modality.name.clone(),
                    given: block.dims(),
                    expected,
                });
            }
        }
        Ok(Self { modalities, blocks })
    }

    /// Makes a batch from host rows: per modality, `rows * features` values in C order.
    pub fn from_host(
        modalities: Arc<[Modality]>,
        values: Vec<Vec<f32>>,
        device: &Device,
    ) -> Result<Self, BatchError> {
        let blocks = values
            .into_iter()
            .zip(modalities.iter())
            .map(|(v, m)| {
                let features = m.features().max(1);
                let rows = v.len() / features;
                Tensor::from_data(TensorData::new(v, [rows, features]), device)
            })
            .collect();
        Self::new(modalities, blocks)
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.blocks[0].dims()[0]
    }

    /// Returns the modalities, in block order.
    pub fn modalities(&self) -> &Arc<[Modality]> {
        &self.modalities
    }

    /// Returns the blocks, in modality order.
    pub fn blocks(&self) -> &[Tensor<2>] {
        &self.blocks
    }

    /// Returns the blocks for replacement by blocks with the same features (only for `columns`).
    pub(crate) fn blocks_mut(&mut self) -> &mut [Tensor<2>] {
        &mut self.blocks
    }

    /// Returns the blocks by value.
    pub fn into_blocks(self) -> Vec<Tensor<2>> {
        self.blocks
    }

    /// Returns the device of the blocks.
    pub fn device(&self) -> Device {
        self.blocks[0].device()
    }

    /// Returns the rows at `indices`, in that order; indices may repeat.
    #[must_use]
    pub fn select(&self, indices: &Tensor<1, Int>) -> Self {
        self.map(|b| b.select(0, indices.clone()))
    }

    /// Returns a contiguous range of rows.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        self.map(|b| b.slice([rows.clone()]))
    }

    /// Concatenates the rows of `parts`.
    #[must_use]
    pub fn cat(parts: &[&Self]) -> Self {
        let blocks = (0..parts[0].blocks.len())
            .map(|i| Tensor::cat(parts.iter().map(|p| p.blocks[i].clone()).collect(), 0))
            .collect();
        Self {
            modalities: parts[0].modalities.clone(),
            blocks,
        }
    }

    /// Passes every block through `f`, which keeps the features.
    #[must_use]
    pub fn map(&self, f: impl FnMut(Tensor<2>) -> Tensor<2>) -> Self {
        Self {
            modalities: self.modalities.clone(),
            blocks: self.blocks.iter().cloned().map(f).collect(),
        }
    }

    /// Combines two batches of the same rows, block by block.
    #[must_use]
    pub fn zip(&self, other: &Self, mut f: impl FnMut(Tensor<2>, Tensor<2>) -> Tensor<2>) -> Self {
        Self {
            modalities: self.modalities.clone(),
            blocks: self
                .blocks
                .iter()
                .zip(&other.blocks)
                .map(|(a, b)| f(a.clone(), b.clone()))
                .collect(),
        }
    }

    /// Returns one number per row, `[rows, 1]`: that of each block, combined over the blocks.
    ///
    /// # Panics
    /// If there are no blocks.
    pub fn per_row(
        &self,
        of: impl FnMut(Tensor<2>) -> Tensor<2>,
        combine: impl FnMut(Tensor<2>, Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let each = self.blocks.iter().cloned().map(of);
        each.reduce(combine).expect("at least one modality")
    }

    /// Returns the sum over all features of each row after `f`, `[rows, 1]`.
    ///
    /// # Panics
    /// If there are no blocks.
    pub fn sum_of(&self, mut f: impl FnMut(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        self.per_row(|b| f(b).sum_dim(1), |a, b| a + b)
    }

    /// Takes `other`'s rows where `mask` (`[rows]`) is set, otherwise these.
    #[must_use]
    pub fn replace_rows(&self, mask: &Tensor<1, burn::tensor::Bool>, other: &Self) -> Self {
        self.zip(other, |a, b| {
            let shape = a.dims();
            a.mask_where(mask.clone().unsqueeze_dim::<2>(1).expand(shape), b)
        })
    }

    /// Returns the values of every block on the host, `rows * features` each, in C order.
    pub fn to_host(&self) -> Vec<Vec<f32>> {
        self.blocks.iter().map(host).collect()
    }
}

/// Returns a float tensor's values on the host as `f32`, whatever float type the device uses.
///
/// # Panics
///
/// If the device cannot be read (lost, out of memory). The engine's runs are inside a boundary that turns this into an
/// error; other callers use `proofmark_model::guarded_device`.
pub fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    match tensor.try_to_vec_as::<f32>() {
        Ok(values) => values,
        Err(e) => panic!("values cannot be read back: {e:?}"),
    }
}
