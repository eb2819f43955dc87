//! What is answered to whom.

use symbolon::ManagedIdentityId;
use symbolon_emulator::{Fault, Step};

use crate::client::{World, identity, secret};

#[tokio::test(flavor = "current_thread")]
async fn a_token_is_answered_as_app_service_does() {
    let world = World::new().await;
    let answer = world.send(&world.request("")).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    let body = answer.body.as_object().unwrap();
    assert!(
        body.keys().eq(["access_token", "client_id", "expires_on", "resource", "token_type"]),
        "{body:?}"
    );
    assert!(body["access_token"].as_str().unwrap().starts_with("eyJ"));
    assert_eq!(
        (&body["token_type"], &body["resource"]),
        (&"Bearer".into(), &"https://vault.azure.net".into())
    );
    assert_eq!(body["client_id"], world.emulator.client_id());
    assert!(body["expires_on"].as_str().unwrap().parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test(flavor = "current_thread")]
async fn the_second_token_is_from_the_cache_and_the_log_says_when_the_next_is_fetched() {
    let world = World::new().await;
    let first = world.send(&world.request("")).await;
    let second = world.send(&world.request("")).await;
    assert_eq!(first.body["access_token"], second.body["access_token"]);
    assert_eq!(world.emulator.journal().count(Step::ImdsToken), 1);
    let log = world.log.lines();
    assert!(log[0].starts_with("served https://vault.azure.net to 127.0.0.1:"), "{log:?}");
    assert!(log[0].contains("from the network; next refresh in "), "{log:?}");
    assert!(log[1].contains("from the cache; next refresh in "), "{log:?}");
    let token = first.body["access_token"].as_str().unwrap();
    assert!(log.iter().all(|line| !line.contains(token) && !line.contains(&secret(&world.agent))));
}

#[tokio::test(flavor = "current_thread")]
async fn only_identities_that_the_agent_was_given_are_asked_for() {
    let world = World::with(|agent, emulator| {
        let client_id = ManagedIdentityId::client_id(emulator.user_assigned().client_id()).unwrap();
        agent.identity(identity(emulator, client_id))
    })
    .await;
    let user_assigned = world.emulator.user_assigned();
    let given = world.send(&world.request(&format!("&client_id={}", user_assigned.client_id()))).await;
    assert_eq!((given.status, &given.body["client_id"]), (200, &user_assigned.client_id().into()));
    // The same identity by another name is another: who knows which belong together was not asked.
    for more in [format!("&object_id={}", user_assigned.object_id()), "&client_id=x".to_owned()] {
        let answer = world.send(&world.request(&more)).await;
        assert_eq!((answer.status, &answer.body["statusCode"]), (403, &403.into()), "{more}");
        assert!(answer.body["message"].as_str().unwrap().contains("--identity"), "{}", answer.body);
    }
    assert_eq!(world.emulator.journal().count(Step::ImdsToken), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn resources_that_are_not_on_the_list_are_refused() {
    let world =
        World::with(|agent, _| agent.allow("https://other.example").allow("https://vault.azure.net/")).await;
    assert_eq!(world.send(&world.request("")).await.status, 200);
    let elsewhere = world.request("").replace("vault.azure.net", "graph.microsoft.com");
    let answer = world.send(&elsewhere).await;
    assert_eq!((answer.status, &answer.body["statusCode"]), (403, &403.into()));
    assert!(answer.body["correlationId"].is_string() && answer.body["message"].is_string());
    let log = world.log.lines();
    assert!(log[1].contains("https://graph.microsoft.com") && log[1].contains("403 resource"), "{log:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_wrong_with_a_request_decides_its_status() {
    let world = World::new().await;
    let good = world.request("");
    let secret = secret(&world.agent);
    let port = world.port().to_string();
    for (request, status) in [
        (good.replace(&secret, "wrong"), 401),
        (good.replace("X-IDENTITY-HEADER", "X-OTHER"), 401),
        (good.replace(&format!("127.0.0.1:{port}"), &format!("attacker.example:{port}")), 421),
        (good.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:1"), 421),
        (good.replace("/msi/token", "/msi/tokens"), 404),
        (good.replace("GET", "POST").replace("Connection", "Content-Length: 0\r\nConnection"), 405),
        (good.replace("GET", "OPTIONS"), 405),
        (good.replace("GET", "HEAD"), 405),
        (good.replace("Connection", "Content-Length: 2\r\nConnection").to_owned() + "{}", 413),
        (good.replace("2019-08-01", "2017-09-01"), 400),
        (world.request("&resource=x"), 400),
        (world.request("&token_type=mtls_pop"), 400),
        (world.request("&claims=%7B%7D"), 400),
    ] {
        let answer = world.send(&request).await;
        assert_eq!(answer.status, status, "{request}\n{}", answer.head);
        assert!(!answer.head.contains(&secret) && !answer.body.to_string().contains(&secret));
    }
    assert_eq!(world.emulator.journal().entries().len(), 0, "nobody was asked");
}

#[tokio::test(flavor = "current_thread")]
async fn a_request_for_a_bound_token_is_told_what_to_do_instead() {
    let world = World::new().await;
    let answer = world.send(&world.request("&token_type=mtls_pop")).await;
    assert!(answer.body["message"].as_str().unwrap().contains("bearer tokens only"), "{}", answer.body);
}

#[tokio::test(flavor = "current_thread")]
async fn health_needs_no_secret_and_asks_nobody() {
    let world = World::new().await;
    let port = world.port();
    let health = format!("GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    let answer = world.send(&health).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &"ok".into()));
    assert_eq!(world.send(&health.replace("localhost", "attacker.example")).await.status, 421);
    assert_eq!(world.emulator.journal().entries().len(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn errors_of_the_host_are_passed_on_as_app_service_writes_them() {
    for (fault, status) in [
        (Fault::status(Step::ImdsToken, 429).header("Retry-After", "7"), 429),
        (Fault::status(Step::ImdsToken, 400), 400),
        (Fault::status(Step::ImdsToken, 404), 404),
        (Fault::status(Step::ImdsToken, 500), 503),
        (Fault::malformed_json(Step::ImdsToken), 502),
    ] {
        let world = World::new().await;
        world.emulator.inject(fault.always());
        let answer = world.send(&world.request("")).await;
        assert_eq!((answer.status, &answer.body["statusCode"]), (status, &status.into()), "{}", answer.body);
        assert!(answer.body["correlationId"].is_string());
        let log = world.log.lines();
        assert!(log[0].starts_with("refused https://vault.azure.net to 127.0.0.1:"), "{log:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn over_mtls_the_token_comes_by_the_certificate_and_is_a_bearer_token_all_the_same() {
    let world = World::with(|agent, _| agent.over_mtls()).await;
    let answer = world.send(&world.request("")).await;
    assert_eq!((answer.status, &answer.body["token_type"]), (200, &"Bearer".into()), "{}", answer.body);
    let journal = world.emulator.journal();
    assert_eq!((journal.count(Step::ImdsToken), journal.count(Step::Token)), (0, 1));
    assert!(journal.last(Step::Token).unwrap().certificate().is_some());
}

#[tokio::test(flavor = "current_thread")]
async fn each_run_has_a_secret_of_its_own() {
    let (one, other) = (World::new().await, World::new().await);
    let (one, other) = (secret(&one.agent), secret(&other.agent));
    assert!(one != other && one.len() == 43 && other.len() == 43);
}
