//! What is stored of second factors.

use crm_core::{Result, Tx, UserId};
use crm_schema::{recovery_codes, totp_factors};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rand::seq::IndexedRandom;

use crate::keys::Keys;
use crate::two_factor::Factor;

const CODES: usize = 10;
const CODE_LENGTH: usize = 10;
/// Of 32 characters each is worth five bits; those that look alike are left out.
const ALPHABET: &[char; 32] = &[
    'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W',
    'X', 'Y', 'Z', '2', '3', '4', '5', '6', '7', '8', '9',
];

/// Keeps the secret of an authenticator that is being set up; false when another one is in use.
pub(super) async fn set_up(tx: &mut impl Tx, user: UserId, sealed: &str) -> Result<bool> {
    let pending = totp_factors::table.filter(totp_factors::user_id.eq(user));
    diesel::delete(pending.filter(totp_factors::enabled_at.is_null())).execute(tx.conn()?).await?;
    let kept = diesel::insert_into(totp_factors::table)
        .values((
            totp_factors::user_id.eq(user),
            totp_factors::secret.eq(sealed),
            totp_factors::created_at.eq(tx.now()),
        ))
        .on_conflict_do_nothing()
        .execute(tx.conn()?)
        .await?;
    Ok(kept > 0)
}

/// The sealed secret that is being set up.
pub(super) async fn pending(tx: &mut impl Tx, user: UserId) -> Result<Option<String>> {
    let row = totp_factors::table.find(user).filter(totp_factors::enabled_at.is_null());
    Ok(row.select(totp_factors::secret).first(tx.conn()?).await.optional()?)
}

/// The sealed secret in use.
pub(super) async fn secret(tx: &mut impl Tx, user: UserId) -> Result<Option<String>> {
    let row = totp_factors::table.find(user).filter(totp_factors::enabled_at.is_not_null());
    Ok(row.select(totp_factors::secret).first(tx.conn()?).await.optional()?)
}

pub(super) async fn is_enabled(tx: &mut impl Tx, user: UserId) -> Result<bool> {
    let row = totp_factors::table.find(user).filter(totp_factors::enabled_at.is_not_null());
    Ok(diesel::select(exists(row)).get_result(tx.conn()?).await?)
}

pub(super) async fn enable(tx: &mut impl Tx, user: UserId, step: u64) -> Result<()> {
    diesel::update(totp_factors::table.find(user))
        .set((totp_factors::enabled_at.eq(tx.now()), totp_factors::last_step.eq(step.cast_signed())))
        .execute(tx.conn()?)
        .await?;
    Ok(())
}

/// Takes the code of a time step; false when that one or a later one was taken before.
pub(super) async fn use_step(tx: &mut impl Tx, user: UserId, step: u64) -> Result<bool> {
    let step = step.cast_signed();
    let older = totp_factors::enabled_at.is_not_null().and(totp_factors::last_step.lt(step));
    let taken = diesel::update(totp_factors::table.find(user).filter(older))
        .set(totp_factors::last_step.eq(step))
        .execute(tx.conn()?)
        .await?;
    Ok(taken > 0)
}

/// Takes a recovery code, once.
pub(super) async fn use_code(tx: &mut impl Tx, keys: &Keys, user: UserId, code: &str) -> Result<bool> {
    let digest = keys.recovery_digest(user, &plain(code));
    Ok(diesel::delete(recovery_codes::table.find((user, digest))).execute(tx.conn()?).await? > 0)
}

pub(super) async fn codes_left(tx: &mut impl Tx, user: UserId) -> Result<i64> {
    let left = recovery_codes::table.filter(recovery_codes::user_id.eq(user));
    Ok(left.count().get_result(tx.conn()?).await?)
}

/// Makes new recovery codes in place of the old ones.
pub(super) async fn renew_codes(tx: &mut impl Tx, keys: &Keys, user: UserId) -> Result<Vec<String>> {
    forget_codes(tx, user).await?;
    let codes: Vec<_> = (0..CODES).map(|_| random_code()).collect();
    let now = tx.now();
    let rows: Vec<_> = codes
        .iter()
        .map(|code| {
            (
                recovery_codes::user_id.eq(user),
                recovery_codes::digest.eq(keys.recovery_digest(user, &plain(code))),
                recovery_codes::created_at.eq(now),
            )
        })
        .collect();
    diesel::insert_into(recovery_codes::table).values(rows).execute(tx.conn()?).await?;
    Ok(codes)
}

/// What the account takes as a second factor; none if it has no such thing.
pub(crate) async fn methods(tx: &mut impl Tx, user: UserId) -> Result<Option<Vec<Factor>>> {
    if !is_enabled(tx, user).await? {
        return Ok(None);
    }
    let mut methods = vec![Factor::Totp];
    if codes_left(tx, user).await? > 0 {
        methods.push(Factor::RecoveryCode);
    }
    Ok(Some(methods))
}

/// Leaves the account without a second factor.
pub(crate) async fn remove(tx: &mut impl Tx, user: UserId) -> Result<()> {
    diesel::delete(totp_factors::table.find(user)).execute(tx.conn()?).await?;
    forget_codes(tx, user).await
}

async fn forget_codes(tx: &mut impl Tx, user: UserId) -> Result<()> {
    let all = recovery_codes::table.filter(recovery_codes::user_id.eq(user));
    diesel::delete(all).execute(tx.conn()?).await?;
    Ok(())
}

/// Fifty random bits in two groups.
fn random_code() -> String {
    let mut rng = rand::rng();
    let mut code: String = (0..CODE_LENGTH).filter_map(|_| ALPHABET.choose(&mut rng)).collect();
    code.insert(CODE_LENGTH / 2, '-');
    code
}

/// A code as it is compared, however it was typed.
fn plain(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_code_may_be_typed_in_any_way() {
        let code = random_code();
        assert_eq!((code.len(), code.find('-')), (11, Some(5)), "{code}");
        assert_ne!(code, random_code());
        for typed in [code.to_lowercase(), code.replace('-', ""), format!(" {} ", code.replace('-', " "))] {
            assert_eq!(plain(&typed), plain(&code));
        }
    }
}
