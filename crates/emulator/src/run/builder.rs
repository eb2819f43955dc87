//! The setup and the start of an emulator.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use symbolon_types::{SharedClock, Source};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::admin;
use crate::admin::endpoint::AdminEndpoint;
use crate::error::Error;
use crate::faults::{Fault, FaultQueue, file};
use crate::journal::Recorder;
use crate::pki::{
    CertificateAuthority, FabricCertificate, RefusedCertificates, TlsVersion, fabric_certificate, tls,
};
use crate::protocol::{Server, TokenSigner, address};
use crate::random::guid;
use crate::run::ca_file::CaFile;
use crate::run::emulator::Emulator;
use crate::run::server;
use crate::settings::EmulatorSettings;
use crate::state::{
    ArcChallenges, Connections, EmulatorState, Machine, RefreshTokens, ServiceUrls, SharedSet, SkewedClock,
    UserAssigned,
};

impl Emulator {
    /// Starts an emulator with default settings.
    ///
    /// # Errors
    ///
    /// See [`EmulatorBuilder::start`].
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    /// Returns a builder with default settings.
    pub fn builder() -> EmulatorBuilder {
        let any_port = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        EmulatorBuilder {
            clock: SharedClock::system(),
            addresses: [any_port; 5],
            admin: None,
            arc_tokens: None,
            ca_folder: None,
            user_assigned: Vec::new(),
            settings: EmulatorSettings::default(),
            faults: Vec::new(),
        }
    }
}

/// A builder for an [`Emulator`]: see [`Emulator::builder`].
#[must_use = "an emulator runs once it is started"]
pub struct EmulatorBuilder {
    clock: SharedClock,
    /// The addresses of [`Server::ALL`].
    addresses: [SocketAddr; 5],
    admin: Option<SocketAddr>,
    arc_tokens: Option<PathBuf>,
    ca_folder: Option<PathBuf>,
    user_assigned: Vec<UserAssigned>,
    settings: EmulatorSettings,
    faults: Vec<Fault>,
}

impl EmulatorBuilder {
    /// Sets the clock of all lifetimes, checks and delays. Defaults to the system clock.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the skew of the emulator's clock in seconds; negative if it is behind.
    pub fn clock_skew(mut self, seconds: i64) -> Self {
        self.settings.clock_skew_seconds = seconds;
        self
    }

    /// Sets the address of a server. Defaults to 127.0.0.1 with a free port. Only loopback
    /// addresses and those of [`azure_addresses`](Self::azure_addresses) are accepted.
    pub fn address(mut self, server: Server, address: SocketAddr) -> Self {
        self.addresses[server as usize] = address;
        self
    }

    /// Uses Azure's own addresses, for clients with fixed addresses: `169.254.169.254:80` for the
    /// metadata service, `169.254.169.254:443` for the token service, and a free port of the same
    /// address for the resource.
    ///
    /// The machine must have this address, clients must resolve the [names](Emulator::AZURE_NAMES)
    /// of the token service to it, and ports below 1024 need privileges. On Linux a network
    /// namespace provides all of this without changing the machine:
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
    pub fn azure_addresses(self) -> Self {
        self.address(Server::Imds, address::METADATA_SERVICE)
            .address(Server::Token, address::TOKEN_SERVICE)
            .address(Server::Resource, address::RESOURCE)
    }

    /// Serves the admin page and its API at this address, see [`Emulator::admin_url`]. Not served
    /// by default. Only loopback addresses are accepted; port 0 selects a free port.
    pub fn admin_address(mut self, address: SocketAddr) -> Self {
        self.admin = Some(address);
        self
    }

    /// Sets the host that [`Emulator::environment`] describes. Defaults to a virtual machine. The
    /// emulator serves all hosts regardless.
    pub fn source(mut self, source: Source) -> Self {
        self.settings.source = source;
        self
    }

