//! What a chain is made of.

use std::sync::{Arc, Mutex, OnceLock};

use symbolon_binding::ManagedIdentityId;
use symbolon_token::{Error, ErrorKind, TokenCache, TokenClient, WorkloadIdentity};
use symbolon_transport::{SharedTransport, Transport};
use symbolon_types::Context;

use super::link::{Link, WorkloadLink};
use super::tool::{DeveloperTool, Settings};
use super::{AzureCli, AzureDeveloperCli, ChainLink, CredentialChain, Inner, variable};
use crate::ManagedIdentity;
use crate::default_transport::default_transport;

/// By this variable, which the webhook sets, a workload identity is known to be meant.
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// The client id of the managed identity, where a variable names the links (Azure Identity,
/// `DefaultAzureCredential`).
const CLIENT_ID: &str = "AZURE_CLIENT_ID";

/// What a [`CredentialChain`] is made of: links, asked in the order in which they are added here.
#[derive(Debug)]
pub struct CredentialChainBuilder {
    plan: Vec<Planned>,
    context: Context,
    transport: Option<SharedTransport>,
    cache: Option<TokenCache>,
}

#[derive(Debug)]
enum Planned {
    WorkloadIdentity,
    ManagedIdentity(ManagedIdentity),
    Tool(Settings),
    NamedByEnvironment,
}

impl CredentialChainBuilder {
    pub(super) fn new() -> Self {
        Self { plan: Vec::new(), context: Context::default(), transport: None, cache: None }
    }

    /// Adds the workload identity that `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`, `AZURE_FEDERATED_TOKEN_FILE`
    /// and `AZURE_AUTHORITY_HOST` describe.
    #[must_use]
    pub fn workload_identity(self) -> Self {
        self.plan(Planned::WorkloadIdentity)
    }

    /// Adds this managed identity, with its own cache, transport and policies.
    #[must_use]
    pub fn managed_identity(self, identity: ManagedIdentity) -> Self {
        self.plan(Planned::ManagedIdentity(identity))
    }

    /// Adds the Azure CLI.
    #[must_use]
    pub fn azure_cli(self, tool: AzureCli) -> Self {
        self.plan(Planned::Tool(tool.into_settings()))
    }

    /// Adds the Azure Developer CLI.
    #[must_use]
    pub fn azure_developer_cli(self, tool: AzureDeveloperCli) -> Self {
        self.plan(Planned::Tool(tool.into_settings()))
    }

    /// Adds the links that `AZURE_TOKEN_CREDENTIALS` names, the variable of the Azure SDKs, in any case:
    ///
    /// | value | links |
    /// |---|---|
    /// | `prod` | workload identity, managed identity |
    /// | `dev` | Azure CLI, Azure Developer CLI |
    /// | `WorkloadIdentityCredential`, `ManagedIdentityCredential`, `AzureCliCredential`, `AzureDeveloperCliCredential` | that one |
    ///
    /// The managed identity is the one of the client id in `AZURE_CLIENT_ID`, if that is set, and
    /// the system-assigned one otherwise. Everything else is an error: no variable, and what the SDKs
    /// know but there is no link for, such as `EnvironmentCredential`, or `prod` where
    /// `AZURE_CLIENT_SECRET` or `AZURE_CLIENT_CERTIFICATE_PATH` is set, which `prod` begins with there.
    #[must_use]
    pub fn named_by_environment(self) -> Self {
        self.plan(Planned::NamedByEnvironment)
    }

