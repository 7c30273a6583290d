//! Conditions as Kubernetes has them.

use crate::clock::kubernetes_time;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use std::time::Duration;

/// What a condition says now.
pub struct Says<'a> {
    /// Its type.
    pub of: &'a str,
    /// `None`: nobody knows.
    pub holds: Option<bool>,
    /// A word in CamelCase.
    pub reason: &'a str,
    /// A sentence.
    pub message: &'a str,
}

/// The condition, with the time since when it has its value taken from the one before.
pub fn condition(
    says: &Says<'_>,
    before: &[Condition],
    generation: Option<i64>,
    now: Duration,
) -> Condition {
    let status = match says.holds {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let same = before
        .iter()
        .find(|before| before.type_ == says.of && before.status == status);
    Condition {
        type_: says.of.to_owned(),
        status: status.to_owned(),
        reason: if says.reason.is_empty() {
            "Unknown"
        } else {
            says.reason
        }
        .to_owned(),
        message: says.message.to_owned(),
        observed_generation: generation,
        last_transition_time: same.map_or_else(
            || kubernetes_time(now),
            |same| same.last_transition_time.clone(),
        ),
    }
}
