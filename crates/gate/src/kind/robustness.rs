use super::attack_task::AttackTask;
use super::{CheckKind, attacks, threat};

/// Registry entry of kind `robustness`: accuracy under attack.
pub(super) const ENTRY: CheckKind = CheckKind {
    id: "robustness",
    about: "a model's accuracy under attack",
    fields: || vec!["model", "data", "threat", "attacks", "limit", "criterion"],
    judging: &[],
    read: |s, named| {
        let threat = threat::read(&s.need("threat")?)?;
        let attacks = attacks::read(&s.need("attacks")?, named.known)?;
        AttackTask::read(s, named, Some(threat), attacks)
    },
};
