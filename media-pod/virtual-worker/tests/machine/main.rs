//! Whatever applications do, and however their members dawdle: what each sees is what one ideal
//! worker shows, and nothing is left behind.

mod death;
mod equal;
mod model;
mod pipes;
mod program;
mod requests;
mod seen;
mod servers;
mod tenants;
mod world;

use mafalda_virtual_worker::{Config, PipeSettings, Placement};
use proptest::prelude::*;
use std::time::Duration;

/// Runs enough to find what is wrong in a few seconds; `PROPTEST_CASES` for more.
fn cases(default: u32) -> ProptestConfig {
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
fn config() -> impl Strategy<Value = Config> {
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
            member_server: member_server.then(|| world::MEMBER_SERVER.to_owned()),
            shared,
            ..Config::default()
        },
    )
}
