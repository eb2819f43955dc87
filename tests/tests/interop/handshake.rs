//! Handshakes with a certificate for every kind of key.

use http::{Method, StatusCode};
use symbolon::{Context, Env, HyperTransport};
use symbolon_test_programs::{Folder, SoftHsm, find_program, missing};
use symbolon_transport::{Request, Route, Transport as _, TransportErrorKind};
use symbolon_types::ClientIdentity;

use crate::authority::Authority;
use crate::keys::{CLIENT, Home, Requested, block_on};
use crate::servers::{SERVERS, VERSIONS};

/// Every installed server accepts the client by its certificate, and refuses a client of another
/// authority.
fn all_accept(requests: &[Requested]) {
    if find_program("openssl").is_none() {
        missing("OpenSSL (`apt-get install openssl`)");
        return;
    }
    let (folder, strangers) = (Folder::new(), Folder::new());
    let (authority, stranger) = (Authority::new(folder.path()), Authority::new(strangers.path()));
    for kind in SERVERS {
        for version in VERSIONS {
            let server = match (kind.start)(&folder, version) {
                Ok(server) => server,
                Err(what) => {
                    missing(&what);
                    continue;
                }
            };
            for requested in requests {
                let case = format!("{} {version:?} with {}", kind.name, requested.name);
                let known = send(&server.url, &authority.pem(), authority.certify(requested));
                let (status, page) = known.unwrap_or_else(|kind| panic!("{case}: {kind:?}"));
                assert_eq!(status, StatusCode::OK, "{case}: {page}");
                assert!(page.contains(CLIENT), "{case}: {page}");
                // nginx refuses unknown clients in HTTP.
                match send(&server.url, &authority.pem(), stranger.certify(requested)) {
                    Ok((status, page)) => assert_eq!(status, StatusCode::BAD_REQUEST, "{case}: {page}"),
                    Err(error) => assert_eq!(error, TransportErrorKind::IdentityRejected, "{case}"),
                }
            }
        }
    }
}

fn send(
    url: &str,
    root: &[u8],
    identity: ClientIdentity,
) -> Result<(StatusCode, String), TransportErrorKind> {
    let transport = HyperTransport::builder()
        .platform_roots(false)
        .context(Context::default().with_env(Env::empty()))
        .root_certificates_pem(root)
        .build()
        .unwrap();
    let request = Request::new(Method::GET, url.parse().unwrap(), Route::Local).with_identity(Some(identity));
    let response = block_on(transport.send(request)).map_err(|error| error.kind())?;
    Ok((response.status(), String::from_utf8_lossy(response.body()).into_owned()))
}

#[test]
fn keys_in_memory_are_accepted_everywhere() {
    all_accept(&Home::Memory.keys());
}

#[test]
fn keys_in_files_are_accepted_everywhere() {
    all_accept(&Home::File.keys());
}

#[test]
fn keys_on_a_token_are_accepted_everywhere() {
    SoftHsm::run("handshake::keys_on_a_token_are_accepted_everywhere", |_| all_accept(&Home::Token.keys()));
}

#[test]
fn keys_in_a_tpm_are_accepted_everywhere() {
    all_accept(&Home::Tpm.keys());
}
