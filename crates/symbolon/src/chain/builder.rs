//! The builder of a chain.

use symbolon_binding::ManagedIdentityId;
use symbolon_token::{Error, ErrorKind, KubernetesTokenProxy, TokenCache, TokenClient, WorkloadIdentity};
use symbolon_transport::{SharedTransport, Transport};
use symbolon_types::Context;

use super::azure_cli::AzureCli;
use super::azure_developer_cli::AzureDeveloperCli;
use super::credential_chain::CredentialChain;
use super::link::{ChainLink, LinkError};
use super::links::Link;
use super::tool::DeveloperTool;
use super::tool_spec::ToolSettings;
use super::variable;
use crate::default_transport::default_transport;
use crate::identity::ManagedIdentity;

/// The variable that the webhook of Azure Workload Identity sets. Without it, there is no workload
/// identity.
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// The client id of the managed identity, if a variable names the links, as in the SDKs'
/// `DefaultAzureCredential`.
const CLIENT_ID: &str = "AZURE_CLIENT_ID";

/// A builder of a [`CredentialChain`]. Links are tried in the order in which they are added.
#[derive(Debug)]
#[must_use]
pub struct CredentialChainBuilder {
    plan: Vec<PlannedLink>,
    context: Context,
    transport: Option<SharedTransport>,
    cache: Option<TokenCache>,
    skips_missing_identity: bool,
    uses_token_proxy: bool,
    caller: Option<(String, String)>,
}

#[derive(Debug)]
enum PlannedLink {
    WorkloadIdentity,
    ManagedIdentity(ManagedIdentity),
    Tool(ToolSettings),
    NamedByEnvironment,
}

impl CredentialChain {
    /// Returns a builder of a chain without links.
    pub fn builder() -> CredentialChainBuilder {
        CredentialChainBuilder {
            plan: Vec::new(),
            context: Context::default(),
            transport: None,
            cache: None,
            skips_missing_identity: false,
            uses_token_proxy: false,
            caller: None,
        }
    }

    /// Builds the chain that `AZURE_TOKEN_CREDENTIALS` of this process names; see
    /// [`named_by_environment`](CredentialChainBuilder::named_by_environment).
    ///
    /// # Errors
    /// The errors of [`CredentialChainBuilder::build`].
    pub fn from_environment() -> Result<Self, Error> {
        Self::builder().named_by_environment().build()
    }
}

impl CredentialChainBuilder {
    /// Adds the workload identity that `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`,
    /// `AZURE_FEDERATED_TOKEN_FILE` and `AZURE_AUTHORITY_HOST` describe.
    pub fn workload_identity(self) -> Self {
        self.plan(PlannedLink::WorkloadIdentity)
    }

    /// Adds a managed identity, which keeps its own cache, transport and retries.
    pub fn managed_identity(self, identity: ManagedIdentity) -> Self {
        self.plan(PlannedLink::ManagedIdentity(identity))
    }

    /// Adds the Azure CLI.
    pub fn azure_cli(self, tool: AzureCli) -> Self {
        self.plan(PlannedLink::Tool(tool.0))
    }

    /// Adds the Azure Developer CLI.
    pub fn azure_developer_cli(self, tool: AzureDeveloperCli) -> Self {
        self.plan(PlannedLink::Tool(tool.0))
    }

    /// Adds the links that `AZURE_TOKEN_CREDENTIALS` names, the variable of the Azure SDKs. Case
    /// does not matter:
    ///
    /// | value | links |
    /// |---|---|
    /// | `prod` | workload identity, managed identity |
    /// | `dev` | Azure CLI, Azure Developer CLI |
    /// | `WorkloadIdentityCredential`, `ManagedIdentityCredential`, `AzureCliCredential`, `AzureDeveloperCliCredential` | the named one |
    ///
    /// The managed identity is selected by the client id in `AZURE_CLIENT_ID`; without the
    /// variable, it is the system-assigned one. [`build`](Self::build) fails if the variable is not
    /// set, names a credential that only the SDKs have, such as `EnvironmentCredential`, or is
    /// `prod` while `AZURE_CLIENT_SECRET` or `AZURE_CLIENT_CERTIFICATE_PATH` is set, because the
    /// SDKs then use that secret or certificate first.
    pub fn named_by_environment(self) -> Self {
        self.plan(PlannedLink::NamedByEnvironment)
    }

    /// Also skips a managed identity if its source reports that this host does not have it: a
    /// virtual machine without an identity, or one to which the requested identity is not assigned.
    ///
    /// The next link is another identity, so a misspelled id then selects that identity. Default:
    /// such a report ends the request.
    pub fn skip_missing_identity(mut self) -> Self {
        self.skips_missing_identity = true;
        self
    }

    /// Sends the token requests of the workload identity to the token proxy of the cluster, where
    /// the variables of an AKS identity binding name one; see [`KubernetesTokenProxy`]. Default:
    /// these variables are ignored, as in the SDKs' `DefaultAzureCredential`.
    pub fn kubernetes_token_proxy(mut self) -> Self {
        self.uses_token_proxy = true;
        self
    }

    /// Names the library that uses the chain, for requests to the token service of all links other
    /// than managed identities added with their own settings; see
    /// [`TokenClientBuilder::caller_sdk`](symbolon_token::TokenClientBuilder::caller_sdk). Default:
    /// none.
    pub fn caller_sdk(mut self, name: &str, version: &str) -> Self {
        self.caller = Some((name.to_owned(), version.to_owned()));
        self
    }

