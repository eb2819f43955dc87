//! Resource servers for bound tokens: Apache, and a service behind nginx.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use symbolon_emulator::Emulator;
use symbolon_test_programs::{Folder, Service, find_program, start_nginx};

use crate::authority::Authority;
use crate::python;

const APACHE_CONF: &str = include_str!("../../resource/apache.conf");
const NGINX_CONF: &str = include_str!("../../resource/nginx.conf");
const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/resource/service.py");
/// The directory of Apache's modules on Debian.
const MODULES: &str = "/usr/lib/apache2/modules";
/// The response of Apache: claims of the token.
const PAGE: &str = r#"<!--#echo var="OAUTH2_CLAIM_appid" --> <!--#echo var="OAUTH2_CLAIM_cnf" -->"#;

/// The running servers, which end when this is dropped.
pub(crate) struct ResourceServers {
    /// Apache with mod_oauth2, over TLS 1.2.
    pub(crate) tls12: String,
    /// The same over TLS 1.3.
    pub(crate) tls13: String,
    /// A service with PyJWT, behind the TLS of nginx.
    pub(crate) behind_nginx: String,
    folder: Folder,
    _running: [Service; 3],
}

impl ResourceServers {
    /// Starts the servers for tokens of an emulator with this audience. The error names the missing
    /// part.
    pub(crate) fn start(emulator: &Emulator, audience: &str) -> Result<Self, String> {
        let program = |name: &str, package: &str| {
            find_program(name).ok_or_else(|| format!("{name} (`apt-get install {package}`)"))
        };
        program("openssl", "openssl")?;
        let (apache, nginx) = (program("apache2", "apache2")?, program("nginx", "nginx")?);
        if !Path::new(MODULES).join("mod_oauth2.so").is_file() {
            return Err("mod_oauth2 (`apt-get install libapache2-mod-oauth2`)".to_owned());
        }
        let python = python::interpreter()?;

        let folder = Folder::new();
        Authority::new(folder.path());
        let issuer = format!("{}/{}", emulator.token_url(), emulator.tenant_id());
        let keys = format!("{issuer}/discovery/v2.0/keys");
        let (apache, [tls12, tls13]) = start_apache(&apache, &folder, &keys);
        fs::write(folder.path().join("clients.pem"), emulator.ca_pem()).unwrap();
        let mut service = Command::new(python);
        service.args([SERVICE, &keys, &format!("{issuer}/v2.0"), audience, "clients.pem"]);
        let mut service = Service::start(&service, &folder, Stdio::piped());
        let Some(upstream) = service.wait_for(|line| line.parse::<u16>().ok()) else {
            panic!("the service behind nginx does not start:\n{}", log(&folder, "python.log"));
        };
        let http = NGINX_CONF.replace("{upstream}", &upstream.to_string());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = listener.local_addr().unwrap().port();
        let nginx = start_nginx(&nginx, &folder, listener, &http);
        let page = |port| format!("https://localhost:{port}/index.html");
        Ok(Self {
            tls12: page(tls12),
            tls13: page(tls13),
            behind_nginx: page(front),
            folder,
            _running: [apache, service, nginx],
        })
    }

    /// The authority (PEM) of the server certificates.
    pub(crate) fn authority(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("ca.pem")).unwrap()
    }
}

/// Apache and its two ports. It does not support port 0; if a free port is taken before it listens,
/// it ends, and other ports are tried.
fn start_apache(program: &str, folder: &Folder, keys: &str) -> (Service, [u16; 2]) {
    fs::create_dir(folder.path().join("www")).unwrap();
    fs::write(folder.path().join("www/index.html"), PAGE).unwrap();
    // Apache started by root reads it as another user.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    for _ in 0..20 {
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = free.each_ref().map(|listener| listener.local_addr().unwrap().port());
        drop(free);
        let conf = APACHE_CONF
            .replace("{modules}", MODULES)
            .replace("{keys}", keys)
            .replace("{tls12}", &ports[0].to_string())
            .replace("{tls13}", &ports[1].to_string());
        fs::write(folder.path().join("httpd.conf"), conf).unwrap();
        let mut apache = Command::new(program);
        apache.arg("-d").arg(folder.path()).args(["-f", "httpd.conf", "-D", "FOREGROUND"]);
        let mut service = Service::start(&apache, folder, Stdio::piped());
        if service.wait_for(|line| line.contains("resuming normal operations").then_some(())).is_some() {
            return (service, ports);
        }
    }
    panic!("Apache does not start:\n{}", log(folder, "apache2.log"));
}

/// The output of a server, for the message of a failed start.
fn log(folder: &Folder, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap_or_default()
}
