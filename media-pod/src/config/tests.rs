use super::*;

/// Settings that can be, for tests of others too.
pub(crate) fn sample() -> Config {
    Config {
        identity: Identity::default(),
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        tls: None,
        worker_program: PathBuf::new(),
        workers: 1,
        max_workers: 2,
        max_workers_per_client: 2,
        max_connections: 16,
        max_message: 1024 * 1024,
        window: 64 * 1024,
        grace: Duration::from_secs(30),
        stop_after: Duration::ZERO,
        listen_infos: ListenInfos::Pod,
        mode: Mode::Virtual,
        placement: Placement::Pack,
        watermark: 0.6,
        pipes: PipeSettings::default(),
        rtc_ips: Vec::new(),
        announced: Vec::new(),
        pipe_addresses: Vec::new(),
        rtc_port: 40_000,
        rtc_port_range: 41_000..=41_999,
        verifier: None,
        peer_token: None,
        peer_ca: None,
    }
}

#[test]
fn announced_addresses_are_checked_with_what_is_bound() {
    let config = |announced: &[&str], rtc_ips: Vec<IpAddr>| Config {
        announced: announced
            .iter()
            .map(|&address| address.to_owned())
            .collect(),
        rtc_ips,
        ..sample()
    };
    assert!(config(&[], Vec::new()).check().is_ok());
    // By itself an announced address brings its wildcard.
    assert!(
        config(&["203.0.113.7", "2001:db8::1"], Vec::new())
            .check()
            .is_ok()
    );
    let v4 = || vec![Ipv4Addr::LOCALHOST.into()];
    assert!(config(&["203.0.113.7"], v4()).check().is_ok());
    for announced in ["2001:db8::1", "a b", "http://x", ""] {
        let error = config(&[announced], v4()).check().unwrap_err().to_string();
        assert!(error.starts_with("--announced-address: "), "{error}");
    }
}
