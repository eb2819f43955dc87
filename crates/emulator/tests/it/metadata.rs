//! Tests of the metadata service, except issuance.

use symbolon_emulator::{Emulator, Step, UserAssigned};

use crate::client::{Client, get, metadata};

const PLATFORM: &str = "/metadata/identity/getplatformmetadata?cred-api-version=2.0";
const TOKEN: &str =
    "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net";

#[tokio::test]
async fn platform_metadata_is_complete() {
    let emulator = Emulator::builder().scale_set().start().await.unwrap();
    let answer = Client::new(&emulator, None)
        .send(metadata(&format!("{}{PLATFORM}", emulator.imds_url())))
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("server"), "IMDS/150.870.65.1854");
    let body = answer.json();
    assert_eq!(body["clientId"], emulator.client_id());
    assert_eq!(body["tenantId"], emulator.tenant_id());
    for member in [&body["cuId"]["vmId"], &body["cuId"]["vmssId"], &body["clientId"], &body["tenantId"]] {
        assert_eq!(member.as_str().unwrap().len(), 36, "a GUID: {member}");
    }
    assert!(body["attestationEndpoint"].as_str().unwrap().starts_with("https://"));
}

#[tokio::test]
async fn identity_is_found_by_each_id() {
    let second = UserAssigned::named("second");
    let emulator = Emulator::builder().user_assigned(second.clone()).start().await.unwrap();
    let first = emulator.user_assigned().clone();
    let client = Client::new(&emulator, None);
    let cases: [(_, _, &str, &str); 8] = [
        (PLATFORM, "client_id", &first.client_id, &first.client_id),
        (PLATFORM, "object_id", &first.object_id, &first.client_id),
        (PLATFORM, "mi_res_id", &first.resource_id, &first.client_id),
        (PLATFORM, "mi_res_id", &second.resource_id, &second.client_id),
        (PLATFORM, "client_id", emulator.client_id(), emulator.client_id()),
        (TOKEN, "client_id", &first.client_id, &first.client_id),
        (TOKEN, "object_id", &first.object_id, &first.client_id),
        (TOKEN, "msi_res_id", &first.resource_id, &first.client_id),
    ];
    for (path, parameter, value, expected) in cases {
        let url = format!("{}{path}&{parameter}={value}", emulator.imds_url());
        let body = client.send(metadata(&url)).await.unwrap().json();
        let found = if path == PLATFORM { &body["clientId"] } else { &body["client_id"] };
        assert_eq!(found, expected, "{parameter} at {path}: {body}");
    }
    for (path, parameter, reason) in [
        (PLATFORM, "client_id=00000000-0000-0000-0000-000000000000", "identity"),
        (PLATFORM, "msi_res_id=/subscriptions/x", "unsupported_query"),
        (PLATFORM, "client_id=a&object_id=b", "identity"),
        (TOKEN, "client_id=00000000-0000-0000-0000-000000000000", "identity"),
        (TOKEN, "mi_res_id=/subscriptions/x", "unsupported_query"),
    ] {
        let answer =
            client.send(metadata(&format!("{}{path}&{parameter}", emulator.imds_url()))).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.json()["reason"]), (400, &reason.into()), "{parameter}");
    }
}

#[tokio::test]
async fn probes_get_400_or_404_without_imdsv2() {
    for (v1_only, v2_status) in [(false, 400), (true, 404)] {
        let mut builder = Emulator::builder();
        if v1_only {
            builder = builder.v1_only();
        }
        let emulator = builder.start().await.unwrap();
        let client = Client::new(&emulator, None);
        // A probe is the request without the Metadata header.
        for (path, expected) in [(PLATFORM, v2_status), (TOKEN, 400)] {
            let answer = client.send(get(&format!("{}{path}", emulator.imds_url()))).await.unwrap();
            assert_eq!(answer.status, expected, "{path}");
            assert!(answer.header("server").contains("IMDS"));
        }
        let answer = client.send(metadata(&format!("{}{PLATFORM}", emulator.imds_url()))).await.unwrap();
        assert_eq!(answer.status, if v1_only { 404 } else { 200 });
        assert_eq!(emulator.journal().count(Step::PlatformMetadata), 2);
    }
}

#[tokio::test]
async fn v1_token_response_has_numbers_as_text() {
    let emulator = Emulator::start().await.unwrap();
    let answer = Client::new(&emulator, None)
        .send(metadata(&format!("{}{TOKEN}", emulator.imds_url())))
        .await
        .unwrap();
    let body = answer.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], "3599");
    assert!(body["expires_on"].as_str().unwrap().parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!(body["resource"], "https://vault.azure.net");
    assert_eq!(body["client_id"], emulator.client_id());
}

#[tokio::test]
async fn compute_metadata_and_unknown_paths() {
    let emulator = Emulator::start().await.unwrap();
    let client = Client::new(&emulator, None);
    let url = format!("{}/metadata/instance/compute?api-version=2021-02-01", emulator.imds_url());
    let body = client.send(metadata(&url)).await.unwrap().json();
    assert_eq!(body["securityProfile"]["securityType"], "TrustedLaunch");
    for (path, status) in [
        ("/nowhere", 404),
        ("/metadata/identity/getplatformmetadata", 400),
        ("/metadata/identity/oauth2/token?api-version=2018-02-01", 400),
        ("/metadata/identity/issuecredential?cred-api-version=2.0", 405),
    ] {
        let answer = client.send(metadata(&format!("{}{path}", emulator.imds_url()))).await.unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
}
