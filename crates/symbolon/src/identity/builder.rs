//! The builder of a managed identity.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use symbolon_binding::imds::{IMDS_BASE_URL, ImdsClient, ImdsPresence};
use symbolon_binding::{Attester, KeyProvider, ManagedIdentityId, SharedKeyProvider};
#[cfg(unix)]
use symbolon_token::FileStore;
use symbolon_token::{Error, ErrorKind, TokenCache, TokenClient};
use symbolon_transport::{HttpClient, RetryPolicy, SharedTransport, Transport};
use symbolon_types::{Context, Env, Source, Strength, input_flaw};
use url::Url;

use super::minter_options::{AddAttester, MinterOptions};
use super::{IdentityParts, ManagedIdentity};
use crate::bearer::BearerTokens;
use crate::capabilities::{HostProber, is_imds_v2_disabled};
use crate::default_transport::default_transport;
use crate::delegation::MintedCertificate;
use crate::detection::missing_variables;
use crate::downgrade::Downgrade;
use crate::partition;
use crate::source::extras::SourceExtras;
use crate::source::fetch::{TokenFetcher, imds_environment};

/// The default deadline. A metadata service that is being updated can require 70 seconds of
/// retries.
const DEADLINE: Duration = Duration::from_secs(120);

/// A builder of a [`ManagedIdentity`].
#[derive(Debug)]
#[must_use]
pub struct ManagedIdentityBuilder {
    id: ManagedIdentityId,
    context: Context,
    transport: Option<SharedTransport>,
    cache: Option<TokenCache>,
    minter: MinterOptions,
    downgrade: Downgrade,
    capabilities: Vec<String>,
    azure_arc_tokens: Option<PathBuf>,
    extras: SourceExtras,
    caller: Option<(String, String)>,
    retries: bool,
    deadline: Duration,
}

impl ManagedIdentity {
    /// Returns a builder for the system-assigned identity.
    pub fn builder() -> ManagedIdentityBuilder {
        ManagedIdentityBuilder {
            id: ManagedIdentityId::system_assigned(),
            context: Context::default(),
            transport: None,
            cache: None,
            minter: MinterOptions::default(),
            downgrade: Downgrade::Never,
            capabilities: Vec::new(),
            azure_arc_tokens: None,
            extras: SourceExtras::default(),
            caller: None,
            retries: true,
            deadline: DEADLINE,
        }
    }
}

impl ManagedIdentityBuilder {
    /// Selects the identity. Default: the system-assigned one.
    pub fn identity(mut self, id: ManagedIdentityId) -> Self {
        self.id = id;
        self
    }

