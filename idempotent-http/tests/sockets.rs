//! Clients that go away, stall and lie, over real sockets.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap like tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use idempotent_core::{Engine, MemoryStore};
use idempotent_http::{IdempotencyLayer, Scope};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// How long a handler takes.
const HANDLING: Duration = Duration::from_millis(600);
/// When a client goes away.
const GONE: Duration = Duration::from_millis(200);

struct Shop {
    address: SocketAddr,
    layer: IdempotencyLayer,
    orders: Arc<AtomicU32>,
}

impl Shop {
    async fn open() -> Self {
        let orders = Arc::new(AtomicU32::new(0));
        let layer = IdempotencyLayer::builder(Engine::new(MemoryStore::new()))
            .scope(|_| Some(Scope::new("everybody")))
            .max_request_body(1000)
            .upload_timeout(Duration::from_secs(1))
            .build()
            .unwrap();
        let create = async |State(orders): State<Arc<AtomicU32>>, body: Bytes| {
            sleep(HANDLING).await;
            let order = orders.fetch_add(1, Ordering::SeqCst) + 1;
            format!("order {order} of {} bytes", body.len())
        };
        let router = Router::new()
            .route("/orders", post(create))
            .route_layer(layer.clone())
            .with_state(Arc::clone(&orders));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            layer,
            orders,
        }
    }

    fn orders(&self) -> u32 {
        self.orders.load(Ordering::SeqCst)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `text` over a connection of its own, and reads until the server closes it.
    async fn say(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        read(&mut stream).await
    }

    async fn order(&self, key: &str) -> String {
        self.say(&request(&format!("idempotency-key: {key}\r\n")))
            .await
    }
}

async fn read(stream: &mut TcpStream) -> String {
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply);
    _ = timeout(Duration::from_secs(10), read)
        .await
        .expect("the server answers, and closes");
    String::from_utf8(reply).unwrap()
}

fn request(headers: &str) -> String {
    format!(
        "POST /orders HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 3\r\n{headers}\r\ntea"
    )
}

/// How a client goes away.
#[derive(Clone, Copy, Debug)]
enum Leave {
    Fin,
    HalfClose,
    Reset,
}

impl Leave {
    async fn by(self, mut stream: TcpStream) -> Option<TcpStream> {
        match self {
            Self::Fin => None,
            Self::HalfClose => {
                stream.shutdown().await.unwrap();
                Some(stream)
            }
            Self::Reset => {
                stream.set_zero_linger().unwrap();
                None
            }
        }
    }
}

/// H-31. The control is the same handler without a key: it is cut off in the middle, so that the test
/// would notice one that is not detached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_stops_nothing() {
    for leave in [Leave::Fin, Leave::HalfClose, Leave::Reset] {
        let shop = Shop::open().await;
        for (headers, orders) in [("", 0), ("idempotency-key: k\r\n", 1)] {
            let mut stream = shop.connect().await;
            let text = request(headers).replace("connection: close\r\n", "");
            stream.write_all(text.as_bytes()).await.unwrap();
            sleep(GONE).await;
            let open = leave.by(stream).await;
            sleep(HANDLING * 2).await;
            assert_eq!(shop.orders(), orders, "{leave:?} {headers:?}");
            drop(open);
        }
        let retry = shop.order("k").await;
        assert!(retry.contains("idempotent-replayed: true"), "{retry}");
        assert!(retry.ends_with("order 1 of 3 bytes"), "{retry}");
        assert_eq!(shop.orders(), 1);
    }
}

