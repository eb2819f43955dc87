//! What an emulator is like before it starts.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use symbolon_types::{SharedClock, Source};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::admin::{self, Door};
use crate::answer::Role;
use crate::ca::CertificateAuthority;
use crate::connection::Connections;
use crate::emulator::Emulator;
use crate::entry::TlsVersion;
use crate::error::Error;
use crate::fault::Fault;
use crate::host::Secrets;
use crate::host::certificate::{self, FabricCertificate};
use crate::host::challenge::Challenges;
use crate::identity::{Machine, UserAssigned};
use crate::journal::Recorder;
use crate::jwt::TokenSigner;
use crate::place;
use crate::refresh::RefreshTokens;
use crate::script::Script;
use crate::server;
use crate::skew::SkewedClock;
use crate::spec;
use crate::state::{Names, Settings, State, Urls};
use crate::tls::{self, Refusals};

/// Entra's usual `expires_in` (IMDSv2: test vocabulary).
const TOKEN_LIFETIME: Duration = Duration::from_secs(3599);
/// About 14 days (IMDSv2: second expiry inside the certificate).
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// About 7 days (IMDSv2: second expiry inside the certificate).
const TOKEN_NOT_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Sets up an [`Emulator`]: see [`Emulator::builder`].
#[must_use = "an emulator runs when it is started"]
pub struct EmulatorBuilder {
    clock: SharedClock,
    clock_skew: i64,
    imds: SocketAddr,
    token: SocketAddr,
    resource: SocketAddr,
    hosts: SocketAddr,
    fabric: SocketAddr,
    admin: Option<SocketAddr>,
    arc_tokens: Option<PathBuf>,
    tls: Vec<TlsVersion>,
    tenant_id: Option<String>,
    scale_set: bool,
    user_assigned: Vec<UserAssigned>,
    settings: Settings,
    faults: Vec<Fault>,
}

