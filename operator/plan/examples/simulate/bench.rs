//! How fast sessions are placed in a cluster of 1 000 pods and 10 000 sessions.

use crate::numbers::Numbers;
use mafalda_plan::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const PODS: u32 = 1000;
const SESSIONS: u32 = 10_000;

pub fn print() {
    println!("\n| {PODS} pods, {SESSIONS} sessions, one core | |\n|---|---|");
    for waiting in [SESSIONS, 2000, 100, 10, 1] {
        let observed = cluster(waiting);
        let rounds = 5;
        let mut fastest = Duration::MAX;
        let mut placed = 0;
        for _ in 0..rounds {
            let began = Instant::now();
            let actions = plan(&observed);
            fastest = fastest.min(began.elapsed());
            let places = |action: &&Action| matches!(action.step, Step::PlaceSession { .. });
            placed = actions.iter().filter(places).count();
        }
        let rate = placed as f64 / fastest.as_secs_f64();
        println!(
            "| {waiting} wait at once: {placed} placed in {:.1} ms | {rate:.0} placements/s |",
            fastest.as_secs_f64() * 1e3
        );
    }
}

/// All pods serve; so many sessions wait, the others have a home.
fn cluster(waiting: u32) -> Observed {
    let now = Duration::from_secs(100_000);
    let mut numbers = Numbers::new(1);
    let mut pods: Vec<Pod> = (0..PODS).map(|pod| well(pod, now)).collect();
    let sessions = (0..SESSIONS).map(|number| {
        let name: SessionName = format!("s{number}").into();
        let participants = numbers.between(2, 12);
        let placed = number >= waiting;
        if placed {
            let pod = &mut pods[(number % PODS) as usize];
            pod.sessions.push(Hosted::new(name.clone(), Generation(1)));
            for cpu in &mut pod.cpu {
                *cpu += Load::expected(participants).workers() / 4.0;
            }
        }
        Session {
            name,
            expected_participants: Some(participants),
            max_participants: None,
            max_pods: 1,
            hints: Hints::default(),
            time_to_live: TimeToLive::default(),
            created: now - Duration::from_secs(u64::from(number)),
            empty_since: None,
            attended: false,
            phase: if placed {
                SessionPhase::Active
            } else {
                SessionPhase::Pending
            },
            generation: Generation(u64::from(placed)),
            home: placed.then(|| Home {
                pod: format!("c-{}", number % PODS).into(),
                since: now - Duration::from_secs(1000),
            }),
            lenders: Vec::new(),
            waiting: None,
        }
    });
    let sessions = sessions.collect();
    Observed {
        cluster: Cluster {
            name: "c".into(),
            pool: Pool {
                min: PODS,
                max: PODS,
                spare: 0,
            },
            workers_per_pod: 4,
            watermark: 0.6,
            revision: "r1".into(),
            drain_deadline: Duration::from_secs(3600),
            next_ordinal: u64::from(PODS),
            made_room: None,
            timing: Timing::default(),
        },
        pods,
        sessions,
        now,
    }
}

fn well(number: u32, now: Duration) -> Pod {
    Pod {
        name: format!("c-{number}").into(),
        node: Some(format!("n{}", number / 4).into()),
        region: None,
        node_labels: BTreeMap::new(),
        revision: "r1".into(),
        mediasoup: Some("3.27.1".into()),
        cpu: vec![0.0; 4],
        phase: PodPhase::Running,
        unschedulable: false,
        created: Duration::ZERO,
        terminating_since: None,
        ready_since: Some(Duration::ZERO),
        address_known: true,
        drain_requested: false,
        drain: None,
        restored_at: None,
        suspect: false,
        down: false,
        last_seen: Some(now),
        sessions: vec![],
        anonymous: 0,
        borrowers: 0,
    }
}
