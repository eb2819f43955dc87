//! The settings of a store.

use std::sync::Arc;
use std::time::Duration;

use redis::{ClientTlsConfig, TlsCertificates};
use symbolon_token::{Error, SealedStore, SealingKey};
use symbolon_types::pki_types::CertificateDer;
use symbolon_types::pki_types::pem::PemObject as _;
use symbolon_types::{Context, Secret, catch_panic};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::connection::Connection;
use crate::endpoint::{Endpoint, PasswordSource, Sentinels, ServerUrls, has_tls};
use crate::entries::RedisEntries;
use crate::failure::invalid;
use crate::health::{FailureObserver, Health};
use crate::store::{Entries, RedisStore, checked_prefix};

/// The default time limit of a command. An exchange takes about as long.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Builder of a [`RedisStore`].
#[must_use]
pub struct RedisStoreBuilder {
    key: Option<SealingKey>,
    retired: Vec<SealingKey>,
    servers: Servers,
    user: Option<String>,
    password: Option<Secret>,
    password_source: Option<PasswordSource>,
    roots: Option<Vec<u8>>,
    client_certificate: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    prefix: String,
    timeout: Duration,
    has_background_writes: bool,
    on_failure: Option<FailureObserver>,
    context: Context,
}

/// The servers as they were named, by URLs.
enum Servers {
    Unset,
    One(String),
    Cluster(Vec<String>),
    Sentinels { urls: Vec<String>, group: String },
}

impl RedisStore {
    /// Returns the builder of a store whose entries are sealed with this key, which all processes
    /// share.
    pub fn builder(key: SealingKey) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Some(key))
    }

    /// Returns the builder of a store with tokens in plain text: each party that can read Redis can
    /// use them, and each that can write to it decides which tokens are served.
    pub fn unsealed_builder() -> RedisStoreBuilder {
        RedisStoreBuilder::new(None)
    }
}

impl RedisStoreBuilder {
    fn new(key: Option<SealingKey>) -> Self {
        Self {
            key,
            retired: Vec::new(),
            servers: Servers::Unset,
            user: None,
            password: None,
            password_source: None,
            roots: None,
            client_certificate: None,
            prefix: "symbolon:".to_owned(),
            timeout: TIMEOUT,
            has_background_writes: false,
            on_failure: None,
            context: Context::default(),
        }
    }

    /// Uses one server: `redis://HOST:PORT/DATABASE`, `rediss://…` with TLS, or `unix:///PATH`.
    pub fn server(mut self, url: &str) -> Self {
        self.servers = Servers::One(url.to_owned());
        self
    }

    /// Uses a cluster, found by any of these servers.
    pub fn cluster(mut self, urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.servers = Servers::Cluster(urls.into_iter().map(Into::into).collect());
        self
    }

    /// Uses the primary of `group` that these sentinels name. The URLs may have the user and
    /// password of the sentinels; their TLS and the database in the path of the first one are also
    /// those of the primary.
    pub fn sentinels(mut self, group: &str, urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let urls = urls.into_iter().map(Into::into).collect();
        self.servers = Servers::Sentinels { urls, group: group.to_owned() };
        self
    }

    /// Sets the password of the servers, instead of one in their URLs.
    pub fn password(mut self, password: Secret) -> Self {
        self.password = Some(password);
        self
    }

    /// Calls a function for the password of each new connection to the servers, so that a password
    /// can change while the process runs. It runs on an async thread and must not wait. Redis keeps
    /// a connection that was opened with an earlier password.
    pub fn password_from(mut self, source: impl Fn() -> Secret + Send + Sync + 'static) -> Self {
        self.password_source = Some(Arc::new(source));
        self
    }

    /// Sets the user of the servers (Redis ACL). Default: the user `default`.
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Trusts these roots, in PEM, instead of those of the platform.
    pub fn root_certificates_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Presents this certificate chain with its private key, both in PEM.
    pub fn client_certificate_pem(mut self, chain: impl Into<Vec<u8>>, key: &Secret) -> Self {
        let key = Zeroizing::new(key.expose().as_bytes().to_vec());
        self.client_certificate = Some((chain.into(), key));
        self
    }

    /// Sets the first characters of all keys, which separate applications and are what an ACL rule
    /// names (`~symbolon:*`). Default: `symbolon:`.
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Adds a key that opens entries, but does not seal new ones.
    pub fn also_opened_by(mut self, key: SealingKey) -> Self {
        self.retired.push(key);
        self
    }

    /// Limits the time of a command; one that has to connect first has three times as long.
    /// Default: half a second. Neither is longer than 1.8 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Writes new tokens in the background, so that no caller waits for it. A write that is under
    /// way when the process ends is lost.
    pub fn background_writes(mut self) -> Self {
        self.has_background_writes = true;
        self
    }

