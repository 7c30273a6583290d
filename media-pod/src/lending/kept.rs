//! Which connections to pods that lend are due: one for each pod, whatever is said of it meanwhile.

use super::peers::Peer;
use std::collections::BTreeMap;

/// A pod that is to lend, and what to show it with the next connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// The pod.
    pub peer: Peer,
    /// The token, if somebody said one.
    pub token: Option<String>,
}

/// What is due for the connection to one pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nobody keeps one: somebody is to.
    Keep(Wanted),
    /// Who keeps it is to know this: for its next connection, or because it is on its way out and
    /// wanted again. What the connection carries goes on either way.
    Tell(Wanted),
    /// Who keeps it is to let go of it, when nothing is left there.
    LetGo,
}

/// What is due where these are wanted. Both by the pod's name; `kept`: what who keeps its connection
/// was told last, `None` that it is not wanted any more.
pub fn due(
    kept: &BTreeMap<String, Option<Wanted>>,
    wanted: &BTreeMap<String, Wanted>,
) -> Vec<(String, Step)> {
    let not_wanted = kept
        .iter()
        .filter(|(name, told)| told.is_some() && !wanted.contains_key(*name))
        .map(|(name, _)| (name.clone(), Step::LetGo));
    let wanted = wanted.iter().filter_map(|(name, wanted)| {
        let step = match kept.get(name) {
            None => Step::Keep(wanted.clone()),
            Some(Some(told)) if told == wanted => return None,
            Some(_) => Step::Tell(wanted.clone()),
        };
        Some((name.clone(), step))
    });
    not_wanted.chain(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the pod `a`: the zone that it is said to be in, and the token to show it.
    fn a(zone: &str, token: &str) -> Wanted {
        Wanted {
            peer: Peer {
                name: "a".to_owned(),
                url: "ws://a:4400".to_owned(),
                zone: zone.to_owned(),
                region: String::new(),
            },
            token: Some(token.to_owned()),
        }
    }

    /// Protects what is on a lender: a second connection to it would be the end of that.
    #[test]
    fn a_pod_has_one_connection_whatever_is_said_of_it() {
        let one = || a("z", "1");
        for (title, kept, wanted, expected) in [
            ("nothing", None, None, None),
            ("new", None, Some(one()), Some(Step::Keep(one()))),
            ("as before", Some(Some(one())), Some(one()), None),
            (
                "another token",
                Some(Some(one())),
                Some(a("z", "2")),
                Some(Step::Tell(a("z", "2"))),
            ),
            (
                "another zone",
                Some(Some(one())),
                Some(a("y", "1")),
                Some(Step::Tell(a("y", "1"))),
            ),
            ("no more", Some(Some(one())), None, Some(Step::LetGo)),
            ("on its way out", Some(None), None, None),
            (
                "wanted again on its way out",
                Some(None),
                Some(one()),
                Some(Step::Tell(one())),
            ),
        ] {
            let by_name = |name: &str| name.to_owned();
            let kept = kept.map(|told| (by_name("a"), told)).into_iter().collect();
            let wanted = wanted.map(|it| (by_name("a"), it)).into_iter().collect();
            let expected: Vec<_> = expected
                .map(|step| (by_name("a"), step))
                .into_iter()
                .collect();
            assert_eq!(due(&kept, &wanted), expected, "{title}");
        }
    }

    #[test]
    fn pods_do_not_concern_each_other() {
        let b = Wanted {
            peer: Peer {
                name: "b".to_owned(),
                ..a("z", "1").peer
            },
            token: None,
        };
        let kept = BTreeMap::from([("a".to_owned(), Some(a("z", "1")))]);
        let wanted = BTreeMap::from([("b".to_owned(), b.clone())]);
        assert_eq!(
            due(&kept, &wanted),
            [
                ("a".to_owned(), Step::LetGo),
                ("b".to_owned(), Step::Keep(b))
            ]
        );
    }
}
