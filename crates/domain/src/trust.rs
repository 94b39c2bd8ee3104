use serde::{Deserialize, Serialize};
use strum::VariantArray as _;

use crate::Needs;

/// Reason not to trust a robustness figure as it stands.
///
/// A code can turn a pass into no pass, but it never removes a failure: a re-measured adversarial is proof whatever the
/// gradients are. Names are stable; policies accept them by name.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
// Exhaustive on purpose: adding a code does not compile until the gate has a rule for it.
pub enum TrustCode {
    /// Without attack the model is no better than guessing, or another reading of the labels explains its predictions.
    CleanAtChance,
    /// An epsilon is in the wrong unit: too small to change the data, or larger than any change the data bounds allow.
    EpsilonUnit,
    /// Gradients were exactly zero where the attack needed them.
    ZeroGradients,
    /// Gradients held NaN or infinity.
    NonFiniteGradients,
    /// Scores held NaN or infinity.
    NonFiniteScores,
    /// The same input gave different outputs.
    RandomisedOutputs,
    /// The outputs look like probabilities, not logits.
    ProbabilitiesAsLogits,
    /// Logits are so far apart that cross-entropy has no gradient left in `f32`.
    SaturatedLogits,
    /// The scores used for gradients are not the scores used for decisions.
    TrackedLogitsDiffer,
    /// A baseline or an attack without gradients broke samples that the gradient attacks did not break.
    BaselineBeatsGradient,
    /// The same attack found less with a larger budget.
    LargerEpsilonFindsLess,
    /// The attack did not bring accuracy down to chance even without a budget limit.
    UnboundedAttackFails,
    /// An adversarial was seen during the attack but not confirmed by the final measurement.
    SilentSuccess,
    /// The gradient does not describe how the scores change: values are rounded or quantised between input and scores,
    /// where the gradient is passed straight through or stops, the scores jump, or the gradients are those of a surrogate.
    ApproximateGradients,
    /// Small random changes of the input change the scores so much that gradients say little about the way.
    UnstablePredictions,
    /// The attack was still getting nearer when its steps ran out.
    IncompleteOptimisation,
    /// An adversarial of the gradient path was none on the plain path, although the model answers alike when asked
    /// again.
    TransferFailure,
    /// The attack missed an adversarial that had been planted within its budget.
    PlantedAdversarialMissed,
}

impl TrustCode {
    /// Every code, in the order they are listed to users.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.as_array().unwrap();

    /// Returns the stable kebab-case name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the access to the model without which this code does not apply.
    pub const fn needs(self) -> Needs {
        match self {
            Self::CleanAtChance
            | Self::EpsilonUnit
            | Self::NonFiniteScores
            | Self::RandomisedOutputs
            | Self::LargerEpsilonFindsLess
            | Self::SilentSuccess => Needs::Decisions,
            // Probabilities, saturated or unstable scores only harm attacks that follow gradients through them.
            Self::ZeroGradients
            | Self::NonFiniteGradients
            | Self::ProbabilitiesAsLogits
            | Self::SaturatedLogits
            | Self::TrackedLogitsDiffer
            | Self::BaselineBeatsGradient
            | Self::UnboundedAttackFails
            | Self::ApproximateGradients
            | Self::UnstablePredictions
            | Self::IncompleteOptimisation
            | Self::TransferFailure
            | Self::PlantedAdversarialMissed => Needs::Gradients,
        }
    }

    /// Whether the code is about the scores of the attacked model itself, which gradients of another model do not show.
    pub const fn is_about_own_scores(self) -> bool {
        matches!(
            self,
            Self::ProbabilitiesAsLogits | Self::SaturatedLogits | Self::TrackedLogitsDiffer
        )
    }

    /// Returns advice on how to fix or work around the cause.
    pub const fn remediation(self) -> &'static str {
        match self {
            Self::CleanAtChance => {
                "before anything else, check that labels count from 0 in the model's order, that scale, mean and std are those of its training, and the layout (nchw or nhwc)"
            }
            Self::EpsilonUnit => {
                "state epsilon in the unit of the data, before scale, mean and std (8/255 for pixels in [0, 1], 8 for pixels in [0, 255]), or accept this code with a reason"
            }
            Self::ZeroGradients => {
                "attack through the layer that kills the gradient (a straight-through estimate), or add attacks that need no gradient"
            }
            Self::NonFiniteGradients => {
                "find the operation whose derivative is not finite (sqrt or log at 0, a division by 0) and guard it"
            }
            Self::NonFiniteScores => {
                "fix the model: it returns NaN or infinity on inputs inside its bounds"
            }
            Self::RandomisedOutputs => {
                "evaluate the model in inference mode, or wrap it in EOT so that attack and judge average over its randomness"
            }
            Self::ProbabilitiesAsLogits => "hand over the logits, before the softmax",
            Self::SaturatedLogits => {
                "check scale, mean and std first (values 255 times too large saturate logits), then add an attack with a scale-free loss (--loss dlr or margin)"
            }
            Self::TrackedLogitsDiffer => {
                "make the gradient path and the decision path the same network in the same mode"
            }
            Self::BaselineBeatsGradient => {
                "the gradients mislead the attack: add score- or decision-based attacks before believing the number"
            }
            Self::LargerEpsilonFindsLess => "give the attack more steps and restarts",
            Self::UnboundedAttackFails => {
                "the attack cannot follow this model's gradients at all: look for masking, quantisation or a wrong loss"
            }
            Self::SilentSuccess => {
                "the model answered differently when asked again: see randomised-outputs and tracked-logits-differ"
            }
            Self::ApproximateGradients => {
                "add an attack on scores with at least 1,000 queries per sample, such as square (if it finds no more, the code becomes a note), or attack the model before it was quantised or rounded as well"
            }
            Self::UnstablePredictions => {
                "switch off randomness and rounding at inference, or average over it (wrap the model in EOT, or give the attack draws), and add attacks that need no gradient"
            }
            Self::IncompleteOptimisation => {
                "give the attack more steps, or let it set its step size itself (apgd)"
            }
            Self::TransferFailure => {
                "make the gradient path and the decision path the same network, or add attacks on scores or decisions, which see only the latter"
            }
            Self::PlantedAdversarialMissed => {
                "the attack cannot find what is known to be there, so its failures prove nothing: look for layers without gradient, randomness or too few steps, and add attacks that need no gradient"
            }
        }
    }
}

/// One trust code raised by a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustFlag {
    /// The trust code.
    pub code: TrustCode,
    /// The evidence, with figures.
    pub message: String,
    /// Whether another result of the run already made up for it; a cured flag is a note.
    pub cured: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_their_serialised_form() {
        for code in TrustCode::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
        }
    }
}
