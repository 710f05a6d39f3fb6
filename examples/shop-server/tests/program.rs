//! The program, over real sockets: killed, doubled, stopped, and without its store.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap like tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

const TEA: &str = r#"{"item":"tea"}"#;
/// Short, so that a test need not wait long.
const LEASE: Duration = Duration::from_secs(2);

/// A running shop, which is killed when it is dropped.
struct Shop {
    address: SocketAddr,
    process: Child,
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Shop {
    fn open(folder: &Path, args: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_shop-server"))
            .args(["--listen=127.0.0.1:0", "--lease=2s"])
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().rsplit('/').next().unwrap().parse().unwrap();
        Self { address, process }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends the beginning of something that is not waited for.
    fn begin(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        stream
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let mut text = String::new();
        let mut stream = self.begin(method, path, headers, body);
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    fn order(&self, key: &str, headers: &str) -> Reply {
        let headers = format!("idempotency-key: {key}\r\n{headers}");
        self.send("POST", "/api", &headers, TEA)
    }

    fn customer(&self, key: &str, form: &str) -> Reply {
        let headers = format!(
            "idempotency-key: {key}\r\nauthorization: Bearer sk_test\r\ncontent-type: application/x-www-form-urlencoded\r\n"
        );
        self.send("POST", "/v1/customers", &headers, form)
    }

    fn count(&self, headers: &str) -> Value {
        self.send("GET", "/__orders", headers, "").json()["count"].clone()
    }

    fn switch(&self, is_down: bool) {
        let json = "content-type: application/json\r\n";
        let body = json!({ "down": is_down }).to_string();
        assert_eq!(self.send("POST", "/__store", json, &body).status, 200);
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn code(&self) -> Value {
        self.json()["code"].clone()
    }

    fn is_replayed(&self) -> bool {
        self.head.contains("\r\nidempotent-replayed: true")
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_client_sees_what_the_readme_says() {
    let folder = folder();
    let shop = Shop::open(folder.path(), &["--require-key"]);
    let first = shop.order("k1", "");
    assert_eq!(first.status, 201, "{}", first.body);
    assert!(!first.is_replayed());
    let replay = shop.order("k1", "");
    assert!(replay.is_replayed());
    assert_eq!((replay.status, &replay.body), (201, &first.body));
    let key = "idempotency-key: k1\r\n";
    let other = shop.send("POST", "/api", key, r#"{"item":"coffee"}"#);
    assert_eq!((other.status, other.code()), (422, json!("mismatch")));

    let slow = "idempotency-key: k2\r\nx-test-delay-ms: 1000\r\n";
    let mut running = shop.begin("POST", "/api", slow, TEA);
    sleep(Duration::from_millis(300));
    let busy = shop.order("k2", "");
    assert_eq!((busy.status, busy.code()), (409, json!("in-progress")));
    assert!(busy.head.contains("\r\nretry-after: "), "{}", busy.head);
    running.read_to_string(&mut String::new()).unwrap();
    assert!(shop.order("k2", "").is_replayed());

    let missing = shop.send("POST", "/api", "", TEA);
    assert_eq!(
        (missing.status, missing.code()),
        (400, json!("missing-key"))
    );
    assert_eq!(shop.order("a,b", "").code(), json!("invalid-key"));
    assert_eq!(shop.order("k1", "x-tenant: bob\r\n").status, 201);
    assert_eq!(shop.order("k1", "authorization: Bearer t\r\n").status, 201);
    assert_eq!(shop.order("k1", "authorization: Basic t\r\n").status, 401);
    assert_eq!(shop.order("k1", "x-tenant: \r\n").status, 401);
    assert_eq!(shop.order("k1", "authorization: Bearer \r\n").status, 401);
    assert_eq!(shop.send("PUT", "/api", key, TEA).status, 405);
    assert_eq!(shop.count(""), 2);
    assert_eq!(shop.count("x-tenant: bob\r\n"), 1);
    let listed = shop.send("GET", "/api", "", "").json();
    assert_eq!(listed["orders"][0]["id"], first.json()["id"]);
    let openapi = shop.send("GET", "/openapi.json", "", "").json();
    assert!(openapi["paths"]["/api"]["patch"].is_object());
}

#[test]
fn with_wait_a_retry_gets_the_first_response() {
    let folder = folder();
    let shop = Shop::open(folder.path(), &["--wait=10s"]);
    let slow = "idempotency-key: k\r\nx-test-delay-ms: 1000\r\n";
    let _running = shop.begin("POST", "/api", slow, TEA);
    sleep(Duration::from_millis(300));
    let waited = shop.order("k", "");
    assert_eq!((waited.status, waited.is_replayed()), (201, true));
    assert_eq!(shop.count(""), 1);
}

/// Kills the shop before its order is made, and after, and sends the order again to its successor.
fn killed_in_mid_request(store: &[&str]) {
    for delay in ["x-test-delay-ms", "x-test-delay-after-ms"] {
        let folder = folder();
        // One caller for each, where both have one store.
        let caller = format!("x-tenant: {}\r\n", delay.replace('-', ""));
        let shop = Shop::open(folder.path(), store);
        let slow = format!("idempotency-key: k\r\n{caller}{delay}: 5000\r\n");
        let _running = shop.begin("POST", "/api", &slow, TEA);
        sleep(Duration::from_millis(700));
        let made = u32::from(delay == "x-test-delay-after-ms");
        assert_eq!(shop.count(&caller), made, "{delay}");
        shop.kill();

        let shop = Shop::open(folder.path(), store);
        assert_eq!(shop.order("k", &caller).code(), "in-progress", "{delay}");
        sleep(LEASE + Duration::from_millis(500));
        let retry = shop.order("k", &caller);
        assert_eq!(retry.status, 201, "{delay}: {}", retry.body);
        assert_eq!(retry.json()["attempt"], 2, "{delay}");
        assert_eq!(shop.count(&caller), 1, "{delay}");
        let again = shop.order("k", &caller);
        assert!(again.is_replayed());
        assert_eq!(again.body, retry.body);
        println!(
            "killed with {made} orders made: 409, then {} {}, 1 order",
            retry.status, retry.body
        );
    }
}

#[test]
fn a_kill_in_mid_request_makes_one_order_with_a_file() {
    killed_in_mid_request(&[]);
}

#[cfg(feature = "redis")]
#[test]
fn a_kill_in_mid_request_makes_one_order_with_redis() {
    let server = idempotent_testkit::server::RedisServer::start().unwrap();
    killed_in_mid_request(&["--store", server.url()]);
}

#[test]
fn two_processes_with_one_store_make_one_order() {
    let folder = folder();
    let shops = [
        Shop::open(folder.path(), &[]),
        Shop::open(folder.path(), &[]),
    ];
    let replies: Vec<Reply> = thread::scope(|scope| {
        let send = |number: usize| {
            let shop = &shops[number % 2];
            scope.spawn(move || shop.order("k", "x-test-delay-ms: 200\r\n"))
        };
        let calls: Vec<_> = (0..50).map(send).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let made = replies
        .iter()
        .filter(|reply| reply.status == 201 && !reply.is_replayed());
    assert_eq!(made.count(), 1);
    for reply in &replies {
        assert!(
            reply.status == 201 || reply.code() == "in-progress",
            "{}",
            reply.body
        );
    }
    for shop in &shops {
        assert!(shop.order("k", "").is_replayed());
        assert_eq!(shop.count(""), 1);
    }
}

/// The client is gone, and the process is told to stop: it ends when the order is recorded.
#[cfg(unix)]
#[test]
fn a_graceful_end_waits_for_an_order_whose_client_has_left() {
    let folder = folder();
    let mut shop = Shop::open(folder.path(), &[]);
    let slow = "idempotency-key: k\r\nx-test-delay-ms: 1500\r\n";
    let running = shop.begin("POST", "/api", slow, TEA);
    sleep(Duration::from_millis(300));
    running.shutdown(Shutdown::Both).unwrap();
    drop(running);
    let id = shop.process.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    assert!(shop.process.wait().unwrap().success());
    let shop = Shop::open(folder.path(), &[]);
    assert!(shop.order("k", "").is_replayed());
    assert_eq!(shop.count(""), 1);
}

#[test]
fn without_its_store_the_shop_sells_nothing() {
    let folder = folder();
    let shop = Shop::open(folder.path(), &[]);
    shop.switch(true);
    let refused = shop.order("k", "");
    assert_eq!((refused.status, refused.code()), (503, json!("store")));
    assert_eq!(shop.count(""), 0);
    shop.switch(false);
    assert_eq!(shop.order("k", "").status, 201);
    assert_eq!(shop.count(""), 1);
}

#[test]
fn customers_are_made_as_stripe_makes_them() {
    let folder = folder();
    let shop = Shop::open(folder.path(), &[]);
    let form = "name=Ada&metadata[a]=1";
    let first = shop.customer("k1", form);
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(first.json()["metadata"]["a"], "1");
    assert!(first.head.contains("\r\nidempotency-key: k1"));
    let replay = shop.customer("k1", form);
    assert!(replay.is_replayed());
    assert_eq!(replay.body, first.body);
    let mismatch = shop.customer("k1", "name=Bob");
    assert_eq!(mismatch.status, 400);
    assert_eq!(mismatch.json()["error"]["type"], "idempotency_error");

    let invalid = shop.customer("k2", "email=nobody");
    assert_eq!(invalid.status, 400);
    assert_eq!(
        shop.customer("k2", "email=a%40b").status,
        200,
        "nothing had begun"
    );

    let failed = shop.customer("k3", "name=fail500");
    let again = shop.customer("k3", "name=fail500");
    assert_eq!((failed.status, again.status), (500, 500));
    assert!(!failed.is_replayed() && again.is_replayed());
    for reply in [&failed, &again] {
        assert!(reply.head.contains("\r\nstripe-should-retry: false"));
    }
    let slow = "name=Slow&metadata[sleep_ms]=1000";
    let headers = "idempotency-key: k4\r\nauthorization: Bearer sk_test\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    let _running = shop.begin("POST", "/v1/customers", headers, slow);
    sleep(Duration::from_millis(300));
    let busy = shop.customer("k4", slow);
    assert_eq!(busy.status, 409);
    assert_eq!(busy.json()["error"]["code"], "idempotency_key_in_use");
    sleep(Duration::from_secs(1));
    assert!(shop.customer("k4", slow).is_replayed());
    assert_eq!(shop.count("authorization: Bearer sk_test\r\n"), 4);
}

#[test]
fn a_forged_event_takes_no_key_and_a_signed_one_counts_once() {
    use hmac::{Hmac, KeyInit, Mac};

    let folder = folder();
    let shop = Shop::open(folder.path(), &["--webhook-secret=whsec"]);
    let event = r#"{"id":"evt_1","type":"charge.succeeded"}"#;
    let send = |secret: &str, time: u64| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{time}.{event}").as_bytes());
        let digest = mac.finalize().into_bytes();
        let digest = digest
            .iter()
            .fold(String::new(), |digest, byte| format!("{digest}{byte:02x}"));
        let headers =
            format!("content-type: application/json\r\nstripe-signature: t={time},v1={digest}\r\n");
        shop.send("POST", "/webhooks/stripe", &headers, event)
    };
    #[expect(clippy::disallowed_methods, reason = "a sender's clock is on the wall")]
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(send("forged", now).status, 400);
    assert_eq!(send("whsec", now - 1000).status, 400, "a recording");
    assert_eq!(send("whsec", now).status, 204);
    let again = send("whsec", now + 1);
    assert_eq!((again.status, again.is_replayed()), (204, true));
    assert_eq!(shop.send("GET", "/__events", "", "").json()["count"], 1);
}
