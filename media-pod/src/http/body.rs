//! Bodies of requests, in JSON.
//!
//! A body is read once the client was let in, and not for ever: who has no token keeps nothing waiting.

use crate::pod::refusal;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use mafalda_link::RefusalBody;
use serde::de::DeserializeOwned;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;
use warp::Filter;
use warp::filters::BoxedFilter;

/// The largest body, in bytes.
const MOST: usize = 64 * 1024;

/// How long a client may take for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Parts of a body as they come.
type Parts = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

/// A request's body, of which nothing was read yet.
pub struct Body(Parts);

/// Takes a request's body; [`Body::parse`] reads it.
pub fn take() -> BoxedFilter<(Body,)> {
    // Its items are of a type without a name.
    fn body<B: Buf, E: fmt::Display>(
        parts: impl Stream<Item = Result<B, E>> + Send + 'static,
    ) -> Body {
        Body(Box::pin(parts.map(|part| match part {
            Ok(mut part) => Ok(part.copy_to_bytes(part.remaining())),
            Err(error) => Err(error.to_string()),
        })))
    }
    warp::body::stream().map(body).boxed()
}

impl Body {
    /// Reads it, and returns what it says.
    ///
    /// # Errors
    /// `tooLarge`, `timeout`: it is longer than anybody needs, or slow. `badRequest`: it broke off, is no
    /// JSON, or not what was expected: the field is named.
    pub async fn parse<T: DeserializeOwned>(self) -> Result<T, RefusalBody> {
        let seconds = PATIENCE.as_secs();
        let late = || refusal("timeout", format!("the body: not there after {seconds} s"));
        let bytes = timeout(PATIENCE, read(self.0)).await;
        let bytes = bytes.map_err(|_| late())??;
        serde_json::from_slice(&bytes)
            .map_err(|error| refusal("badRequest", format!("the body: {error}")))
    }
}

async fn read(mut parts: Parts) -> Result<Bytes, RefusalBody> {
    let mut whole = BytesMut::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| refusal("badRequest", format!("the body: {error}")))?;
        if whole.len() + part.len() > MOST {
            let reason = format!("the body: at most {MOST} bytes are possible");
            return Err(refusal("tooLarge", reason));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream::{self, pending};
    use serde_json::{Value, json};

    fn body(parts: &[Result<&'static str, &str>]) -> Body {
        let part = |part: &Result<&'static str, &str>| match part {
            Ok(text) => Ok(Bytes::from_static(text.as_bytes())),
            Err(error) => Err((*error).to_owned()),
        };
        let parts: Vec<Result<Bytes, String>> = parts.iter().map(part).collect();
        Body(Box::pin(stream::iter(parts)))
    }

    async fn code(body: Body) -> String {
        body.parse::<Value>().await.unwrap_err().code
    }

    #[tokio::test]
    async fn parts_are_one_body() {
        let whole = body(&[Ok("{\"a\":"), Ok("1}")]).parse::<Value>().await;
        assert_eq!(whole.unwrap(), json!({"a": 1}));
        assert_eq!(code(body(&[])).await, "badRequest");
        assert_eq!(code(body(&[Err("broke")])).await, "badRequest");
    }

    #[tokio::test]
    async fn one_that_is_too_long_is_not_read_to_its_end() {
        let part = Bytes::from(vec![b' '; MOST]);
        let endless = stream::repeat_with(move || Ok::<_, String>(part.clone()));
        assert_eq!(code(Body(Box::pin(endless))).await, "tooLarge");
        let most = Bytes::from([vec![b' '; MOST - 1], vec![b'1']].concat());
        let most = Body(Box::pin(stream::iter([Ok(most)])));
        assert_eq!(most.parse::<u8>().await.unwrap(), 1);
    }

    /// Protects the pod from clients that announce a body and say nothing.
    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_come_is_not_waited_for() {
        assert_eq!(code(Body(Box::pin(pending()))).await, "timeout");
    }
}
