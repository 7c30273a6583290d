//! What the gateway tells nodes where no Kubernetes does: who the others are, which lend to workers that
//! belong to no session, and which sessions of theirs are at home elsewhere.

use crate::dial::AskError;
use crate::gateway::Gateway;
use crate::nodes::{Address, Node, Nodes};
use crate::report::Report;
use crate::sessions::{Stray, strays};
use hyper::{Method, StatusCode};
use mafalda_plan::PodName;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Looks after this long although there is no news: a node fell silent, or said no the last time.
const SELDOM: Duration = Duration::from_secs(2);
/// News this close together are one.
const TOGETHER: Duration = Duration::from_millis(50);

/// What others must know of a node to borrow its workers.
pub fn peer(node: &Node, report: &Report) -> Value {
    json!({
        "name": node.peer_name(),
        "url": node.listed.address.to_string(),
        "zone": report.pod.zone,
        "region": report.pod.region,
    })
}

/// What each node that answers should know of the others.
fn peers(nodes: &Nodes, now: Duration) -> BTreeMap<PodName, (Address, Value)> {
    let described: Vec<(PodName, Value)> = nodes
        .all()
        .filter_map(|node| Some((node, node.report.as_ref()?)))
        .map(|(node, report)| (node.listed.name.clone(), peer(node, report)))
        .collect();
    let answering = nodes.all().filter(|node| node.state(now).answers());
    answering
        .map(|node| {
            let name = node.listed.name.clone();
            let others = described.iter().filter(|(other, _)| *other != name);
            let pods: Vec<&Value> = others.map(|(_, peer)| peer).collect();
            (name, (node.listed.address.clone(), json!({"pods": pods})))
        })
        .collect()
}

/// Tells nodes what has changed for them. Never returns.
pub async fn announce(gateway: Gateway) {
    let mut told: BTreeMap<PodName, Value> = BTreeMap::new();
    let mut news = gateway.news();
    loop {
        news.mark_unchanged();
        let (peers, strays) = {
            let (state, now) = (gateway.state(), gateway.now());
            (peers(&state.nodes, now), strays(&state.nodes, now))
        };
        // Who comes back may have forgotten all.
        told.retain(|node, _| peers.contains_key(node));
        for (node, (address, body)) in peers {
            if told.get(&node) != Some(&body) && tell(&gateway, &node, &address, &body).await {
                told.insert(node, body);
            }
        }
        for stray in strays {
            end(&gateway, &stray).await;
        }
        // An end of the gateway drops this.
        let _ = timeout(SELDOM, news.changed()).await;
        sleep(TOGETHER).await;
    }
}

/// Whether that is done for now.
async fn tell(gateway: &Gateway, node: &PodName, address: &Address, body: &Value) -> bool {
    let asked = gateway
        .dialer()
        .ask(address, Method::PUT, "/v1/peers", Some(body));
    match asked.await {
        Ok(_) => true,
        Err(AskError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => {
            tracing::info!(%node, "the node wants to know of no others");
            true
        }
        Err(error @ AskError::Refused { .. }) => {
            tracing::warn!(%node, %error, "the node was not told of the others");
            true
        }
        Err(error @ AskError::Unreachable(_)) => {
            tracing::info!(%node, %error, "the node was not told of the others");
            false
        }
    }
}

async fn end(gateway: &Gateway, stray: &Stray) {
    let Stray {
        pod,
        session,
        generation,
    } = stray;
    let Some(address) = gateway.state().nodes.address(pod) else {
        return;
    };
    let path = format!("/v1/sessions/{session}?generation={generation}");
    let asked = gateway.dialer().ask(&address, Method::DELETE, &path, None);
    match asked.await {
        Ok(_) => {
            tracing::info!(node = %pod, session, %generation, "ended: it is at home elsewhere")
        }
        Err(error) => tracing::warn!(node = %pod, session, %error, "not ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::tests::{at, nodes, report};

    #[test]
    fn each_node_that_answers_is_told_of_the_others() {
        let mut nodes = nodes(&["a", "b", "c"]);
        let mut named = report(0.1, &[]);
        named.pod.name = "n1".to_owned();
        named.pod.zone = "z".to_owned();
        nodes.report(&"a".into(), named, at(0));
        nodes.report(&"b".into(), report(0.1, &[]), at(0));
        let told = peers(&nodes, at(0));
        assert_eq!(told.len(), 2, "c never answered");
        let pod = |name: &str, zone: &str, at: &str| {
            let url = format!("ws://{at}:4400");
            json!({"pods": [{"name": name, "url": url, "zone": zone, "region": ""}]})
        };
        assert_eq!(told[&"b".into()].1, pod("n1", "z", "a"));
        assert_eq!(told[&"a".into()].1, pod("b", "", "b"));
        nodes.alive(&"b".into(), at(3));
        let told = peers(&nodes, at(3));
        assert_eq!(told.keys().collect::<Vec<_>>(), [&PodName::from("b")]);
    }
}
