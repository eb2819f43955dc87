//! Construction and properties of client identities.

#![cfg(test)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData, date_time_ymd};
use symbolon_types::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use symbolon_types::{
    ClientIdentity, IdentityCell, IdentityError, ManualClock, SharedClock, SharedSigningKey, SignatureScheme,
    SigningError, SigningKey, Strength, Thumbprint,
};

/// 2026-01-01T00:00:00Z
const BEGINS: Duration = Duration::from_secs(1_767_225_600);
/// 2027-01-01T00:00:00Z
const ENDS: Duration = Duration::from_secs(1_798_761_600);

/// A key with a given public key.
#[derive(Debug)]
struct PublicOnlyKey(SubjectPublicKeyInfoDer<'static>);

impl SigningKey for PublicOnlyKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.0
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &[]
    }

    fn sign(&self, scheme: SignatureScheme, _message: &[u8]) -> Result<Vec<u8>, SigningError> {
        Err(SigningError::UnsupportedScheme(scheme))
    }

    fn strength(&self) -> Strength {
        Strength::Hardware
    }
}

fn key(public_key: impl Into<Vec<u8>>) -> SharedSigningKey {
    SharedSigningKey::new(PublicOnlyKey(public_key.into().into()))
}

/// Returns a certificate for this key, and that of its issuer.
fn chain(of: &KeyPair) -> Vec<CertificateDer<'static>> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap();
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    let leaf = params.signed_by(of, &Issuer::new(authority, authority_key)).unwrap();
    vec![leaf.der().clone(), root.der().clone()]
}

fn replaced(text: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let at = text.windows(part.len()).position(|window| window == part).unwrap();
    [&text[..at], by, &text[at + part.len()..]].concat()
}

fn identity_error(
    chain: Vec<CertificateDer<'static>>,
    public_key: impl Into<Vec<u8>>,
) -> Option<IdentityError> {
    ClientIdentity::new(chain, key(public_key)).err()
}

#[test]
fn identity_follows_its_leaf() {
    let pair = KeyPair::generate().unwrap();
    let chain = chain(&pair);
    let identity = ClientIdentity::new(chain.clone(), key(pair.subject_public_key_info())).unwrap();
    assert_eq!(identity.thumbprint(), Thumbprint::of(&chain[0]));
    assert_eq!(identity.chain(), chain);
    assert_eq!(identity.not_before(), SystemTime::UNIX_EPOCH + BEGINS);
    assert_eq!(identity.not_after(), SystemTime::UNIX_EPOCH + ENDS);
    assert_eq!(identity.usable_until(), identity.not_after());
    assert_eq!(identity.strength(), Strength::Hardware);
}

#[test]
fn malformed_certificates_are_refused() {
    let pair = KeyPair::generate().unwrap();
    let spki = pair.subject_public_key_info();
    let good = chain(&pair);
    let trailing = |der: &CertificateDer<'static>| CertificateDer::from([der.as_ref(), b"\0"].concat());
    let garbage = || CertificateDer::from(b"x".to_vec());
    for (case, chain, expected) in [
        ("an empty chain", vec![], Some(IdentityError::EmptyChain)),
        ("the leaf alone", vec![good[0].clone()], None),
        ("garbage", vec![garbage()], Some(IdentityError::MalformedCertificate { position: 0 })),
        (
            "a leaf and a byte",
            vec![trailing(&good[0])],
            Some(IdentityError::MalformedCertificate { position: 0 }),
        ),
        (
            "garbage behind the leaf",
            vec![good[0].clone(), garbage()],
            Some(IdentityError::MalformedCertificate { position: 1 }),
        ),
        (
            "an issuer and a byte",
            vec![good[0].clone(), trailing(&good[1])],
            Some(IdentityError::MalformedCertificate { position: 1 }),
        ),
        ("the issuer first", vec![good[1].clone(), good[0].clone()], Some(IdentityError::KeyMismatch)),
    ] {
        assert_eq!(identity_error(chain, spki.clone()), expected, "{case}");
    }
}

#[test]
fn leaf_must_match_the_key() {
    /// `id-ecPublicKey` and a neighbour of it (RFC 5480 §2.1.1).
    const EC_PUBLIC_KEY: [&[u8]; 2] = [b"\x2a\x86\x48\xce\x3d\x02\x01", b"\x2a\x86\x48\xce\x3d\x02\x02"];
    /// `secp256r1` and a neighbour of it (RFC 5480 §2.1.1.1).
    const P256: [&[u8]; 2] = [b"\x2a\x86\x48\xce\x3d\x03\x01\x07", b"\x2a\x86\x48\xce\x3d\x03\x01\x06"];
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let chain = chain(&pair);
    let own = pair.subject_public_key_info();
    let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().subject_public_key_info();
    for (case, public_key, expected) in [
        ("its own", own.clone(), None),
        ("another", other, Some(IdentityError::KeyMismatch)),
        (
            "the same bits of another algorithm",
            replaced(&own, EC_PUBLIC_KEY[0], EC_PUBLIC_KEY[1]),
            Some(IdentityError::KeyMismatch),
        ),
        (
            "the same bits on another curve",
            replaced(&own, P256[0], P256[1]),
            Some(IdentityError::KeyMismatch),
        ),
        ("garbage", b"x".to_vec(), Some(IdentityError::MalformedPublicKey)),
        ("its own and a byte", [&own[..], b"\0"].concat(), Some(IdentityError::MalformedPublicKey)),
    ] {
        assert_eq!(identity_error(chain.clone(), public_key), expected, "{case}");
    }
}

