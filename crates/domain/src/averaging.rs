use strum::VariantArray as _;

/// What is averaged over several models that stand for one.
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
pub enum Averaging {
    /// Logits.
    #[default]
    Logits,
    /// Probabilities after a softmax.
    Probabilities,
    /// Losses, each of one model.
    Losses,
}

impl Averaging {
    /// All of them.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.as_array().unwrap();

    /// Returns the name on the command line and in policies.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn unknown(text: &str) -> String {
    format!("`{text}`; expected logits, probabilities or losses")
}
