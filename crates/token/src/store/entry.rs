//! The encoding of an entry in a store: a version byte, then JSON.
//!
//! An entry contains its key, so that an entry copied to another key is not read there. An
//! unreadable entry counts as missing: stores outlive versions of this crate, and other programs
//! can write to them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::token::DatedRefreshToken;
use serde::{Deserialize, Serialize};
use symbolon_types::{ClientIdentity, Secret, Thumbprint};
use zeroize::Zeroizing;

use crate::oauth::{AccessToken, Account, Expiry, Scheme};
use crate::token::{CacheKey, IssuedToken, RefreshToken, Token};

/// The first byte of every entry, which changes with the encoding.
const VERSION: u8 = 1;
/// The time by which the clock of the writer may be ahead of that of the reader.
pub(super) const MAX_AHEAD: Duration = Duration::from_secs(60);
/// The capacity for everything except the secret. A buffer that grows leaves a copy of the secret
/// behind.
const CAPACITY: usize = 2048;

/// A stored access token. Times are milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct AccessTokenEntry<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    secret: Cow<'a, str>,
    token_type: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbprint: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountEntry<'a>>,
    /// The time of writing, by the clock that the other times are from.
    written_on: u64,
    expires_on: u64,
    refresh_on: u64,
    correlation_id: Cow<'a, str>,
    attempts: usize,
    duration: u64,
}

/// A stored refresh token.
#[derive(Serialize, Deserialize)]
struct RefreshTokenEntry<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    secret: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountEntry<'a>>,
    issued_at: u64,
}

#[derive(Serialize, Deserialize)]
struct AccountEntry<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Cow<'a, str>>,
}

/// An access token read from an entry.
pub(super) struct StoredToken {
    pub(super) fetched: IssuedToken,
    pub(super) secret: Secret,
    pub(super) is_due: bool,
}

pub(super) fn encode_token(store_key: &str, token: &Token, now: SystemTime) -> Option<Zeroizing<Vec<u8>>> {
    let thumbprint = token.bound_to().map(|identity| identity.thumbprint().to_string());
    encode(
        token.secret(),
        &AccessTokenEntry {
            key: store_key.into(),
            secret: token.secret().expose().into(),
            token_type: token.token_type().into(),
            thumbprint: thumbprint.map(Cow::Owned),
            client_id: token.client_id().map(Cow::Borrowed),
            tenant_id: token.tenant_id().map(Cow::Borrowed),
            account: token.account().map(AccountEntry::from),
            written_on: millis(now),
            expires_on: millis(token.expires_on()),
            refresh_on: millis(token.refresh_on()),
            correlation_id: token.correlation_id().to_string().into(),
            attempts: token.attempts(),
            duration: token.duration().as_millis().try_into().unwrap_or(u64::MAX),
        },
    )
}

/// Reads an access token; `None` unless the entry has the token of `key` and it is valid at `now`.
/// A bound token requires its certificate in `identity`.
pub(super) fn decode_token(
    bytes: &[u8],
    store_key: &str,
    key: &CacheKey<'_>,
    identity: Option<&ClientIdentity>,
    now: SystemTime,
) -> Option<StoredToken> {
    let entry: AccessTokenEntry<'_> = decode(bytes)?;
    let scheme = match identity {
        Some(identity) => Scheme::MtlsPop(identity.clone()),
        None if key.is_bound => return None,
        None => Scheme::Bearer,
    };
    let thumbprint = match &entry.thumbprint {
        Some(text) => Some(text.parse::<Thumbprint>().ok()?),
        None => None,
    };
    let fits = entry.key == store_key
        && entry.token_type == scheme.token_type()
        && thumbprint == scheme.thumbprint()
        && thumbprint.as_ref() == key.thumbprint;
    if !fits {
        return None;
    }
    // An entry of a clock that was ahead would be used for too long.
    if time_from(entry.written_on)? > now + MAX_AHEAD {
        return None;
    }
    let life = time_from(entry.expires_on)?.duration_since(now).ok()?;
    if life.is_zero() || life > Expiry::LONGEST_LIFE {
        return None;
    }
    let until_refresh = time_from(entry.refresh_on)?.duration_since(now).unwrap_or_default();
    // `refreshed_after` ignores zero.
    let refresh_in = until_refresh.max(Duration::from_nanos(1));
    let token = AccessToken::parse(Secret::new(entry.secret))?;
    let secret = token.secret().clone();
    let fetched = IssuedToken::new(
        token,
        Expiry::after(life).refreshed_after(Some(refresh_in)),
        scheme,
        entry.correlation_id.parse().ok()?,
    )
    .with_client_id(entry.client_id.map(|text| text.into()))
    .with_tenant_id(entry.tenant_id.map(|text| text.into()))
    .about(entry.account.map(Account::from))
    .after(entry.attempts.max(1), Duration::from_millis(entry.duration));
    Some(StoredToken { fetched, secret, is_due: until_refresh.is_zero() })
}

