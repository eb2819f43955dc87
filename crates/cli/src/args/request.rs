//! Options of token requests that several commands share.

use clap::Args;
use symbolon::{Error, ManagedIdentityId, RequestOptions};

use super::key::KeyOptions;
use super::values;
use crate::{failure, json};

/// Options of a managed identity token request.
#[derive(Debug, Args)]
pub(crate) struct AcquireOptions {
    /// Resource to request the token for, for example https://vault.azure.net
    #[arg(long, value_name = "URI", value_parser = values::resource)]
    pub(crate) resource: String,
    /// Request a token bound to a key (mTLS proof-of-possession); fails where this is not possible
    #[arg(long)]
    pub(crate) pop: bool,
    /// Request a bearer token over mTLS, with the managed identity's certificate
    #[arg(long, conflicts_with = "pop")]
    pub(crate) over_mtls: bool,
    /// Managed identity: system, client-id:ID, object-id:ID or resource-id:ID [default: system]
    #[arg(long, value_name = "IDENTITY", value_parser = values::identity)]
    pub(crate) identity: Option<ManagedIdentityId>,
    #[command(flatten)]
    pub(crate) claims: ClaimsOptions,
    #[command(flatten)]
    pub(crate) keys: KeyOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ClaimsOptions {
    /// Claims from a resource's claims challenge
    #[arg(long, value_name = "JSON")]
    pub(crate) claims: Option<String>,
    /// Claims that the client adds itself
    #[arg(long, value_name = "JSON")]
    pub(crate) client_claims: Option<String>,
    /// Client capability, for example cp1; may be repeated
    #[arg(long = "capability", value_name = "NAME")]
    pub(crate) capabilities: Vec<String>,
}

impl ClaimsOptions {
    /// Fails for claims that are not a JSON object, before anything is sent.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        for (option, text) in [("--claims", &self.claims), ("--client-claims", &self.client_claims)] {
            let Some(text) = text else { continue };
            json::object(text.as_bytes())
                .map_err(|what| failure::request("invalid_claims", format!("{option} {what}")))?;
        }
        Ok(())
    }

    /// Returns the options of a token request with these claims.
    pub(crate) fn options(&self) -> RequestOptions<'_> {
        RequestOptions::default()
            .with_claims(self.claims.as_deref().unwrap_or_default())
            .with_client_claims(self.client_claims.as_deref().unwrap_or_default())
    }
}
