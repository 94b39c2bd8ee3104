use super::attack_task::{self, AttackTask};
use super::{CheckKind, attacks, surrogate, threat};

/// Registry entry of kind `robustness`: accuracy under attack.
pub(super) const ENTRY: CheckKind = CheckKind {
    id: "robustness",
    about: "a model's accuracy under attack",
    fields: || {
        vec![
            "model",
            "data",
            "threat",
            "attacks",
            "surrogate",
            "certify",
            "limit",
            "criterion",
            "looks",
        ]
    },
    judging: &[],
    read: |s, named| {
        let threat = threat::read(&s.need("threat")?)?;
        let attacks = attacks::read(&s.need("attacks")?, named.known)?;
        let surrogate = s.maybe("surrogate", |f| surrogate::read(f, named))?;
        let certify = s.maybe("certify", attack_task::certificates)?;
        let certify = certify.unwrap_or_default();
        AttackTask::read(s, named, Some(threat), attacks, surrogate, certify)
    },
};
