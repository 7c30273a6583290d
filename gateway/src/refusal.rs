//! Why the gateway does not do it, in the same words and the same shape as a pod.

use crate::http::{Body, json};
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use mafalda_link::{Refusal, RefusalBody};

/// A refusal: a word for programs, a sentence for people.
pub fn refusal(code: &str, message: impl Into<String>) -> RefusalBody {
    RefusalBody {
        code: code.to_owned(),
        message: message.into(),
    }
}

/// The status that goes with a refusal's word.
fn status(code: &str) -> StatusCode {
    match code {
        "unauthorized" => StatusCode::UNAUTHORIZED,
        "forbidden" => StatusCode::FORBIDDEN,
        "notFound" | "unknownSession" | "unknownConnection" => StatusCode::NOT_FOUND,
        "methodNotAllowed" => StatusCode::METHOD_NOT_ALLOWED,
        "timeout" => StatusCode::REQUEST_TIMEOUT,
        "tooLarge" => StatusCode::PAYLOAD_TOO_LARGE,
        "versionMismatch" | "olderGeneration" | "otherGeneration" | "keptByKubernetes" => {
            StatusCode::CONFLICT
        }
        "noNode" | "unreachable" | "tooManyConnections" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The answer that says it.
pub fn response(error: RefusalBody) -> Response<Body> {
    let status = status(&error.code);
    let mut response = json(status, &Refusal { error });
    if status == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    }
    response
}
