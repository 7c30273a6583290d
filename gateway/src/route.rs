//! What a request asks for, by its method and path. Pure.

use hyper::Method;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Whether the process lives.
    Livez,
    /// Whether a node answers.
    Readyz,
    /// Counters.
    Metrics,
    /// What is known of each node.
    Status,
    /// All sessions.
    Sessions,
    /// A worker of any node, or a resumption of one.
    Worker,
    /// That a session be there.
    PutSession(String),
    /// The end of a session.
    DeleteSession(String),
    /// Anything else of a session: its home answers.
    OfSession(String),
    /// The path is known, the method is another.
    OtherMethod,
    /// Nothing that there is.
    Unknown,
}

/// Reads a request's method and path.
pub fn route(method: &Method, path: &str) -> Route {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let get = |route| match *method == Method::GET {
        true => route,
        false => Route::OtherMethod,
    };
    match parts[..] {
        ["livez"] => get(Route::Livez),
        ["readyz"] => get(Route::Readyz),
        ["metrics"] => get(Route::Metrics),
        ["v1", "status"] => get(Route::Status),
        ["v1", "sessions"] => get(Route::Sessions),
        ["v1", "worker"] | ["v1", "worker", "real" | "virtual"] => get(Route::Worker),
        ["v1", "sessions", name] if *method == Method::PUT => Route::PutSession(name.to_owned()),
        ["v1", "sessions", name] if *method == Method::DELETE => {
            Route::DeleteSession(name.to_owned())
        }
        ["v1", "sessions", name, ..] => Route::OfSession(name.to_owned()),
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_say() {
        let name = || "call".to_owned();
        for (method, path, wanted) in [
            ("GET", "/livez", Route::Livez),
            ("POST", "/livez", Route::OtherMethod),
            ("GET", "/v1/worker", Route::Worker),
            ("GET", "/v1/worker/real", Route::Worker),
            ("GET", "/v1/worker/other", Route::Unknown),
            ("PUT", "/v1/worker", Route::OtherMethod),
            ("GET", "/v1/sessions", Route::Sessions),
            ("GET", "/v1/sessions/call", Route::OfSession(name())),
            ("PUT", "/v1/sessions/call", Route::PutSession(name())),
            ("DELETE", "/v1/sessions/call", Route::DeleteSession(name())),
            ("GET", "/v1/sessions/call/worker", Route::OfSession(name())),
            ("POST", "/v1/sessions/call/x/y", Route::OfSession(name())),
            ("GET", "/v1/drain", Route::Unknown),
            ("GET", "/", Route::Unknown),
            ("GET", "", Route::Unknown),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(route(&method, path), wanted, "{method} {path}");
        }
    }
}
