//! `symbolon demo`: the whole story on an emulator.

mod stage;
mod story;
mod thief;

use std::process::ExitCode;
use std::time::Duration;

use symbolon::{Error, Source, TokenSource};
use symbolon_emulator::Step;

use self::stage::{RESOURCE, Stage, Told, claim, show};
use self::story::{Story, Telling};
use self::thief::Replayed;
pub(crate) use self::thief::run as replay;
use crate::output::Format;

/// A perimeter that the client belongs to: claims that it originates itself.
const PERIMETER: &str = r#"{"access_token":{"xms_az_nwperimid":{"values":["perimeter-1"]}}}"#;

pub(crate) async fn run(format: Format) -> Result<ExitCode, Error> {
    let stage = Stage::set().await?;
    let mut story = Story::begin(format, &stage);
    story
        .step(
            "Where does this machine get its identity from?",
            "Azure hosts differ. The environment tells which one this is; nobody is asked.",
            Telling::Everything,
            async || detect(&stage),
        )
        .await;
    story
        .step(
            "Mint: a certificate for a key that never leaves this process",
            "A key is made while the metadata service says who we are; then it certifies\n\
             the key. The exchange of the next step belongs to the same request.",
            Telling::Until(Step::IssueCredential),
            async || mint(&stage).await,
        )
        .await;
    story
        .step(
            "Exchange: the certificate for a token that is bound to it",
            "The certificate authenticates the TLS connection. No secret is sent.",
            Telling::Everything,
            async || exchange(&stage).await,
        )
        .await;
    story
        .step(
            "Use: token and certificate travel together",
            "The resource checks signature, audience, and that the certificate of the\n\
             connection is the one that the token names.",
            Telling::Everything,
            async || call(&stage).await,
        )
        .await;
    story
        .step(
            "Ask again: nothing is sent",
            "The token is in the cache, with its certificate.",
            Telling::Everything,
            async || hit(&stage).await,
        )
        .await;
    story
        .step(
            "Steal: the token alone is worth nothing",
            "A thief who found the token in a log presents it from another process without\n\
             a certificate, then with another one. A bearer token is stolen to compare.",
            Telling::Only(Step::Resource),
            async || steal(&stage).await,
        )
        .await;
    story
        .step(
            "Revoke: the certificate is replaced, once",
            "The token service now refuses the certificate. Exactly that one is forgotten,\n\
             another is minted, and the request is tried once more.",
            Telling::Everything,
            async || revoke(&stage).await,
        )
        .await;
    story
        .step(
            "Claims: what the client says of itself keys the cache",
            "The same claims hit, other claims are exchanged anew; the certificate stays.",
            Telling::Everything,
            async || claims(&stage).await,
        )
        .await;
    Ok(story.end())
}

fn detect(stage: &Stage) -> Told {
    let detection = stage.identity.detection();
    claim(detection.source == Source::Imds, "another source was detected")?;
    Ok(vec![
        format!("source: {}, because {}", detection.source, detection.reason),
        format!("its address: {}", stage.emulator.imds_url()),
    ])
}

async fn mint(stage: &Stage) -> Told {
    let token = stage.bound(RESOURCE).await?;
    let issued = stage.emulator.issued();
    claim(issued.len() == 1, "not exactly one certificate was issued")?;
    let identity = token.bound_to().ok_or("the token is bound to nothing")?;
    claim(issued[0].thumbprint() == identity.thumbprint(), "the token is bound to another certificate")?;
    let life = identity.not_after().duration_since(identity.not_before()).unwrap_or_default();
    Ok(vec![
        format!("certificate {}", show(identity.thumbprint())),
        format!("valid for {} days, kept in {}", days(life), identity.strength()),
    ])
}

