use std::collections::BTreeMap;

use proofmark_domain::{BudgetRecord, InputScale, Kind, Norm, TrustCode, TrustFlag};

use super::evidence::TrustInput;

/// Share of an input's range (or of its diameter in the norm) below which an epsilon changes almost nothing.
const LEAST_SHARE: f64 = 1e-3;

/// Relative tolerance of comparisons, so that 0.5/255 does not count as below half a step.
const SLACK: f64 = 1e-6;

/// Raised if the largest budget of an input is too small to change its values, or larger than all its bounds allow.
///
/// Too small: for images whose values lie on an 8-bit lattice, an Linf epsilon below half a step; otherwise, for
/// images, below a thousandth of the diameter of the bounds in the norm (in Linf, of the range). A table is compared
/// with the range of its widest feature in every norm, since one feature may take the whole budget. An L0 budget is too
/// small below one feature. Audio is exempt: audible changes are far below a thousandth of its range. Too large: beyond
/// the diameter of the bounds, in the budget's norm.
///
/// Figures are judged at the largest budget, so smaller budgets of a curve do not raise the flag.
pub(crate) fn rule(evidence: &TrustInput<'_>) -> Option<TrustFlag> {
    let mut largest: BTreeMap<&str, &BudgetRecord> = BTreeMap::new();
    let judged = evidence.runs.iter().filter(|r| r.role.counts());
    for budget in judged.flat_map(|r| &r.threat.budgets) {
        let kept = largest.entry(&budget.modality).or_insert(budget);
        if budget.eps > kept.eps {
            *kept = budget;
        }
    }
    let problems: Vec<String> = largest.into_values().filter_map(problem).collect();
    (!problems.is_empty()).then(|| TrustFlag {
        code: TrustCode::EpsilonUnit,
        message: problems.join("; "),
        cured: false,
    })
}

/// Returns what is wrong with a budget; `None` if nothing is, if it freezes its input or if the input's scale is
/// unknown.
fn problem(budget: &BudgetRecord) -> Option<String> {
    let scale = budget.scale?;
    if budget.eps == 0.0 && scale.smallest_eps.is_none() {
        return None;
    }
    too_small(budget, &scale).or_else(|| too_large(budget, &scale))
}

fn too_small(budget: &BudgetRecord, scale: &InputScale) -> Option<String> {
    if scale.smallest_eps == Some(0.0) {
        return Some(format!(
            "the epsilon of a sample for `{}` is 0: no attack could change it",
            budget.modality
        ));
    }
    let (least, least_is) = least(budget.norm, scale)?;
    let (whose, eps) = match scale.smallest_eps {
        Some(smallest) => ("the smallest epsilon of a sample for", smallest),
        None => ("the epsilon of", budget.eps),
    };
    if eps >= least * (1.0 - SLACK) {
        return None;
    }
    let text = format!(
        "{whose} `{}`, {} {}, is below {} ({least_is}): attacks could change next to nothing",
        budget.modality,
        budget.norm,
        short(eps),
        short(least)
    );
    if is_pixels(budget, scale) && scale.widest > 1.0 {
        let meant = short(eps * scale.widest);
        return Some(format!(
            "{text}; if it was meant for values in [0, 1], write {meant}"
        ));
    }
    // Floating-point audio has the shape of a table.
    if scale.kind == Kind::Table && scale.widest <= 2.0 {
        return Some(format!(
            "{text}; sound, where less can be heard, is exempt once it is stated (`--kind audio`, in a policy `kind = \"audio\"` under [[data]])"
        ));
    }
    Some(text)
}

fn too_large(budget: &BudgetRecord, scale: &InputScale) -> Option<String> {
    let eps = budget.eps;
    if eps <= scale.diameter * (1.0 + SLACK) {
        return None;
    }
    let text = format!(
        "the epsilon of `{}`, {} {}, is beyond {} (the longest change its bounds allow): any value is allowed",
        budget.modality,
        budget.norm,
        short(eps),
        short(scale.diameter)
    );
    if is_pixels(budget, scale) && eps <= 255.0 {
        let meant = if scale.widest == 1.0 {
            format!("{}/255", short(eps))
        } else {
            short(eps / 255.0 * scale.widest)
        };
        return Some(format!(
            "{text}; if it was meant for values in [0, 255], write {meant}"
        ));
    }
    Some(text)
}

/// Whether the range alone converts an epsilon to another unit.
fn is_pixels(budget: &BudgetRecord, scale: &InputScale) -> bool {
    budget.norm == Norm::Linf && scale.kind == Kind::Image
}

/// Returns the smallest epsilon that can change an input, with its description; `None` for audio.
fn least(norm: Norm, scale: &InputScale) -> Option<(f64, &'static str)> {
    Some(match (scale.kind, norm) {
        (Kind::Audio, _) => return None,
        (_, Norm::L0) => (1.0, "one feature"),
        (Kind::Image, Norm::Linf) if scale.eight_bit => {
            (scale.widest / 510.0, "half an 8-bit step of its range")
        }
        (Kind::Image, _) => (
            scale.diameter * LEAST_SHARE,
            "a thousandth of the longest change its bounds allow",
        ),
        (Kind::Table, _) => (
            scale.widest * LEAST_SHARE,
            "a thousandth of the range of its widest feature",
        ),
    })
}

