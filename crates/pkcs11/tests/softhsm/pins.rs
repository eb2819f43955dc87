//! Selection of tokens, and logins.

use symbolon_binding::Error;
use symbolon_pkcs11::Pkcs11Keys;
use symbolon_test_programs::SoftHsm;
use symbolon_types::{ErrorKind, Secret};

use crate::{OtherClient, builder, key, try_key};

fn code(keys: &Pkcs11Keys) -> String {
    let error = try_key(keys).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Environment, "{error}");
    assert!(!error.advice().is_empty(), "{error}");
    error.code().to_owned()
}

#[test]
fn refused_pin_is_not_tried_again() {
    SoftHsm::run("pins::refused_pin_is_not_tried_again", |_| {
        let wrong = builder().p256().pin(Secret::new("9999-wrong")).build();
        let errors: Vec<Error> = (0..2).map(|_| try_key(&wrong).unwrap_err()).collect();
        assert_eq!(errors[0].code(), "pin_refused");
        assert_eq!(errors[1].code(), "pin_refused");
        // Only the first error comes from the token.
        let from_the_token = errors.iter().map(|error| std::error::Error::source(error).is_some());
        assert_eq!(from_the_token.collect::<Vec<_>>(), [true, false]);
        for shown in errors.iter().map(|error| format!("{error} {error:?}")) {
            assert!(!shown.contains("9999"), "{shown}");
        }
        key(&builder().p256().build());
    });
}

#[test]
fn missing_pin_is_reported() {
    SoftHsm::run("pins::missing_pin_is_reported", |_| {
        let keys = Pkcs11Keys::builder(SoftHsm::module()).token_label(SoftHsm::TOKEN).build();
        assert_eq!(code(&keys), "pin_required");
    });
}

#[test]
fn token_is_found_by_label_or_serial() {
    SoftHsm::run("pins::token_is_found_by_label_or_serial", |_| {
        let other = OtherClient::new();
        let serial = other.module.get_token_info(other.slot).unwrap().serial_number().to_owned();
        let first = Pkcs11Keys::builder(SoftHsm::module()).pin(SoftHsm::pin()).p256();
        let made = key(&first.clone().build());
        for found in [first.clone().token_serial(serial), first.clone().token_label(SoftHsm::TOKEN)] {
            use symbolon_types::SigningKey;
            assert_eq!(key(&found.build()).public_key(), made.public_key());
        }
        for missing in [first.clone().token_label("another"), first.token_serial("0")] {
            assert_eq!(code(&missing.build()), "token_not_found");
        }
    });
}

#[test]
fn invalid_module_is_reported() {
    for path in ["/nonexistent/module.so", "/bin/sh"] {
        let keys = Pkcs11Keys::builder(path).build();
        assert_eq!(code(&keys), "pkcs11_module_unusable");
    }
}
