//! Glewlwyd: a second token service, written in C with GnuTLS.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use symbolon_transport::SharedTransport;

use crate::certificate::{Authority, Certified, KeyKind};
use crate::clients::{CertifiedClient, SecretClient};
use crate::provider::transport;
use symbolon_test_programs::{Folder, Service, find_program, or_skip};

const CONF: &str = include_str!("../../oauth/glewlwyd.conf");
/// The schema and the modules for users and clients, at the paths of Debian's package.
const SCHEMA: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
/// The registered certificate name of [`Glewlwyd::tls`].
const TLS_NAME: &str = "tls.client.example";

/// Glewlwyd as a token service. It ends when this is dropped or the process ends.
pub(crate) struct Glewlwyd {
    /// The token endpoint.
    pub(crate) token_endpoint: String,
    /// The authority to trust.
    pub(crate) ca_pem: String,
    /// `client_secret_post`.
    pub(crate) secret: SecretClient,
    /// `tls_client_auth` by a name in the certificate; RSA.
    pub(crate) tls: CertifiedClient,
    /// A certificate by the authority of the server, for a name that no client has.
    pub(crate) stranger: Certified,
    /// A self-signed certificate with the name of [`tls`](Self::tls).
    pub(crate) impostor: Certified,
    _service: Service,
    _folder: Folder,
}

impl Glewlwyd {
    /// The scope that every client may ask for.
    pub(crate) const SCOPE: &str = "api";

    /// Starts the server and waits until it listens. Returns `None`, with a line on standard error,
    /// if a program is missing.
    ///
    /// # Panics
    /// If something is missing in continuous integration (`CI` is set), or the server does
    /// not start.
    pub(crate) async fn start() -> Option<Self> {
        let programs = or_skip("Glewlwyd", Programs::find())?;
        // It does not support port 0, and a free port may be taken before it listens.
        let launch = move || {
            Self::launch(&programs).or_else(|_| Self::launch(&programs)).or_else(|_| Self::launch(&programs))
        };
        let launched = tokio::task::spawn_blocking(launch).await.expect("no panic");
        Some(launched.unwrap_or_else(|log| panic!("Glewlwyd did not start:\n{log}")))
    }

    /// A transport that trusts the server and nothing else.
    pub(crate) fn transport(&self) -> SharedTransport {
        transport(&self.ca_pem)
    }

    /// The server, or its output if it ended.
    fn launch(programs: &Programs) -> Result<Self, String> {
        let folder = Folder::new();
        let authority = Authority::new(&programs.openssl, folder.path());
        authority.issue_server();
        let signing = authority.self_signed("signing.example", KeyKind::P256);
        let tls =
            CertifiedClient { id: "client-tls", certified: authority.issue(TLS_NAME, KeyKind::Rsa2048) };
        let stranger = authority.issue("stranger.example", KeyKind::P256);
        let impostor = authority.self_signed(TLS_NAME, KeyKind::P256);
        let secret = SecretClient { id: "client-secret", secret: "a~secret+of/40%&characters=at?least;long" };

        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let (issuer, port) = (format!("https://localhost:{port}/api/oidc"), port.to_string());
        fs::write(folder.path().join("glewlwyd.conf"), CONF.replace("{port}", &port)).expect("a file");
        let mut database = fs::read_to_string(SCHEMA).expect("the tables");
        database += &issuer_row(&issuer, &signing);
        database += &client_rows(secret.id, "client_secret_post", ("client_secret", secret.secret));
        database += &client_rows(tls.id, "tls_client_auth", ("tls_client_auth_san_dns", TLS_NAME));
        create_database(&programs.sqlite3, folder.path(), &database);

        let mut glewlwyd = Command::new(&programs.glewlwyd);
        glewlwyd.args(["-c", "glewlwyd.conf"]);
        let mut service = Service::start(&glewlwyd, &folder, Stdio::piped());
        let mut log = String::new();
        let started = service.wait_for(|line| {
            log.push_str(line);
            log.push('\n');
            line.contains("Glewlwyd started on port").then_some(())
        });
        started.ok_or(log)?;
        Ok(Self {
            token_endpoint: format!("{issuer}/token"),
            ca_pem: authority.certificate_pem(),
            secret,
            tls,
            stranger,
            impostor,
            _service: service,
            _folder: folder,
        })
    }
}

