//! An unmodified program of the `mediasoup` crate whose workers run in a media pod.
//!
//! The crate calls its C++ worker by two functions of `mediasoup-sys`. The folder `mediasoup-sys`
//! here is a package of that name and version whose two functions are the ones of this crate; a
//! program takes it instead by one entry of its `Cargo.toml`, and changes no line of code:
//!
//! ```toml
//! [patch.crates-io]
//! mediasoup-sys = { path = "…/mafalda/remote/mediasoup-sys" } # or git = "…"
//! ```
//!
//! Then no C++ is built, and each worker is one of the pod that `MAFALDA_URL` names
//! (`ws://127.0.0.1:4400` when unset); `MAFALDA_TOKEN`, `MAFALDA_CA` and `MAFALDA_HAND_OVER` are as for
//! the relay. The connection is the relay's too (`mafalda-link`): it survives a broken socket.
//!
//! # How a worker ends
//!
//! `mediasoup` learns it as the status of [`mediasoup_worker_run`]: the worker's own exit code, or
//! 128 and the number of the signal that ended it, or [`EXIT_NO_POD`] when the pod could not be
//! reached, refused, or was away for longer than the grace time; the reason is then on standard
//! error. Before the worker runs, that fails `WorkerManager::create_worker`; later it calls
//! `Worker::on_dead`, and requests under way fail.
//!
//! When the program ends by `exit` or by returning from `main`, its workers are ended first. Of a
//! program that is killed they are kept for the grace time, as the pod cannot know.
//!
//! # Layout
//!
//! [`border`] is what the crate sees, in C's terms, and the only unsafe code; `run` is one worker's
//! life; `application` the crate's queue of requests and its function for responses, as the
//! connection wants them; `local` the shorter way to a pod on the same host; `workers` knows those
//! that are running.

mod application;
pub mod border;
mod local;
mod run;
mod workers;

pub use border::{mediasoup_worker_run, uv_async_send};
pub use mafalda_link::client::EXIT_NO_POD;
