use super::attack_task::AttackTask;
use super::{CheckKind, attacks, threat};

/// What is left of accuracy under attack.
pub(super) const ENTRY: CheckKind = CheckKind {
    id: "robustness",
    about: "what attacks leave of a model's accuracy",
    fields: || vec!["model", "data", "threat", "attacks", "limit"],
    judging: &[],
    read: |s, named| {
        let threat = threat::read(&s.need("threat")?)?;
        let attacks = attacks::read(&s.need("attacks")?, named.known)?;
        AttackTask::read(s, named, Some(threat), attacks)
    },
};
