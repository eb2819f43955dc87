//! The builder for a key that a URI identifies.

use std::path::Path;

use symbolon_types::Error;

use crate::builder::Pkcs11KeysBuilder;
use crate::provider::Pkcs11Keys;
use crate::uri::{attributes, invalid, pin, text};

/// The module that loads all modules that p11-kit is configured with. The dynamic linker finds it.
const PROXY_MODULE: &str = "p11-kit-proxy.so";
/// Path attributes that restrict slots and libraries (RFC 7512 §2.3). Slots move, and a library is
/// selected by `module-path`.
const UNSUPPORTED: &[&str] = &[
    "library-description",
    "library-manufacturer",
    "library-version",
    "slot-description",
    "slot-id",
    "slot-manufacturer",
];

impl Pkcs11Keys {
    /// Returns a builder for the key that a `pkcs11` URI (RFC 7512) identifies, for example
    /// `pkcs11:token=symbolon;object=web?module-path=/usr/lib/softhsm/libsofthsm2.so`.
    ///
    /// | attribute | meaning |
    /// |---|---|
    /// | `token`, `serial`, `manufacturer`, `model` | the token; default: the only initialized one |
    /// | `object`, `id` | label and id of the key; default: the label `symbolon` |
    /// | `type` | `private`, if it is present |
    /// | `module-path` | absolute path of the module; default: `p11-kit-proxy.so` |
    /// | `pin-source` | file with the PIN: an absolute path, or `file:` with one |
    ///
    /// All other attributes are refused, because a key that the URI does not describe could be
    /// used. `pin-value` is refused as well: a URI appears on command lines and in logs.
    ///
    /// # Errors
    /// `invalid_configuration` when the URI has another form, or the file with the PIN cannot be
    /// read. The error does not contain the URI.
    pub fn from_uri(uri: &str) -> Result<Pkcs11KeysBuilder, Error> {
        let (path, query) = attributes(uri)?;
        let mut builder = Self::builder(PROXY_MODULE);
        let mut has_object = false;
        for (name, value) in &path {
            builder = match *name {
                "token" => builder.token_label(text(name, value)?),
                "serial" => builder.token_serial(text(name, value)?),
                "manufacturer" => builder.token_manufacturer(text(name, value)?),
                "model" => builder.token_model(text(name, value)?),
                "object" => {
                    has_object = true;
                    builder.key_label(text(name, value)?)
                }
                "id" => builder.key_id(value.clone()),
                "type" if value == b"private" => builder,
                "type" => return Err(invalid("names no private key: use `type=private`, or leave it out")),
                name if UNSUPPORTED.contains(&name) => {
                    return Err(invalid(format_args!(
                        "has the attribute `{name}`, which is not supported: select the token by `token` or \
                         `serial`"
                    )));
                }
                _ => return Err(invalid("has an unknown attribute before the `?`")),
            };
        }
        if !has_object && path.iter().any(|(name, _)| *name == "id") {
            builder = builder.any_key_label();
        }
        for (name, value) in &query {
            builder = match *name {
                "module-path" => {
                    let module = text(name, value)?;
                    if !Path::new(&module).is_absolute() {
                        return Err(invalid("has a `module-path` that is not an absolute path"));
                    }
                    builder.module(module)
                }
                "pin-source" => builder.pin(pin(&text(name, value)?)?),
                "pin-value" => {
                    return Err(invalid(
                        "contains a PIN, which other processes can read: use `pin-source=file:…`",
                    ));
                }
                "module-name" => {
                    return Err(invalid("has the attribute `module-name`: use `module-path`"));
                }
                _ => return Err(invalid("has an unknown attribute after the `?`")),
            };
        }
        Ok(builder)
    }
}

#[cfg(test)]
mod tests {
    use symbolon_types::ErrorKind;

    use super::*;

    /// The examples of RFC 7512 §3, apart from those that name no private key.
    #[test]
    fn examples_of_the_rfc_are_read() {
        for (uri, accepted) in [
            ("pkcs11:", true),
            ("pkcs11:object=my-pubkey;type=public", false),
            ("pkcs11:object=my-key;type=private?pin-source=file:/nonexistent/pin", false),
            (
                "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=",
                false,
            ),
            (
                "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0",
                true,
            ),
            ("pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-version=1.0", false),
            ("pkcs11:object=my-sign-key;type=private?module-name=mypkcs11", false),
            ("pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1", true),
            (
                "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin",
                false,
            ),
            ("pkcs11:slot-description=Sun%20Metaslot", false),
            ("pkcs11:token=My%20token%25%20created%20by%20Joe;id=%01%02%03%Ba%dd%Ca%fe%04%05%06", true),
            ("pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert", false),
            ("pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;object=my-key", true),
            (
                "pkcs11:token=my-token;object=my-certificate;type=cert;vendor-aaa=value-a?pin-source=file:/etc/token_pin",
                false,
            ),
        ] {
            let read = Pkcs11Keys::from_uri(uri);
            assert_eq!(read.is_ok(), accepted, "{uri}: {read:?}");
        }
    }

    #[test]
    fn malformed_uris_are_refused() {
        for uri in [
            "",
            "pkcs11",
            "tpm:",
            "pkcs12:token=x",
            "pkcs11:token",
            "pkcs11:token=a;token=b",
            "pkcs11:token=a;;object=b",
            "pkcs11:token=%4",
            "pkcs11:token=%+4",
            "pkcs11:token=%zz",
            "pkcs11:token=a b",
            "pkcs11:token=é",
            "pkcs11:token=%ff",
            "pkcs11:token=",
            "pkcs11:token=a#b",
            "pkcs11:x-vendor=1",
            "pkcs11:?x-vendor=1",
            "pkcs11:?module-path=softhsm.so",
            "pkcs11:?pin-source=pin.txt",
            "pkcs11:?pin-source=|/bin/cat",
            "pkcs11:?pin-value=s3cr3t",
            "pkcs11:pin-value=s3cr3t",
        ] {
            let error = Pkcs11Keys::from_uri(uri).unwrap_err();
            assert_eq!((error.kind(), error.code()), (ErrorKind::Request, "invalid_configuration"), "{uri}");
            assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error}");
        }
        assert!(Pkcs11Keys::from_uri("PKCS11:token=a").is_ok());
    }
}
