//! Metadata service that issues the credentials that a test configures.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding};
use futures_util::FutureExt;
use http::header::{DATE, SERVER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey as EcdsaKey};
use p256::elliptic_curve::Generate;
use serde_json::{Value, json};
use symbolon_binding::{Error, KeyProvider, ManagedIdentityId, Minter, MinterBuilder, SoftwareKeys};
use symbolon_transport::{
    Capabilities, HttpClient, Request, Response, SharedTransport, Transport, TransportError,
};
use symbolon_types::{
    Context, CorrelationId, Jitter, ManualClock, SharedClock, SharedSigningKey, SteadyTime, Thumbprint,
};
use x509_cert::der::asn1::{Any, BitString, ContextSpecific, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode, Tag, TagMode, TagNumber};
use x509_cert::name::Name;
use x509_cert::request::CertReq;
use x509_cert::time::Time;

pub(crate) const CLIENT: &str = "d3adb33f-c0de-ed0c-c0de-deadb33fc0d3";
pub(crate) const OTHER_CLIENT: &str = "07e4ab1e-c0de-ed0c-c0de-deadb33fc0d3";
pub(crate) const TENANT: &str = "751a212b-4003-416e-b600-e1f48e40db9f";
pub(crate) const VM: &str = "vm-that-no-log-shows";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const TOKEN_NOT_AFTER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.90.2.1");

/// Properties of the next credential.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Validity of the certificate, in seconds from now.
    pub(crate) valid: (i64, i64),
    /// Content of the `token_not_after` extension.
    pub(crate) token_not_after: Option<Vec<u8>>,
    /// Replacement of the requested common name.
    pub(crate) subject: Option<&'static str>,
    /// Replacement of the requested key.
    pub(crate) public_key: Option<Vec<u8>>,
    pub(crate) mangle: fn(Vec<u8>) -> String,
    /// Changes the body.
    pub(crate) edit: fn(&mut Value),
    /// Signature algorithm in the certificate.
    pub(crate) signature: ObjectIdentifier,
    /// Machine in the platform metadata.
    pub(crate) machine: &'static str,
    /// Difference of the issuer's clock in seconds; `None` sends no date.
    pub(crate) clock_offset: Option<i64>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            valid: (0, 14 * 24 * 3600),
            token_not_after: None,
            subject: None,
            public_key: None,
            mangle: |der| Base64::encode_string(&der),
            edit: |_| (),
            signature: ECDSA_WITH_SHA256,
            machine: VM,
            clock_offset: Some(0),
        }
    }
}

/// [`Transport`] that is the metadata service itself. Clones share it.
#[derive(Clone)]
pub(crate) struct Issuer(Arc<Mutex<State>>);

struct State {
    clock: ManualClock,
    ca: EcdsaKey,
    plan: Plan,
    faults: VecDeque<Result<Response, TransportError>>,
    requests: Vec<Request>,
    issued: Vec<Thumbprint>,
    /// While true, requests wait.
    held: bool,
}

impl Issuer {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        let state = State {
            clock: clock.clone(),
            ca: EcdsaKey::generate(),
            plan: Plan::default(),
            faults: VecDeque::new(),
            requests: Vec::new(),
            issued: Vec::new(),
            held: false,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn plan(&self, plan: Plan) {
        self.state().plan = plan;
    }

    /// Sets the results of the next requests, whichever they are.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Result<Response, TransportError>>) {
        self.state().faults.extend(faults);
    }

    pub(crate) fn hold(&self, held: bool) {
        self.state().held = held;
    }

    pub(crate) fn forget_faults(&self) {
        self.state().faults.clear();
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Returns the certificates issued so far.
    pub(crate) fn issued(&self) -> Vec<Thumbprint> {
        self.state().issued.clone()
    }

    /// Returns the certificate requests received so far, in DER.
    pub(crate) fn csrs(&self) -> Vec<Vec<u8>> {
        self.requests().iter().filter(|request| request.method() == Method::POST).map(csr).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer")
    }
}

impl Transport for Issuer {
    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        self.state().requests.push(request.clone());
        while self.state().held {
            tokio::task::yield_now().await;
        }
        let mut state = self.state();
        if let Some(fault) = state.faults.pop_front() {
            return fault;
        }
        match request.url().path() {
            "/metadata/identity/getplatformmetadata" => Ok(metadata_of(client(&request), state.plan.machine)),
            "/metadata/identity/issuecredential" => Ok(state.credential(&request)),
            path => panic!("nothing is at {path}"),
        }
    }
}

