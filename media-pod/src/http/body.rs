//! Bodies of requests, in JSON.

use crate::pod::refusal;
use mafalda_link::RefusalBody;
use serde::de::DeserializeOwned;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::hyper::body::Bytes;

/// The largest body, in bytes.
const MOST: u64 = 64 * 1024;

/// A request's body as it came.
pub struct Body(Bytes);

/// Reads a body; one without a length, or a longer one than anybody needs, is rejected.
pub fn read() -> BoxedFilter<(Body,)> {
    warp::body::content_length_limit(MOST)
        .and(warp::body::bytes())
        .map(Body)
        .boxed()
}

impl Body {
    /// What it says.
    ///
    /// # Errors
    /// It is no JSON, or not what was expected: the field is named.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, RefusalBody> {
        serde_json::from_slice(&self.0)
            .map_err(|error| refusal("badRequest", format!("the body: {error}")))
    }
}
