//! A running emulator.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use symbolon_types::{Context, Source, Thumbprint};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::faults::Fault;
use crate::journal::{Journal, Subscription};
use crate::pki::{CertifiedKey, IssuedCertificate};
use crate::protocol::address;
use crate::run::ca_file::CaFile;
use crate::services::hosts;
use crate::services::sign_in::{DEFAULT_USER, sign_in};
use crate::state::{EmulatorState, UserAssigned};

/// The variable for a file of trusted certificates that OpenSSL and rustls-native-certs read.
const TRUST_VARIABLE: &str = "SSL_CERT_FILE";

/// A running emulator: metadata service, token service, resource and the identity endpoints of
/// other hosts.
///
/// It serves on a thread of its own until it is dropped, which closes all ports and connections.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use symbolon_emulator::{Emulator, Fault, Step};
///
/// let emulator = Emulator::start().await?;
/// emulator.inject(Fault::status(Step::Token, 503).header("retry-after", "1"));
/// assert!(emulator.imds_url().starts_with("http://127.0.0.1:"));
/// assert_eq!(emulator.journal().count(Step::Token), 0);
/// # Ok(())
/// # }
/// ```
pub struct Emulator {
    state: Arc<EmulatorState>,
    ca_file: CaFile,
    thread: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Emulator {
    /// The names that clients must resolve to 169.254.169.254 to reach the token service at
    /// [Azure's address](crate::EmulatorBuilder::azure_addresses), for example in `/etc/hosts`.
    pub const AZURE_NAMES: &[&str] = address::TOKEN_SERVICE_NAMES;

    pub(super) fn new(
        state: Arc<EmulatorState>,
        ca_file: CaFile,
        thread: JoinHandle<()>,
        stop: oneshot::Sender<()>,
    ) -> Self {
        Self { state, ca_file, thread: Some(thread), stop: Some(stop) }
    }

    /// The base URL of the metadata service, without a trailing slash.
    #[must_use]
    pub fn imds_url(&self) -> &str {
        &self.state.urls.imds
    }

    /// The base URL of the token service, without a trailing slash: the
    /// `mtls_authentication_endpoint`.
    #[must_use]
    pub fn token_url(&self) -> &str {
        &self.state.urls.token
    }

    /// The URL of the token endpoint of [`tenant_id`](Self::tenant_id).
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.state.urls.token, self.state.machine.tenant_id)
    }

    /// The base URL of the resource, without a trailing slash.
    #[must_use]
    pub fn resource_url(&self) -> &str {
        &self.state.urls.resource
    }

    /// The URL of the admin page, if [configured](crate::EmulatorBuilder::admin_address). The admin
    /// API is relative to it. It contains a secret that differs for every emulator.
    #[must_use]
    pub fn admin_url(&self) -> Option<&str> {
        self.state.admin_url.as_deref()
    }

    /// The tenant of the machine's identities.
    #[must_use]
    pub fn tenant_id(&self) -> &str {
        &self.state.machine.tenant_id
    }

    /// The client id of the system-assigned identity.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.state.machine.client_id
    }

    /// The client id of the application that every emulator has. It has no secret: it authenticates
    /// with a certificate from [`issue_client_certificate`](Self::issue_client_certificate).
    #[must_use]
    pub fn application_id(&self) -> &str {
        &self.state.machine.application_id
    }

    /// The declared resources, which alone a [strict](crate::EmulatorBuilder::strict) emulator
    /// accepts.
    #[must_use]
    pub fn resources(&self) -> &[String] {
        &self.state.settings.resources
    }

    /// The user-assigned identity that every emulator has.
    #[must_use]
    pub fn user_assigned(&self) -> &UserAssigned {
        &self.state.machine.user_assigned[0]
    }

    /// The authority's certificate in DER. Clients of the token service and the resource must trust
    /// it.
    #[must_use]
    pub fn ca_der(&self) -> &[u8] {
        self.state.ca.der()
    }

    /// The authority's certificate in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.state.ca.pem()
    }

    /// The file with the authority's certificate in PEM. It exists as long as the emulator, unless
    /// [`EmulatorBuilder::ca_folder`](crate::EmulatorBuilder::ca_folder) was called.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        self.ca_file.path()
    }

    /// The context of clients of Symbolon: the [variables](Self::environment) of the emulator, and
    /// its clock without the skew. A client with this context and without a transport of its own
    /// finds the emulator and trusts it.
    pub fn context(&self) -> Context {
        let env = self.environment().into_iter().collect();
        Context::default().with_env(env).with_clock(self.state.skew.without_skew().clone())
    }

    /// The variables of the [configured](crate::EmulatorBuilder::source) host, by which SDKs find
    /// the emulator and trust it: those of the host, and `SSL_CERT_FILE` with the path of
    /// [`ca_file`](Self::ca_file).
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.environment_of(self.state.settings.source)
    }

    /// Like [`environment`](Self::environment), for a host of this kind.
    #[must_use]
    pub fn environment_of(&self, source: Source) -> Vec<(&'static str, String)> {
        let mut variables = hosts::environment(source, &self.state);
        variables.push((TRUST_VARIABLE, self.ca_file().display().to_string()));
        variables
    }

    /// Replaces the certificate of the Service Fabric endpoint, as clusters do regularly.
    /// [`environment_of`](Self::environment_of) returns its thumbprint. Open connections stay open.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the operating system provides no randomness.
    pub fn replace_service_fabric_certificate(&self) -> Result<(), Error> {
        self.state.fabric.replace()
    }

    /// Adds a fault. Faults of one step take effect in the order in which they were added.
    pub fn inject(&self, fault: Fault) {
        self.state.faults.inject(fault);
    }

    /// Removes all pending faults.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// Makes the token service and the resource refuse this certificate in the handshake, with the
    /// alert `certificate_revoked`. Under TLS 1.3 the client receives it after its handshake. Open
    /// connections stay open: see [`reset_connections_of`](Self::reset_connections_of).
    pub fn reject_in_tls(&self, certificate: Thumbprint) {
        self.state.refused_in_tls.refuse(certificate);
    }

    /// Makes the token service refuse this certificate with `invalid_client`, and the resource with
    /// 401.
    pub fn revoke(&self, certificate: Thumbprint) {
        self.state.revoked.insert(certificate);
    }

    /// Issues another certificate with the key and the lifetime of this one, and returns it.
    /// Returns `None` for a certificate that the emulator did not issue. The old one stays valid
    /// until it is revoked.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the operating system provides no randomness.
    pub fn renew(&self, certificate: Thumbprint) -> Result<Option<Arc<IssuedCertificate>>, Error> {
        self.state.renew(certificate)
    }

    /// Restarts the machine: resets all connections, and refuses the client certificates issued so
    /// far in TLS, as if the client had lost their keys. Open challenges of the Azure Arc agent are
    /// removed. Identities and tokens stay valid.
    pub fn reboot(&self) {
        self.state.reboot();
    }

    /// Sets the skew of the emulator's clock in seconds; negative if it is behind.
    pub fn set_clock_skew(&self, seconds: i64) {
        self.state.skew.set(seconds);
    }

    /// Resets all open connections with this client certificate, and returns their number.
    pub fn reset_connections_of(&self, certificate: Thumbprint) -> usize {
        self.state.connections.reset(certificate)
    }

    /// The client certificates issued so far, oldest first.
    #[must_use]
    pub fn issued(&self) -> Vec<Arc<IssuedCertificate>> {
        self.state.ca.issued()
    }

    /// Issues a certificate for a client with a new P-256 key, for example for an application. It
    /// has no tenant and no `token_not_after`.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the client id contains characters that a `PrintableString` cannot.
    pub fn issue_client_certificate(&self, client_id: &str) -> Result<CertifiedKey, Error> {
        self.state.issue_client_certificate(client_id)
    }

    /// Like [`issue_client_certificate`](Self::issue_client_certificate), for the key of this
    /// SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] also for a key that is neither RSA with at least 2048 bits nor P-256.
    pub fn certify(&self, client_id: &str, spki: &[u8]) -> Result<Arc<IssuedCertificate>, Error> {
        self.state.certify(client_id, spki)
    }

    /// Returns the token of a signed-in user for the application with this audience, which passes
    /// it on in the on-behalf-of flow. The audience is its client id, or `api://` and its client
    /// id.
    ///
    /// The user is always the same; see [`user_token_of`](Self::user_token_of) for others.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use symbolon_emulator::Emulator;
    ///
    /// let middle_tier = "11111111-2222-4333-8444-555555555555";
    /// let emulator = Emulator::builder().application(middle_tier, "its secret").start().await?;
    /// let assertion = emulator.user_token(&format!("api://{middle_tier}")).await?;
    /// assert_eq!(assertion.split('.').count(), 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the operating system provides no randomness.
    pub async fn user_token(&self, audience: &str) -> Result<String, Error> {
        self.user_token_of(DEFAULT_USER, audience).await
    }

    /// Like [`user_token`](Self::user_token), for the user with this sign-in name, such as
    /// `ben@contoso.example`. Every name is valid and stands for one user.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the operating system provides no randomness.
    pub async fn user_token_of(&self, user: &str, audience: &str) -> Result<String, Error> {
        sign_in(user, audience, &self.state).await
    }

    /// Returns a snapshot of the journal.
    #[must_use]
    pub fn journal(&self) -> Journal {
        self.state.recorder.journal()
    }

    /// Subscribes to the entries that follow.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.state.recorder.subscribe()
    }

    /// Returns a snapshot of the journal and a subscription that continues it without a gap.
    #[must_use]
    pub fn follow(&self) -> (Journal, Subscription) {
        self.state.recorder.follow()
    }
}

// Shows the URLs.
symbolon_types::debug_fields!(Emulator |this| urls: this.state.urls);

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Takes milliseconds. An error means that the thread panicked, which has been printed.
            let _ended = thread.join();
        }
    }
}
