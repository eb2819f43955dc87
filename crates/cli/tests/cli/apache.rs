//! Apache httpd, which requests a client certificate for one location.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use symbolon_test_programs::{Folder, Service, find_program, missing};

use crate::origin::{CERTIFICATE, make_certificate};

/// The directory of Apache's modules on Debian.
const MODULES: &str = "/usr/lib/apache2/modules";
const CONFIGURATION: &str = "
ServerName localhost
PidFile httpd.pid
DefaultRuntimeDir .
Mutex pthread
# The tests wait for the line that reports listening.
ErrorLog /dev/stdout
# Started by root, it changes to this user.
User nobody
Group nogroup
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule ssl_module {modules}/mod_ssl.so
DocumentRoot www
SSLSessionCache none
SSLCertificateFile server.pem
SSLCACertificateFile certificate.pem
<Location /private>
    SSLVerifyClient require
</Location>
<Location /vault>
    <If '-n %{HTTP:x-ms-tokenboundauth}'>
        SSLVerifyClient require
    </If>
</Location>
Listen 127.0.0.1:{tls12}
<VirtualHost 127.0.0.1:{tls12}>
    SSLEngine on
    SSLProtocol TLSv1.2
</VirtualHost>
Listen 127.0.0.1:{tls13}
<VirtualHost 127.0.0.1:{tls13}>
    SSLEngine on
    SSLProtocol TLSv1.3
</VirtualHost>
";

pub(crate) struct Apache {
    pub(crate) ca_file: String,
    /// Its URLs over TLS 1.2 and TLS 1.3.
    pub(crate) urls: [String; 2],
    _service: Service,
    _folder: Folder,
}

impl Apache {
    /// Returns `None` if a program is missing. Apache does not support port 0; if a free port is
    /// taken before it listens, it ends, and other ports are tried.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = find_program("apache2") else {
            missing("apache2");
            return None;
        };
        let folder = Folder::new();
        let ca_file = make_certificate(folder.path(), CERTIFICATE)?;
        fs::create_dir(folder.path().join("www")).unwrap();
        // Apache started by root reads it as another user.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        for _ in 0..20 {
            let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
            let [tls12, tls13] =
                free.each_ref().map(|listener| listener.local_addr().unwrap().port().to_string());
            drop(free);
            let configuration = CONFIGURATION
                .replace("{modules}", MODULES)
                .replace("{tls12}", &tls12)
                .replace("{tls13}", &tls13);
            fs::write(folder.path().join("httpd.conf"), configuration).unwrap();
            let mut apache = Command::new(&program);
            apache.arg("-d").arg(folder.path()).args(["-f", "httpd.conf", "-D", "FOREGROUND"]);
            let mut service = Service::start(&apache, &folder, Stdio::piped());
            if service.wait_for(|line| line.contains("resuming normal operations").then_some(())).is_some() {
                let urls = [tls12, tls13].map(|port| format!("https://127.0.0.1:{port}"));
                return Some(Self { ca_file, urls, _service: service, _folder: folder });
            }
        }
        panic!("Apache does not start: {:?}", fs::read_to_string(folder.path().join("apache2.log")));
    }
}
