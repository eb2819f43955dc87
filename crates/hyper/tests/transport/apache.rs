//! Apache as a proxy (mod_proxy_connect).

use std::error::Error;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use base64ct::{Base64, Encoding};
use http::Method;
use sha1::{Digest, Sha1};
use symbolon_test_programs::{Folder, Service, find_program, missing};
use symbolon_transport::{Request, Route, Transport, TransportErrorKind};
use symbolon_types::{Context, Env};

use crate::authority::Authority;
use crate::keys::Algorithm;
use crate::server::{ClientCertificates, ServerOptions, VERSIONS};
use crate::{outcome, trusting};

/// The directory of Apache's modules on Debian.
const MODULES: &str = "/usr/lib/apache2/modules";
/// Started by root, it changes to another user.
const CONF: &str = "
ServerName localhost
PidFile httpd.pid
DefaultRuntimeDir .
Mutex pthread
# The test waits for the line that reports listening.
ErrorLog /dev/stdout
User nobody
Group nogroup
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authn_file_module {modules}/mod_authn_file.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule auth_basic_module {modules}/mod_auth_basic.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_connect_module {modules}/mod_proxy_connect.so
Listen 127.0.0.1:{port}
ProxyRequests On
AllowCONNECT {allowed}
<Proxy *>
    AuthType Basic
    AuthName proxy
    AuthUserFile passwords
    Require valid-user
</Proxy>
";

/// Starts Apache as a proxy to these ports, for one user. Returns its port.
fn start(program: &str, folder: &Folder, allowed: &str, user: &str, password: &str) -> (Service, u16) {
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let digest = Base64::encode_string(&Sha1::digest(password));
    fs::write(folder.path().join("passwords"), format!("{user}:{{SHA}}{digest}\n")).unwrap();
    for _ in 0..20 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let conf = CONF.replace("{modules}", MODULES).replace("{allowed}", allowed);
        fs::write(folder.path().join("httpd.conf"), conf.replace("{port}", &port.to_string())).unwrap();
        let mut apache = Command::new(program);
        apache.arg("-d").arg(folder.path()).args(["-f", "httpd.conf", "-D", "FOREGROUND"]);
        let mut service = Service::start(&apache, folder, Stdio::piped());
        if service.wait_for(|line| line.contains("resuming normal operations").then_some(())).is_some() {
            return (service, port);
        }
    }
    let log = fs::read_to_string(folder.path().join("apache2.log")).unwrap_or_default();
    panic!("Apache does not start:\n{log}");
}

#[tokio::test]
async fn apache_is_a_proxy() {
    let Some(program) = find_program("apache2").filter(|_| Path::new(MODULES).is_dir()) else {
        return missing("apache2 (`apt-get install apache2`)");
    };
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Required).start(&authority);
    // This address leads to the own machine, and is none of those that bypass a proxy.
    let target = format!("https://0.0.0.0:{}/", server.address().port());
    let folder = Folder::new();
    let allowed = server.address().port().to_string();
    let (_apache, port) = start(&program, &folder, &allowed, "CORP\\user", "p@s/s:%");
    let forbidden = TcpListener::bind("127.0.0.1:0").unwrap();
    let forbidden = format!("https://0.0.0.0:{}/", forbidden.local_addr().unwrap().port());
    let request = |url: &str| {
        let request = Request::new(Method::GET, url.parse().unwrap(), Route::Public);
        request.with_identity(Some(identity.clone()))
    };
    let transport = |credentials: &str| {
        let proxy = format!("http://{credentials}127.0.0.1:{port}");
        let env: Env = [("HTTPS_PROXY", proxy)].into_iter().collect();
        trusting(&authority).context(Context::default().with_env(env)).build().unwrap()
    };
    let right = "CORP%5Cuser:p@s%2Fs%3A%25@";
    for _ in 0..2 {
        assert_eq!(outcome(&transport(right), request(&target)).await.as_deref(), Ok("hello"));
    }
    assert_eq!(server.journal().handshakes[0].certificate, Some(identity.thumbprint()));
    let before = server.journal().accepted;
    for (credentials, url, part) in [
        ("", &target, "HTTP 407"),
        ("CORP%5Cuser:other@", &target, "HTTP 407"),
        (right, &forbidden, "HTTP 403"),
    ] {
        let error = transport(credentials).send(request(url)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_transient(), error.is_unprocessed()),
            (TransportErrorKind::ProxyRefused, false, true),
            "{error:?}"
        );
        assert!(error.source().is_some_and(|cause| cause.to_string().contains(part)), "{part} {error:?}");
    }
    assert_eq!(server.journal().accepted, before);
}
