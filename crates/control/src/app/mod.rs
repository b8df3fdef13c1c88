//! The app in the browser, with everything its page needs. Stub.
use crate::server::Shared;
use axum::Router;
use http::Method;
use std::sync::Arc;
pub(crate) fn is_public(_method: &Method, _path: &str) -> bool {
    false
}
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    Router::new().with_state(Arc::clone(shared))
}
