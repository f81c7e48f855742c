//! A mail server that records what it is sent.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// A recorded mail.
pub(super) struct Received {
    /// The MAIL and RCPT commands.
    pub(super) envelope: Vec<String>,
    pub(super) content: String,
}

pub(super) struct SmtpServer {
    pub(super) address: SocketAddr,
    pub(super) received: mpsc::UnboundedReceiver<Received>,
}

impl SmtpServer {
    /// A server that gives `reply` to the commands that begin with `refused`, and accepts all others.
    pub(super) async fn start(refused: &'static str, reply: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, sender.clone(), refused, reply));
            }
        });
        Self { address, received }
    }

    pub(super) async fn accepting() -> Self {
        Self::start("nothing", "").await
    }
}

async fn serve(
    connection: TcpStream,
    sender: mpsc::UnboundedSender<Received>,
    refused: &str,
    reply: &str,
) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut envelope = Vec::new();
    connection.write_all(b"220 test server\r\n").await?;
    let mut line = String::new();
    while connection.read_line(&mut line).await? > 0 {
        let command = std::mem::take(&mut line).trim_end().to_owned();
        let answer = match command.split(' ').next().unwrap() {
            _ if command.starts_with(refused) => reply,
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
                let _ = sender.send(Received { envelope: std::mem::take(&mut envelope), content });
                "250 taken"
            }
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        connection.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}