    /// Sets environment variables, clock, randomness, the scale of retry delays and the observer.
    /// Default: those of the process, and no observer.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Sets the HTTP transport. Default, with the feature `hyper`: a
    /// [`HyperTransport`](crate::HyperTransport), which reads proxies and additional root
    /// certificates from the variables of the context.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(SharedTransport::new(transport));
        self
    }

    /// Sets the token cache, which several identities can share and which can have a store. Tokens
    /// of other environments stay apart: endpoint and secret of the source are part of the cache
    /// key, as a digest. Default: an own cache in memory for 10,000 tokens.
    pub fn cache(mut self, cache: TokenCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Sets the provider of the key that tokens are bound to. Default:
    /// [`SoftwareKeys::rsa_2048`](crate::SoftwareKeys::rsa_2048), or with
    #[cfg_attr(unix, doc = "[`persist_bindings`](Self::persist_bindings)")]
    #[cfg_attr(not(unix), doc = "`persist_bindings`")]
    /// an RSA key of 2048 bits in the same folder.
    pub fn key_provider(mut self, provider: impl KeyProvider) -> Self {
        self.minter.keys = Some(SharedKeyProvider::new(provider));
        self
    }

    /// Attests each key before a certificate is requested. Without an attestation no certificate is
    /// requested. Default: no attestation.
    pub fn attester(mut self, attester: impl Attester) -> Self {
        self.minter.attester = Some(AddAttester::new(attester));
        self
    }

    /// Stores certificates, and the tokens that are bound to them, in this folder. They outlive the
    /// process, and all processes of this user on this machine share them: one of them requests
    /// each certificate and each bound token. The folder belongs to this user alone (mode 0700).
    /// Without a [`key_provider`](Self::key_provider) the folder also holds the key; a key provider
    /// should return a key that outlives the process. Bearer tokens are not stored, and bound ones
    /// not if the [`cache`](Self::cache) has a store of its own. Default: memory only. Unix only.
    #[cfg(unix)]
    pub fn persist_bindings(mut self, folder: impl Into<PathBuf>) -> Self {
        self.minter.store_folder = Some(folder.into());
        self
    }

    /// After a refusal, adds `bypass_cache=true` to the request for the new certificate, so that
    /// the metadata service does not answer from its own cache. Microsoft's design of the
    /// revocation describes the parameter; it is not known if the service implements it. Default:
    /// false.
    pub fn bypass_cache_on_remint(mut self, bypass: bool) -> Self {
        self.minter.bypass_cache_on_remint = bypass;
        self
    }

    /// Refuses requests for bound tokens, before anything is issued, if the key is protected less
    /// well than this. The option does not select a key. Default: none.
    pub fn minimum_strength(mut self, minimum: Option<Strength>) -> Self {
        self.minter.minimum_strength = minimum;
        self
    }

    /// Sets the policy for requests for bound tokens on a host that cannot bind tokens. Default:
    /// [`Downgrade::Never`].
    pub fn downgrade(mut self, policy: Downgrade) -> Self {
        self.downgrade = policy;
        self
    }

    /// Declares capabilities of this client, such as `cp1` for claims challenges. They are sent in
    /// the claims of requests for bound tokens, and to Service Fabric (`xms_cc`). The other sources
    /// of bearer tokens do not take them.
    pub fn capabilities(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.capabilities = names.into_iter().map(Into::into).collect();
        self
    }

    /// Trusts token endpoints on these host names, in addition to Microsoft's and loopback.
    pub fn trusted_token_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.minter.trusted_token_hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the directory of the challenge files of the Azure Arc agent. Default: the agent's own
    /// (`/var/opt/azcmagent/tokens` on Linux, `%ProgramData%\AzureConnectedMachineAgent\Tokens` on
    /// Windows). The option is for tests with a replacement of the agent: the content of a file
    /// there is sent to the endpoint as a secret, so only the agent may write to the directory. No
    /// environment variable sets it.
    pub fn azure_arc_tokens(mut self, directory: impl Into<PathBuf>) -> Self {
        self.azure_arc_tokens = Some(directory.into());
        self
    }

    /// Adds a header to the requests for bearer tokens, and replaces an earlier one of the same
    /// name. It is part of the cache key. Requests for certificates, and for tokens with a
    /// certificate, do not have it.
    pub fn source_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.extras.add_header(name, value);
        self
    }

    /// Adds a parameter to the query of the requests for bearer tokens, and replaces an earlier one
    /// of the same name. Otherwise it is like [`source_header`](Self::source_header).
    pub fn source_query_parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extras.add_parameter(name.into(), value.into());
        self
    }

    /// Names the library that uses this identity, for requests to the token service; see
    /// [`TokenClientBuilder::caller_sdk`](symbolon_token::TokenClientBuilder::caller_sdk). Default:
    /// none.
    pub fn caller_sdk(mut self, name: &str, version: &str) -> Self {
        self.caller = Some((name.to_owned(), version.to_owned()));
        self
    }

    /// Sends each request once. A refused certificate is still replaced once.
    pub fn without_retries(mut self) -> Self {
        self.retries = false;
        self
    }

    /// Limits the whole acquisition of a token, retries included. Default: two minutes.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Builds the managed identity. Sends nothing and needs no runtime.
    ///
    /// # Errors
    /// - `invalid_endpoint` if `AZURE_POD_IDENTITY_AUTHORITY_HOST` is not a URL;
    /// - `invalid_configuration` if it is not an http or https URL, if a trusted token host is not
    ///   a host name, or if the default transport cannot be built from the environment;
    /// - `invalid_parameter` if a source sets an added header or parameter itself;
    /// - `transport_unsupported` on Service Fabric, if the transport cannot pin a server
    ///   certificate.
    pub fn build(self) -> Result<ManagedIdentity, Error> {
        let env = self.context.env();
        let imds_url = imds_url(env)?;
        // The docs of `Detection::is_named` describe the difference.
        let presence = env.var(Source::IMDS_VARIABLE).is_none().then(ImdsPresence::unknown);
        let transport = match self.transport {
            Some(transport) => transport,
            None => default_transport(&self.context)?,
        };
        check_pinning(&transport, env)?;
        self.extras.check()?;
        let is_imds_v2_disabled = is_imds_v2_disabled(env);
        let http = HttpClient::new(transport.clone(), self.context.clone());
        let imds = ImdsClient::new(imds_url.clone(), http.clone())?.with_presence(presence.clone());
        let source_http = HttpClient::new(self.extras.on(transport.clone()), self.context.clone());
        let source_imds = ImdsClient::new(imds_url.clone(), source_http.clone())?;
        let new_cache = || TokenCache::new(TokenCache::DEFAULT_CAPACITY, &self.context);
        let cache = self.cache.unwrap_or_else(new_cache).for_context(&self.context);
        let retry = |policy: RetryPolicy| if self.retries { policy } else { policy.without_retries() };

        let requirements = self.minter.requirements();
        let minimum_strength = self.minter.minimum_strength;
        let new_key_strength = self.minter.new_key_strength();
        #[cfg(unix)]
        let bound_tokens = match &self.minter.store_folder {
            Some(folder) if !cache.has_store() => {
                cache.clone().with_bound_token_store(FileStore::new(folder.clone(), &self.context))
            }
            _ => cache.clone(),
        };
        #[cfg(not(unix))]
        let bound_tokens = cache.clone();
        let source_imds = source_imds.with_presence(presence.clone());
        let minter = self.minter.build(imds_url, presence, &http, retry)?;
        let environment = imds_environment(&imds);
        let partition = |scheme| {
            partition::of_managed_identity(&self.id, &format!("{scheme}\0{requirements}"), &environment)
        };
        let credential =
            MintedCertificate::new(minter.clone(), self.id.clone(), partition("pop"), partition("mtls"));
        let token_client = TokenClient::builder(credential, transport)
            .context(self.context)
            .cache(bound_tokens)
            .capabilities(self.capabilities.iter().cloned())
            .retry(retry(RetryPolicy::token_endpoint()))
            .deadline(self.deadline);
        let token_client = match &self.caller {
            Some((name, version)) => token_client.caller_sdk(name, version).build(),
            None => token_client.build(),
        };
        let fetcher = TokenFetcher {
            id: self.id.clone(),
            capabilities: self.capabilities,
            imds: source_imds,
            http: source_http,
            imds_retry_policy: retry(RetryPolicy::imds()),
            retry_policy: retry(RetryPolicy::managed_identity()),
            deadline: self.deadline,
            azure_arc_tokens: self.azure_arc_tokens,
            extras: self.extras.digest(),
        };
        Ok(ManagedIdentity(Arc::new(IdentityParts {
            id: self.id,
            bearer_tokens: BearerTokens::new(fetcher, cache),
            minter,
            token_client,
            prober: HostProber::new(imds, is_imds_v2_disabled),
            minimum_strength,
            new_key_strength,
            downgrade: self.downgrade,
            is_imds_v2_disabled,
        })))
    }
}

