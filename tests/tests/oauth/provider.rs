//! node-oidc-provider as an independent token service, directly and behind nginx.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use http::Method;
use serde::Deserialize;
use symbolon::{Context, Env, HyperTransport};
use symbolon_transport::{Request, Route, SharedTransport, Transport};

use crate::certificate::Authority;
use crate::clients::Clients;
use symbolon_test_programs::{Folder, Service, find_program, or_skip, start_nginx};

/// The tenant of the server, which is the first part of its paths.
pub(crate) const TENANT: &str = "contoso.example";
/// A resource whose tokens are opaque; those of any other are JWTs.
pub(crate) const OPAQUE_RESOURCE: &str = "https://opaque.example";

/// The Node project of the server, and the configuration of nginx.
const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/oauth");
const NGINX_CONF: &str = include_str!("../../oauth/nginx.conf");

/// node-oidc-provider as a token service. It ends when this is dropped or the process ends.
pub(crate) struct OAuthServer {
    /// TLS 1.3 by Node, with the client certificate taken from the connection.
    pub(crate) direct: Issuer,
    /// TLS 1.2 by nginx, which forwards the client certificate in a header.
    pub(crate) behind_nginx: Issuer,
    /// The authority to trust for both.
    pub(crate) ca_pem: String,
    /// The clients that are registered at both.
    pub(crate) clients: Clients,
    _nginx: Service,
    _node: Service,
    folder: Folder,
}

/// The endpoints of a token service.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Issuer {
    /// The issuer identifier (OpenID Connect Discovery 1.0 §4.3).
    pub(crate) issuer: String,
    /// The token endpoint from discovery.
    pub(crate) token_endpoint: String,
    /// The introspection endpoint (RFC 7662).
    pub(crate) introspection_endpoint: String,
    /// The token endpoint at the path of Entra: `/TENANT/oauth2/v2.0/token`.
    #[serde(skip)]
    pub(crate) entra_token_endpoint: String,
}

impl OAuthServer {
    /// Starts the servers and waits until both answer. Returns `None`, with a line on standard
    /// error, if a program or a package is missing.
    ///
    /// # Panics
    /// If something is missing in continuous integration (`CI` is set), or a server does
    /// not start.
    pub(crate) async fn start() -> Option<Self> {
        let programs = or_skip("node-oidc-provider behind nginx", Programs::find())?;
        let launched = tokio::task::spawn_blocking(move || Self::launch(&programs)).await;
        let mut server = launched.expect("no panic");
        let transport = server.transport();
        // Both listen already, so no polling is needed.
        for issuer in [&mut server.direct, &mut server.behind_nginx] {
            if let Err(error) = issuer.discover(&transport).await {
                panic!("{} cannot be discovered: {error}\n{}", issuer.issuer, logs(server.folder.path()));
            }
        }
        Some(server)
    }

    /// A transport that trusts both servers and nothing else.
    pub(crate) fn transport(&self) -> SharedTransport {
        transport(&self.ca_pem)
    }

    /// Starts both, without waiting until they answer.
    fn launch(programs: &Programs) -> Self {
        let folder = Folder::new();
        let authority = Authority::new(&programs.openssl, folder.path());
        authority.issue_server();
        let clients = Clients::certified_by(&authority);
        fs::write(folder.path().join("clients.json"), clients.registrations().to_string()).expect("a file");

        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let nginx_port = listener.local_addr().expect("its address").port();

        let mut node = Command::new(&programs.node);
        node.arg(Path::new(PROJECT).join("server.mjs")).arg(folder.path());
        node.args([TENANT, &nginx_port.to_string()]);
        let mut node = Service::start(&node, &folder, Stdio::piped());
        let Some(ports) = node.wait_for(|line| serde_json::from_str::<Ports>(line).ok()) else {
            panic!("node-oidc-provider did not start:\n{}", logs(folder.path()));
        };

        let http = NGINX_CONF.replace("{upstream}", &ports.proxied.to_string());
        let nginx = start_nginx(&programs.nginx, &folder, listener, &http);

        Self {
            direct: Issuer::on_port(ports.direct),
            behind_nginx: Issuer::on_port(nginx_port),
            ca_pem: authority.certificate_pem(),
            clients,
            _nginx: nginx,
            _node: node,
            folder,
        }
    }
}

/// Paths of the required programs.
struct Programs {
    node: String,
    nginx: String,
    openssl: String,
}

impl Programs {
    /// The programs, or the name of a missing package.
    fn find() -> Result<Self, String> {
        let node = find_program("node").ok_or("Node (`apt-get install nodejs npm`)")?;
        let nginx = find_program("nginx").ok_or("nginx (`apt-get install nginx`)")?;
        let openssl = find_program("openssl").ok_or("OpenSSL (`apt-get install openssl`)")?;
        if !Path::new(PROJECT).join("node_modules/oidc-provider").is_dir() {
            return Err("its package (`npm ci` in tests/oauth)".to_owned());
        }
        Ok(Self { node, nginx, openssl })
    }
}

/// The line that `server.mjs` prints when it is ready.
#[derive(Deserialize)]
struct Ports {
    direct: u16,
    proxied: u16,
}

impl Issuer {
    /// The endpoints on this port that do not need discovery.
    fn on_port(port: u16) -> Self {
        let origin = format!("https://localhost:{port}");
        Self {
            issuer: format!("{origin}/{TENANT}/v2.0"),
            token_endpoint: String::new(),
            introspection_endpoint: String::new(),
            entra_token_endpoint: format!("{origin}/{TENANT}/oauth2/v2.0/token"),
        }
    }

    /// Reads the endpoints from discovery.
    async fn discover(&mut self, transport: &SharedTransport) -> Result<(), Box<dyn std::error::Error>> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer).parse()?;
        let response = transport.send(Request::new(Method::GET, url, Route::Public)).await?;
        let found: Self = serde_json::from_slice(response.body())?;
        assert_eq!(found.issuer, self.issuer, "what a server says of itself");
        *self = Self { entra_token_endpoint: std::mem::take(&mut self.entra_token_endpoint), ..found };
        Ok(())
    }
}

pub(crate) fn transport(ca_pem: &str) -> SharedTransport {
    let transport = HyperTransport::builder()
        .context(Context::default().with_env(Env::empty()))
        .platform_roots(false)
        .root_certificates_pem(ca_pem.as_bytes())
        .build();
    SharedTransport::new(transport.expect("a transport"))
}

/// The output of the servers, for the message of a failed start.
fn logs(folder: &Path) -> String {
    ["node.log", "nginx.log", "error.log"]
        .iter()
        .filter_map(|name| Some((name, fs::read_to_string(folder.join(name)).ok()?)))
        .map(|(name, text)| format!("--- {name}\n{text}\n"))
        .collect()
}
