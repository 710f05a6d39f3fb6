//! One request: admit it, claim its key, let the handler respond, record, or replay.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use idempotent_core::__private::{Start, caught};
use idempotent_core::{BoxError, Operation};
use tower_service::Service;

use crate::admit::{Admitted, Protected, admit};
use crate::answer::{Answer, Ended, answered};
use crate::body::{Body, Read, read};
use crate::config::Config;
use crate::context::IdempotencyContext;
use crate::error::HttpError;
use crate::policy::Recording;
use crate::route;

pub(crate) async fn handle<S, B, R>(
    config: Arc<Config>,
    mut inner: S,
    request: Request<B>,
) -> Result<Response<Body<R>>, S::Error>
where
    S: Service<Request<Body<B>>, Response = Response<R>> + Send + 'static,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    match admit(&config, &parts, body).await {
        Ok(Admitted::Passes(body)) => {
            let response = inner.call(Request::from_parts(parts, body)).await?;
            Ok(response.map(Body::live))
        }
        Ok(Admitted::Protected(protected)) => {
            let key = protected.key.clone();
            let answer = protect(&config, inner, parts, protected).await;
            answered(&config, &key, answer)
        }
        Err(error) => Ok(config.refusal(&error)),
    }
}

/// Claims the key, and runs the handler in a task of its own if it is granted: from then on it does not
/// matter what becomes of the client.
async fn protect<S, B, R>(
    config: &Arc<Config>,
    inner: S,
    mut parts: Parts,
    protected: Protected,
) -> Answer<R, S::Error>
where
    S: Service<Request<Body<B>>, Response = Response<R>> + Send + 'static,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let operation = operation(config, &parts, &protected);
    let operation = operation.clean_if::<Ended<R, S::Error>>(Ended::is_clean);
    let running = match operation.begin::<Answer<R, S::Error>>().await {
        Start::Return(answer) => return answer,
        Start::Run(running) => running,
    };
    let context = IdempotencyContext::new(running.attempt(), &protected.key);
    parts.extensions.insert(context.clone());
    let request = Request::from_parts(parts, Body::buffered(protected.body));
    let response = respond(Arc::clone(config), inner, request, context);
    match caught(running.finish_detached(response)).await {
        Ok(answer) => answer,
        Err(_) => Err(HttpError::Failed("the handler panicked".into()).into()),
    }
}

fn operation(config: &Config, parts: &Parts, protected: &Protected) -> Operation {
    let uri = route::uri(parts);
    let compared = config.fingerprint.request(parts, uri, &protected.body.data);
    let operation = config
        .engine
        .operation(config.operation(parts))
        .key(protected.record.as_str())
        .lease(config.lease)
        .max_result(config.max_result())
        .on_abandoned(config.on_abandoned)
        .on_conflict(config.on_conflict)
        .on_panic(config.on_panic)
        .on_store_failure(config.on_store_failure)
        .ttl(config.ttl);
    match compared {
        Some(compared) => operation.fingerprint(&compared),
        None => operation,
    }
}

/// Lets the handler respond, and says what becomes of the response.
async fn respond<S, B, R>(
    config: Arc<Config>,
    mut inner: S,
    request: Request<Body<B>>,
    context: IdempotencyContext,
) -> Answer<R, S::Error>
where
    S: Service<Request<Body<B>>, Response = Response<R>>,
    R: HttpBody<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let is_unmatched = route::is_unmatched(request.extensions());
    let response = inner.call(request).await.map_err(Ended::Inner)?;
    let (parts, body) = response.into_parts();
    let began = context.has_begun() || !config.deferred_begin;
    let began = began && !(is_unmatched && parts.status == StatusCode::NOT_FOUND);
    let recording = config.recording(&parts, &body, began);
    if recording != Recording::Store {
        return Ended::unrecorded(recording, parts, Body::live(body), began);
    }
    match read(body, config.max_response_body).await {
        Read::Whole(buffered) => Ok(config.recorded(parts, buffered, &context)),
        Read::TooLarge(read, rest) => {
            Ended::unrecorded(config.unstorable, parts, Body::resumed(read, rest), began)
        }
        Read::Failed(error) => Err(HttpError::Failed(error.into()).into()),
    }
}
