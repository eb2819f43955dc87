//! Confidential clients of the emulator, one for each kind of credential.

use symbolon::{ClientIdentity, Env, ManagedIdentity};
use symbolon_token::authority::Authority;
use symbolon_token::{
    Application, ClientAssertion, ClientCertificate, CredentialSource, TokenClient, TokenClientBuilder,
};

use crate::key::OpaqueKey;
use crate::test_env::TestEnv;

/// The confidential client of these tests.
pub(crate) const CLIENT_ID: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";

impl TestEnv {
    /// The client at the emulator's authority.
    pub(crate) fn application(&self) -> Application {
        let authority = format!("{}/{}", self.emulator.token_url(), self.emulator.tenant_id());
        let authority = Authority::parse(&authority).expect("a loopback authority");
        Application::new(authority, CLIENT_ID).expect("an application")
    }

    /// A certificate that the emulator's authority issued to the client, with its key.
    pub(crate) fn certificate(&self) -> ClientIdentity {
        let issued = self.emulator.issue_client_certificate(CLIENT_ID).expect("a certificate");
        OpaqueKey::identity(&issued.certificate.der, &issued.pkcs8)
    }

    /// A token client with the transport and the clock of this environment.
    pub(crate) fn client_builder(&self, credential: impl CredentialSource) -> TokenClientBuilder {
        TokenClient::builder(credential, self.transport()).context(self.context().with_env(Env::empty()))
    }

    /// A client with a certificate.
    pub(crate) fn certificate_client(&self, identity: ClientIdentity) -> TokenClient {
        let credential = ClientCertificate::new(self.application(), identity).expect("a credential");
        self.client_builder(credential).build()
    }

    /// A client whose assertions are the tokens of a managed identity, with their certificate.
    pub(crate) fn assertion_client(&self, identity: &ManagedIdentity) -> TokenClient {
        let source = identity.assertions();
        self.client_builder(ClientAssertion::new(self.application(), source)).build()
    }
}
