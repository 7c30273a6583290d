//! Of how many programs, and with which settings.

use mafalda_virtual_worker::{Config, PipeSettings, Placement};
use proptest::prelude::*;
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
    let pipes = (0..3u64, 1..4usize, 1..4usize, any::<bool>(), any::<bool>());
    (pipes, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |((idle, max_depth, max_fan_out, srtp, rtx), spread, member_server, shared)| Config {
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
            member_server: member_server.then(|| MEMBER_SERVER.to_owned()),
            shared,
            ..Config::default()
        },
    )
}
