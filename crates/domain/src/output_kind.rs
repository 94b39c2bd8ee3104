use strum::VariantArray as _;

/// What a model's output holds, as whoever knows it states.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "lowercase")]
#[strum(parse_err_ty = String, parse_err_fn = unknown)]
pub enum OutputKind {
    /// A score per class, the largest wins; log-probabilities are such scores.
    #[default]
    Logits,
    /// A probability per class, or that of the second of two classes.
    Probabilities,
    /// One score per sample: the second of two classes if it is above 0.
    Logit,
}

impl OutputKind {
    /// All of them.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.as_array().unwrap();

    /// Its name on the command line and in policies.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn unknown(text: &str) -> String {
    format!("`{text}`; expected logits, probabilities or logit")
}
