//! Why something is done: a word for a program, a sentence for a person.

use crate::names::{Generation, PodName, Revision};
use crate::place::NoPod;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Why something is done. [`Reason::name`] is the reason of an event or a condition, the text its
/// message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// Fewer serve than are needed.
    NeedRises { serving: u32, wanted: u32 },
    /// Sessions wait, and the room that there is fits none of them.
    SessionsWait { sessions: u32 },
    /// Outdated pods are to be replaced without a loss of room.
    Surge { outdated: u32 },
    /// More serve than are needed.
    NeedFalls { serving: u32, wanted: u32 },
    /// The pod is of another revision.
    Outdated { revision: Revision },
    /// It is of another revision, and one of the wanted revision finds no node: it gets its place.
    MakesRoom { revision: Revision },
    /// Somebody asked for it.
    DrainRequested,
    /// It was cordoned for long enough.
    CordonOver { sessions: u32 },
    /// The cordoned or draining pod carries nothing.
    Emptied,
    /// The drain's deadline is there.
    DeadlineReached,
    /// The pods that would be drained are needed again.
    NeedReturns { serving: u32, wanted: u32 },
    /// The pod's revision is the wanted one again.
    RevisionReturns,
    /// Nobody asks for the drain any more.
    RequestWithdrawn,
    /// Kubernetes says that the pod ended.
    PodFailed,
    /// It did not answer three polls.
    PodSilent { silence: Duration },
    /// Nobody listens in it any more.
    PodDown,
    /// So many pods are silent at once that it may be the operator that is cut off.
    ManyPodsSilent { silent: u32, pods: u32 },
    /// It had twice the time to become ready and never answered.
    NeverReady,
    /// It was silent for so long that another took its place.
    PodLost { silence: Duration },
    /// It answers again.
    PodAnswers,
    /// The pod has room, and fits best.
    Placed,
    /// The session's home pod is gone.
    HomeGone { pod: PodName },
    /// The session's home pod failed.
    HomeFailed { pod: PodName },
    /// The session's home pod does not answer.
    HomeSilent { pod: PodName },
    /// The home pod is well, but does not run it.
    SessionMissing { pod: PodName },
    /// The home pod drains, and no application has the session.
    NobodyThere { pod: PodName },
    /// The home pod's drain is over.
    HomeDrained { pod: PodName },
    /// A pod runs a later generation than is written down.
    RunsAlready { generation: Generation },
    /// The home pod answers again.
    HomeAnswers,
    /// No pod can take it.
    Waiting(NoPod),
    /// All its workers are above the watermark.
    WorkersHot { home: PodName },
    /// The pod that lends it workers is gone, failed or silent.
    LenderGone { pod: PodName },
    /// The pod that lends it workers is to go.
    LenderDrains { pod: PodName },
    /// The lent workers have carried nothing of it for that long.
    LenderUnused { pod: PodName, unused: Duration },
    /// Nobody was in it for its time to live.
    EmptyTooLong,
    /// It has reached its time to live.
    TooOld,
    /// The pod runs a generation from before.
    OlderGeneration { current: Generation },
    /// The pod runs a session that ended or is not known.
    SessionEnded,
    /// Another pod is the session's home in this generation.
    NotItsHome { home: PodName },
}

