//! Listens to each node for as long as it is listed: its event stream, and a ping each second.

use crate::dial::Unreachable;
use crate::gateway::Gateway;
use crate::nodes::{Address, Listed};
use crate::report::Event;
use futures_util::{SinkExt, StreamExt};
use hyper::header::AUTHORIZATION;
use mafalda_plan::PodName;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// How often a node is asked for a sign of life, and how soon a stream that ended is opened again.
const POLL: Duration = Duration::from_secs(1);
/// How long a node that is well takes at most to let the stream begin.
const CONNECT: Duration = Duration::from_secs(4);
/// The longest event, in bytes: a thousand sessions have a hundredth of it.
const MAX_EVENT: usize = 16 << 20;

/// Listens to all nodes, those to come included. Never returns.
pub async fn listen(gateway: Gateway) {
    let mut tasks = JoinSet::new();
    let mut heard: BTreeMap<PodName, (Listed, AbortHandle)> = BTreeMap::new();
    let mut news = gateway.news();
    loop {
        news.mark_unchanged();
        let nodes: Vec<Listed> = {
            let state = gateway.state();
            state.nodes.all().map(|node| node.listed.clone()).collect()
        };
        heard.retain(|_, (listed, task)| {
            let stays = nodes.contains(listed);
            if !stays {
                task.abort();
            }
            stays
        });
        for node in nodes {
            heard.entry(node.name.clone()).or_insert_with(|| {
                let task = tasks.spawn(hear(gateway.clone(), node.clone()));
                (node, task)
            });
        }
        // Those that were aborted.
        while tasks.try_join_next().is_some() {}
        if news.changed().await.is_err() {
            return;
        }
    }
}

/// Hears one node, until the task is aborted.
async fn hear(gateway: Gateway, node: Listed) {
    let mut told = String::new();
    loop {
        let begun = Instant::now();
        let reason = match open(&gateway, &node.address).await {
            Ok(stream) => {
                told.clear();
                tracing::info!(node = %node.name, "the node is heard");
                follow(&gateway, &node.name, stream).await
            }
            Err(error) => {
                if let Unreachable::Refused = error {
                    let now = gateway.now();
                    gateway.state().nodes.refuses(&node.name, now);
                }
                error.to_string()
            }
        };
        // Once for each reason, not each second.
        if reason != told {
            tracing::warn!(node = %node.name, url = %node.address, reason, "the node is not heard");
            told = reason;
        }
        gateway.tell();
        sleep_until(begun + POLL).await;
    }
}

type Stream = WebSocketStream<Box<dyn crate::dial::Io>>;

async fn open(gateway: &Gateway, address: &Address) -> Result<Stream, Unreachable> {
    let other = |error: &dyn std::fmt::Display| Unreachable::Other(error.to_string());
    let opened = async {
        let io = gateway.dialer().connect(address).await?;
        let mut request = format!("{address}/v1/events")
            .into_client_request()
            .map_err(|error| other(&error))?;
        if let Some(bearer) = gateway.dialer().bearer() {
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_EVENT))
            .max_frame_size(Some(MAX_EVENT));
        let opened = tokio_tungstenite::client_async_with_config(request, io, Some(config)).await;
        match opened {
            Ok((stream, _)) => Ok(stream),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let refusal = crate::dial::read_refusal(response.status(), body);
                Err(Unreachable::Other(format!(
                    "it refuses: {} ({}); --token and --signing-key say who the gateway is",
                    refusal.message, refusal.code
                )))
            }
            Err(error) => Err(other(&error)),
        }
    };
    let silence = || Unreachable::Other(format!("nothing for {} s", CONNECT.as_secs()));
    timeout(CONNECT, opened)
        .await
        .unwrap_or_else(|_| Err(silence()))
}

/// Notes what the node says. Returns why the stream ended.
async fn follow(gateway: &Gateway, node: &PodName, mut stream: Stream) -> String {
    let mut ticks = interval_at(Instant::now() + POLL, POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut missed = 0;
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    missed = 0;
                    take(gateway, node, &text);
                }
                Some(Ok(_)) => {
                    missed = 0;
                    let now = gateway.now();
                    gateway.state().nodes.alive(node, now);
                }
                Some(Err(error)) => return error.to_string(),
                None => return "the stream ended".to_owned(),
            },
            _ = ticks.tick() => {
                if missed >= mafalda_plan::MISSED_POLLS {
                    return format!("no answer to {missed} questions");
                }
                missed += 1;
                let ping = stream.send(Message::Ping(Default::default()));
                if !matches!(timeout(POLL, ping).await, Ok(Ok(()))) {
                    return "it takes no question".to_owned();
                }
            }
        }
    }
}

fn take(gateway: &Gateway, node: &PodName, text: &str) {
    let now = gateway.now();
    match serde_json::from_str(text) {
        Ok(Event::Status { status }) => {
            if gateway.state().nodes.report(node, *status, now) {
                gateway.tell();
            }
        }
        Ok(Event::Other) => gateway.state().nodes.alive(node, now),
        Err(error) => tracing::warn!(%node, %error, "an event is not understood"),
    }
}