    /// Sets the environment variables, which developer tools are run with too, the clock, the
    /// randomness of renewals and retries, and the scale of retry delays. Default: the process's own.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Sends over this transport what is not sent over a managed identity's own. Default, with the
    /// feature `hyper`: a `HyperTransport` that reads proxies and extra trust from the same variables.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(SharedTransport::new(transport));
        self
    }

    /// Keeps tokens in this cache, other than those of a managed identity that was added with its own.
    /// Default: one in memory, for 10,000 tokens.
    #[must_use]
    pub fn cache(mut self, cache: TokenCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// The chain. Asks nobody, runs nothing and needs no runtime.
    ///
    /// # Errors
    /// `invalid_configuration` if there is no link, if `AZURE_TOKEN_CREDENTIALS` was to name them and does
    /// not, and for what the default transport finds wrong with the environment.
    pub fn build(self) -> Result<CredentialChain, Error> {
        let transport = match &self.transport {
            Some(transport) => transport.clone(),
            None => default_transport(&self.context)?,
        };
        let cache = self
            .cache
            .clone()
            .unwrap_or_else(|| TokenCache::new(TokenCache::DEFAULT_CAPACITY, &self.context));
        let parts = Parts { context: self.context, transport, cache };
        let mut links = Vec::new();
        for planned in self.plan {
            match planned {
                Planned::WorkloadIdentity => links.push(parts.workload_identity()),
                Planned::ManagedIdentity(identity) => links.push(Link::ManagedIdentity(identity)),
                Planned::Tool(settings) => links.push(parts.tool(settings)),
                Planned::NamedByEnvironment => {
                    for name in variable::links(parts.context.env())? {
                        links.push(parts.named(*name)?);
                    }
                }
            }
        }
        if links.is_empty() {
            let error = "the credential chain has no link";
            return Err(Error::new(ErrorKind::Request, "invalid_configuration", error)
                .with_advice("add those that may be asked to the builder"));
        }
        let Parts { cache, transport, .. } = parts;
        let (chosen, skipped) = (OnceLock::new(), Mutex::default());
        Ok(CredentialChain(Arc::new(Inner { links, chosen, skipped, cache, transport })))
    }

    fn plan(mut self, planned: Planned) -> Self {
        self.plan.push(planned);
        self
    }
}

/// What links share.
struct Parts {
    context: Context,
    transport: SharedTransport,
    cache: TokenCache,
}

impl Parts {
    fn workload_identity(&self) -> Link {
        let credential = WorkloadIdentity::from_env(self.context.env());
        Link::WorkloadIdentity(match credential {
            Ok(credential) => WorkloadLink::Configured(
                TokenClient::builder(credential, self.transport.clone())
                    .context(self.context.clone())
                    .cache(self.cache.clone())
                    .build(),
            ),
            Err(error) if self.context.env().var(TOKEN_FILE).is_some() => WorkloadLink::Broken(error),
            Err(_) => {
                let error = format!("there is no workload identity here: {TOKEN_FILE} is not set");
                WorkloadLink::Absent(
                    Error::new(ErrorKind::Environment, "workload_identity_unavailable", error)
                        .with_advice("check the label of the pod and the annotation of its service account"),
                )
            }
        })
    }

    fn tool(&self, settings: Settings) -> Link {
        Link::Tool(Box::new(DeveloperTool::new(settings, self.context.clone(), self.cache.clone())))
    }

    fn named(&self, name: ChainLink) -> Result<Link, Error> {
        Ok(match name {
            ChainLink::WorkloadIdentity => self.workload_identity(),
            ChainLink::ManagedIdentity => Link::ManagedIdentity(self.managed_identity()?),
            ChainLink::AzureCli => self.tool(AzureCli::new().into_settings()),
            ChainLink::AzureDeveloperCli => self.tool(AzureDeveloperCli::new().into_settings()),
        })
    }

    fn managed_identity(&self) -> Result<ManagedIdentity, Error> {
        let id = match self.context.env().var(CLIENT_ID) {
            Some(client_id) => ManagedIdentityId::client_id(client_id)?,
            None => ManagedIdentityId::system_assigned(),
        };
        ManagedIdentity::builder()
            .identity(id)
            .context(self.context.clone())
            .transport(self.transport.clone())
            .cache(self.cache.clone())
            .build()
    }
}
