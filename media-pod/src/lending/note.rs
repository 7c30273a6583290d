//! What pods say of lent members.

use crate::Identity;
use mafalda_link::{Exit, Frame};
use mafalda_virtual_worker::Locality;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is said beside the channel's messages. It is in order with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Note {
    /// Lender, first of all: whose listen infos its workers get, and its members follow.
    Lends {
        /// As `listenInfos` in its status.
        listen_infos: String,
        /// Where it is. A release before this one does not say.
        #[serde(default)]
        place: Option<Place>,
    },
    /// Lender: a member is there.
    Added {
        /// What it is called on this connection.
        member: u32,
        /// Whether it has said that it runs.
        running: bool,
    },
    /// Lender: a member is no more.
    Gone {
        /// What it was called.
        member: u32,
        /// How its process ended.
        exit: Exit,
    },
    /// Lender, each second: which share of a core each member takes.
    Load(Vec<(u32, f32)>),
    /// Lender: it wants nothing new, or does again.
    Cordoned(bool),
    /// Either: the channel messages that follow are of this member.
    Member(u32),
    /// Borrower: a virtual worker begins to use the lender's members.
    Attach(u64),
    /// Borrower: a virtual worker is over.
    Detach(u64),
    /// Borrower: an id that one of its virtual workers gives to something.
    Owns(String),
    /// Borrower: that thing is no more.
    Disowns(String),
}

/// Where a pod is, as it says itself. Empty is unknown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// The cluster that it is of.
    pub cluster: String,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
}

impl Place {
    /// Where a lender is that says this, and that others say is `told`. A cluster it knows better
    /// than they do, unknown or not: what leaves a cluster is encrypted, so nobody may take one for
    /// his own that is not.
    pub fn of(&self, told: &Locality) -> Locality {
        let known = |said: &str, told: &Arc<str>| match said {
            "" => told.clone(),
            said => said.into(),
        };
        Locality {
            pod: told.pod.clone(),
            zone: known(&self.zone, &told.zone),
            region: known(&self.region, &told.region),
            cluster: self.cluster.as_str().into(),
        }
    }
}

impl From<Identity> for Place {
    fn from(identity: Identity) -> Self {
        Self {
            cluster: identity.cluster,
            region: identity.region,
            zone: identity.zone,
        }
    }
}

impl Note {
    /// As it goes over the connection.
    pub fn frame(&self) -> Frame {
        // Numbers and texts have a form in JSON, always.
        Frame::Lending(serde_json::to_vec(self).unwrap_or_default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zone, region and cluster of the pod `b`.
    fn at([zone, region, cluster]: [&str; 3]) -> Locality {
        Locality {
            pod: "b".into(),
            zone: zone.into(),
            region: region.into(),
            cluster: cluster.into(),
        }
    }

    #[test]
    fn a_lender_knows_best_where_it_is() {
        for (title, said, told, expected) in [
            (
                "both say it",
                ["z", "r", "c"],
                ["y", "q", "o"],
                ["z", "r", "c"],
            ),
            (
                "others know more",
                ["", "", "c"],
                ["y", "q", "c"],
                ["y", "q", "c"],
            ),
            ("nobody knows", ["", "", ""], ["", "", ""], ["", "", ""]),
            (
                "another cluster",
                ["z", "", "them"],
                ["", "q", "us"],
                ["z", "q", "them"],
            ),
            (
                "of no cluster, which is not ours",
                ["z", "r", ""],
                ["", "", "us"],
                ["z", "r", ""],
            ),
        ] {
            let [zone, region, cluster] = said.map(str::to_owned);
            let place = Place {
                cluster,
                region,
                zone,
            };
            assert_eq!(place.of(&at(told)), at(expected), "{title}");
        }
    }

    /// Protects pods that are upgraded one after the other.
    #[test]
    fn an_older_release_does_not_say_where_it_is_and_is_understood() {
        let listen_infos = "pod".to_owned();
        let older = serde_json::json!({ "lends": { "listen_infos": "pod" } });
        let place = None;
        let note = Note::Lends {
            listen_infos,
            place,
        };
        assert_eq!(serde_json::from_value::<Note>(older).unwrap(), note);
        let later = serde_json::json!({
            "lends": { "listen_infos": "pod", "place": { "cluster": "c" }, "later": 1 }
        });
        let Note::Lends { place, .. } = serde_json::from_value(later).unwrap() else {
            panic!("another note")
        };
        assert_eq!(place.unwrap().cluster, "c");
    }
}
