use std::sync::Arc;
use std::time::{Duration, Instant};

use crm_webhooks::WebhookSettings;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{Bench, Fixed, settings};

/// The only attempt of the only delivery, made now.
async fn attempt(bench: &Bench, webhook: Uuid) -> Value {
    bench.event().await;
    bench.work_off().await;
    let mut attempts = bench.deliveries(webhook).await.pop().unwrap().attempts;
    assert_eq!(attempts.as_array().unwrap().len(), 1);
    attempts[0].take()
}

/// A receiver that does what `answer` does with each connection, and the end of it.
async fn raw<A: Future<Output = ()> + Send + 'static>(
    answer: impl Fn(TcpStream) -> A + Send + 'static,
) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        answer(stream).await;
    });
    (url, serving)
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let bench = Bench::new().await;
    let [inner, outer] = [MockServer::start().await, MockServer::start().await];
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&inner).await;
    for (status, reason) in
        [(301, "Moved Permanently"), (302, "Found"), (307, "Temporary Redirect"), (308, "Permanent Redirect")]
    {
        outer.reset().await;
        let answer = ResponseTemplate::new(status).insert_header("location", inner.uri());
        Mock::given(any()).respond_with(answer).mount(&outer).await;
        let (id, _) = bench.webhook(&outer.uri(), &["tag.*"]).await;
        let attempt = attempt(&bench, id).await;
        assert_eq!(attempt["status"], status);
        assert_eq!(attempt["error"], format!("{status} {reason}: redirects are not followed"));
        bench.patch(id, json!({"is_active": false})).await.unwrap();
    }
    assert_eq!(inner.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_name_that_means_this_machine_is_not_connected_to() {
    for ip in ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.1"] {
        let server = MockServer::start().await;
        let names = Arc::new(Fixed(ip.parse().unwrap()));
        let bench = Bench::new().await.under(WebhookSettings { names, ..settings(false) });
        let url = format!("https://receiver.example:{}/", server.address().port());
        let (id, _) = bench.webhook(&url, &["tag.*"]).await;
        let attempt = attempt(&bench, id).await;
        assert_eq!(
            (&attempt["status"], &attempt["error"]),
            (&Value::Null, &json!("the host has no public address")),
            "{ip}"
        );
        assert_eq!(server.received_requests().await.unwrap().len(), 0);
    }
    let (url, serving) = raw(|_| async {}).await;
    let names = Arc::new(Fixed("127.0.0.1".parse().unwrap()));
    let bench = Bench::new().await.under(WebhookSettings { names, ..settings(true) });
    let url = url.replace("http://127.0.0.1", "https://receiver.example");
    let (id, _) = bench.webhook(&url, &["tag.*"]).await;
    let error = attempt(&bench, id).await["error"].take();
    assert!(
        error.as_str().unwrap().starts_with("can't connect: "),
        "where it is allowed it is tried: {error}"
    );
    serving.await.unwrap();
}

#[tokio::test]
async fn a_private_address_that_is_stored_already_is_not_connected_to() {
    let bench = Bench::new().await;
    let server = MockServer::start().await;
    let (plain, _) = bench.webhook(&server.uri(), &["tag.*"]).await;
    let (literal, _) =
        bench.webhook(&format!("https://127.0.0.1:{}/", server.address().port()), &["tag.*"]).await;
    let bench = bench.under(settings(false));
    bench.event().await;
    bench.work_off().await;
    for (id, error) in
        [(plain, "the URL must begin with https://"), (literal, "the URL must lead to a public address")]
    {
        assert_eq!(bench.delivery(id).await.attempts[0]["error"], error);
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_slow_receiver_is_given_up() {
    let bench = Bench::new().await;
    let server = MockServer::start().await;
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(60));
    Mock::given(any()).respond_with(slow).mount(&server).await;
    let (id, _) = bench.webhook(&server.uri(), &["tag.*"]).await;
    let attempt = attempt(&bench, id).await;
    assert_eq!(attempt["error"], "no answer within 0.5 seconds");
    let duration = attempt["duration_ms"].as_u64().unwrap();
    assert!((500..5000).contains(&duration), "{duration}");
}

#[tokio::test]
async fn an_answer_that_never_ends_is_not_read_to_the_end() {
    let bench = Bench::new().await;
    let (url, serving) = raw(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\na\tb\0").await.unwrap();
        let started = Instant::now();
        while stream.write_all(&[b'x'; 8192]).await.is_ok() {
            assert!(started.elapsed() < Duration::from_secs(20), "nobody hung up");
        }
    })
    .await;
    let (id, _) = bench.webhook(&url, &["tag.*"]).await;
    let seen = attempt(&bench, id).await;
    assert_eq!((&seen["status"], &seen["error"]), (&json!(200), &Value::Null));
    assert_eq!(seen["response"], format!("ab{}", "x".repeat(998)));
    serving.await.unwrap();
}

#[tokio::test]
async fn an_answer_that_stops_half_way_counts_by_its_status() {
    let bench = Bench::new().await;
    let (url, serving) = raw(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
        let mut rest = [0; 1];
        assert_eq!(stream.read(&mut rest).await.unwrap_or(0), 0, "the other side hangs up");
    })
    .await;
    let (id, _) = bench.webhook(&url, &["tag.*"]).await;
    let seen = attempt(&bench, id).await;
    assert_eq!((&seen["status"], &seen["response"]), (&json!(200), &json!("half")));
    assert!(seen["duration_ms"].as_u64().unwrap() < 5000);
    serving.await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_said_without_the_url() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?key=secret", listener.local_addr().unwrap());
    drop(listener);
    let (id, _) = bench.webhook(&url, &["tag.*"]).await;
    let error = attempt(&bench, id).await["error"].take();
    let error = error.as_str().unwrap();
    assert!(error.starts_with("can't connect: ") && !error.contains("secret"), "{error}");
}
