//! Of how many programs, and with which settings.

use mafalda_virtual_worker::{Between, Config, Locality, PipeSettings, Placement};
use proptest::prelude::*;
use proptest::sample::select;
use std::time::Duration;

/// The WebRtcServer that each member has, where members have one.
pub const MEMBER_SERVER: &str = "member-server";

/// Runs enough to find what is wrong in a few seconds; `PROPTEST_CASES` for more.
pub fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: cases
            .and_then(|cases| cases.parse().ok())
            .unwrap_or(default),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Any settings under which an application must see no difference.
pub fn config() -> impl Strategy<Value = Config> {
    let between = || select(vec![Between::Nobody, Between::Pods, Between::Members]);
    let pipes = (0..3u64, 1..4usize, 1..4usize, between(), between());
    (pipes, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(pipes, spread, member_server, shared)| {
            let (idle, max_depth, max_fan_out, srtp, rtx) = pipes;
            Config {
                process_id: 1,
                name: "a".to_owned(),
                placement: match spread {
                    true => Placement::Spread,
                    false => Placement::Pack,
                },
                pipes: PipeSettings {
                    idle: Duration::from_secs(idle),
                    max_depth,
                    max_fan_out,
                    srtp,
                    rtx,
                    ..PipeSettings::default()
                },
                locality: place(0),
                member_server: member_server.then(|| MEMBER_SERVER.to_owned()),
                shared,
                ..Config::default()
            }
        },
    )
}

/// Pods far and near: pod, zone, region, cluster.
pub const PLACES: [(&str, &str, &str, &str); 6] = [
    ("home", "one", "north", "us"),
    ("near", "one", "north", "us"),
    ("far", "two", "north", "us"),
    ("farther", "two", "south", "us"),
    ("somewhere", "", "", "us"),
    ("home", "one", "north", "them"),
];

/// One of them; the first is home.
pub fn place(pod: usize) -> Locality {
    let (pod, zone, region, cluster) = PLACES[pod];
    Locality {
        pod: pod.into(),
        zone: zone.into(),
        region: region.into(),
        cluster: cluster.into(),
    }
}