    /// Sets the directory for the key files of the Azure Arc agent. Defaults to the directory of
    /// the real agent on Linux, `/var/opt/azcmagent/tokens`, because clients accept no other one;
    /// writing there requires root. The first file is written at the first challenge.
    pub fn arc_tokens(mut self, directory: impl Into<PathBuf>) -> Self {
        self.arc_tokens = Some(directory.into());
        self
    }

    /// Sets the folder for the [file](Emulator::ca_file) with the certificate of the emulator's
    /// authority, which then stays when the emulator is dropped. Defaults to a temporary folder of
    /// this user alone, which is removed.
    pub fn ca_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.ca_folder = Some(folder.into());
        self
    }

    /// Emulates an Azure Arc agent from before 2026, which always uses the system-assigned
    /// identity.
    pub fn arc_without_user_assigned(mut self) -> Self {
        self.settings.arc_user_assigned = false;
        self
    }

    /// Sets the only TLS version of the token service and the resource. Defaults to TLS 1.2 and
    /// 1.3.
    pub fn tls_version(mut self, version: TlsVersion) -> Self {
        self.settings.tls_versions = vec![version];
        self
    }

    /// Sets the tenant. Defaults to a random GUID.
    pub fn tenant_id(mut self, tenant_id: &str) -> Self {
        self.settings.tenant_id = Some(tenant_id.to_owned());
        self
    }

    /// Makes the machine part of a scale set, with a `vmssId` in its `cuId`.
    pub fn scale_set(mut self) -> Self {
        self.settings.scale_set = true;
        self
    }

    /// Adds a user-assigned identity to the one that every emulator has.
    pub fn user_assigned(mut self, identity: UserAssigned) -> Self {
        self.user_assigned.push(identity);
        self
    }

    /// Emulates a host without IMDSv2: `getplatformmetadata` and `issuecredential` return 404.
    pub fn v1_only(mut self) -> Self {
        self.settings.v1_only = true;
        self
    }

    /// Requires an attestation token for issuance. The token is not verified.
    pub fn attestation_required(mut self) -> Self {
        self.settings.attestation_required = true;
        self
    }

    /// Sets the lifetime of tokens, in whole seconds. Defaults to 3599 seconds.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.token_lifetime = lifetime;
        self
    }

    /// Sets `refresh_in` of token responses, in whole seconds. Absent by default.
    pub fn refresh_in(mut self, refresh_in: Duration) -> Self {
        self.settings.refresh_in = Some(refresh_in);
        self
    }

    /// Sets the validity of certificates, in whole seconds. Defaults to 14 days.
    pub fn certificate_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.certificate_lifetime = lifetime;
        self
    }

    /// Sets the period in which the token service accepts a certificate, in whole seconds. Defaults
    /// to 7 days. `None` issues certificates without `token_not_after`.
    pub fn token_not_after(mut self, lifetime: Option<Duration>) -> Self {
        self.settings.token_not_after = lifetime;
        self
    }

    /// Sets the start of the issuer of access tokens, such as `https://sts.windows.net`, for
    /// services that accept Entra's tokens without verifying the signature, such as Azurite. By
    /// default it is the URL of the token service.
    pub fn access_token_issuer(mut self, issuer: &str) -> Self {
        self.settings.access_token_issuer = Some(issuer.trim_end_matches('/').to_owned());
        self
    }

    /// Sets the only audience that the resource accepts. By default it accepts every `https`
    /// audience of an issued token.
    pub fn audience(mut self, audience: &str) -> Self {
        self.settings.audience = Some(audience.to_owned());
        self
    }

    /// Makes the resource answer a request without a valid token as Azure Key Vault does, with
    /// `Bearer authorization="…", resource="…"`, from which its clients read the authority and the
    /// audience. The resource is the [`audience`](Self::audience), or Key Vault's own.
    pub fn key_vault_challenge(mut self) -> Self {
        self.settings.key_vault_challenge = true;
        self
    }

    /// Refuses tenants, clients and resources that were not declared, as Entra refuses those that
    /// it does not know: with `invalid_request` (AADSTS90002), `unauthorized_client`
    /// (AADSTS700016) and `invalid_resource` (AADSTS500011). By default the emulator accepts every
    /// tenant and every resource, and every client that authenticates.
    ///
    /// Declared are the machine's tenant and identities, the emulator's own
    /// [application](Emulator::application_id), and what [`tenant`](Self::tenant),
    /// [`client`](Self::client), [`application`](Self::application),
    /// [`federated_application`](Self::federated_application), [`resource`](Self::resource) and
    /// [`audience`](Self::audience) add. A client is also a resource, by its id and by `api://` and
    /// its id.
    pub fn strict(mut self) -> Self {
        self.settings.strict = true;
        self
    }

    /// Declares a tenant besides the machine's, by its id or one of its domains, for a
    /// [strict](Self::strict) emulator.
    pub fn tenant(mut self, tenant: &str) -> Self {
        self.settings.tenants.push(tenant.to_owned());
        self
    }

    /// Declares a client without a secret, which authenticates with a
    /// [certificate](Emulator::issue_client_certificate), for a [strict](Self::strict) emulator.
    pub fn client(mut self, client_id: &str) -> Self {
        self.settings.clients.push(client_id.to_owned());
        self
    }

    /// Declares a resource, such as `https://vault.azure.net`, for a [strict](Self::strict)
    /// emulator. A slash at its end has no meaning.
    pub fn resource(mut self, resource: &str) -> Self {
        self.settings.resources.push(resource.to_owned());
        self
    }

    /// Adds a confidential client with its secret.
    pub fn application(mut self, client_id: &str, secret: &str) -> Self {
        self.settings.applications.insert(client_id.to_owned(), secret.to_owned());
        self
    }

    /// Adds a confidential client that authenticates with tokens of this token service for the
    /// audience `api://AzureADTokenExchange`, as in workload identity federation.
    pub fn federated_application(mut self, client_id: &str) -> Self {
        self.settings.federated.push(client_id.to_owned());
        self
    }

    /// Adds a fault before the start, like [`Emulator::inject`].
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Applies faults and settings from the text of a TOML file. The README of this crate lists all
    /// names; other names are an error.
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
    /// [`Error::Faults`] with the position and the problem.
    pub fn faults_toml(mut self, text: &str) -> Result<Self, Error> {
        self.faults.extend(file::apply_toml(text, &mut self.settings)?);
        Ok(self)
    }

    /// Starts the servers on a thread of their own.
    ///
    /// # Errors
    ///
    /// [`Error::NotLoopback`] for an address that other machines can reach, [`Error::Listen`] for a
    /// port or an address that is not available. [`Error::File`] if the certificate of the
    /// authority cannot be written. [`Error::Certificate`] and [`Error::Thread`] if the operating
    /// system provides no randomness or no thread.
    pub async fn start(self) -> Result<Emulator, Error> {
        Server::ALL
            .into_iter()
            .zip(self.addresses)
            .try_for_each(|(server, address)| server.check(address))?;
        self.admin.map_or(Ok(()), address::check_loopback)?;
        let ca_folder = self.ca_folder.clone();
        let (report, started) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("symbolon-emulator".to_owned())
            .spawn(move || run(self, report, stopped))
            .map_err(Error::Thread)?;
        // A thread that ends without a report has panicked.
        let state = started.await.map_err(|_| Error::Thread(std::io::ErrorKind::BrokenPipe.into()))??;
        let ca_file = CaFile::write(state.ca.pem(), ca_folder.as_deref())?;
        Ok(Emulator::new(state, ca_file, thread, stop))
    }

    /// Opens the ports and starts serving on the current runtime.
    async fn open(self) -> Result<Arc<EmulatorState>, Error> {
        let settings = self.settings;
        let ca = CertificateAuthority::new()?;
        let names = address::certificate_names(self.addresses[Server::Token as usize]);
        let certificate = ca.server(names)?;
        let skew = SkewedClock::new(self.clock, settings.clock_skew_seconds);
        let clock = SharedClock::new(skew.clone());
        let refused_in_tls = Arc::default();
        let tls = |refused: &Arc<RefusedCertificates>| {
            tls::server_config(&ca, &certificate, &settings.tls_versions, &clock, refused)
        };
        let refusing_tls = tls(&Arc::new(RefusedCertificates::all()))?;
        let fabric_certificate = Arc::new(FabricCertificate::new()?);
        let mut urls = [const { String::new() }; 5];
        let mut servers = Vec::new();
        for ((server, address), url) in Server::ALL.into_iter().zip(self.addresses).zip(&mut urls) {
            let tls = match server {
                Server::Imds | Server::Hosts => None,
                Server::Token => Some(tls(&refused_in_tls)?),
                Server::Resource => Some(tls::with_http2(&*tls(&refused_in_tls)?)),
                Server::ServiceFabric => {
                    Some(fabric_certificate::server_config(Arc::clone(&fabric_certificate))?)
                }
            };
            let (listener, address) = listen(address).await?;
            *url = server.url(address);
            servers.push((listener, server, tls));
        }
        let [imds, token, resource, hosts, fabric] = urls;
        let admin = match self.admin {
            Some(address) => {
                let (listener, address) = listen(address).await?;
                Some((listener, Arc::new(AdminEndpoint::new(address)?)))
            }
            None => None,
        };
        let tenant_id = settings.tenant_id.clone();
        let state = Arc::new(EmulatorState {
            clock,
            skew,
            machine: Machine::new(tenant_id, settings.scale_set, self.user_assigned),
            settings,
            urls: ServiceUrls { imds, token, resource, hosts, fabric },
            admin_url: admin.as_ref().map(|(_, endpoint)| endpoint.url()),
            ca,
            signer: TokenSigner::new(Handle::current()),
            fabric: fabric_certificate,
            secret_seed: guid(),
            challenges: ArcChallenges::new(self.arc_tokens),
            faults: FaultQueue::default(),
            recorder: Recorder::new(),
            connections: Connections::default(),
            refused_in_tls,
            refusing_tls,
            revoked: SharedSet::default(),
            refresh_tokens: RefreshTokens::default(),
            audiences: SharedSet::default(),
        });
        for fault in self.faults {
            state.faults.inject(fault);
        }
        for (listener, server, tls) in servers {
            tokio::spawn(server::serve(listener, server, tls, Arc::clone(&state)));
        }
        if let Some((listener, endpoint)) = admin {
            tokio::spawn(admin::server::serve(listener, endpoint, Arc::clone(&state)));
        }
        // Generates the signing key before the first token request.
        let signing = Arc::clone(&state);
        tokio::spawn(async move { signing.signer.key().await.is_some() });
        Ok(state)
    }
}

// Omits the secrets of the applications.
symbolon_types::debug_fields!(EmulatorBuilder |this| addresses: this.addresses, tls: this.settings.tls_versions);

/// Runs the emulator's thread. Its own runtime keeps the servers responsive while a test blocks
/// another runtime, for example by waiting for a child process.
fn run(
    builder: EmulatorBuilder,
    report: oneshot::Sender<Result<Arc<EmulatorState>, Error>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Sending fails if the caller has stopped waiting.
            let _sent = report.send(Err(Error::Thread(error)));
            return;
        }
    };
    runtime.block_on(async {
        let opened = builder.open().await;
        let failed = opened.is_err();
        if report.send(opened).is_ok() && !failed {
            // Resolves when the sender is dropped.
            let _dropped = stopped.await;
        }
    });
    // Closes the ports and all connections without waiting for a key that is being generated.
    runtime.shutdown_background();
}

/// Opens a port, and returns its actual address.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
