use std::collections::BTreeMap;

/// What a probe found in a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// Statistic of the whole model; the larger, the more it looks like one with a backdoor.
    pub statistic: f64,
    /// Class that a trigger would lead to, if the probe names one.
    pub target: Option<usize>,
    /// Value per class, in the unit that the probe's page names; empty if it has none.
    pub per_class: Vec<f64>,
    /// Further figures by name.
    pub figures: BTreeMap<&'static str, f64>,
    /// Reconstructed trigger of the suspected class.
    pub trigger: Option<Patch>,
}

/// Patch that moves samples to a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// Target class.
    pub class: usize,
    /// Share of each position that the patch covers, in [0, 1]. A position is a feature, or a pixel over all channels.
    pub mask: Vec<f32>,
    /// Values of the patch, one per feature, data units.
    pub pattern: Vec<f32>,
    /// Share of the samples it was fitted on that it moves to the class.
    pub reached: f64,
    /// Share of other samples that it moves to the class, and their number; `None` if there were none. Samples of the
    /// class itself do not count.
    pub held_out: Option<(f64, usize)>,
}

impl Patch {
    /// Returns the number of positions covered; partly covered ones count by their share.
    pub fn size(&self) -> f64 {
        self.mask.iter().map(|m| f64::from(*m)).sum()
    }

    /// Returns the intersection of the covered positions with `truth`, over their union. A position is covered from a
    /// share of one half.
    ///
    /// ```
    /// # use proofmark_backdoor::probe::Patch;
    /// let patch = Patch { class: 0, mask: vec![0.9, 0.6, 0.1], pattern: vec![], reached: 1.0, held_out: None };
    /// assert_eq!(patch.overlap(&[true, false, false]), 0.5);
    /// ```
    pub fn overlap(&self, truth: &[bool]) -> f64 {
        let (mut both, mut any) = (0.0, 0.0);
        for (m, t) in self.mask.iter().zip(truth) {
            let covered = *m >= 0.5;
            both += f64::from(u8::from(covered && *t));
            any += f64::from(u8::from(covered || *t));
        }
        if any == 0.0 { 0.0 } else { both / any }
    }
}
