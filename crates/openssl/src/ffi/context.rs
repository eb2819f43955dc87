//! Contexts with callbacks.

use std::ffi::{CString, c_char, c_int, c_long, c_uchar, c_uint, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock};

use foreign_types::ForeignTypeRef as _;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslContextBuilder, SslMethod, SslRef, SslVersion};
use openssl::stack::StackRef;
use openssl::x509::{X509, X509StoreContext, X509StoreContextRef};
use openssl_sys::{
    SSL, SSL_CTX, SSL_METHOD, SSL_RECEIVED_SHUTDOWN, SSL_SESSION, SSL_get_shutdown, X509_STORE_CTX,
};
use symbolon_rustls::pki_types::CertificateDer;

use super::provider::{LibraryContext, library};
use crate::connection::ConnectionState;

/// `X509_V_ERR_APPLICATION_VERIFICATION`
const REFUSED: c_int = 50;
/// `X509_V_OK`
const ACCEPTED: c_int = 0;

/// `SSL_CB_HANDSHAKE_DONE`
const HANDSHAKE_DONE: c_int = 0x20;

/// `SSL_CTRL_SET_CLIENT_SIGALGS_LIST`
const SET_CLIENT_SCHEMES: c_int = 102;

type VerifyCallback = unsafe extern "C" fn(*mut X509_STORE_CTX, *mut c_void) -> c_int;
type InfoCallback = unsafe extern "C" fn(*const SSL, c_int, c_int);
type CertificateCallback = unsafe extern "C" fn(*mut SSL, *mut c_void) -> c_int;

unsafe extern "C" {
    fn SSL_CTX_new_ex(
        library: *mut LibraryContext,
        properties: *const c_char,
        method: *const SSL_METHOD,
    ) -> *mut SSL_CTX;
    fn SSL_CTX_ctrl(context: *mut SSL_CTX, command: c_int, number: c_long, pointer: *mut c_void) -> c_long;
    fn SSL_CTX_set_cert_verify_callback(
        context: *mut SSL_CTX,
        callback: Option<VerifyCallback>,
        argument: *mut c_void,
    );
    fn SSL_CTX_set_cert_cb(
        context: *mut SSL_CTX,
        callback: Option<CertificateCallback>,
        argument: *mut c_void,
    );
    fn SSL_CTX_set_info_callback(context: *mut SSL_CTX, callback: Option<InfoCallback>);
    fn SSL_set_post_handshake_auth(ssl: *mut SSL, is_allowed: c_int);
    fn SSL_get_session(ssl: *const SSL) -> *mut SSL_SESSION;
    fn SSL_SESSION_set1_id(session: *mut SSL_SESSION, id: *const c_uchar, length: c_uint) -> c_int;
    fn SSL_get_sigalgs(
        ssl: *mut SSL,
        index: c_int,
        signature: *mut c_int,
        digest: *mut c_int,
        both: *mut c_int,
        raw_signature: *mut c_uchar,
        raw_digest: *mut c_uchar,
    ) -> c_int;
    fn X509_STORE_CTX_get0_untrusted(context: *const X509_STORE_CTX) -> *mut openssl_sys::stack_st_X509;
    fn X509_STORE_CTX_set_error(context: *mut X509_STORE_CTX, error: c_int);
}

/// Creates a context with the callbacks, in the library context of this crate.
pub(crate) fn new_context() -> Result<SslContextBuilder, ErrorStack> {
    openssl::init();
    let library = library()?;
    state_index()?;
    // SAFETY: the library context lives until the process ends, and the method is static. The new
    // context is owned by the builder. The callbacks have the types that OpenSSL requires.
    unsafe {
        let context = SSL_CTX_new_ex(library, ptr::null(), SslMethod::tls_client().as_ptr());
        if context.is_null() {
            return Err(ErrorStack::get());
        }
        let builder = SslContextBuilder::from_ptr(context);
        SSL_CTX_set_cert_verify_callback(context, Some(verify), ptr::null_mut());
        SSL_CTX_set_cert_cb(context, Some(certificate_requested), ptr::null_mut());
        SSL_CTX_set_info_callback(context, Some(state_changed));
        Ok(builder)
    }
}

/// Attaches the state to a connection, whose callbacks use it.
pub(crate) fn attach(ssl: &mut Ssl, state: Arc<ConnectionState>) -> Result<(), ErrorStack> {
    ssl.set_ex_data(state_index()?, state);
    Ok(())
}

/// Offers post-handshake authentication (RFC 8446 §4.6.2).
pub(crate) fn allow_late_certificate(ssl: &Ssl) {
    // SAFETY: the connection is valid.
    unsafe { SSL_set_post_handshake_auth(ssl.as_ptr(), 1) };
}

/// Returns true if `close_notify` was received (RFC 8446 §6.1).
pub(crate) fn has_received_close(ssl: &SslRef) -> bool {
    // SAFETY: the connection is valid.
    unsafe { SSL_get_shutdown(ssl.as_ptr()) & SSL_RECEIVED_SHUTDOWN != 0 }
}

