//! Encrypted conversations: the server's certificate is verified, and nothing is said in the clear.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use crm_mail::{Error, Message, Template};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use crate::smtp::mailer;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name)
}

fn config() -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_file(file("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

/// A server that takes one mail after another, encrypted from the start or after STARTTLS.
fn server(implicit: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = config();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let config = config.clone();
            thread::spawn(move || serve(connection.unwrap(), config, implicit));
        }
    });
    address
}

fn serve(mut connection: TcpStream, config: Arc<ServerConfig>, implicit: bool) -> std::io::Result<()> {
    if !implicit {
        connection.write_all(b"220 test server\r\n")?;
        let mut lines = BufReader::new(connection.try_clone()?).lines();
        // Whoever says anything else in the clear is hung up on.
        assert!(lines.next().unwrap()?.starts_with("EHLO"));
        connection.write_all(b"250-test server\r\n250 STARTTLS\r\n")?;
        assert_eq!(lines.next().unwrap()?, "STARTTLS");
        connection.write_all(b"220 go on\r\n")?;
    }
    let tls = ServerConnection::new(config).unwrap();
    converse(BufReader::new(StreamOwned::new(tls, connection)), implicit)
}

fn converse(mut stream: BufReader<impl Read + Write>, greets: bool) -> std::io::Result<()> {
    if greets {
        stream.get_mut().write_all(b"220 test server\r\n")?;
    }
    let mut line = String::new();
    let mut in_content = false;
    while stream.read_line(&mut line)? > 0 {
        let said = std::mem::take(&mut line);
        let answer = match said.split_whitespace().next().unwrap_or_default() {
            _ if in_content && said != ".\r\n" => continue,
            "EHLO" => "250-test server\r\n250 AUTH PLAIN",
            "AUTH" => "235 welcome",
            "DATA" => "354 go on",
            _ => "250 fine",
        };
        in_content = answer.starts_with("354");
        stream.get_mut().write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}

fn message() -> Message {
    Message::new("bob@example.org", Template::MembershipRemoved, json!({"org_name": "Acme", "name": "Bob"}))
}

fn urls() -> [String; 2] {
    let [implicit, upgraded] = [true, false].map(server);
    [format!("smtps://ann:secret@{implicit}"), format!("smtp://ann:secret@{upgraded}?tls=required")]
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_trusted_gets_nothing() {
    for url in urls() {
        let error = mailer(url.clone()).send(&message()).await.unwrap_err();
        assert!(matches!(error, Error::Temporary(_)), "{url}: {error:?}");
    }
}

/// The trusted authorities are those of the process, so this test runs itself again in one of its own.
#[tokio::test]
async fn mail_goes_over_tls_from_the_start_or_after_starttls() {
    const TRUSTED: &str = "SSL_CERT_FILE";
    if std::env::var_os(TRUSTED)
        .is_some_and(|file| fs::read(file).unwrap() == fs::read(self::file("authority.pem")).unwrap())
    {
        for url in urls() {
            mailer(url).send(&message()).await.unwrap();
        }
        return;
    }
    let myself = ["--exact", "tls::mail_goes_over_tls_from_the_start_or_after_starttls"];
    let again = Command::new(std::env::current_exe().unwrap())
        .args(myself)
        .env(TRUSTED, file("authority.pem"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(
        again.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&again.stderr)
    );
}
