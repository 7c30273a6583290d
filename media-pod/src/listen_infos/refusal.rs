//! Requests that are answered in the worker's place.

use super::addresses::ListenInfoError;
use bytes::Bytes;
use mafalda_channel::fbs::response::Response;
use mafalda_channel::{ViewError, encode_response, planus};

/// Why a request is answered in the worker's place.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    ListenInfo(#[from] ListenInfoError),
    #[error("malformed request: {0}")]
    Malformed(#[from] ViewError),
    #[error("malformed request: its body does not belong to its method")]
    NoBody,
    #[error("a WebRtcServer with same webRtcServerId already exists")]
    SameServer,
    #[error("WebRtcServer not found")]
    NoServer,
    #[error("{0}")]
    Other(String),
}

impl From<planus::Error> for Refusal {
    fn from(error: planus::Error) -> Self {
        Self::Malformed(error.into())
    }
}

impl Refusal {
    /// The response that tells it, by the error classes of mediasoup's library.
    pub(super) fn answer(&self, id: u32) -> Bytes {
        let class = match self {
            Self::ListenInfo(ListenInfoError::NoAddress) => "Error",
            Self::ListenInfo(_) | Self::Malformed(_) | Self::NoBody => "TypeError",
            Self::NoServer => "NotFoundError",
            Self::SameServer | Self::Other(_) => "Error",
        };
        encode_response(&Response {
            id,
            accepted: false,
            body: None,
            error: Some(class.to_owned()),
            reason: Some(self.to_string()),
        })
    }
}