/// Returns the origin of the metadata service.
fn imds_url(env: &Env) -> Result<Url, Error> {
    let text = env.var(Source::IMDS_VARIABLE).unwrap_or_else(|| IMDS_BASE_URL.to_owned());
    let invalid = |code, problem| {
        Error::new(ErrorKind::Request, code, format!("{} {problem}", Source::IMDS_VARIABLE))
            .with_advice("set it to the origin of the metadata service, for example http://127.0.0.1:8080")
    };
    if let Some(flaw) = input_flaw(&text) {
        return Err(invalid("invalid_endpoint", flaw));
    }
    let url: Url = text.parse().map_err(|_| invalid("invalid_endpoint", "is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid("invalid_configuration", "is not an http or https URL"));
    }
    Ok(url)
}

/// Refuses a transport that cannot pin certificates on Service Fabric when the identity is built,
/// not at the first token. (docs/protocol/sources.md#service-fabric)
fn check_pinning(transport: &SharedTransport, env: &Env) -> Result<(), Error> {
    let source = Source::ServiceFabric;
    if transport.capabilities().pinned_servers() || !missing_variables(source, env).is_empty() {
        return Ok(());
    }
    let error = format!(
        "{source} requires pinning the server certificate by thumbprint, which this transport does not support"
    );
    Err(Error::new(ErrorKind::Environment, "transport_unsupported", error)
        .with_advice("use a transport that declares pinned servers, such as symbolon-hyper"))
}
