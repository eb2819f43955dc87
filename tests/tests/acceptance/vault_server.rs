//! Apache as a vault: it requests the client certificate late, and checks the token against it.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use symbolon_emulator::Emulator;
use symbolon_test_programs::{Folder, Service, find_program, or_skip};

const APACHE_CONF: &str = include_str!("../../resource/vault.conf");
/// The directory of Apache's modules on Debian.
const MODULES: &str = "/usr/lib/apache2/modules";
/// A secret, with the serial number of the presented certificate.
const SECRET: &str = r#"{"value": "s3cr3t", "id": "https://localhost/secrets/x/1", "contentType": "<!--#echo var="SSL_CLIENT_M_SERIAL" -->"}"#;
/// The lines of mod_ssl about a late request for the certificate.
const LATE_REQUESTS: [&str; 2] = ["Requesting connection re-negotiation", "verify client post handshake"];

/// The running vault, which ends when this is dropped.
pub(crate) struct VaultServer {
    /// Those of TLS 1.2, TLS 1.3, the forward proxy, and the forward proxy with TLS.
    ports: [u16; 4],
    folder: Folder,
    certificate: String,
    _running: Service,
}

impl VaultServer {
    /// Starts a vault for tokens of an emulator and for certificates of its authority. Returns
    /// `None`, with a line on standard error, if Apache is missing.
    pub(crate) fn start(emulator: &Emulator) -> Option<Self> {
        let installed = || {
            let apache = find_program("apache2").ok_or("apache2 (`apt-get install apache2`)")?;
            match Path::new(MODULES).join("mod_oauth2.so").is_file() {
                true => Ok(apache),
                false => Err("mod_oauth2 (`apt-get install libapache2-mod-oauth2`)".to_owned()),
            }
        };
        let apache = or_skip("vault", installed())?;
        let folder = Folder::new();
        let file = |name: &str| folder.path().join(name);
        let names = ["localhost", "127.0.0.1", "0.0.0.0"].map(str::to_owned);
        let server = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate = server.cert.pem();
        fs::write(file("server.pem"), &certificate).unwrap();
        fs::write(file("server.key"), server.signing_key.serialize_pem()).unwrap();
        fs::write(file("clients.pem"), emulator.ca_pem()).unwrap();
        fs::create_dir(file("www")).unwrap();
        fs::write(file("www/secret.json"), SECRET).unwrap();
        // Apache started by root reads it as another user.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let issuer = format!("{}/{}", emulator.token_url(), emulator.tenant_id());
        let keys = format!("{issuer}/discovery/v2.0/keys");
        let (running, ports) = start(&apache, &folder, &keys);
        Some(Self { ports, folder, certificate, _running: running })
    }

    /// The vault over TLS 1.2 and over TLS 1.3.
    pub(crate) fn urls(&self) -> [String; 2] {
        self.urls_at("localhost")
    }

    /// Like [`urls`](Self::urls), at an address that bypasses no proxy. It leads to this machine.
    pub(crate) fn proxied_urls(&self) -> [String; 2] {
        self.urls_at("0.0.0.0")
    }

    /// Like [`urls`](Self::urls), at this name or address of the machine.
    pub(crate) fn urls_at(&self, host: &str) -> [String; 2] {
        let [tls12, tls13, ..] = self.ports;
        [tls12, tls13].map(|port| format!("https://{host}:{port}"))
    }

    /// The URLs of the forward proxies, without and with TLS, each with the name of its log.
    pub(crate) fn proxies(&self) -> [(String, &'static str); 2] {
        let [.., proxy, tls_proxy] = self.ports;
        [
            (format!("http://127.0.0.1:{proxy}"), "proxy.log"),
            (format!("https://127.0.0.1:{tls_proxy}"), "tls_proxy.log"),
        ]
    }

    /// The lines of a log so far.
    pub(crate) fn log(&self, name: &str) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// The certificate of the vault (PEM).
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The number of requests for a certificate after the handshake, over both versions.
    pub(crate) fn late_requests(&self) -> usize {
        let is_late = |line: &String| LATE_REQUESTS.iter().any(|text| line.contains(text));
        ["tls12.log", "tls13.log"].iter().flat_map(|name| self.log(name)).filter(is_late).count()
    }
}

/// Apache and its ports. It does not support port 0; if a free port is taken before it listens,
/// it ends, and other ports are tried.
fn start(program: &str, folder: &Folder, keys: &str) -> (Service, [u16; 4]) {
    for _ in 0..20 {
        let free = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = free.each_ref().map(|listener| listener.local_addr().unwrap().port());
        drop(free);
        let conf = APACHE_CONF.replace("{modules}", MODULES).replace("{keys}", keys);
        let names = ["{tls12}", "{tls13}", "{proxy}", "{tls_proxy}"];
        let conf =
            names.iter().zip(ports).fold(conf, |conf, (name, port)| conf.replace(name, &port.to_string()));
        fs::write(folder.path().join("httpd.conf"), conf).unwrap();
        let mut apache = Command::new(program);
        apache.arg("-d").arg(folder.path()).args(["-f", "httpd.conf", "-D", "FOREGROUND"]);
        let mut service = Service::start(&apache, folder, Stdio::piped());
        if service.wait_for(|line| line.contains("resuming normal operations").then_some(())).is_some() {
            return (service, ports);
        }
    }
    panic!("Apache does not start: {:?}", fs::read_to_string(folder.path().join("apache2.log")));
}
