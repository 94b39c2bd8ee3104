//! Multi-targeted APGD: the order of classes, rounds, exact distances on linear models, and what it costs.

use proofmark_domain::Norm;

use crate::common::{Case, broken};

const NORMS: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];

/// With the nearest boundary found by distance, one class suffices: steps towards it break every row.
#[test]
fn the_class_with_the_nearest_boundary_is_first() {
    for (seed, classes) in [(1, 2), (2, 3), (3, 10)] {
        for norm in NORMS {
            let case = Case::new(&[20], classes, 40, seed);
            let above = case.at(norm, 1.02);
            let table = "rounds = [[1, 100]]";
            let found = broken(&case.attack("apgd-mt", table, &above));
            assert_eq!(found, 40, "{norm}, {classes} classes");
            if classes == 10 {
                let by_score = format!("{table}\nranked = 0");
                let fewer = broken(&case.attack("apgd-mt", &by_score, &above));
                assert!(fewer < 40, "{norm}: {fewer}");
            }
        }
    }
}

#[test]
fn rounds_break_every_row_above_the_exact_distance_and_none_below() {
    for (seed, classes) in [(1, 2), (2, 3), (3, 10)] {
        for norm in NORMS {
            let case = Case::new(&[20], classes, 40, seed);
            // Without the order by distance, the rounds find the class; in L1 short ascents tell less.
            let found = broken(&case.attack("apgd-mt", "ranked = 0", &case.at(norm, 1.02)));
            let least = if norm == Norm::L1 { 36 } else { 40 };
            assert!(found >= least, "{norm}, {classes} classes: {found}");
            let below = case.attack("apgd-mt", "", &case.at(norm, 0.99));
            assert_eq!(broken(&below), 0, "{norm}, {classes} classes");
        }
    }
}

/// A row costs its clean scores, a gradient per ranked class, the steps of all rounds, and the judge.
#[test]
fn rounds_cost_their_steps_and_the_ranking() {
    // Classes, targets of both rounds, classes that are ranked.
    for (classes, first, second, ranked) in [(2, 1, 1, 0), (3, 2, 2, 2), (12, 3, 2, 8)] {
        for norm in NORMS {
            let case = Case::new(&[30], classes, 6, 5);
            let table = "rounds = [[3, 5], [2, 7]]\nranked = 8";
            let all = case.attack("apgd-mt", table, &case.at(norm, 0.9));
            let steps = first * 5 + second * 7;
            for row in &all.rows {
                let spent = (row.queries.forward, row.queries.backward);
                assert_eq!(spent, (1 + ranked + steps + 1, ranked + steps), "{norm}");
            }
        }
    }
}

#[test]
fn a_target_class_of_the_user_is_the_only_one() {
    for norm in NORMS {
        let mut case = Case::new(&[20], 10, 40, 7);
        case.target_nearest(norm);
        let [above, below] = [1.02, 0.99].map(|factor| case.at(norm, factor));
        let table = "rounds = [[9, 50], [3, 50]]";
        assert_eq!(broken(&case.attack("apgd-mt", table, &above)), 40, "{norm}");
        let none = case.attack("apgd-mt", table, &below);
        assert_eq!(broken(&none), 0, "{norm}");
        // Two ascents, without ranking.
        assert!(none.rows.iter().all(|r| r.queries.backward == 100));
    }
}

#[test]
fn rounds_out_of_range_are_refused() {
    for (table, what) in [
        ("rounds = []", "empty"),
        ("rounds = [[0, 5]]", "at least 1"),
        ("rounds = [[2, 0]]", "at least 1"),
        ("rounds = [[2, 5], [3, 5]]", "no more than before"),
    ] {
        let error = proofmark_attacks::build("apgd-mt", &table.parse().unwrap()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("rounds"));
        assert!(error.problem.contains(what), "{table}: {}", error.problem);
    }
    let error = proofmark_attacks::build("apgd-mt", &"rounds = [[3]]".parse().unwrap());
    assert!(error.is_err());
}
