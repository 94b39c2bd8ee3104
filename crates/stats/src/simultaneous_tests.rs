use proptest::prelude::*;

use super::*;
use crate::newcombe;

fn arms(counts: &[(u32, u32)]) -> Vec<Arm> {
    counts
        .iter()
        .map(|(x, n)| Arm::rate(f64::from(*x), f64::from(*n)).unwrap())
        .collect()
}

/// Two groups: a little wider than Newcombe's, never more than 8 % (see `mid_p.rs` for the reason).
#[test]
fn two_groups_are_about_newcombes() {
    for (a, b) in [
        ((9, 30), (12, 30)),
        ((30, 100), (55, 100)),
        ((300, 1000), (340, 1000)),
    ] {
        let ours = Contrasts::Within(arms(&[a, b])).intervals(Scale::Difference, 0.95)[0];
        let his = newcombe((a.0.into(), a.1.into()), (b.0.into(), b.1.into()), 0.95);
        let ratio = (ours.high - ours.low) / (his.high - his.low);
        assert!((0.99..1.08).contains(&ratio), "{a:?} {b:?}: {ratio}");
    }
}

/// The bounds of the extreme are bounds of contrasts that may be it.
#[test]
fn the_largest_difference_is_bounded_by_its_contrasts() {
    let c = Contrasts::Within(arms(&[(30, 100), (45, 100), (60, 100)]));
    let i = c.extreme(Scale::Difference, 0.95);
    let all = c.intervals(Scale::Difference, 0.95);
    assert_eq!(i.low, -all[1].high);
    assert!(i.low > 0.0 && i.high < -all[1].low && (i.low..i.high).contains(&0.3));
    let r = c.extreme(Scale::Ratio, 0.95);
    assert!((r.low..r.high).contains(&0.5) && r.high < 1.0);
}

#[test]
fn comparing_with_all_rows_scales_the_comparison_with_the_others() {
    // 10 of 40 against 60 of 120: 70 of 160 together, a quarter of them in the group.
    let [a, b] = &arms(&[(10, 40), (60, 120)])[..] else {
        unreachable!()
    };
    let pair = Pair {
        first: a.clone(),
        second: b.clone(),
        share: 0.25,
    };
    assert!((pair.value(Scale::Difference) - (0.25 - 70.0 / 160.0)).abs() < 1e-12);
    assert!((pair.value(Scale::Ratio) - 0.25 * 160.0 / 70.0).abs() < 1e-12);
    let (d, r) = (
        pair.interval(Scale::Difference, 1.96),
        pair.interval(Scale::Ratio, 1.96),
    );
    assert!(d.low < -0.1875 && d.high > -0.1875 && d.high < 0.0 && r.high < 1.0);
    let nobody = Pair {
        first: a.clone(),
        second: arms(&[(0, 120)])[0].clone(),
        share: 0.25,
    };
    assert_eq!(nobody.value(Scale::Ratio), 4.0);
}

#[test]
fn one_group_alone_has_a_p_value_of_one() {
    let c = Contrasts::Within(arms(&[(1, 2)]));
    assert!(c.is_empty() && c.p_value(Scale::Difference, 0.0) == 1.0);
    assert!(Contrasts::Against(Vec::new()).is_empty());
}

fn some_arms() -> impl Strategy<Value = Vec<Arm>> {
    proptest::collection::vec((0.0..=1.0_f64, 2_u32..300), 2..6).prop_map(|v| {
        v.into_iter()
            .map(|(p, n)| Arm::rate((p * f64::from(n)).floor(), f64::from(n)).unwrap())
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The p-value is below `1 - level` exactly if the interval excludes the null.
    #[test]
    fn p_values_and_intervals_agree(arms in some_arms(), null in 0.0..0.3_f64, level in 0.6..0.999_f64) {
        for contrasts in [
            Contrasts::Within(arms.clone()),
            Contrasts::Against(arms[1..].iter().map(|a| Pair::new(a.clone(), arms[0].clone())).collect()),
        ] {
            for (scale, null) in [(Scale::Difference, null), (Scale::Ratio, 1.0 - null)] {
                let p = contrasts.p_value(scale, null);
                prop_assume!((p - (1.0 - level)).abs() > 1e-6);
                let i = contrasts.extreme(scale, level);
                let out = match scale {
                    Scale::Difference => i.low > null,
                    Scale::Ratio => i.high < null,
                };
                prop_assert_eq!(out, p < 1.0 - level, "{} {:?}", p, i);
            }
        }
    }

    #[test]
    fn order_of_groups_changes_nothing(arms in some_arms()) {
        let back: Vec<Arm> = arms.iter().rev().cloned().collect();
        for scale in [Scale::Difference, Scale::Ratio] {
            let (i, j) = (
                Contrasts::Within(arms.clone()).extreme(scale, 0.95),
                Contrasts::Within(back.clone()).extreme(scale, 0.95),
            );
            prop_assert!((i.low - j.low).abs() < 1e-6 && (i.high - j.high).abs() < 1e-6);
        }
    }

    #[test]
    fn the_extreme_holds_the_estimate_and_grows_with_the_level(arms in some_arms()) {
        let values: Vec<f64> = arms.iter().map(Arm::value).collect();
        let max = values.iter().copied().fold(f64::MIN, f64::max);
        let min = values.iter().copied().fold(f64::MAX, f64::min);
        let c = Contrasts::Within(arms);
        let (narrow, wide) = (c.extreme(Scale::Difference, 0.8), c.extreme(Scale::Difference, 0.99));
        prop_assert!(wide.low <= narrow.low + 1e-9 && narrow.high <= wide.high + 1e-9);
        prop_assert!(narrow.low <= max - min + 1e-9 && max - min <= narrow.high + 1e-9);
        if max > 0.0 {
            let r = c.extreme(Scale::Ratio, 0.8);
            prop_assert!(r.low <= min / max + 1e-9 && min / max <= r.high + 1e-9);
        }
    }

    /// More data with the same estimates narrows the interval.
    #[test]
    fn more_data_narrows(arms in some_arms(), factor in 1.0..20.0_f64) {
        let c = Contrasts::Within(arms);
        let (i, j) = (c.extreme(Scale::Difference, 0.95), c.scaled(factor).extreme(Scale::Difference, 0.95));
        prop_assert!(i.low <= j.low + 1e-6 && j.high <= i.high + 1e-6);
    }
}
