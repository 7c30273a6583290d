//! warp's WebSocket as a [`Socket`].

use futures_util::{SinkExt, StreamExt};
use mafalda_link::{BoxError, Packet, Socket};
use warp::ws::{Message, WebSocket};

fn from_message(message: Message) -> Packet {
    if message.is_binary() {
        return Packet::Frame(message.into_bytes());
    }
    if let Ok(text) = message.to_str() {
        return Packet::Text(text.to_owned());
    }
    if let Some((code, reason)) = message.close_frame() {
        let reason = reason.to_owned();
        return Packet::Close { code, reason };
    }
    if message.is_close() {
        let reason = String::new();
        return Packet::Close { code: 1005, reason };
    }
    match message.is_ping() {
        true => Packet::Ping,
        false => Packet::Pong,
    }
}

fn to_message(packet: Packet) -> Message {
    match packet {
        Packet::Frame(bytes) => Message::binary(bytes),
        Packet::Text(text) => Message::text(text),
        Packet::Ping => Message::ping(Vec::new()),
        Packet::Pong => Message::pong(Vec::new()),
        Packet::Close { code, reason } => Message::close_with(code, reason),
    }
}

/// The WebSocket as a connection takes it.
pub fn adapt(socket: WebSocket) -> Box<dyn Socket> {
    Box::new(
        socket
            .map(|message| message.map(from_message).map_err(BoxError::from))
            .sink_map_err(BoxError::from)
            .with(|packet| std::future::ready(Ok::<_, BoxError>(to_message(packet)))),
    )
}
