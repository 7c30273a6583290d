//! What the `mediasoup` crate takes from `mediasoup-sys` 0.18.1: the channel's schema, unchanged,
//! and a worker, which is [`mafalda_remote`]'s.

pub use mafalda_remote::border::*;
pub use planus_codegen::*;

mod planus_codegen {
    #![allow(clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/fbs.rs"));
}