    /// Sets environment variables, clock, randomness and the scale of retry delays. Developer tools
    /// run with these variables. Default: those of the process.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Sets the HTTP transport of all links other than managed identities added with their own.
    /// Default, with the feature `hyper`: a [`HyperTransport`](crate::HyperTransport), which reads
    /// proxies and additional root certificates from the variables of the context.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(SharedTransport::new(transport));
        self
    }

    /// Sets the token cache of all links other than managed identities added with their own.
    /// Default: a cache in memory for 10,000 tokens.
    pub fn cache(mut self, cache: TokenCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Builds the chain. Sends nothing, runs nothing and needs no runtime.
    ///
    /// # Errors
    /// `invalid_configuration` if the chain has no link, if
    /// [`named_by_environment`](Self::named_by_environment) finds no supported credential, or if
    /// the default transport cannot be built from the environment.
    pub fn build(self) -> Result<CredentialChain, Error> {
        let transport = match self.transport {
            Some(transport) => transport,
            None => default_transport(&self.context)?,
        };
        let cache =
            self.cache.unwrap_or_else(|| TokenCache::new(TokenCache::DEFAULT_CAPACITY, &self.context));
        let factory = LinkFactory {
            context: self.context,
            transport,
            cache,
            skips_missing_identity: self.skips_missing_identity,
            uses_token_proxy: self.uses_token_proxy,
            caller: self.caller,
        };
        let mut links = Vec::new();
        for planned in self.plan {
            match planned {
                PlannedLink::WorkloadIdentity => links.push(factory.workload_identity()),
                PlannedLink::ManagedIdentity(identity) => links.push(factory.managed_identity(identity)),
                PlannedLink::Tool(settings) => links.push(factory.tool(settings)),
                PlannedLink::NamedByEnvironment => {
                    for name in variable::links(factory.context.env())? {
                        links.push(factory.named(*name)?);
                    }
                }
            }
        }
        if links.is_empty() {
            let error = "the credential chain has no link";
            return Err(Error::new(ErrorKind::Request, "invalid_configuration", error)
                .with_advice("add at least one to the builder"));
        }
        Ok(CredentialChain::new(links, factory.context, factory.cache, factory.transport))
    }

    fn plan(mut self, planned: PlannedLink) -> Self {
        self.plan.push(planned);
        self
    }
}

/// Builds links from the parts that they share.
struct LinkFactory {
    context: Context,
    transport: SharedTransport,
    cache: TokenCache,
    skips_missing_identity: bool,
    uses_token_proxy: bool,
    caller: Option<(String, String)>,
}

impl LinkFactory {
    fn workload_identity(&self) -> Link {
        let env = self.context.env();
        let credential = WorkloadIdentity::from_env(env).and_then(|credential| {
            Ok(match self.uses_token_proxy {
                true => credential.token_proxy(KubernetesTokenProxy::from_env(env)?),
                false => credential,
            })
        });
        Link::WorkloadIdentity(match credential {
            Ok(credential) => {
                let client = TokenClient::builder(credential, self.transport.clone())
                    .context(self.context.clone())
                    .cache(self.cache.clone());
                Ok(match &self.caller {
                    Some((name, version)) => client.caller_sdk(name, version).build(),
                    None => client.build(),
                })
            }
            Err(error) if self.context.env().var(TOKEN_FILE).is_some() => Err(LinkError::Failed(error)),
            Err(_) => {
                let error = format!("this host has no workload identity: {TOKEN_FILE} is not set");
                let error = Error::new(ErrorKind::Environment, "workload_identity_unavailable", error)
                    .with_advice("check the label of the pod and the annotation of its service account");
                Err(LinkError::Unavailable(error))
            }
        })
    }

    fn tool(&self, settings: ToolSettings) -> Link {
        Link::Tool(Box::new(DeveloperTool::new(settings, self.context.clone(), self.cache.clone())))
    }

    fn named(&self, name: ChainLink) -> Result<Link, Error> {
        Ok(match name {
            ChainLink::WorkloadIdentity => self.workload_identity(),
            ChainLink::ManagedIdentity => self.managed_identity(self.named_identity()?),
            ChainLink::AzureCli => self.tool(AzureCli::new().0),
            ChainLink::AzureDeveloperCli => self.tool(AzureDeveloperCli::new().0),
        })
    }

    fn managed_identity(&self, identity: ManagedIdentity) -> Link {
        Link::ManagedIdentity { identity, is_skipped_if_missing: self.skips_missing_identity }
    }

    /// Returns the managed identity that `AZURE_CLIENT_ID` names.
    fn named_identity(&self) -> Result<ManagedIdentity, Error> {
        let id = match self.context.env().var(CLIENT_ID) {
            Some(client_id) => {
                ManagedIdentityId::client_id(client_id).map_err(|error| error.with_context(CLIENT_ID))?
            }
            None => ManagedIdentityId::system_assigned(),
        };
        let identity = ManagedIdentity::builder()
            .identity(id)
            .context(self.context.clone())
            .transport(self.transport.clone())
            .cache(self.cache.clone());
        match &self.caller {
            Some((name, version)) => identity.caller_sdk(name, version).build(),
            None => identity.build(),
        }
    }
}
