use super::CheckKind;
use super::attack_task::AttackTask;

/// Registry entry of kind `clean`: accuracy without attack.
pub(super) const ENTRY: CheckKind = CheckKind {
    id: "clean",
    about: "a model's accuracy without attack",
    fields: || vec!["model", "data", "limit", "criterion", "looks"],
    judging: &[],
    read: |s, named| AttackTask::read(s, named, None, Vec::new(), None, Vec::new()),
};
