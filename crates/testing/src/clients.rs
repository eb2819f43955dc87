//! Clients of an emulator.

use std::error::Error as StdError;

use symbolon::parts::hyper::client_identity_from_pem;
use symbolon::parts::token::authority::Authority;
use symbolon::parts::token::{Application, ClientCertificate, TokenClient};
use symbolon::{ClientIdentity, Error, ErrorKind, HyperTransport, ManagedIdentity};
use symbolon_emulator::Emulator;

/// Clients that find and trust an emulator.
///
/// They have the variables and the clock of the emulator, and the default settings otherwise.
/// Connections and tokens belong to one client; clones share them.
pub trait EmulatorClients {
    /// Returns the system-assigned managed identity of the emulated machine.
    ///
    /// # Errors
    /// `invalid_configuration` if the TLS configuration cannot be built.
    fn identity(&self) -> Result<ManagedIdentity, Error>;

    /// Returns a confidential client that authenticates with a certificate: the
    /// [application](Emulator::application_id) that every emulator has.
    ///
    /// # Errors
    /// `invalid_configuration` if its certificate or the TLS configuration cannot be built.
    fn client(&self) -> Result<TokenClient, Error>;

    /// Returns a confidential client that authenticates with a certificate, for the application
    /// with this client id, which a strict emulator must know.
    ///
    /// # Errors
    /// Those of [`client`](Self::client), and those of [`Application::new`] if the client id is
    /// invalid.
    fn client_of(&self, client_id: &str) -> Result<TokenClient, Error>;
}

impl EmulatorClients for Emulator {
    fn identity(&self) -> Result<ManagedIdentity, Error> {
        ManagedIdentity::builder().context(self.context()).build()
    }

    fn client(&self) -> Result<TokenClient, Error> {
        self.client_of(self.application_id())
    }

    fn client_of(&self, client_id: &str) -> Result<TokenClient, Error> {
        let authority = Authority::parse(&format!("{}/{}", self.token_url(), self.tenant_id()))?;
        let application = Application::new(authority, client_id)?;
        let credential = ClientCertificate::new(application, certificate(self, client_id)?)?;
        let transport = HyperTransport::builder().context(self.context()).build();
        let transport = transport.map_err(|error| invalid("the HTTP transport could not be built", error))?;
        Ok(TokenClient::builder(credential, transport).context(self.context()).build())
    }
}

/// Returns a new certificate for this client id.
fn certificate(emulator: &Emulator, client_id: &str) -> Result<ClientIdentity, Error> {
    let failed = "the emulator's certificate for the client could not be used";
    let issued =
        emulator.issue_client_certificate(client_id).map_err(|error| invalid(failed, error))?.to_pem();
    client_identity_from_pem(issued.as_bytes()).map_err(|error| invalid(failed, error))
}

fn invalid(summary: &'static str, cause: impl StdError + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Request, "invalid_configuration", summary)
        .with_advice("check the settings of the emulator, and the client id")
        .with_source(cause)
}