/// H-31.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_reset_stops_nothing() {
    let shop = Shop::open().await;
    let (mut client, connection) = {
        let io = TokioIo::new(shop.connect().await);
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .unwrap()
    };
    tokio::spawn(connection);
    let order = |key: Option<&str>| {
        let mut request = http::Request::post(format!("http://{}/orders", shop.address));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        request.body(Full::<Bytes>::from("tea")).unwrap()
    };
    for (key, orders) in [(None, 0), (Some("k"), 1)] {
        let response = client.send_request(order(key));
        assert!(
            timeout(GONE, response).await.is_err(),
            "dropped, which resets the stream"
        );
        sleep(HANDLING * 2).await;
        assert_eq!(shop.orders(), orders, "{key:?}");
    }
    let retry = client.send_request(order(Some("k"))).await.unwrap();
    assert_eq!(retry.headers()["idempotent-replayed"], "true");
    assert_eq!(retry.headers()["content-length"], "18");
    let body = retry.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "order 1 of 3 bytes");
}

/// H-35.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_layer_has_handled_those_whose_clients_left() {
    let shop = Shop::open().await;
    let mut stream = shop.connect().await;
    let text = request("idempotency-key: k\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    sleep(GONE).await;
    drop(stream);
    assert_eq!(shop.orders(), 0);
    timeout(HANDLING * 4, shop.layer.drained()).await.unwrap();
    assert_eq!(shop.orders(), 1);
}

/// H-26: of what was promised, half comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_body_orders_nothing() {
    let shop = Shop::open().await;
    for head in [
        "content-length: 10\r\n\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut stream = shop.connect().await;
        let text = format!("POST /orders HTTP/1.1\r\nhost: shop\r\nidempotency-key: k\r\n{head}");
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        read(&mut stream).await;
    }
    sleep(HANDLING * 2).await;
    assert_eq!(shop.orders(), 0);
    assert!(shop.order("k").await.ends_with("order 1 of 3 bytes"));
}

/// A client that stalls neither holds the key nor stays for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_stalls_blocks_nobody_and_ends() {
    let shop = Shop::open().await;
    let mut stalled = shop.connect().await;
    let text = "POST /orders HTTP/1.1\r\nhost: shop\r\nidempotency-key: k\r\ncontent-length: 10\r\n\r\nhalf";
    stalled.write_all(text.as_bytes()).await.unwrap();
    assert!(shop.order("k").await.ends_with("order 1 of 3 bytes"));
    let mut reply = vec![0; 1000];
    let read = timeout(Duration::from_secs(10), stalled.read(&mut reply))
        .await
        .unwrap()
        .unwrap();
    let reply = str::from_utf8(&reply[..read]).unwrap();
    assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
    assert_eq!(shop.orders(), 1);
}

/// More bytes than were declared are not part of the order, and not another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_beyond_the_declared_length_order_nothing() {
    let shop = Shop::open().await;
    let lie = request("idempotency-key: k\r\n").replace("connection: close\r\n", "") + " and more";
    let reply = shop.say(&lie).await;
    assert!(reply.contains("order 1 of 3 bytes"), "{reply}");
    assert_eq!(shop.orders(), 1);
}

/// H-25, H-27.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_before_it_sends_is_told() {
    let shop = Shop::open().await;
    let head = |length: usize| {
        format!(
            "POST /orders HTTP/1.1\r\nhost: shop\r\nconnection: close\r\nidempotency-key: k\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let refused = shop.say(&head(1001)).await;
    assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
    let mut stream = shop.connect().await;
    stream.write_all(head(3).as_bytes()).await.unwrap();
    let mut line = vec![0; 100];
    let read_bytes = stream.read(&mut line).await.unwrap();
    assert!(line[..read_bytes].starts_with(b"HTTP/1.1 100 Continue"));
    stream.write_all(b"tea").await.unwrap();
    assert!(read(&mut stream).await.ends_with("order 1 of 3 bytes"));
}

/// H-42: what hyper adds is added anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_has_a_date_and_a_length_of_its_own() {
    let shop = Shop::open().await;
    let first = shop.order("k").await;
    let replay = shop.order("k").await;
    for reply in [&first, &replay] {
        assert_eq!(reply.matches("\r\ndate: ").count(), 1, "{reply}");
        assert_eq!(
            reply.matches("\r\ncontent-length: 18\r\n").count(),
            1,
            "{reply}"
        );
    }
}
