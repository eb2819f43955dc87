//! The token proxy of a Kubernetes cluster.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use symbolon_files::spawn_blocking;
use symbolon_types::pki_types::ServerName;
use symbolon_types::{Env, Error, ErrorKind, PrivateTrust, input_flaw, printable, read_file};
use url::Url;

use crate::oauth::TokenEndpoint;

/// Maximum size of the file with root certificates.
const LONGEST_ROOTS: u64 = 1 << 20;
const TOKEN_PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const SNI_NAME: &str = "AZURE_KUBERNETES_SNI_NAME";
const CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";

/// The token proxy of a cluster with AKS identity bindings, which takes the token requests of a
/// [`WorkloadIdentity`](crate::WorkloadIdentity) in place of Entra
/// (`docs/protocol/token-request.md#token-proxy-of-a-cluster`). Clones are cheap.
///
/// The file with its root certificates is read for each exchange. If it is empty, unreadable or
/// incomplete, as it may be while the cluster replaces it, the certificates of the last complete
/// file count.
#[derive(Clone)]
pub struct KubernetesTokenProxy(Arc<TokenProxyParts>);

struct TokenProxyParts {
    url: Url,
    /// With the name of the server; without the certificates of a file.
    trust: PrivateTrust,
    ca_file: Option<CaFile>,
}

/// A file with root certificates, which the cluster replaces.
struct CaFile {
    path: PathBuf,
    /// By the last complete file.
    last: Mutex<Option<PrivateTrust>>,
}

impl KubernetesTokenProxy {
    /// Reads the variables that the webhook of Azure Workload Identity sets for a pod with an
    /// identity binding: `AZURE_KUBERNETES_TOKEN_PROXY`, and optionally `AZURE_KUBERNETES_SNI_NAME`
    /// and `AZURE_KUBERNETES_CA_FILE` or `AZURE_KUBERNETES_CA_DATA`. Returns `None` if none of them
    /// is set.
    ///
    /// # Errors `invalid_token_proxy` if one of the others is set without the first, if both the
    /// file and the data are set, or if a value is unusable.
    pub fn from_env(env: &Env) -> Result<Option<Self>, Error> {
        let [url, name, ca_file, ca_data] =
            [TOKEN_PROXY, SNI_NAME, CA_FILE, CA_DATA].map(|name| env.var(name));
        let Some(url) = url else {
            let others = [(SNI_NAME, name), (CA_FILE, ca_file), (CA_DATA, ca_data)];
            return match others.into_iter().find(|(_, value)| value.is_some()) {
                None => Ok(None),
                Some((other, _)) => Err(invalid(format!("{other} is set, but {TOKEN_PROXY} is not"))),
            };
        };
        let url = parse_url(&url).map_err(|flaw| invalid(format!("{TOKEN_PROXY} {flaw}")))?;
        let mut trust = PrivateTrust::new();
        if let Some(name) = name {
            let name =
                ServerName::try_from(name).map_err(|_| invalid(format!("{SNI_NAME} is not a host name")))?;
            trust = trust.with_name(name);
        }
        if ca_file.is_some() && ca_data.is_some() {
            return Err(invalid(format!("{CA_FILE} and {CA_DATA} are both set")));
        }
        if let Some(data) = ca_data {
            let rooted = trust.with_roots_pem(data.as_bytes());
            trust = rooted.map_err(|flaw| invalid(format!("{CA_DATA} cannot be used: {flaw}")))?;
        }
        let ca_file = ca_file.map(|path| CaFile { path: path.into(), last: Mutex::default() });
        Ok(Some(Self(Arc::new(TokenProxyParts { url, trust, ca_file }))))
    }

    /// Returns the endpoint of the proxy that stands for a token endpoint.
    pub(super) async fn endpoint_for(&self, direct: &TokenEndpoint) -> Result<TokenEndpoint, Error> {
        let parts = Arc::clone(&self.0);
        let trust = match &self.0.ca_file {
            Some(_) => spawn_blocking(move || parts.trust()).await??,
            None => self.0.trust.clone(),
        };
        let mut url = self.0.url.clone();
        url.set_path(&format!("{}{}", url.path().trim_end_matches('/'), direct.url().path()));
        url.set_query(direct.url().query());
        Ok(TokenEndpoint::of_cluster(url, trust))
    }
}

impl TokenProxyParts {
    /// Returns the trust by the certificates of the file, if there is one. It may block.
    fn trust(&self) -> Result<PrivateTrust, Error> {
        let Some(CaFile { path, last }) = &self.ca_file else { return Ok(self.trust.clone()) };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let read = read_file(path, LONGEST_ROOTS).and_then(|text| {
            let rooted = self.trust.clone().with_roots_pem(&text);
            rooted.map_err(|flaw| io::Error::new(io::ErrorKind::InvalidData, flaw))
        });
        let error = match read {
            Ok(trust) => return Ok(last.insert(trust).clone()),
            Err(error) => error,
        };
        let path = path.display();
        let Some(trust) = &*last else {
            return Err(invalid(format!("{CA_FILE} names {path}, which cannot be used: {error}")));
        };
        tracing::warn!(
            path = %printable(path), %error,
            "the root certificates of the token proxy could not be read; the last ones count"
        );
        Ok(trust.clone())
    }
}

/// Parses an `https` URL of a host and an optional path.
fn parse_url(text: &str) -> Result<Url, &'static str> {
    if let Some(flaw) = input_flaw(text) {
        return Err(flaw);
    }
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if url.scheme() != "https" {
        return Err("is not an https URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("contains user information");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("contains a query or a fragment");
    }
    Ok(url)
}

fn invalid(problem: String) -> Error {
    Error::new(ErrorKind::Environment, "invalid_token_proxy", format!("{problem}; nothing was sent"))
        .with_advice(
            "check the identity binding of the cluster and the variables AZURE_KUBERNETES_* of the pod",
        )
}

symbolon_types::debug_fields!(
    KubernetesTokenProxy |this|
    host: this.0.url.host_str().unwrap_or_default(), trust: this.0.trust,
    ca_file: this.0.ca_file.as_ref().map(|file| &file.path)
);
