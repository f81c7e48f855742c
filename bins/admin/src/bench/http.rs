//! A client that costs little: blocking, one connection a thread, no more of HTTP than the server under test answers with.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// Nobody waits longer for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The server under test and whose token is presented.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Host and port.
    pub(super) address: String,
    /// Empty for nobody's.
    pub(super) token: String,
}

impl Target {
    pub(super) fn get(&self, path: &str) -> Vec<u8> {
        self.request("GET", path, "")
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Vec<u8> {
        self.request("POST", path, &body.to_string())
    }

    /// A file as the part `file` of a form.
    pub(super) fn upload(&self, path: &str, name: &str, file: &[u8]) -> Vec<u8> {
        const BOUNDARY: &str = "a-line-that-no-file-of-ours-has";
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: text/csv\r\n\r\n"
        );
        let body = [head.as_bytes(), file, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat();
        self.written("POST", path, &format!("multipart/form-data; boundary={BOUNDARY}"), &body)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        self.written(method, path, "application/json", body.as_bytes())
    }

    fn written(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> Vec<u8> {
        let Self { address, token } = self;
        let authorization =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Accept-Encoding: identity\r\n\
             Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(&self.address)
            .with_context(|| format!("nothing answers at {}: start crm-api, or set --url", self.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Connection { stream: BufReader::with_capacity(1 << 16, stream), body: Vec::new() })
    }
}

/// A connection that is kept.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Connection {
    /// Sends a request and reads the whole answer, which has to be a success.
    pub(super) fn ask(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.stream.get_mut().write_all(request)?;
        let status = self.line()?;
        let mut length = None;
        loop {
            let header = self.line()?;
            match header.split_once(':') {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok()
                }
                Some(_) => {}
            }
        }
        self.body.resize(length.context("an answer without its length")?, 0);
        self.stream.read_exact(&mut self.body)?;
        if !status.starts_with("HTTP/1.1 2") {
            bail!("{status}: {}", String::from_utf8_lossy(&self.body));
        }
        Ok(&self.body)
    }

    /// The same for an answer in JSON.
    pub(super) fn ask_json(&mut self, request: &[u8]) -> Result<Value> {
        Ok(serde_json::from_slice(self.ask(request)?)?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the server closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }
}

/// How many requests were answered, and how long each took.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) per_second: f64,
    /// In order.
    latencies: Vec<Duration>,
}

impl Measured {
    fn new(mut latencies: Vec<Duration>, time: Duration) -> Self {
        latencies.sort_unstable();
        Self { per_second: latencies.len() as f64 / time.as_secs_f64(), latencies }
    }

    /// The latency that so many percent of the answers did not exceed, in milliseconds.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.latencies.len() * percent).div_ceil(100).saturating_sub(1);
        self.latencies.get(rank).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

/// Sends what `requests` answers for 0, 1, 2, … over so many connections, first to warm up and then measured.
pub(super) fn load(
    target: &Target,
    connections: u64,
    warm_up: Duration,
    time: Duration,
    requests: impl Fn(u64) -> Vec<u8> + Sync,
) -> Result<Measured> {
    let failed = AtomicBool::new(false);
    let worker = |number: u64| -> Result<Vec<Duration>> {
        let mut connection = target.connect()?;
        let (begin, mut latencies) = (Instant::now() + warm_up, Vec::new());
        for turn in 0.. {
            let request = requests(turn * connections + number);
            let sent = Instant::now();
            if sent >= begin + time || failed.load(Ordering::Relaxed) {
                break;
            }
            connection.ask(&request)?;
            if sent >= begin {
                latencies.push(sent.elapsed());
            }
        }
        Ok(latencies)
    };
    let worker = |number| worker(number).inspect_err(|_| failed.store(true, Ordering::Relaxed));
    let latencies = thread::scope(|scope| {
        let running: Vec<_> = (0..connections).map(|number| scope.spawn(move || worker(number))).collect();
        let joined =
            running.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread broke off"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    Ok(Measured::new(latencies.concat(), time))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers each request of each connection with the same bytes.
    fn server(answer: &'static str) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream.unwrap());
                    let mut line = String::new();
                    while stream.read_line(&mut line).unwrap() > 0 {
                        if line == "\r\n" && stream.get_mut().write_all(answer.as_bytes()).is_err() {
                            break;
                        }
                        line.clear();
                    }
                });
            }
        });
        Target { address, token: String::new() }
    }

    #[test]
    fn answers_are_read_whole_on_one_connection() {
        let target = server("HTTP/1.1 200 OK\r\ncontent-length: 7\r\nX: y\r\n\r\n{\"a\":1}");
        let mut connection = target.connect().unwrap();
        for _ in 0..3 {
            assert_eq!(connection.ask_json(&target.get("/")).unwrap()["a"], 1);
        }
    }

    #[test]
    fn a_refusal_is_an_error() {
        let target = server("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope");
        let error = target.connect().unwrap().ask(&target.get("/")).unwrap_err().to_string();
        assert_eq!(error, "HTTP/1.1 404 Not Found: nope");
        let (none, short) = (Duration::ZERO, Duration::from_millis(50));
        assert!(load(&target, 2, none, short, |_| target.get("/")).is_err());
    }

    #[test]
    fn a_load_is_measured() {
        let target = server("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n");
        let (none, short) = (Duration::ZERO, Duration::from_millis(50));
        let measured = load(&target, 2, none, short, |_| target.get("/")).unwrap();
        assert!(measured.per_second > 0.0 && measured.percentile(50) <= measured.percentile(99));
    }

    #[test]
    fn percentiles_are_those_of_the_list() {
        let latencies = (1..=200).rev().map(Duration::from_millis).collect();
        let measured = Measured::new(latencies, Duration::from_secs(2));
        let figures = [50, 95, 99, 100].map(|percent| measured.percentile(percent));
        assert_eq!((measured.per_second, figures), (100.0, [100.0, 190.0, 198.0, 200.0]));
        assert_eq!(Measured::default().percentile(99), 0.0);
    }
}