/// Formats a number to seven digits, enough for a message.
fn short(x: f64) -> String {
    (x as f32).to_string()
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunMeta;
    use proofmark_domain::RunStatus::Robust;

    use super::*;
    use crate::trust::fixture::{attack, noise, probe, report, sample};

    const fn image(widest: f64, eight_bit: bool) -> InputScale {
        InputScale {
            kind: Kind::Image,
            widest,
            diameter: widest,
            eight_bit,
            smallest_eps: None,
        }
    }

    fn held(mut run: RunMeta, norm: Norm, scale: InputScale) -> RunMeta {
        run.threat.norm = norm;
        run.threat.budgets[0].norm = norm;
        run.threat.budgets[0].scale = Some(scale);
        run
    }

    fn flags(runs: Vec<RunMeta>) -> Vec<TrustFlag> {
        let statuses = vec![Robust; runs.len()];
        report(runs, vec![sample(0, &statuses)]).trust
    }

    fn raised(eps: f64, norm: Norm, scale: InputScale) -> bool {
        let flags = flags(vec![held(attack("pgd", eps), norm, scale)]);
        flags.iter().any(|f| f.code == TrustCode::EpsilonUnit)
    }

    #[test]
    fn a_fraction_of_255_on_pixels_to_255_raises_it_and_says_what_was_meant() {
        let flags = flags(vec![held(
            attack("pgd", 8.0 / 255.0),
            Norm::Linf,
            image(255.0, true),
        )]);
        assert_eq!(
            (flags[0].code, flags[0].cured),
            (TrustCode::EpsilonUnit, false)
        );
        assert_eq!(
            flags[0].message,
            "the epsilon of `image`, linf 0.03137255, is below 0.5 (half an 8-bit step of its range): attacks could change \
             next to nothing; if it was meant for values in [0, 1], write 8"
        );
    }

    #[test]
    fn a_whole_number_on_pixels_to_1_raises_it_and_says_what_was_meant() {
        let flags = flags(vec![held(attack("pgd", 8.0), Norm::Linf, image(1.0, true))]);
        assert_eq!(
            flags[0].message,
            "the epsilon of `image`, linf 8, is beyond 1 (the longest change its bounds allow): any value is allowed; \
             if it was meant for values in [0, 255], write 8/255"
        );
    }

    #[test]
    fn the_limits_by_norm_kind_and_lattice() {
        let half = 0.5 / 255.0;
        for (eps, norm, scale, expected) in [
            (half, Norm::Linf, image(1.0, true), false),
            (half * 0.999, Norm::Linf, image(1.0, true), true),
            (0.0011, Norm::Linf, image(1.0, false), false),
            (0.0009, Norm::Linf, image(1.0, false), true),
            (1.0, Norm::Linf, image(1.0, true), false),
            (1.001, Norm::Linf, image(1.0, true), true),
            (0.0, Norm::Linf, image(1.0, true), false),
        ] {
            assert_eq!(raised(eps, norm, scale), expected, "{eps} {norm} {scale:?}");
        }
        // 784 pixels in [0, 1]: a thousandth of sqrt(784) = 28 in L2.
        let l2 = InputScale {
            diameter: 28.0,
            ..image(1.0, true)
        };
        for (eps, expected) in [(0.027, true), (0.029, false), (27.9, false), (28.1, true)] {
            assert_eq!(raised(eps, Norm::L2, l2), expected, "l2 {eps}");
        }
        let l0 = InputScale {
            diameter: 784.0,
            ..image(1.0, true)
        };
        assert!(raised(0.5, Norm::L0, l0) && !raised(1.0, Norm::L0, l0));
        let table = InputScale {
            kind: Kind::Table,
            widest: 100.0,
            diameter: 5000.0,
            ..image(1.0, false)
        };
        assert!(raised(0.09, Norm::L1, table) && !raised(0.11, Norm::L1, table));
        let sound = InputScale {
            kind: Kind::Audio,
            ..image(2.0, false)
        };
        assert!(!raised(1e-5, Norm::Linf, sound) && raised(3.0, Norm::Linf, sound));
    }

    #[test]
    fn only_the_largest_budget_of_a_curve_is_judged_and_probes_never() {
        let at = |eps| held(attack("pgd", eps), Norm::Linf, image(1.0, true));
        let raised = |runs| {
            let flags = flags(runs);
            flags.iter().any(|f| f.code == TrustCode::EpsilonUnit)
        };
        assert!(!raised(vec![at(1e-5), at(0.03), noise(1e-5), probe("pgd")]));
        assert!(raised(vec![at(1e-5), at(1e-4)]));
    }

    #[test]
    fn the_smallest_epsilon_of_a_sample_counts() {
        let scale = InputScale {
            smallest_eps: Some(0.0),
            ..image(1.0, true)
        };
        assert!(raised(0.1, Norm::Linf, scale) && raised(0.0, Norm::Linf, scale));
        // Audio is exempt from the minimum, but not from an epsilon of 0.
        let sound = |smallest| InputScale {
            kind: Kind::Audio,
            smallest_eps: Some(smallest),
            ..image(2.0, false)
        };
        assert!(raised(0.1, Norm::Linf, sound(0.0)));
        assert!(!raised(0.1, Norm::Linf, sound(1e-7)));
    }

    #[test]
    fn the_flag_on_a_table_that_may_be_audio_says_how_to_declare_it() {
        let table = |widest| InputScale {
            kind: Kind::Table,
            ..image(widest, false)
        };
        for (widest, expected) in [(2.0, true), (100.0, false)] {
            let run = held(attack("pgd", 1e-4), Norm::Linf, table(widest));
            let flags = flags(vec![run]);
            assert_eq!(flags[0].code, TrustCode::EpsilonUnit);
            let told = flags[0].message.contains("--kind audio");
            assert_eq!(told, expected, "{}", flags[0].message);
        }
    }
}
