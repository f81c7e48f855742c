//! Files on their way in and out. The bytes go to the storage between two short transactions: nothing slow happens inside one.

use std::time::Duration;

use actix_multipart::{Field, Multipart};
use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use crm_core::{Code, Error, FieldCode, OrgId, Result, TenantTx};
use crm_records::usage;
use crm_storage::{Key, MAX_ATTACHMENT_BYTES, Storage, Stored};
use futures_util::{StreamExt, stream};
use uuid::Uuid;

use crate::extract::{Ctx, TIME_LIMIT};
use crate::problem::Problem;

/// How long an upload may take as a whole.
const UPLOAD_TIME_LIMIT: Duration = Duration::from_secs(600);

/// Makes sure, before a byte is taken, that the caller may upload what `judge` says and that there is room for more.
pub(super) async fn room(
    ctx: &Ctx,
    judge: impl AsyncFnOnce(&mut TenantTx) -> Result<()>,
) -> Result<OrgId, Problem> {
    let quota = ctx.state.storage_quota_bytes;
    ctx.look(async |t| {
        judge(t).await?;
        let used = usage::find(t, quota).await?.used_bytes;
        // What comes at the same time is judged again with the row.
        quota
            .filter(|quota| used >= *quota && !ctx.may_repeat())
            .map_or(Ok(()), |quota| Err(usage::exceeded(quota)))?;
        Ok(t.org())
    })
    .await
}

/// Gives an upload up that takes too long.
pub(super) async fn in_time<T>(upload: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(UPLOAD_TIME_LIMIT, upload)
        .await
        .unwrap_or_else(|_| Err(malformed("the upload took longer than ten minutes".into())))
}

/// What came of a transaction that was to name stored bytes; refused, the bytes go again.
pub(super) async fn kept<T>(
    storage: &Storage,
    org: OrgId,
    file: Uuid,
    done: Result<T, Problem>,
) -> Result<T, Problem> {
    // Where the database went away the row may be there after all, and must not lose its bytes.
    if done.as_ref().is_err_and(|Problem(error)| error.code() != Code::Unavailable) {
        forget(storage, org, file).await;
    }
    done
}

/// Deletes bytes that no row will name.
pub(super) async fn forget(storage: &Storage, org: OrgId, file: Uuid) {
    if let Err(error) = storage.delete(&Key::new(org.0, file)).await {
        tracing::warn!(%error, "a refused upload stays in the storage");
    }
}

pub(super) fn malformed(why: String) -> Error {
    Error::Refused(Code::MalformedRequest, why.into())
}

/// The next part of a form; none at its end.
pub(super) async fn next_part(form: &mut Multipart) -> Result<Option<Field>> {
    let part = tokio::time::timeout(TIME_LIMIT, form.next())
        .await
        .map_err(|_| malformed("nothing came for half a minute".into()))?;
    part.transpose().map_err(|e| match e {
        actix_multipart::MultipartError::ContentTypeMissing
        | actix_multipart::MultipartError::ContentTypeIncompatible => {
            Error::Refused(Code::UnsupportedMediaType, "send the file as multipart/form-data".into())
        }
        other => malformed(format!("the form is malformed: {other}")),
    })
}

/// Stores the first part of a form, which must be the file.
pub(super) async fn only_file(
    storage: &Storage,
    org: OrgId,
    id: Uuid,
    form: &mut Multipart,
) -> Result<Stored> {
    let part = next_part(form)
        .await?
        .ok_or_else(|| malformed("send a multipart form with one part named file".into()))?;
    if part.name() != Some("file") {
        return Err(Error::field(
            "file",
            FieldCode::Required,
            "the first part of the form must be named file",
        ));
    }
    store(storage, org, id, part).await
}

/// Stores the bytes of a part.
pub(super) async fn store(storage: &Storage, org: OrgId, id: Uuid, part: Field) -> Result<Stored> {
    let name = part.content_disposition().and_then(|d| d.get_filename()).unwrap_or_default().to_owned();
    // Slow is well, as long as something comes.
    let bytes =
        stream::unfold(part, async |mut part| match tokio::time::timeout(TIME_LIMIT, part.next()).await {
            Ok(Some(chunk)) => Some((chunk.map_err(|e| e.to_string()), part)),
            Ok(None) => None,
            Err(_) => Some((Err("nothing came for half a minute".to_owned()), part)),
        });
    storage.put(org.0, id, &name, MAX_ATTACHMENT_BYTES, bytes).await.map_err(|e| match e {
        crm_storage::Error::TooLarge { limit_bytes } => Error::Refused(
            Code::PayloadTooLarge,
            format!("a file may have {limit_bytes} bytes at most").into(),
        ),
        crm_storage::Error::Empty => Error::field("file", FieldCode::Required, "the file is empty"),
        crm_storage::Error::TypeRefused => {
            Error::Refused(Code::UnsupportedMediaType, "programs are not accepted as files".into())
        }
        crm_storage::Error::Upload(why) => malformed(format!("the upload broke off: {why}")),
        other => Error::internal(other),
    })
}

/// Answers the bytes of a file. Never shown in the page: what somebody uploaded must not run in the name of this server.
pub(super) async fn download(
    storage: &Storage,
    key: &Key,
    content_type: String,
    sha256: String,
    name: &str,
) -> Result<HttpResponse, Problem> {
    let blob = storage.get(key).await.map_err(|e| match e {
        crm_storage::Error::NotFound => Error::NotFound,
        other => Error::internal(other),
    })?;
    let blob = blob.verified(sha256);
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CONTENT_LENGTH, blob.size_bytes))
        .insert_header((CONTENT_DISPOSITION, disposition(name)))
        .insert_header((CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        .no_chunking(blob.size_bytes)
        .streaming(blob.bytes))
}

/// `attachment` with the name in both forms of RFC 6266.
pub(super) fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' && c != '/' || c == ' ' { c } else { '_' })
        .collect();
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&b);
    let encoded: String = name
        .bytes()
        .map(|b| if token(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}