impl Reason {
    /// One word in CamelCase.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NeedRises { .. } => "NeedRises",
            Self::SessionsWait { .. } => "SessionsWait",
            Self::Surge { .. } => "Surge",
            Self::NeedFalls { .. } => "NeedFalls",
            Self::Outdated { .. } => "Outdated",
            Self::MakesRoom { .. } => "MakesRoom",
            Self::DrainRequested => "DrainRequested",
            Self::CordonOver { .. } => "CordonOver",
            Self::Emptied => "Emptied",
            Self::DeadlineReached => "DeadlineReached",
            Self::NeedReturns { .. } => "NeedReturns",
            Self::RevisionReturns => "RevisionReturns",
            Self::RequestWithdrawn => "RequestWithdrawn",
            Self::PodFailed => "PodFailed",
            Self::PodSilent { .. } => "PodSilent",
            Self::PodDown => "PodDown",
            Self::ManyPodsSilent { .. } => "ManyPodsSilent",
            Self::NeverReady => "NeverReady",
            Self::PodLost { .. } => "PodLost",
            Self::PodAnswers => "PodAnswers",
            Self::Placed => "Placed",
            Self::HomeGone { .. } => "HomeGone",
            Self::HomeFailed { .. } => "HomeFailed",
            Self::HomeSilent { .. } => "HomeSilent",
            Self::SessionMissing { .. } => "SessionMissing",
            Self::NobodyThere { .. } => "NobodyThere",
            Self::HomeDrained { .. } => "HomeDrained",
            Self::RunsAlready { .. } => "RunsAlready",
            Self::HomeAnswers => "HomeAnswers",
            Self::Waiting(none) => none.name(),
            Self::WorkersHot { .. } => "WorkersHot",
            Self::LenderGone { .. } => "LenderGone",
            Self::LenderDrains { .. } => "LenderDrains",
            Self::LenderUnused { .. } => "LenderUnused",
            Self::EmptyTooLong => "EmptyTooLong",
            Self::TooOld => "TooOld",
            Self::OlderGeneration { .. } => "OlderGeneration",
            Self::SessionEnded => "SessionEnded",
            Self::NotItsHome { .. } => "NotItsHome",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedRises { serving, wanted } => {
                write!(f, "{serving} pods serve, {wanted} are needed")
            }
            Self::SessionsWait { sessions } => {
                write!(f, "{sessions} sessions wait and fit on no pod")
            }
            Self::Surge { outdated } => write!(f, "{outdated} outdated pods are to be replaced"),
            Self::NeedFalls { serving, wanted } => {
                write!(f, "{serving} pods serve, {wanted} are enough")
            }
            Self::Outdated { revision } => write!(f, "the pod is of revision {revision}"),
            Self::MakesRoom { revision } => write!(
                f,
                "the pod is of revision {revision}, and one of the wanted revision that finds no node \
                 may fit in its place"
            ),
            Self::DrainRequested => f.write_str("a drain of the pod or its node was asked for"),
            Self::CordonOver { sessions } => {
                write!(
                    f,
                    "the pod was cordoned for long enough and has {sessions} sessions"
                )
            }
            Self::Emptied => f.write_str("the pod is to go and carries no session"),
            Self::DeadlineReached => f.write_str("the drain's deadline is reached"),
            Self::NeedReturns { serving, wanted } => {
                write!(f, "{serving} pods serve, {wanted} are needed again")
            }
            Self::RevisionReturns => f.write_str("the pod's revision is the wanted one again"),
            Self::RequestWithdrawn => f.write_str("nobody asks for the drain any more"),
            Self::PodFailed => f.write_str("the pod ended or its node is gone"),
            Self::PodSilent { silence } => {
                write!(f, "the pod has not answered for {} s", silence.as_secs())
            }
            Self::PodDown => f.write_str("nobody listens in the pod any more"),
            Self::ManyPodsSilent { silent, pods } => write!(
                f,
                "{silent} of {pods} pods do not answer: the operator may be cut off, sessions stay"
            ),
            Self::NeverReady => f.write_str(
                "the pod never answered, and another may come up where this one does not",
            ),
            Self::PodLost { silence } => {
                write!(
                    f,
                    "the pod has been silent for {} s and is given up",
                    silence.as_secs()
                )
            }
            Self::PodAnswers => f.write_str("the pod answers again"),
            Self::Placed => f.write_str("the pod fits best"),
            Self::HomeGone { pod } => write!(f, "home pod {pod} is gone"),
            Self::HomeFailed { pod } => write!(f, "home pod {pod} ended or its node is gone"),
            Self::HomeSilent { pod } => write!(f, "home pod {pod} does not answer"),
            Self::SessionMissing { pod } => write!(f, "home pod {pod} does not run the session"),
            Self::NobodyThere { pod } => {
                write!(f, "home pod {pod} drains and no application is connected")
            }
            Self::HomeDrained { pod } => write!(f, "the drain of home pod {pod} is over"),
            Self::RunsAlready { generation } => {
                write!(f, "the pod runs generation {generation} already")
            }
            Self::HomeAnswers => f.write_str("the home pod answers again"),
            Self::Waiting(none) => none.fmt(f),
            Self::WorkersHot { home } => write!(
                f,
                "all workers that the session has are above the watermark, on home pod {home} and on \
                 those that lend to it"
            ),
            Self::LenderGone { pod } => write!(f, "lending pod {pod} is gone or does not answer"),
            Self::LenderDrains { pod } => write!(f, "lending pod {pod} is to go"),
            Self::LenderUnused { pod, unused } => write!(
                f,
                "pod {pod} has carried nothing of the session for {} s",
                unused.as_secs()
            ),
            Self::EmptyTooLong => f.write_str("nobody was in the session for its time to live"),
            Self::TooOld => f.write_str("the session has reached its time to live"),
            Self::OlderGeneration { current } => {
                write!(f, "the session is in generation {current}")
            }
            Self::SessionEnded => f.write_str("the session ended or is not known"),
            Self::NotItsHome { home } => write!(f, "the session's home pod is {home}"),
        }
    }
}
