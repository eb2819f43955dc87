//! Responses to requests.

use symbolon::ManagedIdentityId;
use symbolon_emulator::{Fault, Step};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{AgentEnv, identity, secret, within};

#[tokio::test(flavor = "current_thread")]
async fn token_response_matches_app_service() {
    let env = AgentEnv::new().await;
    let response = env.send(&env.request("")).await;
    assert_eq!(response.status, 200, "{}", response.head);
    let body = response.body.as_object().unwrap();
    assert!(
        body.keys().eq(["access_token", "client_id", "expires_on", "resource", "token_type"]),
        "{body:?}"
    );
    assert!(body["access_token"].as_str().unwrap().starts_with("eyJ"));
    assert_eq!(
        (&body["token_type"], &body["resource"]),
        (&"Bearer".into(), &"https://vault.azure.net".into())
    );
    assert_eq!(body["client_id"], env.emulator.client_id());
    assert!(body["expires_on"].as_str().unwrap().parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!(response.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("access-control-allow-origin"), None);
}

#[tokio::test(flavor = "current_thread")]
async fn second_token_comes_from_the_cache() {
    let env = AgentEnv::new().await;
    let first = env.send(&env.request("")).await;
    let second = env.send(&env.request("")).await;
    assert_eq!(first.body["access_token"], second.body["access_token"]);
    assert_eq!(env.emulator.journal().count(Step::ImdsToken), 1);
    let log = env.log.lines();
    assert!(log[0].starts_with("served https://vault.azure.net to 127.0.0.1:"), "{log:?}");
    assert!(log[0].contains("from the network; next refresh in "), "{log:?}");
    assert!(log[1].contains("from the cache; next refresh in "), "{log:?}");
    let token = first.body["access_token"].as_str().unwrap();
    assert!(log.iter().all(|line| !line.contains(token) && !line.contains(&secret(&env.agent))));
}

#[tokio::test(flavor = "current_thread")]
async fn only_configured_identities_are_served() {
    let env = AgentEnv::with(|agent, emulator| {
        let client_id = ManagedIdentityId::client_id(&emulator.user_assigned().client_id).unwrap();
        agent.allow_all_resources().identity(identity(emulator, client_id))
    })
    .await;
    let user_assigned = env.emulator.user_assigned();
    let given = env.send(&env.request(&format!("&client_id={}", &user_assigned.client_id))).await;
    assert_eq!((given.status, &given.body["client_id"]), (200, &user_assigned.client_id.as_str().into()));
    // The agent cannot tell that two kinds of id belong to one identity.
    for more in [format!("&object_id={}", &user_assigned.object_id), "&client_id=x".to_owned()] {
        let response = env.send(&env.request(&more)).await;
        assert_eq!((response.status, &response.body["statusCode"]), (403, &403.into()), "{more}");
        assert!(response.body["message"].as_str().unwrap().contains("--identity"), "{}", response.body);
    }
    assert_eq!(env.emulator.journal().count(Step::ImdsToken), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn resources_not_on_the_list_are_rejected() {
    let env =
        AgentEnv::with(|agent, _| agent.allow("https://other.example").allow("https://vault.azure.net/"))
            .await;
    assert_eq!(env.send(&env.request("")).await.status, 200);
    let elsewhere = env.request("").replace("vault.azure.net", "graph.microsoft.com");
    let response = env.send(&elsewhere).await;
    assert_eq!((response.status, &response.body["statusCode"]), (403, &403.into()));
    assert!(response.body["correlationId"].is_string() && response.body["message"].is_string());
    let log = env.log.lines();
    assert!(log[1].contains("https://graph.microsoft.com") && log[1].contains("403 resource"), "{log:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn invalid_requests_have_distinct_statuses() {
    let env = AgentEnv::new().await;
    let good = env.request("");
    let secret = secret(&env.agent);
    let port = env.port().to_string();
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
        (env.request("&resource=x"), 400),
        (env.request("&token_type=mtls_pop"), 400),
        (env.request("&claims=%7B%7D"), 400),
    ] {
        let response = env.send(&request).await;
        assert_eq!(response.status, status, "{request}\n{}", response.head);
        assert!(!response.head.contains(&secret) && !response.body.to_string().contains(&secret));
    }
    assert_eq!(env.emulator.journal().entries().len(), 0, "no request reached the host");
}

#[tokio::test(flavor = "current_thread")]
async fn transfer_codings_are_rejected() {
    let env = AgentEnv::new().await;
    let good = env.request("").replace("Connection: close\r\n", "");
    for (codings, status) in [
        ("gzip, chunked", 501),
        ("gzip\r\nTransfer-Encoding: chunked", 501),
        ("chunked, chunked", 400),
        ("chunked", 413),
    ] {
        let first = good.replace("Host", &format!("Transfer-Encoding: {codings}\r\nHost"));
        // The trailers end with LF alone, which is the end of the body for some.
        for rest in [format!("0\r\n\r\n{good}"), format!("0\r\nX: y\n\n{good}{good}")] {
            let response = within(env.send(&format!("{first}{rest}"))).await;
            assert_eq!(response.body["statusCode"], status, "{codings} {response:?}");
            assert_eq!(response.header("connection"), Some("close"), "{codings} {response:?}");
        }
    }
    let log = env.log.lines();
    assert!(log.len() == 8 && log[0].contains("501 transfer_encoding"), "{log:?}");
    assert_eq!(env.emulator.journal().entries().len(), 0, "no request reached the host");
}

#[tokio::test(flavor = "current_thread")]
async fn bound_token_request_gets_advice() {
    let env = AgentEnv::new().await;
    let response = env.send(&env.request("&token_type=mtls_pop")).await;
    assert!(response.body["message"].as_str().unwrap().contains("bearer tokens only"), "{}", response.body);
}

#[tokio::test(flavor = "current_thread")]
async fn health_needs_no_secret_and_no_host() {
    let env = AgentEnv::new().await;
    let port = env.port();
    let health = format!("GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    let response = env.send(&health).await;
    assert_eq!((response.status, &response.body["status"]), (200, &"ok".into()));
    assert_eq!(env.send(&health.replace("localhost", "attacker.example")).await.status, 421);
    assert_eq!(env.emulator.journal().entries().len(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn host_errors_use_app_service_format() {
    for (fault, status) in [
        (Fault::status(Step::ImdsToken, 429).header("Retry-After", "7"), 429),
        (Fault::status(Step::ImdsToken, 400), 400),
        (Fault::status(Step::ImdsToken, 404), 404),
        (Fault::status(Step::ImdsToken, 500), 503),
        (Fault::malformed_json(Step::ImdsToken), 502),
    ] {
        let env = AgentEnv::new().await;
        env.emulator.inject(fault.always());
        let response = env.send(&env.request("")).await;
        assert_eq!(
            (response.status, &response.body["statusCode"]),
            (status, &status.into()),
            "{}",
            response.body
        );
        assert!(response.body["correlationId"].is_string());
        let log = env.log.lines();
        assert!(log[0].starts_with("refused https://vault.azure.net to 127.0.0.1:"), "{log:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn over_mtls_still_serves_bearer_tokens() {
    let env = AgentEnv::with(|agent, _| agent.allow_all_resources().over_mtls()).await;
    let response = env.send(&env.request("")).await;
    assert_eq!((response.status, &response.body["token_type"]), (200, &"Bearer".into()), "{}", response.body);
    let journal = env.emulator.journal();
    assert_eq!((journal.count(Step::ImdsToken), journal.count(Step::Token)), (0, 1));
    assert!(journal.last(Step::Token).unwrap().certificate().is_some());
}

#[tokio::test(flavor = "current_thread")]
async fn each_run_has_its_own_secret() {
    let (one, other) = (AgentEnv::new().await, AgentEnv::new().await);
    let (one, other) = (secret(&one.agent), secret(&other.agent));
    assert!(one != other && one.len() == 43 && other.len() == 43);
}

#[tokio::test(flavor = "current_thread")]
async fn only_the_secret_keeps_a_connection() {
    let env = AgentEnv::new().await;
    let good = env.request("").replace("Connection: close\r\n", "");
    for request in [
        good.replace("/msi/token", "/healthz"),
        good.replace(&secret(&env.agent), "wrong"),
        good.replace("127.0.0.1", "attacker.example"),
        good.replace("/msi/token", "/msi/tokens"),
        good.replace("GET", "POST"),
    ] {
        let response = within(env.send(&request)).await;
        assert_eq!(response.header("connection"), Some("close"), "{request}\n{}", response.head);
    }
    let mut stream = env.connect().await;
    for request in [&good, &good.replace("2019-08-01", "1"), &good] {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = [0; 8192];
        let length = within(stream.read(&mut response)).await.unwrap();
        let response = String::from_utf8_lossy(&response[..length]);
        assert!(response.starts_with("HTTP/1.1 ") && !response.contains("connection: close"), "{response}");
    }
}

// A misspelled parameter must not select the default identity.
#[tokio::test(flavor = "current_thread")]
async fn misspelled_identities_get_no_token() {
    let env = AgentEnv::new().await;
    for (more, status) in [
        ("&msi_res_id=%2Fx", 403),
        ("&clientid=x", 403),
        ("&principalId=x", 403),
        ("&Client_ID=x", 403),
        ("&user_assigned=x", 400),
    ] {
        let response = env.send(&env.request(more)).await;
        assert_eq!((response.status, &response.body["statusCode"]), (status, &status.into()), "{more}");
    }
    assert_eq!(env.emulator.journal().entries().len(), 0, "no request reached the host");
}

#[tokio::test(flavor = "current_thread")]
async fn empty_allow_list_permits_nothing() {
    let emulator = symbolon_emulator::Emulator::start().await.unwrap();
    let agent = symbolon_agent::Agent::builder(identity(&emulator, ManagedIdentityId::system_assigned()));
    let agent = agent.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let env = AgentEnv { emulator, agent, log: crate::client::LogLines::default() };
    let response = env.send(&env.request("")).await;
    assert_eq!((response.status, &response.body["statusCode"]), (403, &403.into()));
}