impl EmulatorBuilder {
    pub(crate) fn new() -> Self {
        let any_port = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            clock: SharedClock::system(),
            clock_skew: 0,
            imds: any_port,
            token: any_port,
            resource: any_port,
            hosts: any_port,
            fabric: any_port,
            admin: None,
            arc_tokens: None,
            tls: vec![TlsVersion::V1_2, TlsVersion::V1_3],
            tenant_id: None,
            scale_set: false,
            user_assigned: Vec::new(),
            settings: Settings {
                source: Source::Imds,
                arc_knows_identities: true,
                v1_only: false,
                attestation_required: false,
                token_lifetime: TOKEN_LIFETIME,
                refresh_in: None,
                certificate_lifetime: CERTIFICATE_LIFETIME,
                token_not_after: Some(TOKEN_NOT_AFTER),
                audience: None,
                applications: HashMap::new(),
                federated: Vec::new(),
            },
            faults: Vec::new(),
        }
    }

    /// The clock that all lifetimes, checks and delays follow; the machine's own by default.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// By how many seconds the emulator's clock is ahead of the one it was given; negative when it is behind.
    pub fn clock_skew(mut self, seconds: i64) -> Self {
        self.clock_skew = seconds;
        self
    }

    /// Where the metadata service listens; by default 127.0.0.1 and a port of the system's choice.
    /// Only loopback addresses start, and that of [`azure_addresses`](Self::azure_addresses).
    pub fn imds_address(mut self, address: SocketAddr) -> Self {
        self.imds = address;
        self
    }

    /// Where the token service listens, as for [`imds_address`](Self::imds_address).
    pub fn token_address(mut self, address: SocketAddr) -> Self {
        self.token = address;
        self
    }

    /// Where the resource listens, as for [`imds_address`](Self::imds_address).
    pub fn resource_address(mut self, address: SocketAddr) -> Self {
        self.resource = address;
        self
    }

    /// Where the identity endpoints of App Service, Azure Machine Learning, Cloud Shell and Azure Arc listen; by default
    /// 127.0.0.1 and a port of the system's choice. Only loopback addresses start.
    pub fn hosts_address(mut self, address: SocketAddr) -> Self {
        self.hosts = address;
        self
    }

    /// Where the identity endpoint of Service Fabric listens, as for [`hosts_address`](Self::hosts_address).
    pub fn service_fabric_address(mut self, address: SocketAddr) -> Self {
        self.fabric = address;
        self
    }

    /// Listens where Azure has its services, for clients that no variable points elsewhere: the metadata service at
    /// `169.254.169.254:80`, the token service at `169.254.169.254:443`, and the resource beside it, at a port of the
    /// system's choice.
    ///
    /// The machine must have that address, clients must find the [names](Emulator::AZURE_NAMES) of the token service at
    /// it, and ports below 1024 take privileges. On Linux a network namespace has all of that, and nothing changes for
    /// the machine around it:
    ///
    /// ```sh
    /// ip netns add azure
    /// ip -n azure link set lo up
    /// ip -n azure address add 169.254.169.254/32 dev lo
    /// mkdir -p /etc/netns/azure
    /// echo '169.254.169.254 emulated.mtlsauth.microsoft.com mtlsauth.microsoft.com login.microsoftonline.com' \
    ///     > /etc/netns/azure/hosts
    /// ip netns exec azure cargo test
    /// ```
    pub fn azure_addresses(mut self) -> Self {
        self.imds = place::METADATA_SERVICE;
        self.token = place::TOKEN_SERVICE;
        self.resource = place::RESOURCE;
        self
    }

    /// Serves the admin API and the page here, at [`Emulator::admin_url`]; by default nowhere. Only loopback addresses
    /// start; port 0 is one of the system's choice.
    pub fn admin_address(mut self, address: SocketAddr) -> Self {
        self.admin = Some(address);
        self
    }

    /// The host whose variables [`Emulator::environment`] gives; a virtual machine by default. All hosts
    /// are served, whichever it is.
    pub fn source(mut self, source: Source) -> Self {
        self.settings.source = source;
        self
    }

    /// Where the Azure Arc agent puts its key files; by default where the real one does on Linux,
    /// `/var/opt/azcmagent/tokens`, because clients look nowhere else. To write there, the emulator must
    /// run as root; nothing is written before the first challenge.
    pub fn arc_tokens(mut self, directory: impl Into<PathBuf>) -> Self {
        self.arc_tokens = Some(directory.into());
        self
    }

    /// An Azure Arc agent from before 2026: it gives tokens of the machine's own identity, whichever is asked for.
    pub fn arc_without_user_assigned(mut self) -> Self {
        self.settings.arc_knows_identities = false;
        self
    }

    /// The one TLS version of the token service and the resource; both TLS 1.2 and 1.3 by default.
    pub fn tls_version(mut self, version: TlsVersion) -> Self {
        self.tls = vec![version];
        self
    }

    /// The tenant; a random GUID by default.
    pub fn tenant_id(mut self, tenant_id: &str) -> Self {
        self.tenant_id = Some(tenant_id.to_owned());
        self
    }

    /// The machine belongs to a scale set: its `cuId` has a `vmssId`, too.
    pub fn scale_set(mut self) -> Self {
        self.scale_set = true;
        self
    }

    /// One more user-assigned identity, beside the one every emulator has.
    pub fn user_assigned(mut self, identity: UserAssigned) -> Self {
        self.user_assigned.push(identity);
        self
    }

    /// A host without IMDSv2: `getplatformmetadata` and `issuecredential` answer 404.
    pub fn v1_only(mut self) -> Self {
        self.settings.v1_only = true;
        self
    }

    /// A host that issues only with an attestation token. Its text is not verified.
    pub fn attestation_required(mut self) -> Self {
        self.settings.attestation_required = true;
        self
    }

    /// How long tokens live; 3599 seconds by default. Whole seconds.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.token_lifetime = lifetime;
        self
    }

    /// `refresh_in` of token answers; none by default. Whole seconds.
    pub fn refresh_in(mut self, refresh_in: Duration) -> Self {
        self.settings.refresh_in = Some(refresh_in);
        self
    }

    /// How long certificates are valid; 14 days by default. Whole seconds.
    pub fn certificate_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.certificate_lifetime = lifetime;
        self
    }

    /// How long the token service takes a certificate; 7 days by default. Whole seconds; none for
    /// certificates that do not say.
    pub fn token_not_after(mut self, lifetime: Option<Duration>) -> Self {
        self.settings.token_not_after = lifetime;
        self
    }

    /// The one audience of the resource; by default it takes every `https` audience that a token
    /// was issued for.
    pub fn audience(mut self, audience: &str) -> Self {
        self.settings.audience = Some(audience.to_owned());
        self
    }

    /// A confidential client with its secret.
    pub fn application(mut self, client_id: &str, secret: &str) -> Self {
        self.settings.applications.insert(client_id.to_owned(), secret.to_owned());
        self
    }

    /// A confidential client that authenticates with tokens of this service for the audience
    /// `api://AzureADTokenExchange`: the second leg of a federated identity credential.
    pub fn federated_application(mut self, client_id: &str) -> Self {
        self.settings.federated.push(client_id.to_owned());
        self
    }

    /// A fault from the beginning, as by [`Emulator::inject`].
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Faults from the beginning, and settings, from the text of a TOML file: the README of this crate has all
    /// names. It is a mistake to name anything else.
    ///
    /// ```
    /// # use symbolon_emulator::Emulator;
    /// let emulator = Emulator::builder().faults_toml(
    ///     r#"
    ///     [host]
    ///     clock_skew = "-10m"
    ///
    ///     [[fault]]
    ///     kind = "gone"
    ///     step = "metadata"
    ///     lasting = "70s"
    ///     "#,
    /// )?;
    /// let wrong = Emulator::builder().faults_toml("[[fault]]\nkind = \"rset\"");
    /// assert!(wrong.is_err_and(|error| error.to_string().starts_with("line 2, column 8: unknown variant `rset`")));
    /// # Ok::<(), symbolon_emulator::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Faults`] says what is wrong where.
    pub fn faults_toml(self, text: &str) -> Result<Self, Error> {
        spec::apply_toml(text, self)
    }

    /// Starts the servers, on a thread of their own.
    ///
    /// # Errors
    ///
    /// [`Error::NotLoopback`] for an address outside of the machine, [`Error::Listen`] for a port
    /// that is taken or not allowed, and for an address that the machine has not; otherwise where the machine has no thread or no randomness to give.
    pub async fn start(self) -> Result<Emulator, Error> {
        [self.imds, self.token, self.resource].into_iter().try_for_each(place::check)?;
        [self.hosts, self.fabric].into_iter().chain(self.admin).try_for_each(place::check_loopback)?;
        let (report, started) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("symbolon-emulator".to_owned())
            .spawn(move || run(self, report, stopped))
            .map_err(Error::Thread)?;
        // A thread that ends without a report has panicked.
        let state = started.await.map_err(|_| Error::Thread(std::io::ErrorKind::BrokenPipe.into()))??;
        Ok(Emulator::new(state, thread, stop))
    }

    /// Opens the ports and starts serving on the current runtime.
    async fn open(self) -> Result<Arc<State>, Error> {
        let ca = CertificateAuthority::new()?;
        let server = ca.server(place::names(self.token))?;
        let skew = SkewedClock::new(self.clock, self.clock_skew);
        let clock = SharedClock::new(skew.clone());
        let refusals = Arc::default();
        let tls = |refusals| tls::server_config(&ca, &server, &self.tls, &clock, refusals);
        let (token_tls, resource_tls) = (tls(&refusals)?, tls(&refusals)?);
        let refusing_tls = tls(&Arc::new(Refusals::of_all()))?;
        let fabric_certificate = Arc::new(FabricCertificate::new()?);
        let fabric_tls = certificate::server_config(Arc::clone(&fabric_certificate))?;
        let (imds, imds_url) = listen(self.imds, "http").await?;
        let (token, token_url) = listen(self.token, "https").await?;
        let (resource, resource_url) = listen(self.resource, "https").await?;
        let (hosts, hosts_url) = listen(self.hosts, "http").await?;
        let (fabric, fabric_url) = listen(self.fabric, "https").await?;
        let admin = match self.admin {
            Some(address) => {
                let listener = bind(address).await?;
                let door =
                    Door::new(listener.local_addr().map_err(|source| Error::Listen { address, source })?)?;
                Some((listener, Arc::new(door)))
            }
            None => None,
        };
        let urls = Urls {
            imds: imds_url,
            token: token_url,
            resource: resource_url,
            hosts: hosts_url,
            fabric: fabric_url,
        };
        let state = Arc::new(State {
            clock,
            skew,
            machine: Machine::new(self.tenant_id, self.scale_set, self.user_assigned),
            settings: self.settings,
            urls,
            admin_url: admin.as_ref().map(|(_, door)| door.url()),
            ca,
            signer: TokenSigner::new(Handle::current()),
            fabric: fabric_certificate,
            secrets: Secrets::new(),
            challenges: Challenges::new(self.arc_tokens),
            script: Script::default(),
            recorder: Recorder::new(),
            connections: Connections::default(),
            refusals,
            refusing_tls,
            revoked: Names::default(),
            refresh_tokens: RefreshTokens::default(),
            audiences: Names::default(),
        });
        for fault in self.faults {
            state.script.inject(fault);
        }
        tokio::spawn(server::serve(imds, Role::Imds, None, Arc::clone(&state)));
        tokio::spawn(server::serve(token, Role::Token, Some(token_tls), Arc::clone(&state)));
        tokio::spawn(server::serve(resource, Role::Resource, Some(resource_tls), Arc::clone(&state)));
        tokio::spawn(server::serve(hosts, Role::Hosts, None, Arc::clone(&state)));
        tokio::spawn(server::serve(fabric, Role::Fabric, Some(fabric_tls), Arc::clone(&state)));
        if let Some((listener, door)) = admin {
            tokio::spawn(admin::serve(listener, door, Arc::clone(&state)));
        }
        let signer = Arc::clone(&state);
        tokio::spawn(async move { signer.signer.key().await.is_some() });
        Ok(state)
    }
}

