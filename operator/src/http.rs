//! The operator's own endpoints: `/livez`, `/readyz`, `/metrics`.

use crate::index::Index;
use crate::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use warp::Filter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response, with_header, with_status};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, metrics: Metrics, index: Index) {
    let is_ready = Arc::new(AtomicBool::new(false));
    let routes = {
        let is_ready = is_ready.clone();
        let livez =
            warp::path!("livez").map(|| with_status("ok\n", StatusCode::OK).into_response());
        let readyz = warp::path!("readyz").map(move || ready(is_ready.load(Ordering::Relaxed)));
        let metrics = warp::path!("metrics").map(move || render(&metrics));
        warp::get().and(livez.or(readyz).unify().or(metrics).unify())
    };
    let listed = async {
        index.ready().await;
        is_ready.store(true, Ordering::Relaxed);
    };
    tokio::join!(warp::serve(routes).incoming(listener).run(), listed);
}

/// A replica that has seen what there is can work, whether or not it is its turn.
fn ready(is_ready: bool) -> Response {
    let (status, text) = match is_ready {
        true => (StatusCode::OK, "ready\n"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the API server has not answered\n",
        ),
    };
    with_status(text, status).into_response()
}

fn render(metrics: &Metrics) -> Response {
    match metrics.render() {
        Ok(text) => with_header(text, "content-type", OPENMETRICS).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
