//! How a managed identity is made.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use symbolon_binding::imds::ImdsClient;
use symbolon_binding::{Attester, KeyProvider, ManagedIdentityId, Minter, MinterBuilder, SharedKeyProvider};
use symbolon_token::{Error, ErrorKind, TokenCache, TokenClient};
use symbolon_transport::{HttpClient, RetryPolicy, SharedTransport, Transport};
use symbolon_types::{Context, Env, IMDS_BASE_URL, Strength};
use url::Url;

use super::{Inner, ManagedIdentity};
use crate::bearer::{BearerTokens, partition};
use crate::capabilities::{Prober, is_v2_disabled};
use crate::default_transport::default_transport;
use crate::delegation::MintedCertificate;
use crate::detection::missing_variables;
use crate::source::fetch::TokenFetcher;
use crate::{Downgrade, Source};

/// How long an acquisition may take, retries included: a metadata service that is being updated
/// asks for 70 seconds of patience.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a [`ManagedIdentity`] is made of.
#[derive(Debug)]
pub struct ManagedIdentityBuilder {
    id: ManagedIdentityId,
    context: Context,
    transport: Option<SharedTransport>,
    cache: Option<TokenCache>,
    keys: Option<SharedKeyProvider>,
    attester: Option<AddAttester>,
    minimum_strength: Option<Strength>,
    #[cfg(unix)]
    bindings: Option<PathBuf>,
    bypass_cache_on_remint: bool,
    downgrade: Downgrade,
    capabilities: Vec<String>,
    trusted_token_hosts: Vec<String>,
    azure_arc_tokens: Option<PathBuf>,
    retries: bool,
    deadline: Duration,
}

impl ManagedIdentityBuilder {
    pub(super) fn new() -> Self {
        Self {
            id: ManagedIdentityId::system_assigned(),
            context: Context::default(),
            transport: None,
            cache: None,
            keys: None,
            attester: None,
            minimum_strength: None,
            #[cfg(unix)]
            bindings: None,
            bypass_cache_on_remint: false,
            downgrade: Downgrade::Never,
            capabilities: Vec::new(),
            trusted_token_hosts: Vec::new(),
            azure_arc_tokens: None,
            retries: true,
            deadline: DEADLINE,
        }
    }

    /// Uses this identity. Default: the system-assigned one.
    #[must_use]
    pub fn identity(mut self, id: ManagedIdentityId) -> Self {
        self.id = id;
        self
    }

