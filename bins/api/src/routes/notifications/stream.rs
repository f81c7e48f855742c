//! Notifications as server-sent events: looked for when a signal tells of them, and at every heartbeat in case one got lost.
//!
//! Nothing is held between two looks, and each of them opens a transaction like any other request's, so that whoever is shut out
//! meanwhile hears nothing more.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use crm_core::{Code, Error, Result};
use crm_notifications::Waiting;
use crm_notifications::feed::{self, BATCH, News};
use futures_util::stream;
use serde_json::json;
use uuid::Uuid;

use crate::extract::Ctx;
use crate::problem::Problem;

/// How long nothing is sent at most.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a stream goes on while nobody can tell whether its caller still may.
const UNCHECKED: Duration = Duration::from_secs(60);

/// How long a stream goes on at all: the access token is looked at when it is opened anew.
const LIFETIME: Duration = Duration::from_secs(3600);

const LAST_EVENT_ID: &str = "Last-Event-ID";

pub(super) async fn open(ctx: Ctx, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let last = last_event_id(&req)?;
    let (member, newest) =
        ctx.look(async |t| Ok((t.actor().ok_or(Error::NotFound)?, feed::newest(t).await?))).await?;
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        // Compressed, events would wait for more of them.
        .insert_header((CONTENT_ENCODING, "identity"))
        .insert_header(("X-Accel-Buffering", "no"));
    if req.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let org = ctx.org()?;
    let waiting = ctx.state.live.wait_for(org, member)?;
    let now = Instant::now();
    let after = last.unwrap_or(newest);
    let stream = Stream { ctx, waiting, after, unread: None, opened: now, checked: now, next: Next::Look };
    Ok(answer.streaming(stream::unfold(stream, Stream::next)))
}

/// Where the client left off.
fn last_event_id(req: &HttpRequest) -> Result<Option<Uuid>> {
    let header = req.headers().get(LAST_EVENT_ID);
    let id = header.map(|value| value.to_str().ok().and_then(|text| text.parse().ok()));
    let malformed =
        || Error::Refused(Code::MalformedRequest, "Last-Event-ID is not the id of an event".into());
    id.map(|id| id.ok_or_else(malformed)).transpose()
}

struct Stream {
    ctx: Ctx,
    waiting: Waiting,
    /// The newest notification that was sent.
    after: Uuid,
    /// The count that was sent last.
    unread: Option<i64>,
    opened: Instant,
    /// When the caller was last found to be entitled.
    checked: Instant,
    next: Next,
}

enum Next {
    Look,
    Wait,
    End,
}

impl Stream {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        match self.next {
            Next::Look => {}
            Next::Wait if self.opened.elapsed() < LIFETIME && self.waiting.wait(HEARTBEAT).await => {}
            Next::Wait | Next::End => return None,
        }
        self.next = Next::Wait;
        let after = self.after;
        let mut text = String::new();
        match self.ctx.look(async |t| feed::since(t, after).await).await {
            Ok(news) => {
                self.checked = Instant::now();
                self.write(&news, &mut text);
            }
            Err(Problem(error)) if error.code().status() >= 500 => {
                if self.checked.elapsed() >= UNCHECKED {
                    return None;
                }
            }
            Err(Problem(error)) => {
                let end = json!({"code": error.code(), "detail": error.to_string()});
                event(&mut text, None, "end", &end.to_string());
                self.next = Next::End;
            }
        }
        if text.is_empty() {
            text.push_str(": nothing new\n\n");
        }
        Some((Ok(text.into()), self))
    }

    fn write(&mut self, News { notifications, unread }: &News, text: &mut String) {
        for notification in notifications {
            self.after = notification.id;
            let data = serde_json::to_string(notification).unwrap_or_default();
            event(text, Some(self.after), "notification", &data);
        }
        if notifications.len() == BATCH {
            self.next = Next::Look;
        } else if self.unread != Some(unread.count) {
            self.unread = Some(unread.count);
            // With the id, so that also whoever was told nothing yet can go on from here.
            event(text, Some(self.after), "unread", &json!(unread).to_string());
        }
    }
}

/// Writes one event; JSON on one line needs no further care.
fn event(text: &mut String, id: Option<Uuid>, name: &str, data: &str) {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    // Writing into a text does not fail.
    let _ = write!(text, "{id}event: {name}\ndata: {data}\n\n");
}