pub(crate) fn answer(status: u16, server: Option<&'static str>, body: &str) -> Response {
    let headers: HeaderMap =
        server.map(|name| (SERVER, HeaderValue::from_static(name))).into_iter().collect();
    Response::new(StatusCode::from_u16(status).unwrap(), body.to_owned()).with_headers(headers)
}

pub(crate) fn metadata() -> Response {
    metadata_of(CLIENT, VM)
}

/// Resolves an id: three ids belong to one identity, any other id to another one.
fn client(request: &Request) -> &'static str {
    let query = request.url().query().unwrap();
    if query.contains("other") { OTHER_CLIENT } else { CLIENT }
}

fn metadata_of(client_id: &str, vm_id: &str) -> Response {
    let body = json!({
        "clientId": client_id,
        "tenantId": TENANT,
        "cuId": { "vmId": vm_id, "vmssId": null },
        "attestationEndpoint": "https://attest.example",
    });
    answer(200, Some("IMDS/150.870.65.1854"), &body.to_string())
}

impl State {
    fn credential(&mut self, request: &Request) -> Response {
        let now = self.clock_now();
        let client_id = client(request);
        let der = self.certificate(&csr(request), client_id, now);
        self.issued.push(Thumbprint::of(&der));
        let mut body = json!({
            "client_id": client_id,
            "tenant_id": TENANT,
            "certificate": (self.plan.mangle)(der),
            "identity_type": "SystemAssigned",
            "mtls_authentication_endpoint": "https://eastus.mtlsauth.microsoft.com/",
        });
        (self.plan.edit)(&mut body);
        let response = answer(200, Some("IMDS/150.870.65.1854"), &body.to_string());
        let mut headers = response.headers().clone();
        if let Some(offset) = self.plan.clock_offset {
            headers.insert(DATE, http_date(moved(now, offset)));
        }
        response.with_headers(headers)
    }

    fn clock_now(&self) -> SystemTime {
        SharedClock::from(&self.clock).now()
    }

    fn certificate(&self, csr: &[u8], client_id: &str, now: SystemTime) -> Vec<u8> {
        let request = CertReq::from_der(csr).unwrap();
        let public_key = match &self.plan.public_key {
            Some(other) => other.clone(),
            None => request.info.public_key.to_der().unwrap(),
        };
        let serial = u32::try_from(self.issued.len() + 1).unwrap();
        let name = |text: &str| text.parse::<Name>().unwrap().to_der().unwrap();
        let time = |offset| Time::try_from(moved(now, offset)).unwrap().to_der().unwrap();
        let algorithm = sequence([self.plan.signature.to_der().unwrap()]);
        let subject = self.plan.subject.map_or_else(|| format!("CN={client_id}"), ToOwned::to_owned);
        let mut parts = vec![
            explicit(0, 2u8.to_der().unwrap()),
            serial.to_der().unwrap(),
            algorithm.clone(),
            name("CN=managedidentitysnissuer.example"),
            sequence([time(self.plan.valid.0), time(self.plan.valid.1)]),
            name(&subject),
            public_key,
        ];
        if let Some(value) = &self.plan.token_not_after {
            let value = OctetString::new(value.clone()).unwrap().to_der().unwrap();
            let extension = sequence([TOKEN_NOT_AFTER.to_der().unwrap(), value]);
            parts.push(explicit(3, sequence([extension])));
        }
        let tbs = sequence(parts);
        let signature: DerSignature = self.ca.sign(&tbs);
        let signature = BitString::from_bytes(signature.as_bytes()).unwrap().to_der().unwrap();
        sequence([tbs, algorithm, signature])
    }
}

fn csr(request: &Request) -> Vec<u8> {
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    Base64::decode_vec(body["csr"].as_str().unwrap()).unwrap()
}

fn sequence(parts: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let content: Vec<u8> = parts.into_iter().flatten().collect();
    Any::new(Tag::Sequence, content).unwrap().to_der().unwrap()
}

fn explicit(number: u32, content: Vec<u8>) -> Vec<u8> {
    let value = Any::from_der(&content).unwrap();
    ContextSpecific { tag_number: TagNumber(number), tag_mode: TagMode::Explicit, value }.to_der().unwrap()
}

pub(crate) fn moved(at: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { at - by } else { at + by }
}

/// Encodes a `GeneralizedTime` or `UTCTime`.
pub(crate) fn der_time(at: SystemTime) -> Vec<u8> {
    Time::try_from(at).unwrap().to_der().unwrap()
}

