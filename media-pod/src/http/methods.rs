//! Which methods each path has. Pure.

use warp::http::Method;

const READ: &str = "GET, HEAD";

/// The methods of a path, as the header `Allow` has them; `None` for one that is not there.
///
/// As warp has it, one slash at the end changes nothing.
fn methods(path: &str) -> Option<&'static str> {
    let path = path.strip_prefix('/')?;
    let parts: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    match parts[..] {
        ["livez" | "readyz" | "metrics" | "openapi.json"] => Some(READ),
        ["v1", "status" | "topology" | "sessions"] => Some(READ),
        ["v1", "peers"] => Some("GET, HEAD, PUT"),
        ["v1", "drain"] => Some("PUT, DELETE"),
        // WebSockets begin with GET.
        ["v1", "worker" | "members" | "events"] => Some("GET"),
        ["v1", "worker", "real" | "virtual"] => Some("GET"),
        ["v1", "sessions", _] => Some("GET, HEAD, PUT, DELETE"),
        ["v1", "sessions", _, "worker"] => Some("GET"),
        _ => None,
    }
}

/// Whether there is such a path.
pub fn is_there(path: &str) -> bool {
    methods(path).is_some()
}

/// The methods of a path that is there and has another method than this.
pub fn other(method: &Method, path: &str) -> Option<&'static str> {
    let methods = methods(path)?;
    let is_one = methods.split(", ").any(|one| one == method.as_str());
    (!is_one).then_some(methods)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_methods() {
        for (method, path, wanted) in [
            ("GET", "/livez", None),
            ("HEAD", "/livez", None),
            ("HEAD", "/readyz/", None),
            ("POST", "/livez", Some(READ)),
            ("GET", "/v1/status", None),
            ("PUT", "/v1/status", Some(READ)),
            ("PUT", "/v1/drain", None),
            ("GET", "/v1/drain", Some("PUT, DELETE")),
            ("PATCH", "/v1/peers", Some("GET, HEAD, PUT")),
            ("GET", "/v1/worker", None),
            ("HEAD", "/v1/worker/real", Some("GET")),
            ("DELETE", "/v1/sessions/a", None),
            ("DELETE", "/v1/sessions/a/", None),
            ("POST", "/v1/sessions/a", Some("GET, HEAD, PUT, DELETE")),
            ("DELETE", "/v1/sessions/a/worker", Some("GET")),
            ("POST", "/v1/sessions", Some(READ)),
            ("POST", "/nothing", None),
            ("POST", "/", None),
            ("POST", "/v1/sessions/a/b/c", None),
            ("OPTIONS", "*", None),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(other(&method, path), wanted, "{method} {path}");
        }
    }

    /// Protects the description from this list, and the other way round.
    #[test]
    fn the_description_has_the_same_methods() {
        let description: serde_json::Value = serde_json::from_str(crate::http::OPENAPI).unwrap();
        for (path, operations) in description["paths"].as_object().unwrap() {
            let known = methods(&path.replace("{name}", "a")).unwrap_or_default();
            let known: Vec<&str> = known.split(", ").filter(|one| *one != "HEAD").collect();
            let mut described: Vec<String> = operations
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| ["get", "put", "delete", "post", "patch"].contains(&key.as_str()))
                .map(|key| key.to_uppercase())
                .collect();
            let mut known: Vec<String> = known.into_iter().map(str::to_owned).collect();
            described.sort();
            known.sort();
            assert_eq!(described, known, "{path}");
        }
    }
}
