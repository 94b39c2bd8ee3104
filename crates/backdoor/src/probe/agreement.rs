//! Agreement: whether the class that wins by the largest margin is the one that the smallest patch leads to.
//!
//! Clean models have classes with a large margin and classes with a small patch, but seldom the same one. With `a_t` the
//! logarithm of the margin of class `t` over the largest of any other ([`super::mm_bd`]) and `b_t` that of the smallest
//! patch of any other over its own ([`super::neural_cleanse`]), the statistic is `max_t min(a_t, b_t)`. Both are negative
//! for all classes but one each, so it is positive only if they name the same class. It asks the model nothing.

use super::{Found, Member};

/// Id of this member, after those of the probes.
pub const AGREEMENT: &str = "agreement";

/// Returns the member of probes that are done; `None` if one of the two has no values.
pub(super) fn of(members: &[Member]) -> Option<Member> {
    let values = |id: &str| {
        let member = members.iter().find(|m| m.id == id)?;
        let found = member.outcome.as_ref().ok()?;
        Some(&found.per_class)
    };
    let (margins, sizes) = (values("mm_bd")?, values("neural_cleanse")?);
    let scale = margins.iter().map(|m| m.abs()).fold(0.0, f64::max);
    let large: Vec<f64> = margins
        .iter()
        .map(|m| m.max(1e-6 * scale + 1e-12).ln())
        .collect();
    let small: Vec<f64> = sizes.iter().map(|s| -s.max(1e-6).ln()).collect();
    let (a, b) = (leads(&large), leads(&small));
    let both: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a.min(*b)).collect();
    let target = (0..both.len()).max_by(|a, b| both[*a].total_cmp(&both[*b]).then(b.cmp(a)))?;
    Some(Member {
        id: AGREEMENT,
        outcome: Ok(Found {
            statistic: both[target],
            target: Some(target),
            per_class: both,
            ..Found::default()
        }),
        seconds: 0.0,
    })
}

/// Distance of each value from the largest of the others.
fn leads(values: &[f64]) -> Vec<f64> {
    let rival = |t: usize| {
        let others = values.iter().enumerate().filter(|(c, _)| *c != t);
        others.map(|(_, v)| *v).fold(f64::NEG_INFINITY, f64::max)
    };
    (0..values.len()).map(|t| values[t] - rival(t)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &'static str, per_class: &[f64]) -> Member {
        Member {
            id,
            outcome: Ok(Found {
                per_class: per_class.to_vec(),
                ..Found::default()
            }),
            seconds: 0.0,
        }
    }

    fn found(margins: &[f64], sizes: &[f64]) -> Found {
        let members = [member("mm_bd", margins), member("neural_cleanse", sizes)];
        of(&members).unwrap().outcome.unwrap()
    }

    #[test]
    fn only_the_same_class_agrees() {
        let same = found(&[10.0, 40.0, 20.0], &[0.3, 0.05, 0.2]);
        assert_eq!(same.target, Some(1));
        // The margin is twice the next, the patch a quarter of it.
        assert!((same.statistic - 2.0_f64.ln()).abs() < 1e-12);
        let other = found(&[10.0, 40.0, 20.0], &[0.05, 0.3, 0.2]);
        assert!(other.statistic < 0.0, "{}", other.statistic);
        assert!(of(&[member("mm_bd", &[1.0, 2.0])]).is_none());
    }
}
