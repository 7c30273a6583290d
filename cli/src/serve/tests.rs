//! What the operator says to a media pod is what a media pod takes.

use super::*;
use clap::Parser;
use mafalda_media_pod::check_ports;
use mafalda_operator::crd::{ExposureType, MafaldaCluster, PortRange};
use mafalda_operator::media_pod::manifest::{Place, pod};
use mafalda_operator::media_pod::ports;
use serde_json::json;

#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    arguments: Arguments,
}

/// As a container gets them: Kubernetes has put in the variables.
fn parsed(cluster: &MafaldaCluster, place: &Place<'_>, ips: &str) -> Arguments {
    let pod = pod(cluster, "image:1", place);
    let said = &pod["spec"]["containers"][0]["args"];
    let said = said.as_array().unwrap().iter().map(|word| {
        let word = word.as_str().unwrap().replace("$(POD_IPS)", ips);
        let word = word.replace("$(ANNOUNCED_ADDRESS_0)", "192.0.2.1");
        word.replace("$(ANNOUNCED_ADDRESS_1)", "2001:db8::1")
    });
    let parsed = Serve::try_parse_from(said);
    parsed.unwrap_or_else(|error| panic!("{error}")).arguments
}

fn cluster(spec: serde_json::Value) -> MafaldaCluster {
    serde_json::from_value(json!({
        "apiVersion": "mafalda.dev/v1alpha1",
        "kind": "MafaldaCluster",
        "metadata": {"name": "talk", "namespace": "here", "uid": "u"},
        "spec": spec,
    }))
    .unwrap()
}

/// Protects late pods of large pools and pods of large machines: whatever ports the operator gives them,
/// a pod takes them, and has no port twice.
#[test]
fn each_pod_of_each_pool_takes_its_ports() {
    let ranges = [
        (40_000, 40_999),
        (40_000, 41_999),
        (30_000, 32_767),
        (1024, 65_535),
        (19_000, 51_500),
        (65_500, 65_535),
        (65_535, 65_535),
    ];
    let mut pods = 0;
    for (first, last) in ranges {
        for workers in [1, 2, 3, 4, 16, 64, 96, 128, 256] {
            let range = PortRange { first, last };
            let cluster = cluster(json!({
                "workersPerPod": workers,
                "exposure": {"portRange": range},
            }));
            let blocks = (last - first + 1) / workers;
            let host = ExposureType::HostPort;
            let found = ports::first_port(host, range, workers, &[], &[]);
            assert_eq!(found, (blocks > 0).then_some(first));
            // The first ones, the last ones, and some between.
            let some = (0..blocks).filter(|i| *i < 20 || i + 20 >= blocks || i % 997 == 0);
            for rtc_port in some.map(|index| first + index * workers) {
                assert!(*ports::block(rtc_port, workers).end() <= last);
                let place = Place {
                    name: "talk-0",
                    rtc_port,
                    workers,
                };
                let said = parsed(&cluster, &place, "10.0.0.9");
                let Workers::Number(number) = said.workers else {
                    panic!("--workers is a number");
                };
                assert_eq!(number, usize::from(workers));
                let all = said.max_workers(number);
                let found = check_ports(number, all, said.rtc_port, &said.rtc_port_range);
                found.unwrap_or_else(|error| panic!("{first}-{last}, {rtc_port}: {error}"));
                pods += 1;
            }
        }
    }
    assert!(pods > 1000, "{pods}");
}

/// Protects clients of one family on a network of two: a pod announces its own address of that one.
#[test]
fn a_pod_announces_the_families_that_it_is_told() {
    let place = Place {
        name: "talk-0",
        rtc_port: 40_000,
        workers: 1,
    };
    let (v4, v6) = ("10.0.0.9", "fd00::9");
    for (families, ips, found) in [
        (json!(["IPv4"]), "10.0.0.9", Some(vec![v4])),
        (json!(["IPv4"]), "fd00::9,10.0.0.9", Some(vec![v4])),
        (json!(["IPv6"]), "10.0.0.9,fd00::9", Some(vec![v6])),
        (
            json!(["IPv6", "IPv4"]),
            "10.0.0.9,fd00::9",
            Some(vec![v6, v4]),
        ),
        (json!(["IPv6"]), "10.0.0.9", None),
        (json!(["IPv4", "IPv6"]), "10.0.0.9", None),
    ] {
        let cluster = cluster(json!({
            "exposure": {"type": "Internal"},
            "announcedAddress": {"families": families},
        }));
        let addresses = parsed(&cluster, &place, ips).addresses();
        match (addresses, found) {
            (Ok((announced, pipes)), Some(found)) => {
                assert_eq!(announced, found, "{families} of {ips}");
                let wanted: Vec<IpAddr> = found.iter().map(|ip| ip.parse().unwrap()).collect();
                assert_eq!(pipes, wanted, "{families} of {ips}");
            }
            (Err(error), None) => assert!(error.contains("--family"), "{error}"),
            (got, wanted) => panic!("{families} of {ips}: {got:?}, not {wanted:?}"),
        }
    }
    // What the balancer has is a name; what the network has is both.
    let balanced = cluster(json!({"exposure": {"type": "LoadBalancer"}}));
    let mut said = parsed(&balanced, &place, "10.0.0.9,fd00::9");
    said.announced_address = vec!["lb.example".to_owned()];
    let (announced, pipes) = said.addresses().unwrap();
    assert_eq!(announced, ["lb.example"]);
    assert_eq!(pipes, [v4.parse::<IpAddr>().unwrap()]);
}
