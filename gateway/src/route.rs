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
    /// A worker of a session, or a resumption of one.
    SessionWorker(String),
    /// What else there is to read of a session: its home answers.
    OfSession(String),
    /// The path is known, the method is another than these.
    OtherMethod(&'static str),
    /// Nothing that there is.
    Unknown,
}

/// Reads a request's method and path. Slashes at the end change nothing, as on a pod.
pub fn route(method: &Method, path: &str) -> Route {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let get = |route| match *method == Method::GET || *method == Method::HEAD {
        true => route,
        false => Route::OtherMethod("GET, HEAD"),
    };
    // WebSockets begin with GET.
    let open = |route| match *method == Method::GET {
        true => route,
        false => Route::OtherMethod("GET"),
    };
    match parts[..] {
        ["livez"] => get(Route::Livez),
        ["readyz"] => get(Route::Readyz),
        ["metrics"] => get(Route::Metrics),
        ["v1", "status"] => get(Route::Status),
        ["v1", "sessions"] => get(Route::Sessions),
        ["v1", "worker"] | ["v1", "worker", "real" | "virtual"] => open(Route::Worker),
        ["v1", "sessions", name] => match method.as_str() {
            "PUT" => Route::PutSession(name.to_owned()),
            "DELETE" => Route::DeleteSession(name.to_owned()),
            "GET" | "HEAD" => Route::OfSession(name.to_owned()),
            _ => Route::OtherMethod("GET, HEAD, PUT, DELETE"),
        },
        ["v1", "sessions", name, "worker"] => open(Route::SessionWorker(name.to_owned())),
        // What changes a session is above: it is decided here.
        ["v1", "sessions", name, ..] => get(Route::OfSession(name.to_owned())),
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_say() {
        let name = || "call".to_owned();
        let (get, read) = (Route::OtherMethod("GET"), Route::OtherMethod("GET, HEAD"));
        for (method, path, wanted) in [
            ("GET", "/livez", Route::Livez),
            ("HEAD", "/livez", Route::Livez),
            ("POST", "/livez", read.clone()),
            ("GET", "/v1/worker", Route::Worker),
            ("GET", "/v1/worker/real", Route::Worker),
            ("GET", "/v1/worker/other", Route::Unknown),
            ("PUT", "/v1/worker", get.clone()),
            ("HEAD", "/v1/worker", get.clone()),
            ("GET", "/v1/sessions", Route::Sessions),
            ("GET", "/v1/sessions/call", Route::OfSession(name())),
            ("PUT", "/v1/sessions/call", Route::PutSession(name())),
            ("DELETE", "/v1/sessions/call", Route::DeleteSession(name())),
            ("HEAD", "/v1/sessions/call", Route::OfSession(name())),
            (
                "POST",
                "/v1/sessions/call",
                Route::OtherMethod("GET, HEAD, PUT, DELETE"),
            ),
            // As without the slash: who ends a session of Kubernetes' is refused.
            ("PUT", "/v1/sessions/call/", Route::PutSession(name())),
            ("DELETE", "/v1/sessions/call/", Route::DeleteSession(name())),
            (
                "DELETE",
                "/v1/sessions/call//",
                Route::DeleteSession(name()),
            ),
            (
                "GET",
                "/v1/sessions/call/worker",
                Route::SessionWorker(name()),
            ),
            (
                "GET",
                "/v1/sessions/call/worker/",
                Route::SessionWorker(name()),
            ),
            ("DELETE", "/v1/sessions/call/worker", get),
            ("GET", "/v1/sessions/call/x/y", Route::OfSession(name())),
            ("POST", "/v1/sessions/call/x/y", read.clone()),
            ("DELETE", "/v1/sessions/call/x", read),
            ("GET", "/v1/drain", Route::Unknown),
            ("GET", "/", Route::Unknown),
            ("GET", "", Route::Unknown),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(route(&method, path), wanted, "{method} {path}");
        }
    }
}
