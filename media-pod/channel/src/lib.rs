//! The channel between mediasoup's library and its worker.
//!
//! A message is a FlatBuffer of mediasoup's schema behind a prefix of four bytes, its size in
//! little endian. This crate finds messages in a stream of bytes ([`Decoder`]), looks into them
//! without copying ([`view`]), and makes the few that Mafalda itself speaks
//! ([`encode_request`], [`encode_response`], [`encode_notification`]). It does no I/O.
//!
//! *Guarantees*: what a [`Decoder`] yields are exactly the bytes that were pushed, in their order
//! and uncopied. No input makes a function of this crate panic.

mod bodies;
mod check;
mod frame;
mod owned;
mod renumber;
mod view;

pub use check::check;
pub use frame::{Decoder, FrameError, MAX_MESSAGE, Messages, PREFIX, messages};
/// The channel's schema: the types that mediasoup's own `.fbs` files describe.
pub use mediasoup_sys::fbs;
pub use owned::{
    encode_notification, encode_request, encode_response, notification, request, response,
};
/// The library that the schema's types are made with: its error is that of their getters.
pub use planus;
pub use renumber::with_id;
pub use view::{Message, Notification, Request, Response, ViewError, view};