/// RFC 3279 §2.3.1 requires NULL; some encoders omit it.
#[test]
fn rsa_parameters_may_be_null_or_absent() {
    /// Header and algorithm of a SubjectPublicKeyInfo with an RSA key of 2048 bits: 290 bytes with
    /// NULL, 288 without.
    const WITH_NULL: &[u8] = b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    const WITHOUT: &[u8] = b"\x30\x82\x01\x20\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
    let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let own = pair.subject_public_key_info();
    let without = replaced(&own, WITH_NULL, WITHOUT);
    let chain = chain(&pair);
    assert_eq!(identity_error(chain.clone(), own), None);
    assert_eq!(identity_error(chain, without), None);
}

#[test]
fn identities_with_equal_leaf_are_equal() {
    let digest = |identity: &ClientIdentity| {
        let mut hasher = DefaultHasher::new();
        identity.hash(&mut hasher);
        hasher.finish()
    };
    let pair = KeyPair::generate().unwrap();
    let identity = |chain| ClientIdentity::new(chain, key(pair.subject_public_key_info())).unwrap();
    let chains = [chain(&pair), chain(&pair)];
    let first = identity(chains[0].clone());
    let same_leaf = identity(vec![chains[0][0].clone()]);
    let renewed = identity(chains[1].clone());
    assert_eq!((&first, digest(&first)), (&same_leaf, digest(&same_leaf)));
    assert_ne!(first, renewed, "another certificate for the same key is another identity");
    assert_ne!(digest(&first), digest(&renewed));
}

#[test]
fn limit_shortens_and_never_extends() {
    let pair = KeyPair::generate().unwrap();
    let identity = ClientIdentity::new(chain(&pair), key(pair.subject_public_key_info())).unwrap();
    let ends = identity.not_after();
    let day = Duration::from_secs(24 * 60 * 60);
    let limits = |instants: &[SystemTime]| {
        instants.iter().fold(identity.clone(), |identity, at| identity.usable_until_at_most(*at))
    };
    for (instants, expected) in [
        (&[][..], ends),
        (&[ends + day], ends),
        (&[ends], ends),
        (&[ends - day], ends - day),
        (&[ends - day * 2, ends - day], ends - day * 2),
        (&[ends - day, ends - day * 2], ends - day * 2),
    ] {
        let limited = limits(instants);
        assert_eq!(limited.usable_until(), expected);
        assert_eq!((limited.not_after(), limited.thumbprint()), (ends, identity.thumbprint()));
        assert_eq!(limited, identity, "it is the same certificate");
    }
}

#[test]
fn weak_reference_does_not_keep_identity() {
    let pair = KeyPair::generate().unwrap();
    let identity = ClientIdentity::new(chain(&pair), key(pair.subject_public_key_info())).unwrap();
    let weak = identity.downgrade();
    assert_eq!(weak.upgrade().as_ref(), Some(&identity));
    drop(identity);
    assert!(weak.upgrade().is_none());
}

/// A source that does not end, such as a file of a file system that does not respond.
#[test]
fn hanging_source_blocks_one_thread() {
    let own = KeyPair::generate().unwrap();
    let identity = ClientIdentity::new(chain(&own), key(own.subject_public_key_info())).unwrap();
    let (manual_clock, loads) = (ManualClock::new(), Arc::new(AtomicUsize::new(0)));
    let (release, gate) = mpsc::channel::<()>();
    let (gate, counter) = (Mutex::new(gate), Arc::clone(&loads));
    let load = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        let _released = gate.lock().unwrap().recv();
        None
    };
    let clock = SharedClock::from(&manual_clock);
    let cell = IdentityCell::reloading(identity.clone(), Duration::from_secs(10), clock, load);
    let reload = || {
        let (cell, (ended, end)) = (cell.clone(), mpsc::channel());
        thread::spawn(move || {
            cell.reload();
            ended.send(()).unwrap();
        });
        end
    };
    let first = reload();
    while loads.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    manual_clock.advance(Duration::from_secs(2));
    for _ in 0..3 {
        assert!(reload().recv_timeout(Duration::from_secs(10)).is_ok(), "it waits for the first");
    }
    assert_eq!((cell.get(), loads.load(Ordering::SeqCst)), (identity, 1));
    drop(release);
    first.recv().unwrap();
    cell.reload();
    assert_eq!(loads.load(Ordering::SeqCst), 2);
}
