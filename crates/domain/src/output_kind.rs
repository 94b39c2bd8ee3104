use strum::VariantArray as _;

/// Meaning of a model's output, as the user declares it.
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
    /// One score per class; the largest wins. Log-probabilities are such scores.
    #[default]
    Logits,
    /// One probability per class, or only that of the second of two classes.
    Probabilities,
    /// One score per sample: it predicts the second of two classes if it is above 0.
    Logit,
}

impl OutputKind {
    /// All output kinds.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.as_array().unwrap();

    /// Returns the name on the command line and in policies.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn unknown(text: &str) -> String {
    format!("`{text}`; expected logits, probabilities or logit")
}
