//! Password hashes: Argon2id, computed outside the async workers and never more at once than there are cores.

use std::sync::{Arc, LazyLock};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use crm_core::{Error, Result};
use tokio::sync::Semaphore;

static HASHERS: LazyLock<Hashers> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Hashers::new(cores, QUEUE_PER_CORE * cores)
});

/// How many may wait for a hasher, for each core: whoever comes later would wait for seconds.
const QUEUE_PER_CORE: usize = 32;

/// What the password of an account that is not there is compared with, so that the answer takes as long: random bytes, the hash of
/// no known password, under the parameters of [`hash`].
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$ZJB9Lzm+cOLkZ2mYoPhi8Q$AfJABiGRoKnfbmzxAOr2zOU0XR4TYwhO33ifMBDo/wA";

/// The hash of a password, to be stored.
///
/// # Errors
/// `Internal` when the system has no randomness.
pub async fn hash(password: String) -> Result<String> {
    HASHERS.run(move || hashed(&password)).await?
}

/// Whether the password is the hashed one. Without a hash the answer is no and takes as long.
pub(crate) async fn verify(password: String, hash: Option<String>) -> Result<bool> {
    HASHERS
        .run(move || {
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

/// Each hash takes 19 MiB and a core: more at once than there are cores only makes everybody wait longer.
struct Hashers {
    turns: Arc<Semaphore>,
    /// For those who have a turn and those who wait for one.
    room: Semaphore,
}

impl Hashers {
    fn new(at_once: usize, waiting: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(at_once)), room: Semaphore::new(at_once + waiting) }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _place = self.room.try_acquire().map_err(|full| Error::Unavailable(Box::new(full)))?;
        let turn = self.turns.clone().acquire_owned().await.map_err(Error::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            // Given back when the work is over, even if nobody waits for it any more.
            let _turn = turn;
            work()
        });
        done.await.map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_comes_when_too_many_wait_is_sent_away_at_once() {
        let hashers = Hashers::new(1, 1);
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let first = hashers.run(move || gate.recv().is_ok());
        let late = async {
            let sent_away = hashers.run(|| ()).await;
            go.send(()).unwrap();
            sent_away
        };
        let (first, second, late) = tokio::join!(first, hashers.run(|| ()), late);
        assert!(first.unwrap() && second.is_ok());
        assert!(matches!(late, Err(Error::Unavailable(_))), "{late:?}");
    }

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
