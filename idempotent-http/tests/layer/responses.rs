//! What is kept of a response, and what comes back of it.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use idempotent_http::{Body, Builder, Recording};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::world::{Client, World, order, reply};

type Item = Result<Frame<Bytes>, io::Error>;

#[expect(clippy::unnecessary_wraps, reason = "beside it there are errors")]
fn data(text: &'static str) -> Item {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// A service whose responses come in these frames.
fn streaming(
    world: &World,
    layer: Builder,
    content_type: &'static str,
    frames: impl Fn() -> Vec<Item> + Clone + Send + Sync + 'static,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<impl HttpBody<Data = Bytes, Error = io::Error>>,
    Error = Infallible,
> + Clone {
    let runs = world.runs.clone();
    layer
        .build()
        .unwrap()
        .layer(service_fn(move |_: Request<Body<Full<Bytes>>>| {
            runs.run();
            let frames = frames();
            async move {
                let response = Response::builder()
                    .header("content-type", content_type)
                    .header("location", "/orders/1");
                let body = StreamBody::new(stream::iter(frames));
                Ok::<_, Infallible>(response.body(body).unwrap())
            }
        }))
}

/// H-40, H-41, H-42, H-43, H-44.
#[tokio::test]
async fn a_replay_is_the_first_response_but_for_what_belonged_to_its_exchange() {
    let world = World::new();
    let service = world.serving(world.layer(), |_, run| async move {
        let odd = HeaderValue::from_bytes(b"\xfe\xff").unwrap();
        Response::builder()
            .status(202)
            .header("content-type", "application/octet-stream")
            .header("etag", "\"1\"")
            .header("vary", "accept")
            .header("cache-control", "no-store")
            .header("link", "</a>")
            .header("link", "</b>")
            .header("x-odd", odd)
            .header("set-cookie", "session=1")
            .header("x-request-id", run.to_string())
            .body(Full::from(&b"\0\xff\xfe binary"[..]))
            .unwrap()
    });
    let first = service.send(order("k")).await;
    assert_eq!(
        first.header("set-cookie"),
        Some("session=1"),
        "the first caller gets all"
    );
    assert_eq!(first.header("x-request-id"), Some("1"));
    let replay = service.send(order("k")).await;
    assert_eq!((replay.status, &replay.body), (first.status, &first.body));
    let mut expected = first.headers.clone();
    expected.remove("set-cookie");
    expected.remove("x-request-id");
    expected.insert("idempotent-replayed", HeaderValue::from_static("true"));
    assert_eq!(replay.headers, expected);
    assert!(!first.is_replayed());
}

/// H-41, H-44.
#[tokio::test]
async fn headers_and_the_mark_can_be_chosen() {
    let world = World::new();
    let layer = world
        .layer()
        .keep_header(&http::header::SET_COOKIE)
        .drop_header(http::header::ETAG)
        .replayed_header(Some("x-replayed".parse().unwrap()))
        .echo_key();
    let service = world.serving(layer, |_, _| async {
        let response = Response::builder()
            .header("set-cookie", "a=1")
            .header("etag", "\"1\"");
        response.body(Full::<Bytes>::default()).unwrap()
    });
    service.send(order("\"a b\"")).await;
    let replay = service.send(order("\"a b\"")).await;
    assert_eq!(replay.header("set-cookie"), Some("a=1"));
    assert_eq!(replay.header("etag"), None);
    assert_eq!(replay.header("x-replayed"), Some("true"));
    assert_eq!(replay.header("idempotency-key"), Some("\"a b\""));
    let unmarked = world.counting(world.layer().namespace("unmarked").replayed_header(None));
    let first = unmarked.send(order("k")).await;
    assert_eq!(unmarked.send(order("k")).await, first);
}

/// H-45.
#[tokio::test]
async fn a_response_that_is_too_large_reaches_its_client_whole_and_is_never_made_again() {
    let world = World::new();
    let layer = world.layer().max_response_body(8);
    let frames = || vec![data("12345"), data("67890"), data("end")];
    let service = streaming(&world, layer, "text/plain", frames);
    let first = reply(service.clone().oneshot(order("k")).await.unwrap()).await;
    assert_eq!(first.body, "1234567890end");
    assert_eq!(first.header("idempotency-stored"), Some("false"));
    let retry = reply(service.oneshot(order("k")).await.unwrap()).await;
    assert_eq!(
        (retry.status.as_u16(), retry.code().as_str()),
        (409, "unavailable")
    );
    assert_eq!(retry.header("location"), Some("/orders/1"));
    assert_eq!(world.runs.count(), 1);
}

/// H-45.
#[tokio::test]
async fn a_large_response_may_free_its_key_instead() {
    let world = World::new();
    let layer = world
        .layer()
        .max_response_body(8)
        .on_large_response(Recording::Release);
    let service = world.serving(layer, |_, _| async {
        Response::new(Full::from("123456789"))
    });
    service.send(order("k")).await;
    assert_eq!(service.send(order("k")).await.body, "123456789");
    assert_eq!(world.runs.count(), 2);
}

/// H-45: a stream of events flows while it is made.
#[tokio::test(start_paused = true)]
async fn a_stream_of_events_flows() {
    let world = World::new();
    let runs = world.runs.clone();
    let service = world
        .layer()
        .build()
        .unwrap()
        .layer(service_fn(move |_: Request<Body<_>>| {
            runs.run();
            async {
                let events = stream::iter([data("data: 1\n\n")]).chain(stream::pending());
                let response = Response::builder().header("content-type", "Text/Event-Stream; a=b");
                Ok::<_, Infallible>(response.body(StreamBody::new(events)).unwrap())
            }
        }));
    let response = service.clone().oneshot(order("k")).await.unwrap();
    assert_eq!(response.headers()["idempotency-stored"], "false");
    let mut body = Box::pin(response.into_body());
    let event = tokio::time::timeout(Duration::from_secs(1), body.frame())
        .await
        .unwrap();
    assert_eq!(event.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
    let retry = service.oneshot(order("k")).await.unwrap();
    assert_eq!(retry.status(), 409);
    assert_eq!(world.runs.count(), 1);
}

/// H-46.
#[tokio::test]
async fn a_response_that_breaks_off_is_a_500_and_frees_the_key() {
    let world = World::new();
    let frames = || vec![data("half"), Err(io::ErrorKind::BrokenPipe.into())];
    let service = streaming(&world, world.layer(), "text/plain", frames);
    for _ in 0..2 {
        let broken = reply(service.clone().oneshot(order("k")).await.unwrap()).await;
        assert_eq!(
            (broken.status.as_u16(), broken.code().as_str()),
            (500, "failed")
        );
    }
    assert_eq!(world.runs.count(), 2);
}

/// H-47.
#[tokio::test]
async fn trailers_come_back_and_extensions_do_not() {
    let world = World::new();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let sent = trailers.clone();
    let frames = move || vec![data("x"), Ok(Frame::trailers(sent.clone()))];
    let service = streaming(&world, world.layer(), "application/grpc", frames);
    for _ in 0..2 {
        let reply = reply(service.clone().oneshot(order("k")).await.unwrap()).await;
        assert_eq!(reply.trailers.as_ref(), Some(&trailers));
    }
    assert_eq!(world.runs.count(), 1);
}

/// The largest body that is kept, of bytes that take the most room in the record.
#[tokio::test]
async fn a_body_of_exactly_the_limit_is_kept_whatever_it_is_made_of() {
    for byte in [0_u8, b'"', b'a', 0xff] {
        let world = World::new();
        let service = world.serving(world.layer(), move |_, _| async move {
            Response::new(Full::from(vec![byte; 1024 * 1024]))
        });
        let first = service.send(order("k")).await;
        assert_eq!(first.header("idempotency-stored"), None);
        let replay = service.send(order("k")).await;
        assert!(replay.is_replayed(), "{byte}");
        assert_eq!(replay.body, first.body);
    }
}
