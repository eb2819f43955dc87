//! The running emulator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::{fmt, fs, io};

use symbolon_types::{Source, Thumbprint};
use tokio::sync::oneshot;

use crate::builder::EmulatorBuilder;
use crate::ca::{CertifiedKey, IssuedCertificate};
use crate::error::Error;
use crate::fault::Fault;
use crate::host;
use crate::identity::UserAssigned;
use crate::journal::{Journal, Subscription};
use crate::place;
use crate::state::State;
use crate::user;

/// The variable with a file of trusted certificates, as OpenSSL and rustls-native-certs read it.
const TRUST_VARIABLE: &str = "SSL_CERT_FILE";
/// The name of the file that [`Emulator::write_ca`] writes.
const CA_FILE: &str = "emulator-ca.pem";

/// A metadata service, a token service, a resource and the identity endpoints of other hosts, on loopback.
///
/// It serves on a thread of its own until it is dropped; then its ports are closed, its connections
/// too.
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
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Emulator {
    /// The names that clients must find at 169.254.169.254 to reach the token service
    /// [there](EmulatorBuilder::azure_addresses), as in `/etc/hosts`.
    pub const AZURE_NAMES: &[&str] = place::TOKEN_SERVICE_NAMES;

    /// Starts an emulator that has nothing special.
    ///
    /// # Errors
    ///
    /// See [`EmulatorBuilder::start`].
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    /// Sets up an emulator.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::new()
    }

    pub(crate) fn new(state: Arc<State>, thread: JoinHandle<()>, stop: oneshot::Sender<()>) -> Self {
        Self { state, thread: Some(thread), stop: Some(stop) }
    }

    /// Base URL of the metadata service, without a trailing slash.
    #[must_use]
    pub fn imds_url(&self) -> &str {
        &self.state.urls.imds
    }

    /// Base URL of the token service, without a trailing slash: the `mtls_authentication_endpoint`.
    #[must_use]
    pub fn token_url(&self) -> &str {
        &self.state.urls.token
    }

    /// URL of the token endpoint of [`tenant_id`](Self::tenant_id).
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.state.urls.token, self.state.machine.tenant_id)
    }

    /// Base URL of the resource, without a trailing slash.
    #[must_use]
    pub fn resource_url(&self) -> &str {
        &self.state.urls.resource
    }

    /// URL of the page, if [it was asked for](EmulatorBuilder::admin_address); the admin API is relative to it. It has
    /// a secret in it, which is another one for every emulator.
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

    /// The user-assigned identity that every emulator has.
    #[must_use]
    pub fn user_assigned(&self) -> &UserAssigned {
        &self.state.machine.user_assigned[0]
    }

    /// The authority's certificate in DER: trust it to reach the token service and the resource.
    #[must_use]
    pub fn ca_der(&self) -> &[u8] {
        self.state.ca.der()
    }

    /// The authority's certificate in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.state.ca.pem()
    }

    /// Writes the authority's certificate (PEM) into a directory, and says where.
    ///
    /// # Errors
    ///
    /// Those of writing a file.
    pub fn write_ca(&self, directory: impl AsRef<Path>) -> io::Result<PathBuf> {
        let path = directory.as_ref().join(CA_FILE);
        fs::write(&path, self.ca_pem())?;
        Ok(path)
    }

    /// The variables that point SDKs at the emulator as the host that it was
    /// [set up](crate::EmulatorBuilder::source) to stand for: unless told otherwise, a virtual machine.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.environment_of(self.state.settings.source)
    }

    /// The variables that a host of this kind gives its processes.
    #[must_use]
    pub fn environment_of(&self, source: Source) -> Vec<(&'static str, String)> {
        host::environment(source, &self.state)
    }

    /// The Service Fabric endpoint presents another certificate from now on, as a cluster does from time
    /// to time; [`environment_of`](Self::environment_of) has its thumbprint. Open connections live on.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] where the machine has no randomness to give.
    pub fn replace_service_fabric_certificate(&self) -> Result<(), Error> {
        self.state.fabric.replace()
    }

    /// As [`environment`](Self::environment), with the variable that makes SDKs trust the file that
    /// [`write_ca`](Self::write_ca) wrote.
    #[must_use]
    pub fn environment_with_ca(&self, file: &Path) -> Vec<(&'static str, String)> {
        let mut variables = self.environment();
        variables.push((TRUST_VARIABLE, file.display().to_string()));
        variables
    }

    /// Scripts a fault; faults of one step happen in the order of injection.
    pub fn inject(&self, fault: Fault) {
        self.state.script.inject(fault);
    }

    /// Forgets the faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.state.script.clear();
    }

    /// From now on both TLS servers refuse this certificate in the handshake, with the alert
    /// `certificate_revoked`. Under TLS 1.3 a client sees it after its handshake. Open
    /// connections live on: see [`reset_connections_of`](Self::reset_connections_of).
    pub fn reject_in_tls(&self, certificate: Thumbprint) {
        self.state.refusals.refuse(certificate);
    }

    /// From now on the token service answers `invalid_client` to this certificate, and the resource
    /// 401.
    pub fn revoke(&self, certificate: Thumbprint) {
        self.state.revoke(certificate);
    }

    /// Issues another certificate for the key of this one, valid for as long from now, and returns it; none for a
    /// certificate that the emulator did not issue. The old one stays good until it is revoked.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] where the machine has no randomness to give.
    pub fn renew(&self, certificate: Thumbprint) -> Result<Option<Arc<IssuedCertificate>>, Error> {
        self.state.renew(certificate)
    }

    /// The machine restarts, and keys that live no longer than that are gone: all connections are reset, and
    /// both TLS servers refuse the client certificates issued so far, as if the client could not sign for them
    /// any more. Open challenges of the Azure Arc agent are forgotten. Identities stay, tokens too.
    pub fn reboot(&self) {
        self.state.reboot();
    }

    /// Sets by how many seconds the emulator's clock is ahead of the one it was given; negative when it is behind.
    pub fn set_clock_skew(&self, seconds: i64) {
        self.state.skew.set(seconds);
    }

    /// Resets all open connections that presented this certificate, and says how many there were.
    pub fn reset_connections_of(&self, certificate: Thumbprint) -> usize {
        self.state.connections.reset(certificate)
    }

    /// The client certificates signed so far, oldest first.
    #[must_use]
    pub fn issued(&self) -> Vec<Arc<IssuedCertificate>> {
        self.state.ca.issued()
    }

    /// A certificate of the authority for a client, with a new P-256 key: the certificate of an
    /// application, or one that is not the bound one. It names no tenant and no `token_not_after`.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] where the client id has characters that a `PrintableString` has not.
    pub fn issue_client_certificate(&self, client_id: &str) -> Result<CertifiedKey, Error> {
        self.state.issue_client_certificate(client_id)
    }

    /// As [`issue_client_certificate`](Self::issue_client_certificate), for the key of this
    /// SubjectPublicKeyInfo in DER: a renewal.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] also for a key that is neither RSA of at least 2048 bits nor P-256.
    pub fn certify(&self, client_id: &str, spki: &[u8]) -> Result<Arc<IssuedCertificate>, Error> {
        self.state.certify(client_id, spki)
    }

    /// The token that an application sends to the one with this audience when a user has signed in: what
    /// that one passes on in the on-behalf-of flow. The audience is its client id, or `api://` and its client id.
    ///
    /// The user is made up, and always the same; see [`user_token_of`](Self::user_token_of) for others.
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
    /// [`Error::Certificate`] where the machine has no randomness to give.
    pub async fn user_token(&self, audience: &str) -> Result<String, Error> {
        self.user_token_of(user::DEFAULT, audience).await
    }

    /// As [`user_token`](Self::user_token), of the user who signs in by this name, such as `ben@contoso.example`. Every
    /// name is somebody's; the same name is the same user.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] where the machine has no randomness to give.
    pub async fn user_token_of(&self, user: &str, audience: &str) -> Result<String, Error> {
        user::sign_in(user, audience, &self.state).await
    }

    /// What was asked and answered up to now.
    #[must_use]
    pub fn journal(&self) -> Journal {
        self.state.recorder.journal()
    }

    /// What is asked and answered from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.state.recorder.subscribe()
    }

    /// Both [`journal`](Self::journal) and [`subscribe`](Self::subscribe), with nothing missing in between.
    #[must_use]
    pub fn follow(&self) -> (Journal, Subscription) {
        self.state.recorder.follow()
    }
}

/// The addresses.
impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("urls", &self.state.urls).finish_non_exhaustive()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Milliseconds: the thread only drops what it holds. It could end otherwise only by a
            // panic, which has been printed.
            let _ended = thread.join();
        }
    }
}