/// Sets the signature schemes of the client, which are separate from those that it accepts from
/// servers. An unknown name is an error.
pub(crate) fn set_client_schemes(context: &mut SslContextBuilder, names: &str) -> Result<(), ErrorStack> {
    let names = CString::new(names).unwrap_or_default();
    // SAFETY: the context is valid, and the text is copied.
    let is_set =
        unsafe { SSL_CTX_ctrl(context.as_ptr(), SET_CLIENT_SCHEMES, 0, names.as_ptr().cast_mut().cast()) };
    if is_set == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Requests a renegotiation, as a server that takes any certificate.
#[cfg(test)]
pub(crate) fn renegotiate_with_certificate(ssl: &SslRef) {
    extern "C" fn accept(_is_verified: c_int, _context: *mut X509_STORE_CTX) -> c_int {
        1
    }
    unsafe extern "C" {
        fn SSL_renegotiate(ssl: *mut SSL) -> c_int;
    }
    // SAFETY: the connection is valid.
    unsafe {
        openssl_sys::SSL_set_verify(ssl.as_ptr(), openssl_sys::SSL_VERIFY_PEER, Some(accept));
        assert_eq!(SSL_renegotiate(ssl.as_ptr()), 1);
    }
}

/// Returns the index of the state among the data of a connection.
fn state_index() -> Result<Index<Ssl, Arc<ConnectionState>>, ErrorStack> {
    static INDEX: OnceLock<Index<Ssl, Arc<ConnectionState>>> = OnceLock::new();
    if let Some(index) = INDEX.get() {
        return Ok(*index);
    }
    let index = Ssl::new_ex_index()?;
    Ok(*INDEX.get_or_init(|| index))
}

fn state_of(ssl: &SslRef) -> Option<&Arc<ConnectionState>> {
    ssl.ex_data(state_index().ok()?)
}

/// Verifies the certificates of the server, in place of OpenSSL.
unsafe extern "C" fn verify(context: *mut X509_STORE_CTX, _argument: *mut c_void) -> c_int {
    // SAFETY: OpenSSL passes a valid context.
    let is_accepted = unsafe { accepts(context) }.unwrap_or(false);
    // SAFETY: as above.
    unsafe { X509_STORE_CTX_set_error(context, if is_accepted { ACCEPTED } else { REFUSED }) };
    c_int::from(is_accepted)
}

/// Returns true if the server is accepted, and `None` if the state or a certificate is missing.
///
/// # Safety
/// The context is valid.
unsafe fn accepts(context: *mut X509_STORE_CTX) -> Option<bool> {
    // SAFETY: the caller's; OpenSSL owns the stack of certificates during the call.
    let (store, certificates) = unsafe {
        let certificates = X509_STORE_CTX_get0_untrusted(context);
        if certificates.is_null() {
            return None;
        }
        (X509StoreContextRef::from_ptr(context), StackRef::<X509>::from_ptr(certificates))
    };
    let ssl = store.ex_data(X509StoreContext::ssl_idx().ok()?)?;
    let chain: Result<Vec<_>, _> =
        certificates.iter().map(|one| one.to_der().map(CertificateDer::from)).collect();
    Some(state_of(ssl)?.accepts_server(&chain.ok()?))
}

/// Makes the session unusable after each handshake, so that the next renegotiation is a full one:
/// in an abbreviated handshake, the server cannot request the certificate.
unsafe extern "C" fn state_changed(ssl: *const SSL, event: c_int, _result: c_int) {
    if event & HANDSHAKE_DONE == 0 {
        return;
    }
    // SAFETY: OpenSSL passes a valid connection, and so is its session, if there is one. An empty
    // id is not read.
    unsafe {
        let session = SSL_get_session(ssl);
        if !session.is_null() {
            SSL_SESSION_set1_id(session, c"".as_ptr().cast(), 0);
        }
    }
}

/// Handles a request for the certificate of the client, in the handshake or later.
unsafe extern "C" fn certificate_requested(ssl: *mut SSL, _argument: *mut c_void) -> c_int {
    let mut offered = Vec::new();
    for index in 0.. {
        let (mut signature, mut digest) = (0, 0);
        let null = ptr::null_mut();
        // SAFETY: OpenSSL passes a valid connection; null stands for results that are not wanted.
        let count =
            unsafe { SSL_get_sigalgs(ssl, index, null, null, null, &raw mut signature, &raw mut digest) };
        if index >= count {
            break;
        }
        offered.push(u16::from_be_bytes([digest, signature]));
    }
    // SAFETY: as above.
    let ssl = unsafe { SslRef::from_ptr(ssl) };
    let is_tls13 = ssl.version2() == Some(SslVersion::TLS1_3);
    c_int::from(state_of(ssl).is_some_and(|state| state.can_present(&offered, is_tls13)))
}