fn http_date(at: SystemTime) -> HeaderValue {
    // HTTP dates start with the weekday.
    let date = x509_cert::der::DateTime::from_system_time(at).unwrap();
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        [usize::from(date.month()) - 1];
    let days = date.unix_duration().as_secs() / 86_400;
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from(days % 7).unwrap()];
    let text = format!(
        "{weekday}, {:02} {month} {} {:02}:{:02}:{:02} GMT",
        date.day(),
        date.year(),
        date.hour(),
        date.minutes(),
        date.seconds()
    );
    HeaderValue::from_str(&text).unwrap()
}

/// Key provider of one key, because creating keys is slow.
#[derive(Debug)]
pub(crate) struct OneKey(pub(crate) SharedSigningKey);

impl KeyProvider for OneKey {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        Ok(self.0.clone())
    }
}

/// Minter with its clock and its metadata service.
pub(crate) struct TestEnv {
    pub(crate) clock: ManualClock,
    pub(crate) issuer: Issuer,
    pub(crate) key: SharedSigningKey,
    pub(crate) minter: Minter,
    pub(crate) id: ManagedIdentityId,
}

impl TestEnv {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    pub(crate) async fn with(change: impl FnOnce(MinterBuilder) -> MinterBuilder) -> Self {
        // A whole second, because certificates have no fractions.
        let clock = ManualClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_500_000));
        let issuer = Issuer::new(&clock);
        let key = SoftwareKeys::p256().key().await.unwrap();
        Self::of(clock, issuer, key, change)
    }

    /// Returns another process on the same machine, with the same key.
    pub(crate) fn another(&self, change: impl FnOnce(MinterBuilder) -> MinterBuilder) -> Self {
        Self::of(self.clock.clone(), self.issuer.clone(), self.key.clone(), change)
    }

    fn of(
        clock: ManualClock,
        issuer: Issuer,
        key: SharedSigningKey,
        change: impl FnOnce(MinterBuilder) -> MinterBuilder,
    ) -> Self {
        let transport = SharedTransport::new(issuer.clone());
        let http =
            HttpClient::new(transport, Context::default().with_clock(&clock).with_jitter(Jitter::fixed(0.5)));
        let base = "http://169.254.169.254/replaced?this=too#all".parse().unwrap();
        let builder = Minter::builder(base, http).key_provider(OneKey(key.clone()));
        let minter = change(builder).build().unwrap();
        Self { clock, issuer, key, minter, id: ManagedIdentityId::system_assigned() }
    }

    pub(crate) fn now(&self) -> SystemTime {
        SharedClock::from(&self.clock).now()
    }

    pub(crate) fn steady_now(&self) -> SteadyTime {
        SharedClock::from(&self.clock).steady_now()
    }

    /// Requests the binding, and moves the clock through all retries.
    pub(crate) async fn binding(&self) -> Result<symbolon_binding::Binding, Error> {
        self.timed_binding().await.0
    }

    /// Like `binding`, with the delays in seconds. Checks that an error has the correlation id.
    pub(crate) async fn timed_binding(&self) -> (Result<symbolon_binding::Binding, Error>, Vec<u64>) {
        let correlation_id = CorrelationId::random();
        let (outcome, delays) = drive(&self.clock, self.minter.binding(&self.id, correlation_id)).await;
        if let Err(error) = &outcome {
            assert_eq!(error.correlation_id(), Some(correlation_id), "{error:?}");
            for hidden in [CLIENT, TENANT, VM] {
                assert!(!format!("{error} {error:?} {:?}", error.advice()).contains(hidden), "{error:?}");
            }
        }
        (outcome, delays)
    }

    /// Runs all tasks that can proceed without moving the clock.
    pub(crate) async fn settle(&self) {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn mints(&self) -> usize {
        self.issuer.issued().len()
    }
}

/// Runs a future to its end, and moves the clock whenever it waits.
pub(crate) async fn drive<F: Future>(clock: &ManualClock, future: F) -> (F::Output, Vec<u64>) {
    let mut future = pin!(future);
    let mut delays = Vec::new();
    for _ in 0..100 {
        for _ in 0..200 {
            if let Some(output) = future.as_mut().now_or_never() {
                return (output, delays);
            }
            tokio::task::yield_now().await;
        }
        delays.extend(clock.advance_to_next().map(|delay| delay.as_secs()));
    }
    panic!("the future does not complete");
}