    /// Sets the environment variables, the clock, the randomness of renewals and retries, and the
    /// scale of retry delays. Default: the process's own.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Sends over this transport. Default, with the feature `hyper`: a `HyperTransport` that reads
    /// proxies and extra trust from the same variables.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(SharedTransport::new(transport));
        self
    }

    /// Keeps tokens in this cache, which may have a store behind it and be shared with others.
    /// Default: one of its own, in memory, for 10,000 tokens.
    #[must_use]
    pub fn cache(mut self, cache: TokenCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Binds tokens to keys of this provider. Default:
    /// [`SoftwareKeys::rsa_2048`](crate::SoftwareKeys::rsa_2048), or where bindings are persisted,
    /// an RSA key of 2048 bits beside them.
    #[must_use]
    pub fn key_provider(mut self, provider: impl KeyProvider) -> Self {
        self.keys = Some(SharedKeyProvider::new(provider));
        self
    }

    /// Has every key attested before a certificate is asked for; without an attestation there is none.
    /// Default: no attestation.
    #[must_use]
    pub fn attester(mut self, attester: impl Attester) -> Self {
        self.attester = Some(AddAttester(Box::new(|minter| minter.attester(attester))));
        self
    }

    /// Keeps certificates in this folder, so that they outlive the process and are issued once for all
    /// processes of this user on this machine. The folder is this user's alone (mode 0700). Without
    /// a [`key_provider`](Self::key_provider) the key is in it, too; one that is given should yield
    /// a key that outlives the process as well. Default: in memory only. Only on Unix.
    #[cfg(unix)]
    #[must_use]
    pub fn persist_bindings(mut self, folder: impl Into<PathBuf>) -> Self {
        self.bindings = Some(folder.into());
        self
    }

    /// After a refusal, asks the metadata service not to issue from a cache of its own
    /// (`bypass_cache=true`). Microsoft's design of the revocation describes it; whether the service
    /// has it was not checked. Default: no.
    #[must_use]
    pub fn bypass_cache_on_remint(mut self, bypass: bool) -> Self {
        self.bypass_cache_on_remint = bypass;
        self
    }

    /// Fails requests for bound tokens, before anything is issued, if the key is kept less well.
    /// A floor, not a choice. Default: none.
    #[must_use]
    pub fn minimum_strength(mut self, minimum: Option<Strength>) -> Self {
        self.minimum_strength = minimum;
        self
    }

    /// What becomes of requests for bound tokens where tokens cannot be bound. Default:
    /// [`Downgrade::Never`].
    #[must_use]
    pub fn downgrade(mut self, policy: Downgrade) -> Self {
        self.downgrade = policy;
        self
    }

    /// Declares what this client can handle, such as `cp1` for claims challenges. HttpOutcome in the
    /// claims of requests for bound tokens, and to Service Fabric (`xms_cc`); no other source takes
    /// them for bearer tokens.
    #[must_use]
    pub fn capabilities(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.capabilities = names.into_iter().map(Into::into).collect();
        self
    }

    /// Accepts token endpoints under these host names, besides Microsoft's and loopback.
    #[must_use]
    pub fn trusted_token_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.trusted_token_hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Expects the challenge files of the Azure Arc agent in this directory, in place of the agent's own
    /// (`/var/opt/azcmagent/tokens` on Linux, `%ProgramData%\AzureConnectedMachineAgent\Tokens` on
    /// Windows). For tests with a stand-in for the agent: what is in a file there is sent to the
    /// endpoint as a secret, so only the agent may write to it. No variable changes it.
    #[must_use]
    pub fn azure_arc_tokens(mut self, directory: impl Into<PathBuf>) -> Self {
        self.azure_arc_tokens = Some(directory.into());
        self
    }

    /// Asks everybody once: no failure is worth a retry. A refused certificate is still replaced, once.
    #[must_use]
    pub fn without_retries(mut self) -> Self {
        self.retries = false;
        self
    }

    /// Bounds an acquisition as a whole. Default: two minutes.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The managed identity. Asks nobody and needs no runtime.
    ///
    /// # Errors
    /// `invalid_endpoint` if `AZURE_POD_IDENTITY_AUTHORITY_HOST` is not a URL; `invalid_configuration`
    /// if a trusted token host is not a host name, and for what the default transport finds wrong
    /// with the environment; `transport_unsupported` on Service Fabric, if the transport cannot know a
    /// server by its thumbprint.
    pub fn build(self) -> Result<ManagedIdentity, Error> {
        let env = self.context.env();
        let imds_base = env.var(Source::IMDS_VARIABLE).unwrap_or_else(|| IMDS_BASE_URL.to_owned());
        let imds_base: Url = imds_base.parse().map_err(|_| {
            let error = format!("{} is not a URL", Source::IMDS_VARIABLE);
            Error::new(ErrorKind::Request, "invalid_endpoint", error).with_advice(
                "set it to the origin of the metadata service, for example http://127.0.0.1:8080",
            )
        })?;
        let transport = match self.transport {
            Some(transport) => transport,
            None => default_transport(&self.context)?,
        };
        check(&transport, env)?;
        let http = HttpClient::new(transport.clone(), self.context.clone());
        let imds = ImdsClient::new(imds_base.clone(), http.clone())?;
        let planned = |policy: RetryPolicy| {
            if self.retries { policy } else { policy.without_retries() }
        };
        let key_strength = self.keys.is_none().then_some(Strength::Software);
        let prober = Prober::new(imds.clone(), env.clone());
        let is_v2_disabled = is_v2_disabled(env);
        let is_attested = self.attester.is_some();
        let mut minter = Minter::builder(imds_base, http.clone())
            .minimum_strength(self.minimum_strength)
            .metadata_retry_policy(planned(RetryPolicy::imds_endpoint()))
            .issuance_retry_policy(planned(RetryPolicy::imds()))
            .trusted_token_hosts(self.trusted_token_hosts)
            .bypass_cache_on_remint(self.bypass_cache_on_remint);
        #[cfg(unix)]
        if let Some(folder) = self.bindings {
            minter = minter.store(&folder);
            if self.keys.is_none() {
                let keys =
                    symbolon_binding::PersistedKeys::rsa_2048(folder).with_context(self.context.clone());
                minter = minter.key_provider(keys);
            }
        }
        if let Some(keys) = self.keys {
            minter = minter.key_provider(keys);
        }
        if let Some(AddAttester(add)) = self.attester {
            minter = add(minter);
        }
        let minter = minter.build()?;
        let floor = self.minimum_strength.map_or("none", Strength::as_str);
        let kept_as = |how| partition(&self.id, &format!("{how}\0{floor}\0{is_attested}"));
        let (bound, over_mtls) = (kept_as("pop"), kept_as("mtls"));
        let credential = MintedCertificate::new(minter.clone(), self.id.clone(), bound, over_mtls);
        let cache =
            self.cache.unwrap_or_else(|| TokenCache::new(TokenCache::DEFAULT_CAPACITY, &self.context));
        let bound = TokenClient::builder(credential, transport)
            .context(self.context)
            .cache(cache.clone())
            .capabilities(self.capabilities.iter().cloned())
            .retry(planned(RetryPolicy::token_endpoint()))
            .deadline(self.deadline)
            .build();
        let fetcher = TokenFetcher {
            id: self.id.clone(),
            capabilities: self.capabilities,
            imds,
            http,
            imds_retry_policy: planned(RetryPolicy::imds()),
            retry_policy: planned(RetryPolicy::managed_identity()),
            deadline: self.deadline,
            azure_arc_tokens: self.azure_arc_tokens,
        };
        let bearer = BearerTokens::new(fetcher, cache);
        Ok(ManagedIdentity(Arc::new(Inner {
            id: self.id,
            bearer,
            minter,
            bound,
            prober,
            minimum_strength: self.minimum_strength,
            key_strength,
            downgrade: self.downgrade,
            is_v2_disabled,
        })))
    }
}

/// Hands an attester on, whatever its type.
struct AddAttester(Box<dyn FnOnce(MinterBuilder) -> MinterBuilder + Send + Sync>);

impl fmt::Debug for AddAttester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddAttester")
    }
}

/// A transport that cannot pin is told at once that this is Service Fabric (managed-identity sources
/// §2.2), and not when a token is needed.
fn check(transport: &SharedTransport, env: &Env) -> Result<(), Error> {
    if transport.capabilities().pinned_servers() || !missing_variables(Source::ServiceFabric, env).is_empty()
    {
        return Ok(());
    }
    let error = format!(
        "{} requires pinning the server certificate by thumbprint, which this transport does not support",
        Source::ServiceFabric
    );
    Err(Error::new(ErrorKind::Environment, "transport_unsupported", error)
        .with_advice("use a transport that declares pinned servers, such as symbolon-hyper"))
}