/// Paths of the required programs.
struct Programs {
    glewlwyd: String,
    sqlite3: String,
    openssl: String,
}

impl Programs {
    /// The programs, or the name of a missing package.
    fn find() -> Result<Self, String> {
        let package = || "Debian's package (`apt-get install glewlwyd dbconfig-no-thanks`)".to_owned();
        let openssl = find_program("openssl").ok_or("OpenSSL (`apt-get install openssl`)")?;
        let glewlwyd = find_program("glewlwyd").ok_or_else(package)?;
        let sqlite3 = find_program("sqlite3").ok_or_else(package)?;
        if !Path::new(SCHEMA).is_file() {
            return Err(package());
        }
        Ok(Self { glewlwyd, sqlite3, openssl })
    }
}

/// The rows that configure Glewlwyd as an issuer of JWTs, like those of its administration page.
fn issuer_row(issuer: &str, signing: &Certified) -> String {
    let parameters = json!({
        "iss": issuer,
        "jwt-type": "ecdsa",
        "jwt-key-size": "256",
        "key": signing.key_pem,
        "cert": signing.certificate_pem,
        "allow-non-oidc": true,
        "auth-type-client-enabled": true,
        "subject-type": "public",
        "access-token-duration": 600,
        "refresh-token-duration": 600,
        "code-duration": 600,
        "client-cert-source": "TLS",
    });
    format!(
        "INSERT INTO g_plugin_module_instance (gpmi_module, gpmi_name, gpmi_parameters) VALUES ('oidc', 'oidc', {});
         INSERT INTO g_scope (gs_name, gs_password_required) VALUES ({scope}, 0);
         INSERT INTO g_client_scope (gcs_name) VALUES ({scope});\n",
        quoted(&parameters.to_string()),
        scope = quoted(Glewlwyd::SCOPE),
    )
}

/// The rows that register a client with one property of its method.
fn client_rows(id: &str, method: &str, property: (&str, &str)) -> String {
    let client = format!("(SELECT gc_id FROM g_client WHERE gc_client_id = {})", quoted(id));
    let mut rows = format!(
        "INSERT INTO g_client (gc_client_id, gc_confidential) VALUES ({id}, 1);
         INSERT INTO g_client_scope_client (gc_id, gcs_id) SELECT {client}, gcs_id FROM g_client_scope WHERE gcs_name = {scope};\n",
        id = quoted(id),
        scope = quoted(Glewlwyd::SCOPE),
    );
    let grant = ("authorization_type", "client_credentials");
    for (name, value) in [grant, ("token_endpoint_auth_method", method), property] {
        let (name, value) = (quoted(name), quoted(value));
        rows += &format!(
            "INSERT INTO g_client_property (gc_id, gcp_name, gcp_value) VALUES ({client}, {name}, {value});\n"
        );
    }
    rows
}

/// A string literal of SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn create_database(sqlite3: &str, folder: &Path, sql: &str) {
    let mut shell = Command::new(sqlite3)
        .args(["-bail", "glewlwyd.db"])
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::piped())
        .spawn()
        .expect("sqlite3");
    // One transaction, because the database file would be synced after each row.
    let sql = format!("BEGIN;\n{sql}COMMIT;\n");
    shell.stdin.take().expect("a pipe").write_all(sql.as_bytes()).expect("sqlite3 reads");
    assert!(shell.wait().expect("sqlite3").success(), "sqlite3 refuses the tables");
}
