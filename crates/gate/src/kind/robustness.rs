use super::attack_task::{self, AttackTask};
use super::{CheckKind, attacks, threat};

/// Registry entry of kind `robustness`: accuracy under attack.
pub(super) const ENTRY: CheckKind = CheckKind {
    id: "robustness",
    about: "a model's accuracy under attack",
    fields: || vec!["model", "data", "threat", "attacks", "certify", "limit"],
    judging: &[],
    read: |s, named| {
        let threat = threat::read(&s.need("threat")?)?;
        let attacks = attacks::read(&s.need("attacks")?, named.known)?;
        let certify = s.maybe("certify", attack_task::certificates)?;
        AttackTask::read(s, named, Some(threat), attacks, certify.unwrap_or_default())
    },
};
