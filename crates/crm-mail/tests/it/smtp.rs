//! A mail server that records what it is sent, and answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crm_mail::{Mailer, Transport};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// In place of a reply: the connection is closed.
pub(crate) const HANG_UP: &str = "";
/// In place of a reply: the usual one, late.
pub(crate) const SLOWLY: &str = "slowly";

/// A recorded mail.
pub(crate) struct Received {
    /// The MAIL and RCPT commands.
    pub(crate) envelope: Vec<String>,
    pub(crate) content: String,
}

pub(crate) struct SmtpServer {
    pub(crate) address: SocketAddr,
    pub(crate) received: mpsc::UnboundedReceiver<Received>,
}

/// What is to be answered otherwise than with success, in order: the beginning of a command, or `.` for a content, and the reply.
type Script = Arc<Mutex<VecDeque<(&'static str, &'static str)>>>;

impl SmtpServer {
    /// A server that gives each of `replies` once, to the first command that begins so after the one before, and accepts all others.
    pub(crate) async fn start(replies: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let script: Script = Arc::new(Mutex::new(replies.into_iter().collect()));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, sender.clone(), script.clone()));
            }
        });
        Self { address, received }
    }

    pub(crate) async fn accepting() -> Self {
        Self::start([]).await
    }

    /// A mailer that uses it.
    pub(crate) fn mailer(&self) -> Mailer {
        mailer(format!("smtp://{}", self.address))
    }

    /// How many mails have come since somebody last looked.
    pub(crate) fn count(&mut self) -> usize {
        std::iter::from_fn(|| self.received.try_recv().ok()).count()
    }
}

pub(crate) fn mailer(url: String) -> Mailer {
    Mailer::new(&Transport::Smtp { url }, "crm@example.com").unwrap()
}

async fn serve(
    connection: TcpStream,
    sender: mpsc::UnboundedSender<Received>,
    script: Script,
) -> std::io::Result<()> {
    let told = |command: &str| {
        let told = script.lock().unwrap().pop_front_if(|(begin, _)| command.starts_with(*begin));
        told.map(|(_, reply)| reply)
    };
    let mut connection = BufReader::new(connection);
    let mut envelope = Vec::new();
    connection.write_all(b"220 test server\r\n").await?;
    let mut line = String::new();
    while connection.read_line(&mut line).await? > 0 {
        let command = std::mem::take(&mut line).trim_end().to_owned();
        let mut reply = told(&command);
        let usual = match command.split(' ').next().unwrap() {
            _ if reply.is_some() => "",
            "EHLO" => "250-test server\r\n250 AUTH PLAIN",
            "AUTH" => "235 welcome",
            "MAIL" | "RCPT" => {
                envelope.push(command);
                "250 fine"
            }
            "DATA" => {
                connection.write_all(b"354 go on\r\n").await?;
                let mut content = String::new();
                while connection.read_line(&mut line).await? > 0 && line != ".\r\n" {
                    content.push_str(line.strip_prefix('.').unwrap_or(&line));
                    line.clear();
                }
                line.clear();
                reply = told(".");
                let _ = sender.send(Received { envelope: std::mem::take(&mut envelope), content });
                "250 taken"
            }
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        let answer = match reply {
            Some(HANG_UP) => return Ok(()),
            Some(SLOWLY) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                usual
            }
            Some(reply) => reply,
            None => usual,
        };
        connection.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}