pub(super) fn encode_refresh_token(store_key: &str, dated: &DatedRefreshToken) -> Option<Zeroizing<Vec<u8>>> {
    encode(
        &dated.token.secret,
        &RefreshTokenEntry {
            key: store_key.into(),
            secret: dated.token.secret.expose().into(),
            account: dated.token.account.as_ref().map(AccountEntry::from),
            issued_at: millis(dated.issued_at),
        },
    )
}

pub(super) fn decode_refresh_token(bytes: &[u8], store_key: &str) -> Option<DatedRefreshToken> {
    let entry: RefreshTokenEntry<'_> = decode(bytes)?;
    if entry.key != store_key || entry.secret.is_empty() {
        return None;
    }
    let token = RefreshToken { secret: Secret::new(entry.secret), account: entry.account.map(Account::from) };
    Some(DatedRefreshToken { token, issued_at: time_from(entry.issued_at)? })
}

fn encode(secret: &Secret, entry: &impl Serialize) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(CAPACITY + secret.expose().len()));
    bytes.push(VERSION);
    serde_json::to_writer(&mut *bytes, entry).ok()?;
    Some(bytes)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (version, json) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    serde_json::from_slice(json).ok()
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

fn time_from(millis: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

impl<'a> From<&'a Account> for AccountEntry<'a> {
    fn from(account: &'a Account) -> Self {
        Self {
            id: account.id().into(),
            username: account.username().map(Cow::Borrowed),
            tenant_id: account.tenant_id().map(Cow::Borrowed),
        }
    }
}

