use std::net::SocketAddr;
use std::time::Duration;

use actix_web::HttpServer;
use actix_web::http::Method;
use crm_api::server;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::app::{Person, TestApp};

const FEED: &str = "/api/notifications/";

/// Ann and Bob in an organization of a database of its own.
async fn two() -> (crm_testkit::Database, Person, Person) {
    let database = crm_testkit::fresh_database().await;
    let ann = TestApp::on(database.db.clone()).await.founder().await;
    let bob = ann.colleague("USER").await;
    (database, ann, bob)
}

impl TestApp {
    /// Serves on a port of its own.
    fn serve(&self) -> SocketAddr {
        let state = self.state.clone();
        let server = HttpServer::new(move || server::app(state.clone(), &[])).workers(1);
        let server = server.bind(("127.0.0.1", 0)).unwrap();
        let address = server.addrs()[0];
        actix_web::rt::spawn(server.run());
        address
    }
}

impl Person {
    /// Gives somebody a lead and has it told.
    async fn give(&self, to: &Self, title: &str) -> String {
        let lead = self.lead(json!({"title": title, "assigned_to": [to.member_id()]})).await;
        self.app.work().await;
        lead["id"].as_str().unwrap().to_owned()
    }

    async fn told(&self) -> Vec<Value> {
        self.get(FEED).await.expect(200)["results"].as_array().unwrap().clone()
    }
}

/// How a body ends.
const LAST_CHUNK: &str = "\r\n0\r\n\r\n";

/// A stream as it comes over the wire.
struct Stream {
    socket: TcpStream,
    text: String,
}

impl Stream {
    async fn open(server: SocketAddr, who: &Person, last: Option<&str>) -> Self {
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {FEED}stream/ HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip, br\r\nAuthorization: Bearer {}\r\n{last}\r\n",
            who.token
        );
        let mut socket = TcpStream::connect(server).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self { socket, text: String::new() };
        stream.until("\r\n\r\n").await;
        stream
    }

    /// What came up to and with `end`.
    async fn until(&mut self, end: &str) -> String {
        let found = async {
            let mut more = true;
            loop {
                if let Some(at) = self.text.find(end) {
                    let rest = self.text.split_off(at + end.len());
                    return std::mem::replace(&mut self.text, rest);
                }
                assert!(more, "the stream ended in {:?}", self.text);
                more = self.read().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), found).await.expect("it comes in time")
    }

    /// The data of the next event of this name, with its id; every other one is passed over.
    async fn event(&mut self, name: &str) -> (Option<String>, Value) {
        let before = self.until(&format!("event: {name}\ndata: ")).await;
        let id = before.rsplit("\n\n").next().unwrap().lines().find_map(|line| line.strip_prefix("id: "));
        let data = self.until("\n\n").await;
        (id.map(str::to_owned), serde_json::from_str(&data).unwrap())
    }

    async fn unread(&mut self) -> Value {
        self.event("unread").await.1["count"].clone()
    }

    /// Everything up to its end.
    async fn rest(mut self) -> String {
        let all = async { while !self.text.ends_with(LAST_CHUNK) && self.read().await {} };
        tokio::time::timeout(Duration::from_secs(30), all).await.expect("it ends in time");
        self.text
    }

    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = self.socket.read(&mut bytes).await.unwrap();
        self.text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        read > 0 && !self.text.ends_with(LAST_CHUNK)
    }
}

#[actix_web::test]
async fn a_stream_tells_what_comes_and_goes_on_where_it_broke_off() {
    let (_database, ann, bob) = two().await;
    let server = ann.app.serve();
    let mut stream = Stream::open(server, &bob, None).await;
    let (nothing, unread) = stream.event("unread").await;
    assert_eq!(unread, json!({"count": 0}));
    ann.give(&bob, "First").await;
    let (first, data) = stream.event("notification").await;
    let told = bob.told().await;
    assert_eq!((&data, data["title"].as_str()), (&told[0], Some("First")), "as in the list");
    assert_eq!(first.as_deref(), told[0]["id"].as_str());
    assert_eq!(stream.unread().await, 1);
    bob.post(&format!("{FEED}{}/read/", first.as_deref().unwrap()), &json!({})).await.expect(204);
    assert_eq!(stream.unread().await, 0, "read in another window");
    drop(stream);

    ann.give(&bob, "Second").await;
    ann.give(&bob, "Third").await;
    // Also when what was told last is gone.
    bob.delete(&format!("{FEED}{}/", first.as_deref().unwrap())).await.expect(204);
    for last in [first, nothing] {
        let mut stream = Stream::open(server, &bob, last.as_deref()).await;
        for title in ["Second", "Third"] {
            assert_eq!(stream.event("notification").await.1["title"], title, "in their order, without a gap");
        }
        let (id, unread) = stream.event("unread").await;
        assert_eq!((id.as_deref(), unread), (bob.told().await[0]["id"].as_str(), json!({"count": 2})));
        assert!(!stream.text.contains("event: notification"), "and once: {}", stream.text);
    }
    let mut fresh = Stream::open(server, &bob, None).await;
    assert_eq!(fresh.unread().await, 2, "who comes without a place begins now");
    let wrong = bob.with(Method::GET, "/api/notifications/stream/", ("last-event-id", "x"), None).await;
    assert_eq!(wrong.problem(400).0, "malformed_request");
}

