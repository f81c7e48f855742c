//! Password hashes: Argon2id, computed outside the async workers and never more at once than there are cores.

use std::sync::{Arc, LazyLock};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use crm_core::{Error, Result};
use tokio::sync::Semaphore;

/// Each hash takes 19 MiB and a core: more than there are cores only makes everybody wait longer.
static HASHERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Arc::new(Semaphore::new(cores))
});

/// What the password of an account that is not there is compared with, so that the answer takes as long: random bytes, the hash of
/// no known password, under the parameters of [`hash`].
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$ZJB9Lzm+cOLkZ2mYoPhi8Q$AfJABiGRoKnfbmzxAOr2zOU0XR4TYwhO33ifMBDo/wA";

/// The hash of a password, to be stored.
///
/// # Errors
/// `Internal` when the system has no randomness.
pub async fn hash(password: String) -> Result<String> {
    off_the_workers(move || hashed(&password)).await?
}

/// Whether the password is the hashed one. Without a hash the answer is no and takes as long.
pub(crate) async fn verify(password: String, hash: Option<String>) -> Result<bool> {
    off_the_workers(move || {
        let known = hash.is_some();
        let hash = hash.as_deref().unwrap_or(NOBODYS);
        Argon2::default().verify_password(password.as_bytes(), hash).is_ok() && known
    })
    .await
}

fn hashed(password: &str) -> Result<String> {
    Ok(Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|e| Error::internal(e.to_string()))?
        .to_string())
}

async fn off_the_workers<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let turn = HASHERS.clone().acquire_owned().await.map_err(Error::internal)?;
    let done = tokio::task::spawn_blocking(move || {
        // Given back when the work is over, even if nobody waits for it any more.
        let _turn = turn;
        work()
    });
    done.await.map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_somebody_is_right() {
        let stored = hash("correct horse".into()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify("correct horse".into(), Some(stored.clone())).await.unwrap());
        assert!(!verify("correct horsf".into(), Some(stored)).await.unwrap());
        assert!(!verify("correct horse".into(), Some("not a hash".into())).await.unwrap());
        assert!(!verify("correct horse".into(), None).await.unwrap());
    }

    /// The comparison with nobody's password costs what one with somebody's does.
    #[tokio::test]
    async fn nobodys_hash_has_the_parameters_of_everybodys() {
        use argon2::password_hash::phc::PasswordHash;
        let stored = hash("correct horse".into()).await.unwrap();
        let (nobodys, somebodys) = (PasswordHash::new(NOBODYS).unwrap(), PasswordHash::new(&stored).unwrap());
        assert_eq!((nobodys.algorithm, nobodys.version), (somebodys.algorithm, somebodys.version));
        assert_eq!(nobodys.params, somebodys.params);
        let lengths = |h: &PasswordHash| (h.salt.as_ref().unwrap().len(), h.hash.as_ref().unwrap().len());
        assert_eq!(lengths(&nobodys), lengths(&somebodys));
    }
}