    /// Calls a function with the error of each failed command: `redis_unavailable` without a reply,
    /// `redis_refused` for a reply that is an error. Commands that are not sent are not reported.
    pub fn on_failure(mut self, observer: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.on_failure = Some(Arc::new(observer));
        self
    }

    /// Sets the clock. Default: that of the machine.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Returns the store. Does no I/O: the connection is opened at first use.
    ///
    /// # Errors
    /// `invalid_redis_settings` if no server is named, a URL, a certificate, the key prefix or the
    /// time limit is invalid, or tokens would be sent over the network in plain text.
    pub fn build(self) -> Result<RedisStore, Error> {
        if self.timeout.is_zero() {
            return Err(invalid("the time limit of a command is zero", "set half a second, for example"));
        }
        let prefix = checked_prefix(&self.prefix)?.into();
        let (endpoint, servers) = self.endpoint()?;
        let clock = self.context.clock().clone();
        let health = Health::new(self.on_failure);
        let connection = Connection::new(endpoint, servers, clock, self.timeout, health);
        let entries = RedisEntries::new(Arc::new(connection));
        let entries = match self.key {
            Some(key) => {
                let sealed = SealedStore::new(entries, key);
                Entries::Sealed(self.retired.into_iter().fold(sealed, SealedStore::also_opened_by))
            }
            None => Entries::Unsealed(entries),
        };
        Ok(RedisStore::new(prefix, entries, self.has_background_writes))
    }

    /// Returns the servers, and their names for errors.
    fn endpoint(&self) -> Result<(Endpoint, String), Error> {
        let (servers, names) = self.server_urls()?;
        let (certificates, password) = (self.certificates()?, self.password_source.clone());
        let endpoint = Endpoint { servers, certificates, password, timeout: self.timeout };
        endpoint.check().map_err(|error| {
            // The text of the error can repeat a URL.
            invalid(
                format!("the settings of Redis are not usable: {}", error.category()),
                "check the URLs, and that certificates and keys are PEM",
            )
        })?;
        Ok((endpoint, names))
    }

    fn server_urls(&self) -> Result<(ServerUrls, String), Error> {
        match &self.servers {
            Servers::Unset => {
                Err(invalid("no Redis server is named", "call `server`, `cluster` or `sentinels`"))
            }
            Servers::One(url) => {
                let url = self.with_credentials(self.checked(url)?)?;
                let name = name(&url);
                Ok((ServerUrls::One(url), name))
            }
            Servers::Cluster(urls) => {
                let urls = urls.iter().map(|url| self.with_credentials(self.checked(url)?));
                let urls = urls.collect::<Result<Vec<_>, _>>()?;
                let names = names(&urls);
                Ok((ServerUrls::Cluster(urls), names))
            }
            Servers::Sentinels { urls, group } => {
                let mut urls = urls.iter().map(|url| self.checked(url)).collect::<Result<Vec<_>, _>>()?;
                let Some(first) = urls.first() else {
                    return Err(invalid("no sentinel is named", "name one at least, better three"));
                };
                let mut primary = first.clone();
                let removed = primary.set_username("").and_then(|()| primary.set_password(None));
                removed
                    .map_err(|()| invalid("the URL of a sentinel has no host", "use redis://HOST:PORT"))?;
                let primary = self.with_credentials(primary)?;
                // A sentinel has no databases.
                urls.iter_mut().for_each(|url| url.set_path(""));
                let servers = format!("{group} of {}", names(&urls));
                let sentinels = Sentinels { urls, group: group.clone(), primary };
                Ok((ServerUrls::Sentinels(sentinels), servers))
            }
        }
    }

    fn certificates(&self) -> Result<Option<TlsCertificates>, Error> {
        if let Some(roots) = &self.roots
            && !matches!(CertificateDer::pem_slice_iter(roots).next(), Some(Ok(_)))
        {
            return Err(invalid("the root certificates of Redis are not PEM", "pass the text of a PEM file"));
        }
        let client_tls = self
            .client_certificate
            .as_ref()
            .map(|(chain, key)| ClientTlsConfig { client_cert: chain.clone(), client_key: key.to_vec() });
        let root_cert = self.roots.clone();
        let has_any = client_tls.is_some() || root_cert.is_some();
        Ok(has_any.then_some(TlsCertificates { client_tls, root_cert }))
    }

