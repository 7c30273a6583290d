//! What the API server does not let the operator do: a quota, Pod Security, a webhook, a port that is
//! taken. Kept until it works, as what is to be read in the cluster's conditions. Pure.

use super::jobs::Job;
use kube::ResourceExt;
use std::collections::BTreeMap;

/// The longest message that is kept, in bytes.
const LONGEST: usize = 900;

/// What is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A media pod.
    Pod,
    /// A media pod's Service.
    Service,
    /// The ConfigMap with a media pod's address.
    Address,
    /// A Session's Secret, or its status.
    Session,
}

impl What {
    /// The reason in conditions and events.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Pod => "PodRefused",
            Self::Service => "ServiceRefused",
            Self::Address => "AddressRefused",
            Self::Session => "SessionRefused",
        }
    }

    /// The word for what was tried, in events.
    pub fn action(self) -> &'static str {
        match self {
            Self::Pod => "CreatePod",
            Self::Service => "ExposePod",
            Self::Address => "TellAddress",
            Self::Session => "SettleSession",
        }
    }
}

/// What is refused now, and with which words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals(BTreeMap<(What, String), String>);

impl Refusals {
    /// What a job is about, if its refusal is somebody's business.
    pub fn about(job: &Job) -> Option<(What, String)> {
        Some(match job {
            Job::CreatePod { name, .. } => (What::Pod, name.clone()),
            Job::ExposePod { name, .. } => (What::Service, name.clone()),
            Job::TellAddress { pod, .. } => (What::Address, pod.clone()),
            Job::Settle(settle) => (What::Session, settle.session.name_any()),
            Job::MarkPod { .. }
            | Job::DrainPod { .. }
            | Job::DeletePod { .. }
            | Job::Fence { .. }
            | Job::Tell { .. }
            | Job::Lend { .. }
            | Job::Status(_) => return None,
        })
    }

    /// Takes in how something went. Returns what people are to be told: the message, if it is another
    /// than before.
    pub fn note(&mut self, what: What, name: &str, refused: Option<&str>) -> Option<String> {
        let key = (what, name.to_owned());
        let Some(said) = refused else {
            self.0.remove(&key);
            return None;
        };
        let end = (0..=LONGEST).rev().find(|end| said.is_char_boundary(*end));
        let said = said.get(..end.unwrap_or(0)).unwrap_or(said);
        let message = match what {
            What::Pod | What::Service | What::Address => format!("media pod {name}: {said}"),
            What::Session => format!("Session {name}: {said}"),
        };
        let before = self.0.insert(key, message.clone());
        (before.as_deref() != Some(&message)).then_some(message)
    }

    /// Forgets what is wanted no more.
    pub fn keep(&mut self, is_wanted: impl Fn(What, &str) -> bool) {
        self.0.retain(|(what, name), _| is_wanted(*what, name));
    }

    /// Whether anything is refused.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Why that is refused, if it is.
    pub fn of(&self, what: What, name: &str) -> Option<&str> {
        self.0.get(&(what, name.to_owned())).map(String::as_str)
    }

    /// The first of them, those first that keep pods from being there.
    pub fn first(&self) -> Option<(What, &str)> {
        let (what, _) = self.0.keys().next()?;
        self.0.values().next().map(|said| (*what, said.as_str()))
    }
}

/// What the API server said, if it understood what was asked and said no. Not what passes by itself: it
/// is busy, somebody else was faster, or what it was about is gone.
pub fn refused(error: &kube::Error) -> Option<&str> {
    match error {
        kube::Error::Api(status) => {
            // A webhook that cannot be reached is a 500.
            let is_refusal =
                matches!(status.code, 400..=500) && !matches!(status.code, 404 | 409 | 429);
            is_refusal.then_some(status.message.as_str())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects who asks why there is no pod: what the API server said is there until it works, and is
    /// told once.
    #[test]
    fn a_refusal_is_told_once_and_kept_until_it_works() {
        let mut refusals = Refusals::default();
        let quota = "pods \"talk-0\" is forbidden: exceeded quota";
        let told = refusals.note(What::Pod, "talk-0", Some(quota));
        assert_eq!(told.unwrap(), format!("media pod talk-0: {quota}"));
        assert_eq!(refusals.note(What::Pod, "talk-0", Some(quota)), None);
        assert!(refusals.note(What::Pod, "talk-0", Some("other")).is_some());
        refusals.note(What::Session, "stage", Some("no"));
        refusals.note(What::Service, "talk-1", Some("port is taken"));
        assert_eq!(refusals.first().unwrap().0, What::Pod);
        refusals.note(What::Pod, "talk-0", None);
        assert_eq!(refusals.first().unwrap().0, What::Service);
        assert!(refusals.of(What::Service, "talk-1").is_some());
        refusals.keep(|what, _| what == What::Session);
        assert_eq!(refusals.of(What::Service, "talk-1"), None);
        refusals.note(What::Session, "stage", None);
        assert!(refusals.is_empty());
    }

    #[test]
    fn a_long_message_is_cut_where_a_character_ends() {
        let mut refusals = Refusals::default();
        let told = refusals.note(What::Pod, "p", Some(&"ü".repeat(2000)));
        assert!(told.unwrap().len() <= LONGEST + "media pod p: ".len());
    }

    #[test]
    fn what_passes_by_itself_is_no_refusal() {
        let said = |code: u16| {
            let status = serde_json::json!({"code": code, "message": "no"});
            let status = serde_json::from_value(status).unwrap();
            refused(&kube::Error::Api(Box::new(status))).is_some()
        };
        for code in [400, 403, 422, 500] {
            assert!(said(code), "{code}");
        }
        for code in [404, 409, 429, 503, 504] {
            assert!(!said(code), "{code}");
        }
    }
}
