//! Probes on the backdoored nets of `../shared/data/backdoor` (or `$PROOFMARK_DATA`). Skipped loudly without them.
#![expect(
    clippy::print_stderr,
    reason = "a test that is skipped says so, and figures are shown"
)]

mod nets;

use nets::{Net, auroc, inputs_of};
use proofmark_backdoor::probe::input::{self, Decision, Request, Status, examine};
use proofmark_domain::Seed;

/// AUROC of a probe: 500 triggered against 500 clean test samples; 400 others are the clean set.
fn run(net: &Net, probe: &str, parameters: &str) -> (f64, input::InputReport) {
    let probe = input::build(probe, &parameters.parse().unwrap()).unwrap();
    let case = inputs_of(net, 200, 200);
    let norms = net.norms();
    let report = examine(
        probe.as_ref(),
        &Request {
            subject: net.subject(&norms),
            clean: &case.clean,
            labelled: true,
            inputs: &case.inputs,
            ids: &case.ids,
            decision: Decision::default(),
            seed: Seed(0),
            progress: &|_| true,
        },
    )
    .unwrap();
    let scores: Vec<f64> = report
        .inputs
        .iter()
        .map(|i| i.score.unwrap_or(f64::NAN))
        .collect();
    let turn = if report.tail == input::Tail::Low {
        -1.0
    } else {
        1.0
    };
    let turned: Vec<f64> = scores.iter().map(|s| turn * s).collect();
    let (clean, triggered) = turned.split_at(case.n_clean);
    (auroc(clean, triggered), report)
}

/// What the page states: the probes find the trigger of the nets for which they are made, and say where they are not.
#[test]
fn triggers_of_the_shared_nets_are_told_from_clean_samples() {
    let Some(nets) = nets::all() else {
        eprintln!("SKIPPED: no ../shared/data/backdoor (or $PROOFMARK_DATA)");
        return;
    };
    let near_binary = run(&nets[0], "scale_up", "").1;
    assert_eq!(near_binary.status, Status::CannotTell);
    assert!(near_binary.reason.unwrap().contains("near-binary"));
    let folded = run(&nets[0], "ibd_psc", "").1.reason.unwrap();
    assert!(folded.contains("no batch norms"), "{folded}");
    for (net, probe, least) in [
        (&nets[2], "scale_up", 0.93),
        (&nets[2], "ibd_psc", 0.95),
        (&nets[0], "layer_rank", 0.93),
    ] {
        let (auroc, report) = run(net, probe, "");
        assert!(auroc >= least, "{} {probe}: {auroc:.3}", net.name);
        assert_eq!(report.status, Status::Found, "{} {probe}", net.name);
        assert_eq!(report.target, Some(net.target), "{} {probe}", net.name);
    }
}

#[test]
#[ignore = "figures for the page"]
fn table() {
    let Some(nets) = nets::all() else {
        eprintln!("SKIPPED: no ../shared/data/backdoor (or $PROOFMARK_DATA)");
        return;
    };
    let only = std::env::var("PROBES").unwrap_or_default();
    for (probe, parameters) in [
        ("strip", "overlays = 16"),
        ("strip", "overlays = 16\nweight = 1.0"),
        ("scale_up", "least_changed = 0.0"),
        ("layer_rank", ""),
        ("layer_rank", "tube = 0.5"),
        ("ibd_psc", ""),
        ("ibd_psc", "error = 0.3"),
    ] {
        if !only.is_empty() && !only.split(',').any(|o| o == probe) {
            continue;
        }
        for net in &nets {
            let (auroc, r) = run(net, probe, parameters);
            eprintln!(
                "{probe} {parameters} {}: AUROC {auroc:.3} {:?} flagged {} p {:?} target {:?} fpr {:?} threshold {:?} {:?} {:?}",
                net.name,
                r.status,
                r.flagged,
                r.p_value,
                r.target,
                r.false_alarm_rate.map(|f| f.value),
                r.threshold,
                r.reason,
                r.notes
            );
        }
    }
}

/// BadNets-poisoned training sets with the features of the backdoored nets: precision and recall by poison rate.
#[test]
#[ignore = "figures for the page"]
fn training_table() {
    let Some(nets) = nets::all() else {
        eprintln!("SKIPPED: no ../shared/data/backdoor (or $PROOFMARK_DATA)");
        return;
    };
    for net in &nets {
        for rate in [0.0, 0.001, 0.01, 0.05, 0.1] {
            let set = nets::poisoned(net, rate, 2500);
            for probe in proofmark_backdoor::probe::training::ALL {
                let r = nets::train_report(net, &set, probe.meta.id);
                let right = r
                    .samples
                    .iter()
                    .filter(|s| s.suspected && set.poisoned[s.row])
                    .count();
                let all = set.poisoned.iter().filter(|p| **p).count();
                let stats: Vec<String> = r
                    .classes
                    .iter()
                    .map(|c| format!("{:.3}", c.statistic.unwrap_or(f64::NAN)))
                    .collect();
                eprintln!(
                    "{} {} rate {rate}: {:?} target {:?} p {:?} suspected {} right {right} of {all}; index {:.2?} stats {}",
                    net.name,
                    probe.meta.id,
                    r.status,
                    r.target,
                    r.p_value,
                    r.suspected,
                    r.classes
                        .iter()
                        .filter_map(|c| c.index)
                        .fold(f64::NEG_INFINITY, f64::max),
                    stats.join(" ")
                );
            }
        }
    }
}
