//! The zoo of small nets: what its plan holds, and that it can be trained in parts.

#[path = "../examples/zoo/mod.rs"]
mod zoo;

use std::collections::BTreeSet;

use proofmark_domain::{Bounds, Kind, Modality, Shard};
use proofmark_model::DecisionModel as _;
use zoo::{Entry, Part, Sets, plan};

#[test]
fn the_plan_has_enough_nets_and_keeps_its_parts_apart() {
    let all = plan(1);
    let count = |wanted: fn(&Entry) -> bool| all.iter().filter(|e| wanted(e)).count();
    assert!(count(|e| e.part == Part::Null) >= 300);
    assert!(count(|e| e.part == Part::Measured) >= 200);
    assert!(count(|e| e.part == Part::Planted) >= 100);
    assert!(
        all.iter()
            .all(|e| (e.part == Part::Null) != e.spec.other_widths)
    );
    let clean = |e: &Entry| matches!(e.part, Part::Null | Part::Measured);
    assert!(all.iter().all(|e| clean(e) == e.backdoor.is_none()));
    // A null of fewer nets convicts nobody.
    for shape in [[1, 8, 8], [1, 28, 28], [3, 32, 32]] {
        let of_shape = |e: &&Entry| e.part == Part::Null && e.spec.shape == shape;
        assert!(all.iter().filter(of_shape).count() >= 100, "{shape:?}");
    }
    let names: BTreeSet<String> = all.iter().map(Entry::name).collect();
    let seeds: BTreeSet<u64> = all
        .iter()
        .map(|e| e.seed)
        .chain(plan(2).iter().map(|e| e.seed))
        .collect();
    assert_eq!((names.len(), seeds.len()), (all.len(), 2 * all.len()));
    for entry in all.iter().filter(|e| e.backdoor.is_some()) {
        let backdoor = entry.backdoor.as_ref().unwrap();
        let table = backdoor.parameters.parse().unwrap();
        let planter = proofmark::backdoor::plant::build(backdoor.planter, &table).unwrap();
        let input = Modality {
            name: "x".into(),
            kind: Kind::Image,
            shape: entry.spec.shape.to_vec(),
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        };
        assert_eq!(planter.fits(&input), Ok(()), "{}", entry.name());
    }
}

/// Nets on the shipped digits, trained in two shards and again: the second time nothing is trained, and what is loaded is
/// what was trained.
#[test]
fn shards_are_the_whole_and_finished_nets_are_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = plan(1);
    let cheap = |e: &Entry| e.data.as_str() == "digits" && !e.adversarial;
    all.retain(cheap);
    let clean: Vec<Entry> = all.iter().take(3).cloned().collect();
    let planted = all.iter().rev().take(1).cloned();
    let few: Vec<Entry> = clean.into_iter().chain(planted).collect();
    let sets = Sets::open(std::path::Path::new("absent")).unwrap();
    let run = |shard: Shard| {
        let mut seen = Vec::new();
        let skipped = zoo::run(&few, &sets, folder.path(), shard, &mut |done| {
            assert_eq!(done.planted.is_some(), done.entry.backdoor.is_some());
            assert!(
                done.row.ends_with(&done.model.signature().sha256),
                "{}",
                done.row
            );
            seen.push((done.entry.id, done.row.to_owned()));
            Ok(())
        });
        assert_eq!(skipped.unwrap(), 0);
        seen
    };
    let mut parts = run(Shard { index: 0, count: 2 });
    parts.extend(run(Shard { index: 1, count: 2 }));
    parts.sort();
    let rows = zoo::collect(1, folder.path()).unwrap();
    assert_eq!(rows.lines().count(), 1 + few.len());
    // The seconds of a row are those of its training: trained again, they would differ.
    assert_eq!(run(Shard { index: 0, count: 1 }), parts);
    let planted = parts.iter().find(|p| p.0 == few[3].id).unwrap();
    let fields: Vec<&str> = planted.1.split(',').collect();
    assert_eq!(fields.len(), zoo::run::COLUMNS.split(',').count());
    // A row of another plan is not taken for this one's.
    let mut other = few.clone();
    other[0].seed += 1;
    let refused = zoo::run(
        &other,
        &sets,
        folder.path(),
        Shard { index: 0, count: 1 },
        &mut |_| Ok(()),
    );
    assert!(refused.unwrap_err().to_string().contains("another plan"));
    // Data that is absent skips its nets.
    let mnist: Vec<Entry> = plan(1).into_iter().filter(|e| e.id == 100).collect();
    let skipped = zoo::run(
        &mnist,
        &sets,
        folder.path(),
        Shard { index: 0, count: 1 },
        &mut |_| Ok(()),
    );
    assert_eq!(skipped.unwrap(), 1);
}
