//! Who has to do with a request of the application.

use super::VirtualWorker;
use crate::state::Kind;
use bytes::Bytes;
use mafalda_channel::fbs::request::{BodyRef, Method};
use mafalda_channel::{Request, ViewError};

impl VirtualWorker {
    pub(super) fn on_request(
        &mut self,
        request: &Request<'_>,
        message: &Bytes,
    ) -> Result<(), ViewError> {
        use BodyRef as Body;

        let handler = request.handler_id;
        match (request.method, request.body()?) {
            (Method::WorkerDump, _) => self.worker_dump(request, message),
            (Method::WorkerGetResourceUsage, _) => self.resource_usage(request, message),
            (Method::WorkerUpdateSettings, _) => self.update_settings(request, message)?,
            (Method::WorkerCreateRouter, Some(Body::WorkerCreateRouterRequest(body))) => {
                self.create_router(body.router_id()?, request);
            }
            (Method::WorkerCloseRouter, Some(Body::WorkerCloseRouterRequest(body))) => {
                self.close_router(body.router_id()?, request);
            }
            (
                Method::WorkerCreateWebrtcserver,
                Some(Body::WorkerCreateWebRtcServerRequest(body)),
            ) => self.create_server(&body, request, message)?,
            (Method::WorkerWebrtcserverClose, Some(Body::WorkerCloseWebRtcServerRequest(body))) => {
                self.close_server(body.web_rtc_server_id()?, request, message)
            }
            (_, body) if self.state.routers.contains_key(handler) => {
                self.on_router_request(body, request, message)?;
            }
            _ if self.state.servers.contains_key(handler) => {
                self.on_server_request(request, message);
            }
            (_, body) => match self.state.things.get(handler).map(|thing| &thing.kind) {
                Some(Kind::Transport(_)) => self.on_transport_request(body, request, message)?,
                Some(Kind::Producer(_)) => self.on_producer_request(request, message),
                Some(Kind::Consumer(_)) => self.pass_to_handler(request, message),
                Some(Kind::Observer(_)) => {
                    self.on_observer_request(body, request, message)?;
                }
                None => self.refuse_unknown_handler(request),
            },
        }
        Ok(())
    }
}
