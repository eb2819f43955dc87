//! A managed identity with its certificate, and the requests that it sends.

use base64ct::{Base64, Encoding};
use http::Request;
use serde_json::{Value, json};
use symbolon_emulator::{Emulator, Thumbprint};

use crate::client::{Answer, BoxError, Client, Identity, form, metadata};
use crate::csr::{Csr, Key};

pub(crate) const RESOURCE: &str = "https://vault.azure.net";
pub(crate) const SCOPE: &str = "https://vault.azure.net/.default";

pub(crate) fn platform_request(emulator: &Emulator) -> Request<String> {
    metadata(&format!("{}/metadata/identity/getplatformmetadata?cred-api-version=2.0", emulator.imds_url()))
}

/// Returns a v1 token request of the system-assigned identity.
pub(crate) fn v1_token_request(emulator: &Emulator, resource: &str) -> Request<String> {
    let path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=";
    metadata(&format!("{}{path}{resource}", emulator.imds_url()))
}

/// Returns the response of `getplatformmetadata`.
pub(crate) async fn platform_metadata(emulator: &Emulator) -> Value {
    let answer = Client::new(emulator, None).send(platform_request(emulator)).await.unwrap();
    assert_eq!(answer.status, 200);
    answer.json()
}

/// Returns a valid certificate request for the system-assigned identity.
pub(crate) async fn csr<'a>(emulator: &Emulator, key: &'a Key) -> Csr<'a> {
    let metadata = platform_metadata(emulator).await;
    let vm_id = metadata["cuId"]["vmId"].as_str().unwrap();
    Csr::new(key, emulator.tenant_id(), emulator.client_id(), &format!(r#"{{"vmId":"{vm_id}"}}"#))
}

pub(crate) fn issuance(emulator: &Emulator, csr: &str) -> Request<String> {
    Request::post(format!("{}/metadata/identity/issuecredential?cred-api-version=2.0", emulator.imds_url()))
        .header("metadata", "true")
        .header("content-type", "application/json; charset=utf-8")
        .body(json!({ "csr": csr }).to_string())
        .unwrap()
}

pub(crate) async fn issue(emulator: &Emulator, csr: &str) -> Answer {
    Client::new(emulator, None).send(issuance(emulator, csr)).await.unwrap()
}

/// Returns a certificate of the system-assigned identity.
pub(crate) async fn certified(emulator: &Emulator, key: &Key) -> Identity {
    let answer = issue(emulator, &csr(emulator, key).await.base64()).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    let certificate = answer.json()["certificate"].as_str().unwrap().to_owned();
    Identity { certificate: Base64::decode_vec(&certificate).unwrap(), pkcs8: key.pkcs8() }
}

impl Identity {
    pub(crate) fn thumbprint(&self) -> Thumbprint {
        Thumbprint::of(&self.certificate)
    }
}

/// Returns a request for a bound token.
pub(crate) fn bound_request(emulator: &Emulator) -> Request<String> {
    token_request(emulator, &[("token_type", "mtls_pop")])
}

/// Returns a token request of the system-assigned identity with additional parameters.
pub(crate) fn token_request(emulator: &Emulator, more: &[(&str, &str)]) -> Request<String> {
    let mut parameters =
        vec![("grant_type", "client_credentials"), ("client_id", emulator.client_id()), ("scope", SCOPE)];
    parameters.extend_from_slice(more);
    form(&emulator.token_endpoint(), &parameters)
}

/// Returns a bound token for this certificate.
pub(crate) async fn bound_token(emulator: &Emulator, identity: &Identity) -> Result<String, BoxError> {
    let answer = Client::new(emulator, Some(identity)).send(bound_request(emulator)).await?;
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    Ok(answer.json()["access_token"].as_str().unwrap().to_owned())
}