#[actix_web::test]
async fn a_stream_is_sent_as_it_is() {
    let (_database, ann, bob) = two().await;
    let server = ann.app.serve();
    let mut socket = TcpStream::connect(server).await.unwrap();
    let request = format!(
        "GET {FEED}stream/ HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip, br\r\nAuthorization: Bearer {}\r\n\r\n",
        bob.token
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut stream = Stream { socket, text: String::new() };
    let head = stream.until("\r\n\r\n").await.to_lowercase();
    for line in [
        "http/1.1 200",
        "content-type: text/event-stream",
        "content-encoding: identity",
        "cache-control: no-store",
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
    assert_eq!(stream.unread().await, 0);
    // A signal with nothing behind it, as every heartbeat is.
    wake(&ann, &bob).await;
    stream.until(": nothing new\n\n").await;
    let head = bob.request(Method::HEAD, "/api/notifications/stream/", None).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
}

/// Has a member's streams look, as after a heartbeat.
async fn wake(ann: &Person, whose: &Person) {
    let payload = format!("{}:{}", ann.org["id"].as_str().unwrap(), whose.member_id());
    let signal = ann.app.db.platform(async |p| -> crm_core::Result<()> {
        p.signal("notifications", payload);
        Ok(())
    });
    signal.await.unwrap();
}

#[actix_web::test]
async fn a_stream_ends_for_whoever_is_shut_out_and_for_everybody_at_the_end() {
    let (_database, ann, bob) = two().await;
    let server = ann.app.serve();
    let mut bobs = Stream::open(server, &bob, None).await;
    let mut anns = Stream::open(server, &ann, None).await;
    assert_eq!((bobs.unread().await, anns.unread().await), (json!(0), json!(0)));
    let status = format!("/api/user/{}/status/", bob.member_id());
    ann.post(&status, &json!({"status": "inactive"})).await.expect(200);
    wake(&ann, &bob).await;
    assert_eq!(bobs.event("end").await.1["code"], "unauthenticated");
    bobs.rest().await;
    ann.app.state.live.close();
    let text = anns.rest().await;
    assert!(!text.contains("event:"), "what others were told is none of Ann's business: {text}");
    assert_eq!(ann.get("/api/notifications/stream/").await.problem(503).0, "unavailable");
}

#[actix_web::test]
async fn a_member_has_five_streams() {
    let (_database, ann, bob) = two().await;
    let server = ann.app.serve();
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = Stream::open(server, &bob, None).await;
        assert_eq!(stream.unread().await, 0);
        streams.push(stream);
    }
    let refused = bob.get("/api/notifications/stream/").await;
    assert_eq!(refused.header("retry-after"), "15");
    assert_eq!(refused.problem(429).0, "too_many_requests");
    assert_eq!(Stream::open(server, &ann, None).await.unread().await, 0, "others have their own");
}

#[actix_web::test]
async fn only_ones_own_notifications_are_there() {
    let (_database, ann, bob) = two().await;
    let eve = ann.app.founder().await;
    ann.give(&bob, "Given").await;
    let id = bob.told().await[0]["id"].as_str().unwrap().to_owned();
    let unknown = "0190b5a0-0000-7000-8000-00000000dead";
    for stranger in [&ann, &eve] {
        assert_eq!(stranger.told().await, [] as [Value; 0]);
        for (method, path) in [(Method::POST, "read/"), (Method::DELETE, "")] {
            let theirs = stranger.request(method.clone(), &format!("{FEED}{id}/{path}"), None).await;
            let nowhere = stranger.request(method, &format!("{FEED}{unknown}/{path}"), None).await;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            assert_eq!((theirs.status, nowhere.status), (404, 404));
            assert_eq!(text(&theirs.bytes).replace(&id, unknown), text(&nowhere.bytes));
        }
        stranger.request(Method::POST, &format!("{FEED}read-all/"), None).await.expect(204);
    }
    let unread = async || bob.get(&format!("{FEED}unread-count/")).await.expect(200)["count"].clone();
    assert_eq!(unread().await, 1);
    let page =
        bob.get(&format!("{FEED}?read_at__isnull=true&count=true&expand=created_by")).await.expect(200);
    assert_eq!((&page["count"], &page["results"][0]["created_by"]["email"]), (&json!(1), &json!(ann.email)));
    assert_eq!(bob.get(&format!("{FEED}?verb=assined")).await.problem(400).1, ["verb"]);
    assert_eq!(bob.get(&format!("{FEED}?recipient_id={id}")).await.problem(400).1, ["recipient_id"]);
    let read_all = async |body: Value| bob.post(&format!("{FEED}read-all/"), &body).await;
    for (body, status, field) in [
        (json!({"before": "yesterday"}), 422, "before"),
        (json!({"before": "-200000-01-01T00:00:00Z"}), 422, "before"),
        (json!({"after": null}), 400, "after"),
    ] {
        assert_eq!(read_all(body).await.problem(status).1, [field]);
    }
    read_all(json!({"before": "2026-01-01T00:00:00Z"})).await.expect(204);
    assert_eq!(unread().await, 1);
    read_all(json!({})).await.expect(204);
    assert_eq!(unread().await, 0);
    bob.delete(&format!("{FEED}{id}/")).await.expect(204);
    assert_eq!(bob.delete(&format!("{FEED}{id}/")).await.problem(404).0, "not_found");
}

#[actix_web::test]
async fn a_record_can_be_followed_by_whoever_sees_it() {
    let (_database, ann, bob) = two().await;
    let lead = ann.lead(json!({"title": "Followed"})).await;
    let lead = lead["id"].as_str().unwrap();
    let at = format!("/api/leads/{lead}/follow/");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        assert_eq!(bob.request(method, &at, None).await.problem(404).0, "not_found");
    }
    assert_eq!(ann.get(&at).await.expect(200), json!({"following": true, "followers": [ann.member["id"]]}));
    ann.patch(&format!("/api/leads/{lead}/"), &json!({"assigned_to": [bob.member_id()]})).await.expect(200);
    ann.delete(&at).await.expect(204);
    assert_eq!(ann.get(&at).await.expect(200), json!({"following": false, "followers": [bob.member["id"]]}));
    bob.post(&format!("/api/leads/comment/{lead}/"), &json!({"comment": "Hello?"})).await.expect(201);
    ann.app.work().await;
    assert_eq!(ann.told().await, [] as [Value; 0]);
    ann.put(&at, &Value::Null).await.expect(204);
    bob.post(&format!("/api/leads/comment/{lead}/"), &json!({"comment": "Anybody?"})).await.expect(201);
    ann.app.work().await;
    assert_eq!(ann.told().await[0]["data"]["excerpt"], "Anybody?");
}

#[actix_web::test]
async fn everybody_says_how_they_are_told() {
    let (_database, ann, bob) = two().await;
    let at = format!("{FEED}preferences/");
    let change = json!({"verbs": {"assigned": {"in_app": false, "mail": false}}, "digest": "daily"});
    let changed = bob.patch(&at, &change).await.expect(200);
    assert_eq!(changed, bob.get(&at).await.expect(200));
    assert_eq!((&changed["digest"], &changed["digest_hour"]), (&json!("daily"), &json!(8)));
    assert_eq!(ann.get(&at).await.expect(200)["digest"], "off");
    ann.give(&bob, "Silently").await;
    assert_eq!(bob.told().await, [] as [Value; 0]);
    for (body, status, field) in [
        (json!({"verbs": {"asigned": {}}}), 400, "verbs.asigned"),
        (json!({"digest": "hourly"}), 422, "digest"),
        (json!({"digest_hour": 24}), 422, "digest_hour"),
    ] {
        assert_eq!(bob.patch(&at, &body).await.problem(status).1, [field], "{body}");
    }
}