/// Without the secrets of the applications.
impl std::fmt::Debug for EmulatorBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmulatorBuilder")
            .field("imds", &self.imds)
            .field("token", &self.token)
            .field("resource", &self.resource)
            .field("hosts", &self.hosts)
            .field("fabric", &self.fabric)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Body of the emulator's thread: a runtime of its own, so that a test that blocks its own, as one
/// does that waits for a child process, is still answered.
fn run(
    builder: EmulatorBuilder,
    report: oneshot::Sender<Result<Arc<State>, Error>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Nobody who waits no longer needs to know.
            let _starter = report.send(Err(Error::Thread(error)));
            return;
        }
    };
    runtime.block_on(async {
        let opened = builder.open().await;
        let failed = opened.is_err();
        if report.send(opened).is_ok() && !failed {
            // Either a word or the end of the sender: both end the servers.
            let _stop = stopped.await;
        }
    });
    // Closes the ports and all connections; a key that is still being generated need not be awaited.
    runtime.shutdown_background();
}

async fn listen(address: SocketAddr, scheme: &str) -> Result<(TcpListener, String), Error> {
    let listener = bind(address).await?;
    let address = listener.local_addr().map_err(|source| Error::Listen { address, source })?;
    Ok((listener, place::url(scheme, address)))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}
