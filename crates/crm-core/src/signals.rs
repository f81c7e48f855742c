//! Wake-up calls between processes, after a commit: PostgreSQL's NOTIFY, sent apart from the transactions it tells of, because a
//! notifying commit makes every other one wait.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use diesel::sql_types::{Array, Text};
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::StreamExt;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{sleep, timeout};

use crate::db::{io_runtime, open};

/// The channel of the database; what signals call a channel stands in the payload.
const CHANNEL: &str = "crm";

/// For how long signals are gathered, so that a busy process notifies once for many commits.
const GATHERED: Duration = Duration::from_millis(5);

/// How long to wait before listening again once the connection was lost.
const RECONNECT: Duration = Duration::from_secs(1);

/// After how much silence the connection is tried.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How many signals a slow subscriber may be behind before it misses some.
const BACKLOG: usize = 1024;

/// A wake-up call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Signal {
    /// Whom it is for.
    pub channel: String,
    /// What happened, in an id or two.
    pub payload: String,
}

impl Signal {
    fn text(&self) -> String {
        format!("{}\n{}", self.channel, self.payload)
    }
}

/// Both ends: what this process sends and what it hears.
#[derive(Clone)]
pub(crate) struct Signals(Arc<Ends>);

struct Ends {
    url: String,
    bell: Bell,
    heard: OnceLock<broadcast::Sender<Signal>>,
}

impl Signals {
    pub(crate) fn new(url: String, pool: Pool<AsyncPgConnection>) -> Self {
        let (bell, rung) = mpsc::unbounded_channel();
        io_runtime().spawn(send(pool, rung));
        Self(Arc::new(Ends { url, bell: Bell(bell), heard: OnceLock::new() }))
    }

    pub(crate) fn bell(&self) -> Bell {
        self.0.bell.clone()
    }

    /// Listens from the first subscriber on, until this is dropped.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Signal> {
        let heard = self.0.heard.get_or_init(|| {
            let (heard, _) = broadcast::channel(BACKLOG);
            io_runtime().spawn(listen(Arc::downgrade(&self.0), heard.clone()));
            heard
        });
        heard.subscribe()
    }
}

/// Takes signals to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Bell(mpsc::UnboundedSender<Signal>);

impl Bell {
    pub(crate) fn ring(&self, signals: Vec<Signal>) {
        for signal in signals {
            // Without the other end the process is on its way out.
            let _ = self.0.send(signal);
        }
    }
}

diesel::define_sql_function! {
    fn pg_notify(channel: Text, payload: Text) -> diesel::sql_types::Nullable<Text>;
}
diesel::define_sql_function! {
    #[sql_name = "unnest"]
    fn each(texts: Array<Text>) -> Text;
}

async fn send(pool: Pool<AsyncPgConnection>, mut rung: mpsc::UnboundedReceiver<Signal>) {
    while let Some(first) = rung.recv().await {
        sleep(GATHERED).await;
        let mut texts = vec![first.text()];
        let mut seen = HashSet::from([first]);
        while let Ok(more) = rung.try_recv() {
            let text = more.text();
            if seen.insert(more) {
                texts.push(text);
            }
        }
        // Without a connection the signals get lost: who depends on them looks for itself.
        if let Ok(mut conn) = pool.get().await {
            let _ = diesel::select(pg_notify(CHANNEL, each(texts))).execute(&mut conn).await;
        }
    }
}

async fn listen(ends: Weak<Ends>, heard: broadcast::Sender<Signal>) {
    while let Some(url) = ends.upgrade().map(|ends| ends.url.clone()) {
        if let Ok(mut conn) = open(&url).await
            && conn.batch_execute(&format!("LISTEN {CHANNEL}")).await.is_ok()
        {
            while ends.strong_count() > 0 && hear(&mut conn, &heard).await {}
        }
        sleep(RECONNECT).await;
    }
}

/// Passes on what comes for a while; false when the connection is lost.
async fn hear(conn: &mut AsyncPgConnection, heard: &broadcast::Sender<Signal>) -> bool {
    {
        let mut notifications = pin!(conn.notifications_stream());
        while let Ok(came) = timeout(KEEPALIVE, notifications.next()).await {
            let Some(Ok(notification)) = came else { return false };
            if let Some((channel, payload)) = notification.payload.split_once('\n') {
                // Nobody may be listening just now.
                let _ = heard.send(Signal { channel: channel.into(), payload: payload.into() });
            }
        }
    }
    // Silence may be a connection that broke without a word.
    matches!(timeout(KEEPALIVE, conn.batch_execute("SELECT 1")).await, Ok(Ok(())))
}
