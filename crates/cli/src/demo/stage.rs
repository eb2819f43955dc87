//! Who acts in the story: an emulator, a client, a thief.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request, Response};
use symbolon::parts::transport::{self, Route, Transport};
use symbolon::{
    ClientIdentity, Context, Env, Error, HyperTransport, ManagedIdentity, ManagedIdentityBuilder,
    ManagedIdentityId, Thumbprint, Token,
};
use symbolon_emulator::Emulator;

use super::thief::Replayed;
use crate::failure;

/// What the tokens of the story are for.
pub(super) const RESOURCE: &str = "https://vault.example";
/// How much of a thumbprint is shown.
const SHOWN: usize = 8;

/// What a step found, in lines; or why it did not hold.
pub(super) type Told = Result<Vec<String>, Broken>;

/// Why a step did not hold.
#[derive(Debug)]
pub(super) struct Broken(pub(super) String);

pub(super) struct Stage {
    pub(super) emulator: Emulator,
    pub(super) identity: ManagedIdentity,
}

impl Stage {
    pub(super) async fn set() -> Result<Self, Error> {
        let emulator = Emulator::start().await;
        let emulator =
            emulator.map_err(|error| failure::local("the emulator could not be started", error))?;
        let identity = client(&emulator)?.capabilities(["cp1"]).build()?;
        Ok(Self { emulator, identity })
    }

    pub(super) async fn bound(&self, resource: &str) -> Result<Token, Error> {
        self.identity.token(resource).proof_of_possession().await
    }

    /// Calls the resource as the library does it.
    pub(super) async fn call(&self, token: &Token) -> Result<Response<Bytes>, Broken> {
        let request = Request::get(self.emulator.resource_url()).body(Bytes::new());
        let request = request.map_err(|error| Broken(error.to_string()))?;
        Ok(self.identity.call(token, request).await?)
    }

    /// Calls the resource as a thief would who has a certificate, too, but another one: the token in a header
    /// made by hand, over a connection of the thief's own.
    pub(super) async fn replay_with(
        &self,
        token: &Token,
        certificate: ClientIdentity,
    ) -> Result<Replayed, Broken> {
        let url =
            self.emulator.resource_url().parse().map_err(|_| Broken("the resource has no URL".into()))?;
        let mut request =
            transport::Request::new(Method::GET, url, Route::Public).with_identity(Some(certificate));
        let stolen = format!("{} {}", token.token_type(), token.secret().expose());
        let mut stolen = HeaderValue::try_from(stolen).map_err(|error| Broken(error.to_string()))?;
        stolen.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, stolen);
        let answer = transport(self.emulator.ca_pem().as_bytes())?.send(request).await;
        Ok(Replayed::of(&answer.map_err(|error| Broken(error.to_string()))?))
    }

    /// A certificate that the same authority issued to somebody else on this machine.
    pub(super) async fn certificate_of_another_identity(&self) -> Result<ClientIdentity, Broken> {
        let other = ManagedIdentityId::client_id(self.emulator.user_assigned().client_id())?;
        let thief = client(&self.emulator)?.identity(other).build()?;
        let token = thief.token("https://thief.example").proof_of_possession().await?;
        token.bound_to().cloned().ok_or(Broken("the thief got no certificate".into()))
    }

    /// How many certificates were issued to the client of the story.
    pub(super) fn certificates_of_the_client(&self) -> usize {
        let issued = self.emulator.issued();
        issued.iter().filter(|certificate| certificate.client_id() == self.emulator.client_id()).count()
    }
}

fn client(emulator: &Emulator) -> Result<ManagedIdentityBuilder, Error> {
    let env: Env = emulator.environment().into_iter().collect();
    Ok(ManagedIdentity::builder()
        .context(Context::default().with_env(env))
        .transport(transport(emulator.ca_pem().as_bytes())?))
}

/// A transport that trusts this authority, and nobody else.
pub(super) fn transport(ca_pem: &[u8]) -> Result<HyperTransport, Error> {
    let builder =
        HyperTransport::builder().context(Context::default().with_env(Env::empty())).platform_roots(false);
    let built = builder.root_certificates_pem(ca_pem).build();
    built.map_err(|error| {
        let kind = symbolon::ErrorKind::Environment;
        Error::new(kind, "invalid_configuration", "the HTTP transport could not be set up").with_source(error)
    })
}

/// Something that the story promises.
pub(super) fn claim(holds: bool, otherwise: &str) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(otherwise.to_owned())) }
}

/// Enough of a thumbprint to tell two apart.
pub(super) fn show(thumbprint: Thumbprint) -> String {
    thumbprint.to_string().chars().take(SHOWN).collect::<String>() + "…"
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

impl From<&str> for Broken {
    fn from(what: &str) -> Self {
        Self(what.to_owned())
    }
}