    /// Parses a URL. The error does not repeat it, because it can contain a password.
    fn checked(&self, url: &str) -> Result<Url, Error> {
        let advice = "use redis://HOST:PORT, rediss://HOST:PORT for TLS, or unix:///PATH";
        let url = Url::parse(url).map_err(|_| invalid("the URL of a Redis server is not a URL", advice))?;
        if !matches!(url.scheme(), "redis" | "rediss" | "unix") || url.scheme() != "unix" && !url.has_host() {
            return Err(invalid("the URL of a Redis server has another scheme or no host", advice));
        }
        if url.fragment().is_some() {
            // It could disable the validation of certificates.
            return Err(invalid(
                "the URL of a Redis server has a fragment",
                "remove `#` and what follows it",
            ));
        }
        if has_tls(&url) {
            check_crypto_provider()?;
        }
        if url.scheme() == "redis" && (self.roots.is_some() || self.client_certificate.is_some()) {
            let error = "certificates are set, but a Redis server is named without TLS";
            return Err(invalid(error, "use rediss://HOST:PORT"));
        }
        if url.scheme() == "redis" && self.key.is_none() && !is_loopback(&url) {
            let error = "tokens in plain text would be sent over the network";
            return Err(invalid(error, "use rediss://HOST:PORT, and `RedisStore::builder` to seal them"));
        }
        Ok(url)
    }

    /// Adds user and password to the URL.
    fn with_credentials(&self, mut url: Url) -> Result<Url, Error> {
        let refused = |()| invalid("a user or password is set for a Unix socket", "remove it");
        if let Some(user) = &self.user {
            url.set_username(user).map_err(refused)?;
        }
        if self.password_source.is_some() {
            url.set_password(None).map_err(refused)?;
        } else if let Some(password) = &self.password {
            url.set_password(Some(password.expose())).map_err(refused)?;
        }
        Ok(url)
    }
}

/// Checks that rustls has a provider of cryptography. It panics if it has to choose between two.
fn check_crypto_provider() -> Result<(), Error> {
    if rustls::crypto::CryptoProvider::get_default().is_some() {
        return Ok(());
    }
    catch_panic("rustls", rustls::ClientConfig::builder).map(drop).map_err(|_| {
        invalid(
            "this process has several providers of cryptography for rustls, and none is its default",
            "install one at the start: `rustls::crypto::aws_lc_rs::default_provider().install_default()`",
        )
    })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // The host of a scheme that is not of the web is not parsed as an address.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        None => false,
    }
}

fn names(urls: &[Url]) -> String {
    urls.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Returns host and port of a URL, or the path of a socket.
fn name(url: &Url) -> String {
    match url.host_str() {
        Some(host) => format!("{host}:{}", url.port().unwrap_or(6379)),
        None => url.path().to_owned(),
    }
}

symbolon_types::debug_fields!(RedisStoreBuilder: prefix, timeout, has_background_writes);

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> RedisStoreBuilder {
        RedisStore::builder(SealingKey::new("one", [1; 32]).unwrap())
    }

    #[test]
    fn settings_are_validated() {
        let refused = |builder: RedisStoreBuilder| {
            let error = builder.build().unwrap_err();
            assert_eq!(error.code(), "invalid_redis_settings");
            assert!(!format!("{error:?} {error}").contains("s3cr3t"), "{error:?}");
            error.to_string()
        };
        assert!(refused(sealed()).contains("no Redis server is named"));
        for url in
            ["", "localhost", "http://redis.example", "redis:", "rediss://x/#insecure", "redis://u:s3cr3t@[x"]
        {
            refused(sealed().server(url));
            refused(sealed().cluster([url]));
            refused(sealed().sentinels("main", [url]));
        }
        refused(sealed().cluster(Vec::<String>::new()));
        refused(sealed().sentinels("main", Vec::<String>::new()));
        for prefix in ["a b", "{a}", "a*", "\u{e4}", &"x".repeat(129)] {
            refused(sealed().server("redis://localhost").key_prefix(prefix));
        }
        refused(sealed().server("redis://localhost").root_certificates_pem("x"));
        refused(sealed().server("rediss://localhost").root_certificates_pem("x"));
        let key = Secret::new("s3cr3t");
        refused(sealed().server("rediss://localhost").client_certificate_pem("x", &key));
        refused(sealed().server("unix:///run/redis.sock").password(key.clone()));
        refused(sealed().server("unix:///run/redis.sock").password_from(move || key.clone()));
        refused(sealed().server("redis://localhost").timeout(Duration::ZERO));
    }

    #[test]
    fn plain_text_stays_on_the_machine() {
        let build = |url| RedisStore::unsealed_builder().server(url).build().is_ok();
        for url in
            ["redis://127.0.0.1", "redis://localhost:6380/2", "redis://[::1]:1", "unix:///run/redis.sock"]
        {
            assert!(build(url), "{url}");
        }
        for url in ["redis://redis.example", "redis://10.0.0.1", "redis://localhost.example"] {
            assert!(!build(url), "{url}");
            assert!(sealed().server(url).build().is_ok(), "{url}");
        }
        assert!(build("rediss://redis.example"));
    }

    #[test]
    fn debug_hides_secrets() {
        let builder = sealed().server("redis://user:s3cr3t@redis.example").password(Secret::new("s3cr3t"));
        assert!(!format!("{builder:?}").contains("s3cr3t"));
        let store = builder.build().unwrap();
        let text = format!("{store:?}");
        assert!(text.contains("redis.example:6379") && !text.contains("s3cr3t"), "{text}");
    }
}
