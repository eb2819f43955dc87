//! AKS identity bindings: token requests through the token proxy of a cluster, which is nginx.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use symbolon::{CredentialChain, Env, ErrorKind, HyperTransport};
use symbolon_emulator::Step;
use symbolon_test_programs::{Folder, Service, find_program, or_skip};
use symbolon_token::{Error, KubernetesTokenProxy, Token, TokenClient, WorkloadIdentity};
use symbolon_transport::{Capabilities, TransportErrorKind, transport_fn};

use crate::certificate_files::pipe;
use crate::clients::CLIENT_ID;
use crate::test_env::TestEnv;

const NGINX_CONF: &str = include_str!("../../kubernetes/nginx.conf");
/// The name in the handshake, which no resolver has.
const NAME: &str = "binding.ests.aks.example";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const VAULT: &str = "https://vault.azure.net";

/// A certificate authority of the cluster.
struct ClusterAuthority(CertifiedIssuer<'static, KeyPair>);

impl ClusterAuthority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }
}

/// A pod whose cluster has a token proxy, and an emulator behind it.
struct Pod {
    env: TestEnv,
    folder: Folder,
    port: u16,
    authority: ClusterAuthority,
    _nginx: Service,
}

impl Pod {
    /// Starts the proxy; `None` if nginx is missing.
    async fn start() -> Option<Self> {
        let nginx = or_skip("a token proxy", find_program("nginx").ok_or("nginx".to_owned()))?;
        let env = TestEnv::new().await;
        let folder = Folder::new();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let upstream = url::Url::parse(env.emulator.token_url()).expect("a URL").port().expect("a port");
        let conf = NGINX_CONF
            .replace("{listen}", &port.to_string())
            .replace("{upstream}", &upstream.to_string())
            .replace("{name}", NAME);
        fs::write(folder.path().join("nginx.conf"), conf).expect("a file");
        let mut command = Command::new(nginx);
        command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf"));
        // nginx inherits the listening socket, as in its binary upgrade.
        command.env("NGINX", "1;");
        let pod = Self {
            _nginx: Service::start(&command, &folder, Stdio::from(OwnedFd::from(listener))),
            authority: ClusterAuthority::new(),
            env,
            folder,
            port,
        };
        pod.present(&pod.authority);
        pod.trust(&pod.authority);
        let identity = pod.env.identity();
        let assertion = pod.env.keep(identity.token(AUDIENCE).await.expect("a token"));
        fs::write(pod.path("token"), assertion.secret().expose()).expect("a file");
        Some(pod)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Presents a certificate of this authority in further handshakes.
    fn present(&self, authority: &ClusterAuthority) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([NAME.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &authority.0).expect("a certificate");
        fs::write(self.path(&format!("{NAME}.key")), key.serialize_pem()).expect("a file");
        fs::write(self.path(&format!("{NAME}.pem")), certificate.pem()).expect("a file");
    }

    /// Writes the file of the authority, as a rename in place.
    fn trust(&self, authority: &ClusterAuthority) {
        fs::write(self.path("ca.new"), authority.0.pem()).expect("a file");
        fs::rename(self.path("ca.new"), self.path("ca.crt")).expect("a rename");
    }

    /// The variables of the pod. The host of the authority does not exist.
    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_CLIENT_ID", CLIENT_ID.to_owned()),
            ("AZURE_TENANT_ID", self.env.emulator.tenant_id().to_owned()),
            ("AZURE_FEDERATED_TOKEN_FILE", self.path("token").display().to_string()),
            ("AZURE_AUTHORITY_HOST", "https://login.invalid/".to_owned()),
            ("AZURE_KUBERNETES_TOKEN_PROXY", format!("https://127.0.0.1:{}/cluster", self.port)),
            ("AZURE_KUBERNETES_SNI_NAME", NAME.to_owned()),
            ("AZURE_KUBERNETES_CA_FILE", self.path("ca.crt").display().to_string()),
        ]
    }

    /// The variables with some replaced, or removed by an empty text.
    fn env_with(&self, changes: &[(&'static str, &str)]) -> Env {
        let mut all = self.variables();
        all.retain(|(name, _)| changes.iter().all(|(changed, _)| name != changed));
        all.extend(changes.iter().map(|(name, value)| (*name, (*value).to_owned())));
        all.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// A transport that trusts the emulator, and reaches no HTTP proxy.
    fn transport(&self) -> HyperTransport {
        self.transport_trusting(self.env.emulator.ca_pem())
    }

    fn transport_trusting(&self, roots: &str) -> HyperTransport {
        let proxied = [("HTTPS_PROXY", "http://127.0.0.1:9")].into_iter().collect();
        HyperTransport::builder()
            .context(self.env.context().with_env(proxied))
            .platform_roots(false)
            .root_certificates_pem(roots.as_bytes())
            .build()
            .expect("a transport")
    }

    fn client_of(&self, env: &Env, transport: HyperTransport) -> Result<TokenClient, Error> {
        let credential = WorkloadIdentity::from_env(env)?.token_proxy(KubernetesTokenProxy::from_env(env)?);
        Ok(TokenClient::builder(credential, transport).context(self.env.context()).build())
    }

    fn client(&self) -> TokenClient {
        self.client_of(&self.env_with(&[]), self.transport()).expect("a client")
    }

    /// Returns true if the last token request was sent by the proxy.
    fn was_proxied(&self) -> bool {
        self.env.last_token_request().header("user-agent") == Some("token-proxy")
    }

    fn keep(&self, token: Result<Token, Error>) -> Token {
        self.env.keep(token.expect("a token"))
    }

    /// The error of a first request with these changes, which sends nothing to the emulator.
    async fn error_with(&self, changes: &[(&'static str, &str)]) -> Error {
        let before = self.env.counts();
        let error = match self.client_of(&self.env_with(changes), self.transport()) {
            Ok(client) => client.token_for_resource(VAULT).await.expect_err("no token"),
            Err(error) => error,
        };
        assert_eq!(self.env.counts(), before, "{error}");
        error
    }
}

#[tokio::test]
async fn aks_01_token_request_goes_to_the_proxy() {
    let Some(pod) = Pod::start().await else { return };
    let before = pod.env.count(Step::Token);
    let token = pod.keep(pod.client().token_for_resource(VAULT).await);
    assert_eq!(token.tenant_id(), Some(pod.env.emulator.tenant_id()));
    assert_eq!(pod.env.count(Step::Token), before + 1);
    let request = pod.env.last_token_request();
    assert_eq!(request.form("client_id"), Some(CLIENT_ID));
    assert!(pod.was_proxied());
    // A path with a slash at its end, and another tenant.
    let proxy = format!("https://127.0.0.1:{}/cluster/", pod.port);
    let client = pod.client_of(&pod.env_with(&[("AZURE_KUBERNETES_TOKEN_PROXY", &proxy)]), pod.transport());
    pod.keep(client.expect("a client").token_for_resource(VAULT).tenant(pod.env.emulator.tenant_id()).await);
    // Without the path, nginx answers 404 itself.
    let proxy = format!("https://127.0.0.1:{}", pod.port);
    let error = pod.error_with(&[("AZURE_KUBERNETES_TOKEN_PROXY", &proxy)]).await;
    assert_eq!(error.status(), Some(404), "{error}");
}

#[tokio::test]
async fn aks_02_other_server_is_refused() {
    let Some(pod) = Pod::start().await else { return };
    // The roots of the transport do not count.
    let other = ClusterAuthority::new();
    let before = pod.env.counts();
    pod.present(&other);
    for roots in [pod.env.emulator.ca_pem(), &other.0.pem()] {
        let client = pod.client_of(&pod.env_with(&[]), pod.transport_trusting(roots)).expect("a client");
        let error = client.token_for_resource(VAULT).await.expect_err("no token");
        assert_eq!((error.code(), error.kind()), ("transport_error", ErrorKind::Network));
        assert!(error.to_string().contains("AZURE_KUBERNETES_CA_FILE"), "{error}");
    }
    pod.present(&pod.authority);
    // The proxy ends the handshake of another name. Without a name, the certificate is not for the
    // address.
    for name in ["other.example", ""] {
        let error = pod.error_with(&[("AZURE_KUBERNETES_SNI_NAME", name)]).await;
        assert_eq!(error.code(), "transport_error", "{name} {error}");
    }
    assert_eq!(pod.env.counts(), before);
    pod.keep(pod.client().token_for_resource(VAULT).await);
    // The certificates can be in the variable.
    let data = pod.authority.0.pem();
    let changes = [("AZURE_KUBERNETES_CA_FILE", ""), ("AZURE_KUBERNETES_CA_DATA", data.as_str())];
    let client = pod.client_of(&pod.env_with(&changes), pod.transport()).expect("a client");
    pod.keep(client.token_for_resource(VAULT).await);
    // Without both, the roots of the transport count, with the name of the proxy.
    let client = pod.client_of(
        &pod.env_with(&[("AZURE_KUBERNETES_CA_FILE", "")]),
        pod.transport_trusting(&pod.authority.0.pem()),
    );
    pod.keep(client.expect("a client").token_for_resource(VAULT).await);
}

#[tokio::test]
async fn aks_03_authority_file_is_read_again() {
    let Some(pod) = Pod::start().await else { return };
    let client = pod.client();
    pod.keep(client.token_for_resource("https://one.example").await);
    let complete = fs::read(pod.path("ca.crt")).expect("a file");
    for (resource, content) in [
        ("https://two.example", Some(&b""[..])),
        ("https://three.example", Some(&complete[..complete.len() / 2])),
        ("https://four.example", None),
    ] {
        match content {
            Some(content) => fs::write(pod.path("ca.crt"), content).expect("a file"),
            None => fs::remove_file(pod.path("ca.crt")).expect("a file"),
        }
        pod.keep(client.token_for_resource(resource).await);
        // Nothing is known from before.
        let error = pod.error_with(&[]).await;
        assert_eq!((error.code(), error.kind()), ("invalid_token_proxy", ErrorKind::Environment));
        assert!(error.to_string().contains("ca.crt"), "{error}");
    }
    // A pipe is never read: it would block a thread for each exchange.
    pipe(&pod.path("ca.crt"));
    pod.keep(client.token_for_resource("https://pipe.example").await);
    let error = pod.error_with(&[]).await;
    assert_eq!((error.code(), error.kind()), ("invalid_token_proxy", ErrorKind::Environment));
    let next = ClusterAuthority::new();
    pod.present(&next);
    pod.trust(&next);
    pod.keep(client.token_for_resource("https://five.example").await);
    // The first authority counts no longer, on no kept connection either.
    pod.present(&pod.authority);
    let error = pod.client().token_for_resource(VAULT).await.expect_err("no token");
    assert_eq!(error.code(), "transport_error", "{error}");
    pod.trust(&pod.authority);
    pod.keep(client.token_for_resource("https://six.example").await);
}

#[tokio::test]
async fn aks_04_unusable_variables_are_refused() {
    let Some(pod) = Pod::start().await else { return };
    const PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
    for (changes, problem) in [
        (&[(PROXY, "")][..], "AZURE_KUBERNETES_SNI_NAME is set, but AZURE_KUBERNETES_TOKEN_PROXY is not"),
        (
            &[(PROXY, ""), ("AZURE_KUBERNETES_SNI_NAME", "")],
            "AZURE_KUBERNETES_CA_FILE is set, but AZURE_KUBERNETES_TOKEN_PROXY is not",
        ),
        (
            &[
                (PROXY, ""),
                ("AZURE_KUBERNETES_SNI_NAME", ""),
                ("AZURE_KUBERNETES_CA_FILE", ""),
                ("AZURE_KUBERNETES_CA_DATA", "x"),
            ],
            "AZURE_KUBERNETES_CA_DATA is set, but AZURE_KUBERNETES_TOKEN_PROXY is not",
        ),
        (&[(PROXY, "http://proxy.example")], "AZURE_KUBERNETES_TOKEN_PROXY is not an https URL"),
        (&[(PROXY, "proxy.example")], "AZURE_KUBERNETES_TOKEN_PROXY is not a URL"),
        (&[(PROXY, "https://s3cr3t@proxy.example")], "contains user information"),
        (&[(PROXY, "https://:s3cr3t@proxy.example")], "contains user information"),
        (&[(PROXY, "https://proxy.example?s3cr3t")], "contains a query or a fragment"),
        (&[(PROXY, "https://proxy.example/?")], "contains a query or a fragment"),
        (&[(PROXY, "https://proxy.example#s3cr3t")], "contains a query or a fragment"),
        (&[(PROXY, "\"https://proxy.example\"")], "AZURE_KUBERNETES_TOKEN_PROXY is in quotes"),
        (&[("AZURE_KUBERNETES_SNI_NAME", "no name")], "AZURE_KUBERNETES_SNI_NAME is not a host name"),
        (
            &[("AZURE_KUBERNETES_CA_DATA", "x")],
            "AZURE_KUBERNETES_CA_FILE and AZURE_KUBERNETES_CA_DATA are both set",
        ),
        (
            &[("AZURE_KUBERNETES_CA_FILE", ""), ("AZURE_KUBERNETES_CA_DATA", "x")],
            "AZURE_KUBERNETES_CA_DATA cannot be used: the text has no CERTIFICATE block in PEM",
        ),
        (
            &[("AZURE_KUBERNETES_CA_FILE", "/nowhere/ca.crt")],
            "AZURE_KUBERNETES_CA_FILE names /nowhere/ca.crt",
        ),
    ] {
        let error = pod.error_with(changes).await;
        let facts = (error.code(), error.kind());
        assert_eq!(facts, ("invalid_token_proxy", ErrorKind::Environment), "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(problem) && text.contains("nothing was sent"), "{problem}: {text}");
        assert!(!text.contains("s3cr3t"), "{text}");
    }
}

#[tokio::test]
async fn aks_05_binding_is_a_choice() {
    let Some(pod) = Pod::start().await else { return };
    let direct = ("AZURE_AUTHORITY_HOST", pod.env.emulator.token_url());
    // Not chosen: even an unusable variable is ignored.
    let env = pod.env_with(&[direct, ("AZURE_KUBERNETES_TOKEN_PROXY", "http://proxy.example")]);
    let credential = WorkloadIdentity::from_env(&env).expect("a credential");
    let client = TokenClient::builder(credential, pod.env.transport()).context(pod.env.context()).build();
    pod.keep(client.token_for_resource(VAULT).await);
    let none = [
        direct,
        ("AZURE_KUBERNETES_TOKEN_PROXY", ""),
        ("AZURE_KUBERNETES_SNI_NAME", ""),
        ("AZURE_KUBERNETES_CA_FILE", ""),
    ];
    let client = pod.client_of(&pod.env_with(&none), pod.env.transport()).expect("a client");
    pod.keep(client.token_for_resource(VAULT).await);
    assert!(!pod.was_proxied());
}

#[tokio::test]
async fn aks_06_chain_takes_the_option() {
    let Some(pod) = Pod::start().await else { return };
    let chain = |env: Env| {
        let context = pod.env.context().with_env(env);
        CredentialChain::builder().workload_identity().context(context)
    };
    let bound = chain(pod.env_with(&[])).transport(pod.transport()).kubernetes_token_proxy();
    pod.keep(bound.build().expect("a chain").token(VAULT).await);
    let flawed = pod.env_with(&[("AZURE_KUBERNETES_TOKEN_PROXY", "http://proxy.example")]);
    let error = chain(flawed).transport(pod.transport()).kubernetes_token_proxy().build().expect("a chain");
    let error = error.token(VAULT).await.expect_err("no token");
    assert_eq!(error.code(), "invalid_token_proxy", "{error}");
    let direct = pod.env_with(&[("AZURE_AUTHORITY_HOST", pod.env.emulator.token_url())]);
    let direct = chain(direct).transport(pod.env.transport()).build().expect("a chain");
    pod.keep(direct.token(VAULT).await);
    assert!(!pod.was_proxied());
}

#[tokio::test]
async fn aks_07_transport_needs_the_ability() {
    let Some(pod) = Pod::start().await else { return };
    let capabilities = Capabilities::none().with_client_certificates().with_pinned_servers();
    let transport = transport_fn(|_| async { Err(TransportErrorKind::Panicked.into()) });
    let env = pod.env_with(&[]);
    let credential = WorkloadIdentity::from_env(&env).expect("a credential");
    let credential = credential.token_proxy(KubernetesTokenProxy::from_env(&env).expect("a proxy"));
    let client = TokenClient::builder(credential, transport.with_capabilities(capabilities)).build();
    let error = client.token_for_resource(VAULT).await.expect_err("no token");
    assert_eq!((error.code(), error.kind()), ("transport_unsupported", ErrorKind::Request), "{error}");
}
