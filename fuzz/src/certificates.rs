//! Certificates and keys, in DER, PEM and PKCS#12.

use symbolon_rustls::{ClientIdentityLoader, LoadError};
use symbolon_types::{ClientIdentity, Secret};

use crate::fixture;

/// Arbitrary certificates for the key of the corpus do not panic. The parts of an input are a chain
/// in DER.
pub(crate) fn client_identity(input: &[u8]) -> bool {
    let chain = crate::parts(input).map(|der| der.to_vec().into()).collect();
    checked(ClientIdentity::new(chain, fixture::key()).ok())
}

/// Arbitrary PEM does not panic.
pub(crate) fn pem(input: &[u8]) -> bool {
    loaded(loader().load_pem(input))
}

/// Arbitrary PKCS#12 does not panic.
pub(crate) fn pkcs12(input: &[u8]) -> bool {
    loaded(loader().load_pkcs12(input))
}

fn loader() -> ClientIdentityLoader {
    ClientIdentityLoader::new().passphrase(Secret::new("secret"))
}

fn loaded(identity: Result<ClientIdentity, LoadError>) -> bool {
    if let Err(error) = &identity {
        assert!(!error.to_string().is_empty());
    }
    checked(identity.ok())
}

fn checked(identity: Option<ClientIdentity>) -> bool {
    let Some(identity) = identity else { return false };
    assert!(identity.usable_until() <= identity.not_after());
    true
}
