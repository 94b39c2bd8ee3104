//! A surrogate of a model with steps, whose slopes fit the region that is searched.

use burn::tensor::Tensor as Burn;
use proofmark_threat::host;

use super::{OnnxModel, OnnxOptions, output};
use crate::error::OnnxError;
use crate::surrogate::Sloped;

/// Width of a step's slope, as a share of the root mean square of the change of the values that it cuts.
const OF_CHANGE: f32 = 1.0;
/// Smallest width, as a share of the values' mean distance from the threshold.
const OF_DISTANCE: f32 = 0.05;

impl OnnxModel {
    /// Adds a surrogate if the model has steps ([`Network::surrogate`](proofmark_model::Network::smoothed)).
    ///
    /// `regions` are samples, `[n, features]` per input, of each region that is searched: its centre first, then others.
    /// They set the slopes: a step is as wide as the values that it cuts move within the region.
    pub fn with_surrogate(
        mut self,
        regions: &[Vec<Burn<2>>],
        options: &OnnxOptions,
    ) -> Result<Self, OnnxError> {
        self.surrogate = self.sloped(regions, options)?.map(Box::new);
        Ok(self)
    }

    /// Returns the surrogate's [`Self::plan`], if there is a surrogate.
    pub fn surrogate_plan(&self) -> Option<Result<&[String], &str>> {
        self.surrogate.as_ref().map(|m| m.plan())
    }

    fn sloped(
        &self,
        regions: &[Vec<Burn<2>>],
        options: &OnnxOptions,
    ) -> Result<Option<Self>, OnnxError> {
        let wanted = output(&self.file, options)?;
        let Some(plain) = self.file.sloped(&wanted, &[]) else {
            return Ok(None);
        };
        let (cuts, at) = (plain.cuts.clone(), plain.at.clone());
        let unsloped = self.rebuilt(plain, options, true)?;
        let widths = unsloped.widths(&cuts, &at, regions)?;
        let Some(sloped) = self.file.sloped(&wanted, &widths) else {
            return Ok(None);
        };
        let sloped = self.rebuilt(sloped, options, options.by_operator)?;
        Ok((sloped.signature.classes == 2 * self.signature.classes).then_some(sloped))
    }

    fn rebuilt(
        &self,
        sloped: Sloped,
        options: &OnnxOptions,
        by_operator: bool,
    ) -> Result<Self, OnnxError> {
        let options = OnnxOptions {
            output: Some(sloped.output),
            by_operator,
            ..options.clone()
        };
        let signature = &self.signature;
        Self::new(
            sloped.file,
            &signature.modalities,
            &options,
            &signature.device,
        )
        .map(|m| m.named(signature.name.clone()))
    }

    /// Returns the width of each step's slope.
    fn widths(
        &self,
        cuts: &[String],
        at: &[f32],
        regions: &[Vec<Burn<2>>],
    ) -> Result<Vec<f32>, OnnxError> {
        let slot = |name: &String| {
            let found = self.graph.names.get(name).copied();
            found.ok_or_else(|| self.file.problem(format!("has no value `{name}`")))
        };
        let slots = cuts.iter().map(slot).collect::<Result<Vec<_>, _>>()?;
        let plan = self.graph.plan(&slots);
        // Sums over regions: squared change and its count, distance and its count.
        let mut sums = vec![[0.0_f64; 4]; cuts.len()];
        for blocks in regions {
            let values = self.quietly(|m| m.run_slots(&plan, &slots, blocks))?;
            for ((sum, value), at) in sums.iter_mut().zip(values).zip(at) {
                let width = value.dims()[1];
                let all = host(&value);
                let (centre, others) = all.split_at(width.min(all.len()));
                for row in others.chunks(width.max(1)) {
                    for (v, c) in row.iter().zip(centre) {
                        sum[0] += f64::from(v - c).powi(2);
                        sum[1] += 1.0;
                    }
                }
                for c in centre {
                    sum[2] += f64::from((c - at).abs());
                    sum[3] += 1.0;
                }
            }
        }
        let width = |[change, n, distance, m]: &[f64; 4]| {
            let change = (change / n.max(1.0)).sqrt() as f32;
            let distance = (distance / m.max(1.0)) as f32;
            let width = (OF_CHANGE * change).max(OF_DISTANCE * distance);
            if width.is_normal() { width } else { 1.0 }
        };
        Ok(sums.iter().map(width).collect())
    }
}