impl From<AccountEntry<'_>> for Account {
    fn from(entry: AccountEntry<'_>) -> Self {
        Self::new(entry.id, entry.username.map(Cow::into_owned), entry.tenant_id.map(Cow::into_owned))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use symbolon_lease::LeaseKey;
    use symbolon_types::{ClockReading, CorrelationId, Jitter, SteadyTime};

    use super::*;
    use crate::token::{Delivery, Partition};

    const KEY: &str = "symbolon1:key";

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn reading() -> ClockReading {
        ClockReading { steady: SteadyTime::after_start(Duration::from_secs(1000)), wall: now() }
    }

    fn token() -> Token {
        let partition = Partition::new("p");
        let account = Account::new("u.t", Some("user@contoso.example".into()), Some("t".into()));
        let expiry = Expiry::after(Duration::from_secs(3600));
        let expiry = expiry.refreshed_after(Some(Duration::from_secs(1800)));
        let secret = AccessToken::parse(Secret::new("eyJ.secret_text.c2ln=")).unwrap();
        IssuedToken::bearer(secret, expiry, CorrelationId::random())
            .with_client_id(Some("client".into()))
            .with_tenant_id(Some("tenant".into()))
            .about(Some(account))
            .after(3, Duration::from_millis(1234))
            .into_lease(
                CacheKey::bearer(&partition, "a").to_key(),
                Delivery::MEMORY,
                reading(),
                &Jitter::fixed(0.0),
            )
            .value()
            .clone()
    }

    fn read(bytes: &[u8], at: SystemTime) -> Option<StoredToken> {
        decode_token(bytes, KEY, &CacheKey::bearer(&Partition::new("p"), "a"), None, at)
    }

    #[test]
    fn access_token_survives_encoding() {
        let token = token();
        let bytes = encode_token(KEY, &token, now()).unwrap();
        let stored = read(&bytes, now()).unwrap();
        assert_eq!(stored.secret.expose(), token.secret().expose());
        assert!(!stored.is_due);
        let key = token.key().clone();
        let lease = stored.fetched.into_lease(key, Delivery::STORE, reading(), &Jitter::fixed(0.0));
        let issued = lease.value();
        assert_eq!(issued.expires_on(), token.expires_on());
        assert_eq!(issued.refresh_on(), token.refresh_on());
        assert_eq!(issued.client_id(), Some("client"));
        assert_eq!(issued.tenant_id(), Some("tenant"));
        assert_eq!(issued.account(), token.account());
        assert_eq!(issued.correlation_id(), token.correlation_id());
        assert_eq!((issued.attempts(), issued.duration()), (3, Duration::from_millis(1234)));
        assert!(read(&bytes, now() + Duration::from_secs(1800)).unwrap().is_due);
    }

    #[test]
    fn unusable_entry_is_missing() {
        let bytes = encode_token(KEY, &token(), now()).unwrap();
        let json = |change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
            let mut members = serde_json::from_slice(&bytes[1..]).unwrap();
            change(&mut members);
            [&[VERSION][..], &serde_json::to_vec(&members).unwrap()].concat()
        };
        let unchanged = json(&|_| ());
        assert!(read(&unchanged, now()).is_some());
        let with_unknown_member = json(&|members| {
            members.insert("later".into(), 1.into());
        });
        assert!(read(&with_unknown_member, now()).is_some());
        let mut later_version = bytes.to_vec();
        later_version[0] = VERSION + 1;
        for (case, bytes) in [
            ("empty", Vec::new()),
            ("only a version", vec![VERSION]),
            ("another version", later_version),
            ("cut off", bytes[..bytes.len() - 1].to_vec()),
            ("followed by something", [&bytes[..], b"{}"].concat()),
            ("a token of another scheme", json(&|members| members["token_type"] = "mtls_pop".into())),
            ("under another key", json(&|members| members["key"] = "symbolon1:other".into())),
            ("no secret", json(&|members| members["secret"] = "".into())),
            ("a secret of two lines", json(&|members| members["secret"] = "eyJ\r\nx: y".into())),
            ("no time of writing", json(&|members| drop(members.remove("written_on")))),
            ("no expiry", json(&|members| drop(members.remove("expires_on")))),
            ("an expiry beyond all time", json(&|members| members["expires_on"] = u64::MAX.into())),
            ("a damaged id", json(&|members| members["correlation_id"] = "x".into())),
            (
                "bound to a certificate",
                json(&|members| {
                    members.insert("thumbprint".into(), Thumbprint::of(b"").to_string().into());
                }),
            ),
            (
                "bound to an invalid thumbprint",
                json(&|members| {
                    members.insert("thumbprint".into(), "x".into());
                }),
            ),
        ] {
            assert!(read(&bytes, now()).is_none(), "{case}");
        }
        assert!(read(&bytes, now() + Duration::from_secs(3600)).is_none(), "expired");
    }

    #[test]
    fn entry_of_a_clock_ahead_is_missing() {
        let bytes = encode_token(KEY, &token(), now()).unwrap();
        assert!(read(&bytes, now() - Duration::from_secs(59)).is_some());
        // The writer's clock was two hours ahead: the token would be served for three.
        assert!(read(&bytes, now() - Duration::from_secs(2 * 3600)).is_none());
    }

    #[test]
    fn bound_token_needs_its_certificate() {
        let bytes = encode_token(KEY, &token(), now()).unwrap();
        let partition = Partition::new("p");
        let mut key = CacheKey::bearer(&partition, "a");
        key.is_bound = true;
        assert!(decode_token(&bytes, KEY, &key, None, now()).is_none());
    }

    #[test]
    fn refresh_token_survives_encoding() {
        let dated = DatedRefreshToken {
            token: RefreshToken { secret: Secret::new("rt"), account: token().account().cloned() },
            issued_at: now(),
        };
        let bytes = encode_refresh_token(KEY, &dated).unwrap();
        let read = decode_refresh_token(&bytes, KEY).unwrap();
        assert_eq!((read.token.secret.expose(), read.issued_at), ("rt", now()));
        assert_eq!(read.token.account, dated.token.account);
        assert!(decode_refresh_token(&bytes, "symbolon1:other").is_none());
        assert!(decode_refresh_token(&encode_token(KEY, &token(), now()).unwrap(), KEY).is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256), version in 0..3_u8) {
            let with_version = [&[version][..], &bytes].concat();
            for bytes in [&bytes, &with_version] {
                prop_assert!(read(bytes, now()).is_none());
                prop_assert!(decode_refresh_token(bytes, KEY).is_none());
            }
        }

        #[test]
        fn damaged_entry_does_not_panic(
            at in 0..4096_usize, to in any::<u8>(), cut in 0..4096_usize
        ) {
            let mut bytes = encode_token(KEY, &token(), now()).unwrap().to_vec();
            let length = bytes.len();
            bytes[at % length] = to;
            bytes.truncate(length - cut % (length / 8));
            // Damage inside of a text can go unnoticed; only a `SealedStore` detects it.
            if let Some(stored) = read(&bytes, now()) {
                prop_assert_eq!(bytes.len(), length);
                prop_assert!(!stored.secret.expose().is_empty());
            }
        }
    }
}
