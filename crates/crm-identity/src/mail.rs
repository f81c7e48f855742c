use crm_core::{Result, Tx};
use crm_mail::Message;

/// The kind of the jobs whose payload is a [`Message`] to send.
pub const SEND_MAIL: &str = "send_mail";

/// Has a mail sent once the transaction has committed.
///
/// # Errors
/// Those of the database.
pub async fn enqueue_mail(tx: &mut impl Tx, message: &Message) -> Result<()> {
    crm_jobs::enqueue(tx, SEND_MAIL, message).await
}
