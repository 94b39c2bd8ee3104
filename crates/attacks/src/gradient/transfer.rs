//! What the attacks that are made for transfer combine: input diversity, translation invariance, momentum.

use proofmark_engine::{BuildError, Meta};
use serde::Serialize;

use super::{Ascent, Length};
use crate::config::{at_least_one, between_0_and_1, not_negative, require, steps_forward};
use crate::loss::LossKind;
use crate::update::{Momentum, Smooth, Update};
use crate::view::{Diverse, View};

/// The parts that every one of them takes, with whatever default it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// Number of steps.
    pub(super) steps: u32,
    /// Constant step length, if one is given.
    pub(super) step_size: Option<f64>,
    /// Loss of the gradient.
    pub(super) loss: LossKind,
    /// Decay of the momentum.
    pub(super) decay: f32,
    /// Probability that an image is shrunk and moved; 0 never.
    pub(super) diversity: f32,
    /// Smallest size of a shrunk image, as a share.
    pub(super) resize: f32,
    /// Side of the Gaussian that smooths the gradient; 1 for none, 0 for the usual one.
    pub(super) kernel: u32,
}

impl Parts {
    /// Returns the attack with these parts and a view of its own, or an error that names the parameter that is out of
    /// range. The report repeats `config`.
    pub(super) fn attack(
        self,
        meta: &'static Meta,
        config: &impl Serialize,
        own: Option<Box<dyn View>>,
    ) -> Result<Ascent, BuildError> {
        at_least_one(meta.id, "steps", self.steps)?;
        steps_forward(meta.id, self.step_size)?;
        self.check(meta.id)?;
        Ok(Ascent {
            views: self.views(own),
            updates: self.updates(),
            images: self.images(),
            length: Length::given(self.step_size),
            ..Ascent::new(meta, config, self.loss, self.steps)
        })
    }

    fn check(self, attack: &str) -> Result<(), BuildError> {
        not_negative(attack, "decay", self.decay)?;
        require(
            (0.0..=1.0).contains(&self.diversity),
            attack,
            "diversity",
            self.diversity,
            "a probability from 0 to 1",
        )?;
        between_0_and_1(attack, "resize", self.resize)?;
        require(
            self.kernel == 0 || (self.kernel % 2 == 1 && self.kernel <= 255),
            attack,
            "kernel",
            self.kernel,
            "an odd number up to 255, 1 for no smoothing or 0 for a size that fits the image",
        )
    }

    /// Returns the views, after those that the attack has of its own.
    fn views(self, own: Option<Box<dyn View>>) -> Vec<Box<dyn View>> {
        let (probability, resize) = (self.diversity, self.resize);
        let diverse = Diverse {
            probability,
            resize,
        };
        let diverse: Option<Box<dyn View>> = (probability > 0.0).then(|| Box::new(diverse) as _);
        own.into_iter().chain(diverse).collect()
    }

    /// Returns the updates. The gradient is smoothed before it is added to the momentum.
    fn updates(self) -> Vec<Box<dyn Update>> {
        let kernel = self.kernel;
        let smooth: Option<Box<dyn Update>> =
            (kernel != 1).then(|| Box::new(Smooth { kernel }) as _);
        let momentum: Box<dyn Update> = Box::new(Momentum { decay: self.decay });
        smooth.into_iter().chain([momentum]).collect()
    }

    /// Whether a part only has an effect on images.
    const fn images(self) -> bool {
        self.diversity > 0.0 || self.kernel != 1
    }
}