async fn exchange(stage: &Stage) -> Told {
    let token = stage.bound(RESOURCE).await?;
    let journal = stage.emulator.journal();
    let request = journal.last(Step::Token).ok_or("no token was asked for")?;
    let identity = token.bound_to().ok_or("the token is bound to nothing")?;
    claim(request.certificate() == Some(identity.thumbprint()), "another certificate was presented")?;
    let has_secret =
        request.form_names().any(|name| name.starts_with("client_assertion") || name == "client_secret");
    claim(!has_secret, "a secret was sent")?;
    let version = request.tls_version().ok_or("there was no TLS")?;
    Ok(vec![
        format!("presented {} over {version}", show(identity.thumbprint())),
        format!("sent {}", request.form_names().collect::<Vec<_>>().join(", ")),
        format!("got a token of type {}", token.token_type()),
    ])
}

async fn call(stage: &Stage) -> Told {
    let token = stage.bound(RESOURCE).await?;
    let response = stage.call(&token).await?;
    claim(response.status().is_success(), "the resource refused")?;
    Ok(vec![format!("the resource answered {}", response.status())])
}

async fn hit(stage: &Stage) -> Told {
    let before = stage.emulator.journal().entries().len();
    let token = stage.bound(RESOURCE).await?;
    claim(token.source() == TokenSource::Cache, "the token did not come from the cache")?;
    claim(stage.emulator.journal().entries().len() == before, "something was sent")?;
    Ok(vec!["the same token, and the same certificate, from the cache".to_owned()])
}

async fn steal(stage: &Stage) -> Told {
    let token = stage.bound(RESOURCE).await?;
    let without = thief::steal(&stage.emulator, &token).await?;
    claim(without.status == 401, "the stolen bound token was accepted")?;
    let another = stage.certificate_of_another_identity().await?;
    let with_another = stage.replay_with(&token, another).await?;
    claim(with_another.status == 401, "the stolen bound token was accepted with another certificate")?;
    let bearer = stage.identity.token(RESOURCE).await?;
    let replayed = thief::steal(&stage.emulator, &bearer).await?;
    claim(replayed.status == 200, "the bearer token was refused")?;
    let refused = |told: Replayed| format!("{}, {}", told.status, told.reason.unwrap_or_default());
    Ok(vec![
        format!("bound token, from another process:     {}", refused(without)),
        format!("bound token, with another certificate: {}", refused(with_another)),
        format!("bearer token, from another process:    {}, the thief is in", replayed.status),
        "Why: the bound token names a certificate, whose key never leaves its process;".to_owned(),
        "the bearer token names none, and is good for whoever has it.".to_owned(),
    ])
}

async fn revoke(stage: &Stage) -> Told {
    let old = stage.bound(RESOURCE).await?.bound_to().ok_or("the token is bound to nothing")?.thumbprint();
    stage.emulator.revoke(old);
    let token = stage.identity.token(RESOURCE).proof_of_possession().force_refresh().await?;
    let new = token.bound_to().ok_or("the token is bound to nothing")?.thumbprint();
    claim(new != old, "the revoked certificate was used")?;
    claim(stage.certificates_of_the_client() == 2, "not exactly one more certificate was issued")?;
    let response = stage.call(&token).await?;
    claim(response.status().is_success(), "the resource refused the new token")?;
    Ok(vec![format!("{} was replaced by {}", show(old), show(new))])
}

async fn claims(stage: &Stage) -> Told {
    let ask = |claims| {
        stage.identity.token(RESOURCE).proof_of_possession().claims_from_client(claims).into_future()
    };
    let others = PERIMETER.replace("perimeter-1", "perimeter-2");
    let sources =
        [ask(PERIMETER).await?, ask(PERIMETER).await?, ask(&others).await?].map(|token| token.source());
    let expected = [TokenSource::Network, TokenSource::Cache, TokenSource::Network];
    claim(sources == expected, "the claims did not key the cache")?;
    let journal = stage.emulator.journal();
    let sent =
        journal.last(Step::Token).and_then(|request| request.form("claims")).ok_or("no claims were sent")?;
    claim(sent.contains("perimeter-2") && sent.contains("cp1"), "claims and capabilities were not merged")?;
    claim(stage.certificates_of_the_client() == 2, "a certificate was minted for claims")?;
    Ok(vec!["perimeter-1: exchanged, then from the cache; perimeter-2: exchanged".to_owned()])
}

fn days(duration: Duration) -> u64 {
    duration.as_secs() / (24 * 60 * 60)
}
