//! `symbolon demo`: a bound token from issuance to revocation, on the emulator.

mod env;
mod replay;
mod report;
mod step;

use std::process::ExitCode;

use futures_util::future::BoxFuture;
use symbolon::{Error, Source, TokenOrigin};
use symbolon_emulator::Step;

use self::env::{DemoEnv, RESOURCE};
use self::replay::ReplayResponse;
pub(super) use self::replay::run as replay;
use self::report::{DemoReport, RequestFilter};
use self::step::{StepResult, ensure, short};
use crate::output::OutputFormat;

/// Claims of a network perimeter, which the client adds to its requests.
const PERIMETER: &str = r#"{"access_token":{"xms_az_nwperimid":{"values":["perimeter-1"]}}}"#;

pub(super) async fn run(format: OutputFormat) -> Result<ExitCode, Error> {
    let env = DemoEnv::start().await?;
    let steps: [(&str, &str, RequestFilter, BoxFuture<'_, StepResult>); 8] = [
        (
            "Detect the managed identity source",
            "Environment variables select the source. No request is sent.",
            RequestFilter::All,
            Box::pin(async { detect(&env) }),
        ),
        (
            "Mint a certificate for a key that never leaves this process",
            "The key is generated while the metadata service describes the machine, which\n\
             then certifies the key. The same call also sends the requests of step 3.",
            RequestFilter::Until(Step::IssueCredential),
            Box::pin(mint(&env)),
        ),
        (
            "Exchange the certificate for a token that is bound to it",
            "The certificate authenticates the TLS connection. No secret is sent.",
            RequestFilter::All,
            Box::pin(exchange(&env)),
        ),
        (
            "Call a resource with token and certificate",
            "The resource checks the signature, the audience, and that the token names the\n\
             certificate of the connection.",
            RequestFilter::All,
            Box::pin(call(&env)),
        ),
        (
            "Request the token again, from the cache",
            "The cache holds the token together with its certificate. No request is sent.",
            RequestFilter::All,
            Box::pin(hit(&env)),
        ),
        (
            "Steal the token and replay it",
            "A thief replays the token from another process without a certificate, then\n\
             with another certificate, and a bearer token for comparison.",
            RequestFilter::Only(Step::Resource),
            Box::pin(steal(&env)),
        ),
        (
            "Revoke the certificate and replace it once",
            "The token service now refuses the certificate. The client forgets only this\n\
             certificate, mints another, and repeats the request once.",
            RequestFilter::All,
            Box::pin(revoke(&env)),
        ),
        (
            "Send client claims, which are part of the cache key",
            "The same claims hit the cache, other claims cause an exchange with the same\n\
             certificate.",
            RequestFilter::All,
            Box::pin(claims(&env)),
        ),
    ];
    let mut report = DemoReport::new(format, &env.emulator);
    for (title, reason, filter, result) in steps {
        report.step(title, reason, filter, result).await;
    }
    report.finish()
}

fn detect(env: &DemoEnv) -> StepResult {
    let detection = env.identity.detection();
    ensure(detection.source == Source::Imds, "another source was detected")?;
    Ok(vec![
        format!("source: {}, because {}", detection.source, detection.reason),
        format!("address: {}", env.emulator.imds_url()),
    ])
}

async fn mint(env: &DemoEnv) -> StepResult {
    let token = env.bound_token().await?;
    let issued = env.emulator.issued();
    ensure(issued.len() == 1, "the number of issued certificates is not 1")?;
    let identity = token.bound_to().ok_or("the token is not bound")?;
    ensure(issued[0].thumbprint == identity.thumbprint(), "the token is bound to another certificate")?;
    let lifetime = identity.not_after().duration_since(identity.not_before()).unwrap_or_default();
    let days = lifetime.as_secs() / (24 * 60 * 60);
    Ok(vec![
        format!("certificate {}", short(identity.thumbprint())),
        format!("valid for {days} days, key strength: {}", identity.strength()),
    ])
}

async fn exchange(env: &DemoEnv) -> StepResult {
    let token = env.bound_token().await?;
    let journal = env.emulator.journal();
    let request = journal.last(Step::Token).ok_or("no token request was sent")?;
    let identity = token.bound_to().ok_or("the token is not bound")?;
    ensure(request.certificate() == Some(identity.thumbprint()), "another certificate was presented")?;
    let has_secret =
        request.form_names().any(|name| name.starts_with("client_assertion") || name == "client_secret");
    ensure(!has_secret, "a secret was sent")?;
    let version = request.tls_version().ok_or("the connection did not use TLS")?;
    Ok(vec![
        format!("presented {} over {version}", short(identity.thumbprint())),
        format!("sent {}", request.form_names().collect::<Vec<_>>().join(", ")),
        format!("received a token of type {}", token.token_type()),
    ])
}

async fn call(env: &DemoEnv) -> StepResult {
    let token = env.bound_token().await?;
    let response = env.call(&token).await?;
    ensure(response.status().is_success(), "the resource rejected the token")?;
    Ok(vec![format!("the resource responded {}", response.status())])
}

async fn hit(env: &DemoEnv) -> StepResult {
    let before = env.emulator.journal().entries().len();
    let token = env.bound_token().await?;
    ensure(token.origin() == TokenOrigin::Cache, "the token did not come from the cache")?;
    ensure(env.emulator.journal().entries().len() == before, "a request was sent")?;
    Ok(vec!["the same token and certificate, from the cache".to_owned()])
}

async fn steal(env: &DemoEnv) -> StepResult {
    let token = env.bound_token().await?;
    let without = replay::in_other_process(&env.emulator, &token).await?;
    ensure(without.status == 401, "the stolen bound token was accepted")?;
    let certificate = env.other_certificate().await?;
    let with_other = replay::with_certificate(&env.emulator, &token, certificate).await?;
    ensure(with_other.status == 401, "the stolen bound token was accepted with another certificate")?;
    let bearer = env.identity.token(RESOURCE).await?;
    let bearer = replay::in_other_process(&env.emulator, &bearer).await?;
    ensure(bearer.status == 200, "the bearer token was rejected")?;
    let rejected =
        |replay: ReplayResponse| format!("{}, {}", replay.status, replay.reason.unwrap_or_default());
    Ok(vec![
        format!("bound token, from another process:     {}", rejected(without)),
        format!("bound token, with another certificate: {}", rejected(with_other)),
        format!("bearer token, from another process:    {}, the thief has access", bearer.status),
        "The bound token names a certificate, and only this process has its key.".to_owned(),
        "The bearer token works for anyone who has it.".to_owned(),
    ])
}

async fn revoke(env: &DemoEnv) -> StepResult {
    let old = env.bound_token().await?.bound_to().ok_or("the token is not bound")?.thumbprint();
    env.emulator.revoke(old);
    let token = env.identity.token(RESOURCE).proof_of_possession().force_refresh().await?;
    let new = token.bound_to().ok_or("the token is not bound")?.thumbprint();
    ensure(new != old, "the revoked certificate was used")?;
    ensure(env.issued_certificates() == 2, "the number of new certificates is not 1")?;
    let response = env.call(&token).await?;
    ensure(response.status().is_success(), "the resource rejected the new token")?;
    Ok(vec![format!("{} was replaced by {}", short(old), short(new))])
}

async fn claims(env: &DemoEnv) -> StepResult {
    let request =
        |claims| env.identity.token(RESOURCE).proof_of_possession().claims_from_client(claims).into_future();
    let others = PERIMETER.replace("perimeter-1", "perimeter-2");
    let sources = [request(PERIMETER).await?, request(PERIMETER).await?, request(&others).await?]
        .map(|token| token.origin());
    let expected = [TokenOrigin::Network, TokenOrigin::Cache, TokenOrigin::Network];
    ensure(sources == expected, "the claims are not part of the cache key")?;
    let journal = env.emulator.journal();
    let sent = journal.last(Step::Token).and_then(|request| request.form("claims"));
    let sent = sent.ok_or("no claims were sent")?;
    ensure(sent.contains("perimeter-2") && sent.contains("cp1"), "claims and capabilities were not merged")?;
    ensure(env.issued_certificates() == 2, "a certificate was minted for the claims")?;
    Ok(vec!["perimeter-1: exchange, then cache; perimeter-2: exchange".to_owned()])
}
