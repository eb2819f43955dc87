//! Creation and use of keys.

use std::sync::Barrier;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use symbolon_binding::probe_key;
use symbolon_pkcs11::Pkcs11Keys;
use symbolon_test_programs::{SoftHsm, verify_every_scheme};
use symbolon_types::{SignatureScheme, SigningError, SigningKey, Strength};

use crate::{KINDS, OtherClient, builder, key, try_key};

#[test]
fn key_is_created_once_and_signs() {
    SoftHsm::run("keys::key_is_created_once_and_signs", |token| {
        for (kind, offered) in KINDS.into_iter().zip([6, 1]) {
            let made = key(&kind(builder()).build());
            assert_eq!(made.schemes().len(), offered);
            verify_every_scheme(&made, token.folder());
            probe_key(&made).unwrap();
            // Another provider finds the same key.
            assert_eq!(key(&kind(builder()).build()).public_key(), made.public_key());
        }
    });
}

#[test]
fn uri_finds_the_key() {
    SoftHsm::run("keys::uri_finds_the_key", |token| {
        let pin = token.folder().join("pin");
        std::fs::write(&pin, format!("{}\n", SoftHsm::pin().expose())).unwrap();
        let (module, pin) = (SoftHsm::module(), pin.display().to_string());
        let query = format!("?module-path={}&pin-source=file:{pin}", module.display());
        let made = key(&Pkcs11Keys::from_uri(&format!("pkcs11:token=symbolon%20test;object=web{query}"))
            .unwrap()
            .p256()
            .build());
        let location = made.location().unwrap();
        assert!(location.starts_with("pkcs11:token=symbolon%20test;serial="), "{location}");
        assert!(!location.contains(SoftHsm::pin().expose()) && !location.contains("pin"), "{location}");
        // The URI of the key, with a PIN, finds this key by its id.
        let by_location = format!("{location}&pin-source={pin}");
        for uri in [by_location.as_str(), &format!("pkcs11:object=web{query}")] {
            let found = key(&Pkcs11Keys::from_uri(uri).unwrap().p256().build());
            assert_eq!(found.public_key(), made.public_key(), "{uri}");
        }
        for (uri, code) in [
            (format!("pkcs11:token=symbolon%20test;serial=0{query}"), "token_not_found"),
            (format!("pkcs11:model=another{query}"), "token_not_found"),
            (format!("pkcs11:manufacturer=another{query}"), "token_not_found"),
            (format!("pkcs11:?module-path={}", module.display()), "pin_required"),
        ] {
            let refused = try_key(&Pkcs11Keys::from_uri(&uri).unwrap().build()).unwrap_err();
            assert_eq!(refused.code(), code, "{uri}: {refused}");
        }
        // Another key, and no second one at the next use.
        let other = format!("pkcs11:id=%00%01{query}");
        let keys = [(); 2].map(|()| key(&Pkcs11Keys::from_uri(&other).unwrap().p256().build()));
        assert_ne!(keys[0].public_key(), made.public_key());
        assert_eq!(keys[0].public_key(), keys[1].public_key());
    });
}

#[test]
fn key_cannot_be_read() {
    SoftHsm::run("keys::key_cannot_be_read", |_| {
        let other = OtherClient::new();
        for kind in KINDS {
            key(&kind(builder()).build());
        }
        let session = other.session();
        let private = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap();
        assert_eq!(private.len(), 2);
        for key in private {
            let secrets = [AttributeType::PrivateExponent, AttributeType::Value, AttributeType::Prime1];
            assert_eq!(session.get_attributes(key, &secrets).unwrap(), []);
            for promise in [
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
            ] {
                let found = session.get_attributes(key, &[promise.attribute_type()]).unwrap();
                assert_eq!(found, [promise]);
            }
        }
    });
}

#[test]
fn other_schemes_are_refused() {
    SoftHsm::run("keys::other_schemes_are_refused", |_| {
        let foreign = [SignatureScheme::EcdsaP256Sha256, SignatureScheme::RsaPssSha256];
        for (kind, foreign) in KINDS.into_iter().zip(foreign) {
            let refused = key(&kind(builder()).build()).sign(foreign, b"");
            assert!(matches!(refused, Err(SigningError::UnsupportedScheme(scheme)) if scheme == foreign));
        }
    });
}

#[test]
fn hardware_key_must_not_be_extractable() {
    SoftHsm::run("keys::hardware_key_must_not_be_extractable", |_| {
        let strength = |label: &str, in_hardware| {
            let keys = builder().key_label(label).p256().in_hardware(in_hardware).build();
            key(&keys).strength()
        };
        assert_eq!(strength("ours", false), Strength::Software);
        assert_eq!(strength("ours", true), Strength::Hardware);
        // An extractable key of another application.
        let session = OtherClient::new().session();
        let label = Attribute::Label(b"theirs".to_vec());
        let curve = Attribute::EcParams(vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
        let id = Attribute::Id(vec![7]);
        let public = [Attribute::Token(true), curve, label.clone(), id.clone()];
        let private =
            [Attribute::Token(true), Attribute::Extractable(true), Attribute::Sign(true), label, id];
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap();
        assert_eq!(strength("theirs", true), Strength::Software);
    });
}

#[test]
fn label_and_id_select_the_key() {
    SoftHsm::run("keys::label_and_id_select_the_key", |_| {
        let one = |label: &str, id: &[u8]| {
            let keys = builder().p256().key_label(label).key_id(id).build();
            key(&keys).public_key().to_vec()
        };
        let first = one("a", &[1]);
        let [second, third] = [one("a", &[2]), one("b", &[1])];
        assert!(first != second && second != third && first != third);
        assert_eq!([one("a", &[1]), one("a", &[2])], [first.clone(), second]);
        // Of several keys with the label, the one with the smallest id is used.
        assert_eq!(key(&builder().p256().key_label("a").build()).public_key().to_vec(), first);
    });
}

#[test]
fn threads_share_one_key() {
    SoftHsm::run("keys::threads_share_one_key", |_| {
        let shared = key(&builder().p256().build());
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        probe_key(&shared).unwrap();
                    }
                });
            }
        });
    });
}

#[test]
fn concurrent_providers_create_one_key() {
    SoftHsm::run("keys::concurrent_providers_create_one_key", |_| {
        let barrier = Barrier::new(8);
        let made: Vec<_> = std::thread::scope(|scope| {
            let start = || {
                let keys = builder().p256().build();
                barrier.wait();
                key(&keys)
            };
            let starters: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            starters.into_iter().map(|starter| starter.join().unwrap()).collect()
        });
        for key in &made {
            assert_eq!(key.public_key(), made[0].public_key());
            probe_key(key).unwrap();
        }
    });
}

#[test]
fn debug_hides_pin_and_key() {
    let shown = format!("{:?} {:?}", builder(), builder().build());
    assert!(!shown.contains(SoftHsm::pin().expose()), "{shown}");
    SoftHsm::run("keys::debug_hides_pin_and_key", |_| {
        let shown = format!("{:?}", key(&builder().p256().build()));
        assert_eq!(shown, "SharedSigningKey(Pkcs11Key { .. })");
    });
}
