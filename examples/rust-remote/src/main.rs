//! Sends RTP packets into a mediasoup router and takes them out of it again, and says how that went:
//! `rust-remote [PACKETS]`, one packet every 20 ms.
//!
//! There is nothing of Mafalda in here. That the worker runs in a media pod is one entry in
//! `Cargo.toml`; where the pod is, `MAFALDA_URL` says.

mod media;

use mediasoup::prelude::*;
use std::error::Error;
use std::future::pending;
use std::time::{Duration, Instant};
use tokio::signal::ctrl_c;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

const PACKET_EVERY: Duration = Duration::from_millis(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let packets = match std::env::args().nth(1) {
        Some(number) => number.parse()?,
        None => 100,
    };
    let manager = WorkerManager::new();
    let worker = manager.create_worker(WorkerSettings::default()).await?;
    println!("worker {}", worker.id());
    let (died, death) = oneshot::channel();
    let _on_dead = worker.on_dead(move |end| _ = died.send(end));
    tokio::select! {
        result = send_and_receive(&worker, packets) => result,
        Ok(end) = death => Err(format!("the worker died: {end:?}").into()),
        Ok(()) = ctrl_c() => std::process::exit(130),
    }
}

async fn send_and_receive(worker: &Worker, packets: u32) -> Result<(), Box<dyn Error>> {
    let router = worker
        .create_router(RouterOptions::new(vec![media::opus()]))
        .await?;
    let transport = router
        .create_webrtc_transport(media::webrtc_options())
        .await?;
    for candidate in transport.ice_candidates() {
        println!(
            "browsers would connect to {} {:?} {}",
            candidate.address, candidate.protocol, candidate.port
        );
    }

    let options = DirectTransportOptions::default();
    let inward = router.create_direct_transport(options.clone()).await?;
    let outward = router.create_direct_transport(options).await?;
    let producer = inward.produce(media::producer_options()).await?;
    let consumer = outward
        .consume(ConsumerOptions::new(
            producer.id(),
            media::rtp_capabilities(),
        ))
        .await?;
    let Producer::Direct(producer) = producer else {
        return Err("a direct transport makes direct producers".into());
    };
    let (sender, mut receiver) = mpsc::channel(64);
    // Called in the worker's thread, which may wait.
    let _on_rtp = consumer.on_rtp(move |packet| _ = sender.blocking_send(packet.to_vec()));

    let mut ticks = interval(PACKET_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent, mut received) = (0, 0);
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    while received < packets {
        tokio::select! {
            _ = ticks.tick(), if sent < packets => {
                if producer.send(media::packet(sent)).is_err() {
                    // The worker is gone: how, `on_dead` is about to say.
                    return pending().await;
                }
                sent += 1;
            }
            Some(packet) = receiver.recv() => {
                let number = media::number(&packet);
                if number != Some(received) {
                    return Err(format!("packet {received} was due and {number:?} came").into());
                }
                received += 1;
                longest = longest.max(last.elapsed());
                last = Instant::now();
                if received == 1 {
                    println!("packets come back");
                }
            }
        }
    }
    let stats = consumer.get_stats().await?;
    let counted = stats.consumer_stats().packet_count;
    println!(
        "{received} packets came back in order, the worker counted {counted}, the longest time \
         between two was {} ms",
        longest.as_millis()
    );
    Ok(())
}
