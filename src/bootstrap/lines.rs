//! A plan for a person.
//!
//! Receives a plan, gives lines: what comes, what changes, what cannot be taken back, and what is
//! left for a person.
//! Never shows a text in which something could steer a terminal, nor a password: no plan has one.

use crate::bootstrap::plan::Plan;
use crate::bootstrap::wanted::Wanted;
use crate::logs::visible;

/// All of it.
pub fn lines(wanted: &Wanted, plan: &Plan) -> Vec<String> {
    let mut lines = steps(plan);
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.extend(plan.conflicts.iter().map(|text| format!("in the way: {text}")));
    lines.extend(plan.waiting.iter().map(|text| format!("left: {text}")));
    lines.push(verdict(plan));
    lines.push(break_glass(wanted));
    lines.iter().map(|line| visible(line)).collect()
}

/// Each step, with what of it.
pub(super) fn steps(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &plan.steps {
        lines.push(format!("{} {}", step.sign.mark(), step.what));
        lines.extend(step.details.iter().map(|detail| format!("    {detail}")));
    }
    lines.iter().map(|line| visible(line)).collect()
}

fn verdict(plan: &Plan) -> String {
    if !plan.conflicts.is_empty() {
        return "nothing is done while something is in the way".to_owned();
    }
    match plan.steps.len() {
        0 if !plan.waiting.is_empty() => "no change: what is left is for a person".to_owned(),
        0 => "no change: everything is as it should be".to_owned(),
        1 => "1 change".to_owned(),
        many => format!("{many} changes"),
    }
}

/// Who is not Vault's, and so can get in when Vault is gone.
fn break_glass(wanted: &Wanted) -> String {
    format!(
        "`{}` stays outside of Vault: keep its password for the day that Vault is gone",
        wanted.postgres.superuser
    )
}
