//! The default suite: which members run on what a model gives and on which budgets, and what they break.

use proofmark_domain::{Coupling, Epsilon, Needs, Norm, RunStatus};
use proofmark_engine::{Access, Attack, Job, Silent};
use proofmark_threat::{Budget, Radius, Threat};

use crate::common::{Case, access, broken};

fn suite() -> Box<dyn Attack> {
    proofmark_attacks::build("proofmark", &toml::Table::new()).unwrap()
}

/// Ids of the members that run, or the error.
fn chosen(case: &Case, threat: &Threat, gives: Needs) -> Result<Vec<&'static str>, String> {
    let suite = suite();
    let job = Job::new(&case.samples, &case.rows, threat, &Silent);
    let places = suite.chosen(gives, &job).map_err(|e| e.to_string())?;
    let id = |i: &usize| suite.members()[*i].meta().id;
    Ok(places.iter().map(id).collect())
}

#[test]
fn it_takes_no_parameters_and_says_so() {
    let error = proofmark_attacks::build("proofmark", &"steps = 5".parse().unwrap()).unwrap_err();
    assert_eq!(error.problem, "no parameter `steps`; it takes none");
}

#[test]
fn members_suit_what_the_model_gives() {
    let case = Case::new(&[16], 3, 4, 1);
    let of = |norm, gives| chosen(&case, &case.within(norm, 0.1), gives);
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let all = of(norm, Needs::Gradients).unwrap();
        assert!(
            all.contains(&"apgd-mt") && all.last() == Some(&"square"),
            "{all:?}"
        );
        assert_eq!(of(norm, Needs::Scores).unwrap(), ["square"]);
    }
    assert_eq!(
        of(Norm::L0, Needs::Gradients).unwrap(),
        ["sigma-zero", "sparse-rs"]
    );
    assert_eq!(of(Norm::L0, Needs::Scores).unwrap(), ["sparse-rs"]);
    assert_eq!(
        of(Norm::Linf, Needs::Decisions).unwrap(),
        ["rays", "hopskipjump"]
    );
    assert_eq!(
        of(Norm::L2, Needs::Decisions).unwrap(),
        ["surfree", "hopskipjump"]
    );
    let error = of(Norm::L1, Needs::Decisions).unwrap_err();
    assert!(
        error.contains("l1 of a model that gives decisions"),
        "{error}"
    );
    assert!(error.contains("linf, or l2 for `proofmark-1`"), "{error}");
}

/// Square takes no budget that inputs share, `SurFree` no second input; the gradient attacks of the suite do not stop for that.
#[test]
fn a_member_that_does_not_fit_is_left_out_if_the_suite_can_do_without() {
    let case = Case::new(&[8, 8], 3, 4, 1);
    let threat = |norms: [Norm; 2], coupling| {
        let budget = |m: usize| Budget {
            modality: format!("m{m}"),
            norm: norms[m],
            radius: Radius::Uniform(Epsilon::new(0.1).unwrap()),
            mask: None,
        };
        let budgets = vec![budget(0), budget(1)];
        Threat::new(&case.linear.modalities, budgets, coupling, 4).unwrap()
    };
    let shared = threat([Norm::L2; 2], Coupling::Shared { q: 2.0 });
    let all = chosen(&case, &shared, Needs::Gradients).unwrap();
    assert!(
        all.contains(&"apgd-mt") && !all.contains(&"square"),
        "{all:?}"
    );
    let own = threat([Norm::L2; 2], Coupling::Independent);
    assert_eq!(
        chosen(&case, &own, Needs::Decisions).unwrap(),
        ["hopskipjump"]
    );
    // No member for gradients takes L1 beside another norm: that is an error and not a weaker suite.
    let mixed = threat([Norm::L1, Norm::Linf], Coupling::Independent);
    let error = case.tried_on(
        Access::Gradients(&case.model),
        "proofmark",
        "",
        &mixed,
        |_| {},
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("l1 beside linf"), "{error}");
}

#[test]
fn every_row_above_the_exact_distance_breaks_and_none_below() {
    for (norm, gives, above) in [
        (Norm::Linf, Needs::Gradients, 1.02),
        (Norm::L2, Needs::Gradients, 1.02),
        (Norm::L1, Needs::Gradients, 1.02),
        (Norm::Linf, Needs::Decisions, 1.3),
        (Norm::L2, Needs::Decisions, 1.3),
        (Norm::Linf, Needs::Scores, 1.3),
        (Norm::L2, Needs::Scores, 1.3),
    ] {
        let case = Case::new(&[12], 4, 20, 3);
        let access = access(&case.model, gives);
        let found = |factor: f64| {
            let threat = case.at(norm, factor);
            case.run_on(access, "proofmark-1", "", &threat, |_| {})
        };
        assert!(
            broken(&found(above)) >= 19,
            "{norm}, {gives}: {}",
            broken(&found(above))
        );
        let none = found(0.99);
        assert_eq!(broken(&none), 0, "{norm}, {gives}");
        // Every member that runs leaves its record.
        let job_threat = case.at(norm, 0.99);
        let members = chosen(&case, &job_threat, gives).unwrap();
        assert_eq!(none.parts.len(), members.len());
        assert!(none.rows.iter().all(|o| o.status == RunStatus::Robust));
    }
}
