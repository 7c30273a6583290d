//! How long calls take: for each line on standard input, a number, makes that many of each and prints
//! their times in microseconds as a line of JSON. `tests/bench` runs it, in turn with others.

#[path = "../media.rs"]
#[allow(dead_code)]
mod media;

use mediasoup::prelude::*;
use mediasoup::worker::WorkerLogLevel;
use serde_json::json;
use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let manager = WorkerManager::new();
    let mut settings = WorkerSettings::default();
    settings.log_level = WorkerLogLevel::Error;
    let worker = manager.create_worker(settings).await?;
    let router = worker
        .create_router(RouterOptions::new(vec![media::opus()]))
        .await?;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let mut times = [const { Vec::new() }; 3];
        let [create, created, dump] = &mut times;
        for _ in 0..line.parse()? {
            let creation = router.create_webrtc_transport(media::webrtc_options());
            let (transport, answered, ready) = timed(creation).await;
            create.push(answered);
            created.push(ready);
            drop(transport?);
            // The crate closes it in another thread; the next answer comes after that one.
            worker.dump().await?;
            let (dumped, answered, _) = timed(worker.dump()).await;
            dump.push(answered);
            dumped?;
        }
        let [create, created, dump] = times;
        println!(
            "{}",
            json!({ "create": create, "created": created, "dump": dump })
        );
    }
    Ok(())
}

/// A call's result, and after how many microseconds its answer was there and the crate was done with
/// it: of `create_webrtc_transport` it makes a table of 65536 entries, which takes a millisecond.
async fn timed<T>(call: impl Future<Output = T>) -> (T, u128, u128) {
    let mut call = pin!(call);
    let begin = Instant::now();
    let mut woken = begin;
    let result = poll_fn(|context| {
        woken = Instant::now();
        call.as_mut().poll(context)
    })
    .await;
    let answered = woken - begin;
    (result, answered.as_micros(), begin.elapsed().as_micros())
}
