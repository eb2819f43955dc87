//! The emulator and the client of the demo.

use bytes::Bytes;
use http::{Request, Response};
use symbolon::{
    ClientIdentity, Context, Env, Error, ManagedIdentity, ManagedIdentityBuilder, ManagedIdentityId, Token,
};
use symbolon_emulator::Emulator;

use super::replay::trusting;
use super::step::StepError;
use crate::failure;

/// The resource of the demo's tokens.
pub(super) const RESOURCE: &str = "https://vault.example";

pub(super) struct DemoEnv {
    pub(super) emulator: Emulator,
    pub(super) identity: ManagedIdentity,
}

impl DemoEnv {
    pub(super) async fn start() -> Result<Self, Error> {
        let emulator = Emulator::start().await;
        let emulator =
            emulator.map_err(|error| failure::local("the emulator could not be started", error))?;
        let identity = identity_builder(&emulator)?.capabilities(["cp1"]).build()?;
        Ok(Self { emulator, identity })
    }

    pub(super) async fn bound_token(&self) -> Result<Token, Error> {
        self.identity.token(RESOURCE).proof_of_possession().await
    }

    /// Calls the resource through the library.
    pub(super) async fn call(&self, token: &Token) -> Result<Response<Bytes>, StepError> {
        let request = Request::get(self.emulator.resource_url()).body(Bytes::new());
        let request = request.map_err(|error| StepError(error.to_string()))?;
        Ok(self.identity.call(token, request).await?)
    }

    /// Returns a certificate of another identity, issued by the same authority.
    pub(super) async fn other_certificate(&self) -> Result<ClientIdentity, StepError> {
        let other = ManagedIdentityId::client_id(&self.emulator.user_assigned().client_id)?;
        let identity = identity_builder(&self.emulator)?.identity(other).build()?;
        let token = identity.token("https://other.example").proof_of_possession().await?;
        token.bound_to().cloned().ok_or("the other identity got no certificate".into())
    }

    /// Returns the number of certificates issued to the client.
    pub(super) fn issued_certificates(&self) -> usize {
        let issued = self.emulator.issued();
        issued.iter().filter(|certificate| certificate.client_id == self.emulator.client_id()).count()
    }
}

fn identity_builder(emulator: &Emulator) -> Result<ManagedIdentityBuilder, Error> {
    let env: Env = emulator.environment().into_iter().collect();
    let context = Context::default().with_env(env);
    Ok(ManagedIdentity::builder().context(context).transport(trusting(emulator.ca_pem().as_bytes())?))
}
