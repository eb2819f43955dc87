//! Tests of certificate requests and of the issued certificates.

use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use base64ct::{Base64, Encoding};
use http::Request;
use serde_json::json;
use symbolon_emulator::{Emulator, Step};
use symbolon_types::{ManualClock, SharedClock};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::client::Client;
use crate::csr::{
    Csr, ECDSA, Key, PSS_SALT_20, PSS_WITH_NULLS, RSA_PKCS1, attribute, common_name, domain_component, hex,
    tlv,
};
use crate::fixtures::{certified, csr, issuance, issue, platform_metadata};

#[tokio::test]
async fn valid_request_gets_a_certificate() {
    let emulator = Emulator::start().await.unwrap();
    for key in [Key::rsa(), Key::p256()] {
        let request = csr(&emulator, &key).await;
        let answer = issue(&emulator, &request.base64()).await;
        assert_eq!(answer.status, 200, "{:?}", answer.json());
        // Other parsers accept the request as well.
        X509CertificationRequest::from_der(&request.der()).unwrap();
        if let Some(openssl) = openssl_verdict(&request.der()) {
            assert!(openssl.contains("verify OK"), "{openssl}");
        }
        let body = answer.json();
        assert_eq!(body["client_id"], emulator.client_id());
        assert_eq!(body["tenant_id"], emulator.tenant_id());
        assert_eq!(body["identity_type"], "SystemAssigned");
        assert_eq!(body["mtls_authentication_endpoint"], emulator.token_url());
    }
}

/// Returns the output of `openssl req -verify`, if OpenSSL is installed.
fn openssl_verdict(der: &[u8]) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("request.der");
    std::fs::write(&file, der).unwrap();
    let output = Command::new("openssl")
        .args(["req", "-inform", "DER", "-verify", "-noout", "-in"])
        .arg(&file)
        .output();
    // OpenSSL 1 and 3 use different streams.
    output.ok().map(|output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test]
async fn invalid_request_is_refused_with_its_rule() {
    let emulator = Emulator::start().await.unwrap();
    let (tenant, client) = (emulator.tenant_id().to_owned(), emulator.client_id().to_owned());
    let cuid = platform_metadata(&emulator).await["cuId"].to_string();
    let key = Key::rsa();
    let other_key = Key::p256();
    let larger = Key::Rsa(aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa3072).unwrap());

    type Corrupt<'a> = Box<dyn Fn(&mut Csr<'_>) + 'a>;
    let cases: Vec<(&str, &str, Corrupt<'_>)> = vec![
        ("csr_version", "version 1", Box::new(|csr| csr.version = vec![1])),
        (
            "csr_subject",
            "CN before DC",
            Box::new(|csr| {
                csr.subject = tlv(0x30, &[&common_name(0x13, &client), &domain_component(0x16, &tenant)]);
            }),
        ),
        (
            "csr_subject",
            "DC as UTF8String",
            Box::new(|csr| {
                csr.subject = tlv(0x30, &[&domain_component(0x0c, &tenant), &common_name(0x13, &client)]);
            }),
        ),
        (
            "csr_subject",
            "CN as UTF8String",
            Box::new(|csr| {
                csr.subject = tlv(0x30, &[&domain_component(0x16, &tenant), &common_name(0x0c, &client)]);
            }),
        ),
        (
            "csr_subject",
            "another client",
            Box::new(|csr| {
                csr.subject = tlv(0x30, &[&domain_component(0x16, &tenant), &common_name(0x13, &tenant)]);
            }),
        ),
        ("csr_subject", "no DC", Box::new(|csr| csr.subject = tlv(0x30, &[&common_name(0x13, &client)]))),
        ("csr_attribute_count", "no attributes", Box::new(|csr| csr.attributes = tlv(0xa0, &[]))),
        (
            "csr_attribute_count",
            "two attributes",
            Box::new(|csr| csr.attributes = tlv(0xa0, &[&attribute(&[&cuid]), &attribute(&[&cuid])])),
        ),
        (
            "csr_compute_unit",
            "two values",
            Box::new(|csr| csr.attributes = tlv(0xa0, &[&attribute(&[&cuid, &cuid])])),
        ),
        (
            "csr_compute_unit",
            "another machine",
            Box::new(|csr| csr.attributes = tlv(0xa0, &[&attribute(&[r#"{"vmId":"another"}"#])])),
        ),
        (
            "csr_compute_unit",
            "JSON that is not compact",
            Box::new(|csr| csr.attributes = tlv(0xa0, &[&attribute(&[&cuid.replace(':', ": ")])])),
        ),
        ("csr_signature_algorithm", "salt 20", Box::new(|csr| csr.algorithm = hex(PSS_SALT_20))),
        ("csr_signature_algorithm", "NULL parameters", Box::new(|csr| csr.algorithm = hex(PSS_WITH_NULLS))),
        (
            "csr_signature_algorithm",
            "PKCS#1 v1.5",
            Box::new(|csr| {
                csr.algorithm = hex(RSA_PKCS1);
                csr.pkcs1 = true;
            }),
        ),
        ("csr_signature_algorithm", "ECDSA for an RSA key", Box::new(|csr| csr.algorithm = hex(ECDSA))),
        ("csr_signature", "a corrupted signature", Box::new(|csr| csr.corrupt_signature = true)),
        ("csr_signature", "PKCS#1 v1.5 labelled as PSS", Box::new(|csr| csr.pkcs1 = true)),
        ("csr_signature", "another key's signature", Box::new(|csr| csr.spki = larger.spki())),
        (
            "csr_public_key",
            "no parameters for RSA",
            Box::new(|csr| {
                let Key::Rsa(key) = &key else { unreachable!() };
                let public = aws_lc_rs::signature::KeyPair::public_key(key).as_ref();
                csr.spki = tlv(0x30, &[&hex("300b06092a864886f70d010101"), &tlv(3, &[&[0], public])]);
            }),
        ),
        ("csr_public_key", "RSA of 1024 bits", Box::new(|csr| csr.spki = rsa_spki_of(1024))),
        ("csr_public_key", "RSA of 2047 bits", Box::new(|csr| csr.spki = rsa_spki_of(2047))),
        ("csr_trailing_data", "an octet after the request", Box::new(|csr| csr.after = vec![0])),
        ("csr_trailing_data", "an element in the request", Box::new(|csr| csr.after_signature = vec![5, 0])),
        ("csr_structure", "a subject that is not a sequence", Box::new(|csr| csr.subject = vec![5, 0])),
    ];
    for (rule, case, corrupt) in cases {
        let mut csr = Csr::new(&key, &tenant, &client, &cuid);
        corrupt(&mut csr);
        let answer = issue(&emulator, &csr.base64()).await;
        let body = answer.json();
        assert_eq!((answer.status.as_u16(), body["reason"].as_str()), (400, Some(rule)), "{case}: {body}");
        assert_eq!(emulator.journal().last(Step::IssueCredential).unwrap().reason, Some(rule));
    }
    assert!(emulator.issued().is_empty());

    let valid = Csr::new(&other_key, &tenant, &client, &cuid);
    assert_eq!(issue(&emulator, &valid.base64()).await.status, 200, "the unchanged request is valid");
}

/// Returns an RSA key of this size as SPKI. It cannot sign; the size is checked first.
fn rsa_spki_of(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] >>= modulus.len() * 8 - bits;
    let sign: &[u8] = if modulus[0] & 0x80 == 0 { &[] } else { &[0] };
    let key = tlv(0x30, &[&tlv(2, &[sign, &modulus]), &tlv(2, &[&[1, 0, 1]])]);
    tlv(0x30, &[&hex(crate::csr::RSA_SPKI_ALGORITHM), &tlv(3, &[&[0], &key])])
}

#[tokio::test]
async fn invalid_issuance_call_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    let key = Key::p256();
    let csr = csr(&emulator, &key).await.base64();
    let client = Client::new(&emulator, None);
    let url = format!("{}/metadata/identity/issuecredential?cred-api-version=2.0", emulator.imds_url());
    let request = |url: &str, metadata: bool, content_type: &str, body: String| {
        let request = Request::post(url).header("content-type", content_type);
        if metadata { request.header("metadata", "true") } else { request }.body(body).unwrap()
    };
    let body = json!({ "csr": csr }).to_string();
    let json = "application/json";
    let halves = csr.split_at(64);
    for (reason, request) in [
        ("metadata_header", request(&url, false, json, body.clone())),
        ("content_type", request(&url, true, "text/plain", body.clone())),
        ("csr_missing", request(&url, true, json, "{}".to_owned())),
        ("csr_missing", request(&url, true, json, "not JSON".to_owned())),
        (
            "csr_base64",
            request(&url, true, json, json!({ "csr": format!("{}\n{}", halves.0, halves.1) }).to_string()),
        ),
        (
            "csr_base64",
            request(
                &url,
                true,
                json,
                json!({ "csr": csr.trim_end_matches('=').to_owned() + "!" }).to_string(),
            ),
        ),
        ("unsupported_query", request(&format!("{url}&msi_res_id=x"), true, json, body.clone())),
        ("api_version", request(&url.replace("2.0", "1.0"), true, json, body.clone())),
        // The request is for the system-assigned identity.
        (
            "csr_subject",
            request(
                &format!("{url}&client_id={}", &emulator.user_assigned().client_id),
                true,
                json,
                body.clone(),
            ),
        ),
    ] {
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.json()["reason"]), (400, &reason.into()));
    }
    assert_eq!(
        client.send(request(&format!("{url}&bypass_cache=true"), true, json, body)).await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn attestation_token_is_required() {
    let emulator = Emulator::builder().attestation_required().start().await.unwrap();
    let key = Key::p256();
    let csr = csr(&emulator, &key).await.base64();
    assert_eq!(issue(&emulator, &csr).await.json()["reason"], "attestation_token");
    let mut request = issuance(&emulator, &csr);
    *request.body_mut() = json!({ "csr": csr, "attestation_token": "header.claims.signature" }).to_string();
    assert_eq!(Client::new(&emulator, None).send(request).await.unwrap().status, 200);
    let journal = emulator.journal();
    let attested: Vec<_> = journal.of(Step::IssueCredential).map(|entry| entry.attested).collect();
    assert_eq!(attested, [false, true]);
}

#[tokio::test]
async fn certificate_has_the_subject_and_key() {
    let now = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let emulator = Emulator::builder()
        .clock(SharedClock::new(ManualClock::at(now)))
        .certificate_lifetime(Duration::from_secs(1000))
        .token_not_after(Some(Duration::from_secs(500)))
        .start()
        .await
        .unwrap();
    let key = Key::rsa();
    let request = csr(&emulator, &key).await;
    let answer = issue(&emulator, &request.base64()).await.json();
    let der = Base64::decode_vec(answer["certificate"].as_str().unwrap()).unwrap();

    let (rest, certificate) = X509Certificate::from_der(&der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(certificate.subject().as_raw(), request.subject);
    assert_eq!(certificate.public_key().raw, key.spki());
    assert_eq!(certificate.validity().not_before.timestamp(), 1_900_000_000 - 300);
    assert_eq!(certificate.validity().not_after.timestamp(), 1_900_001_000);
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    let extension =
        certificate.extensions().iter().find(|one| one.oid.to_id_string() == "1.3.6.1.4.1.311.90.2.1");
    let extension = extension.unwrap();
    assert!(!extension.critical);
    // 1900000500 is 2030-03-17 17:55:00 UTC.
    assert_eq!(extension.value, b"\x18\x0f20300317175500Z");
    let (_, ca) = X509Certificate::from_der(emulator.ca_der()).unwrap();
    assert_eq!(certificate.issuer().as_raw(), ca.subject().as_raw());

    let issued = emulator.issued();
    assert_eq!(issued.len(), 1);
    assert_eq!(issued[0].der, der);
    assert_eq!(issued[0].client_id, emulator.client_id());
    assert_eq!(issued[0].tenant_id.as_deref(), Some(emulator.tenant_id()));
    assert_eq!(issued[0].not_before, now - Duration::from_secs(300));
    assert_eq!(issued[0].not_after, now + Duration::from_secs(1000));
    assert_eq!(issued[0].token_not_after, Some(now + Duration::from_secs(500)));
}

#[tokio::test]
async fn issued_certificates_are_listed_in_order() {
    let emulator = Emulator::start().await.unwrap();
    let key = Key::p256();
    let first = certified(&emulator, &key).await;
    let second = certified(&emulator, &key).await;
    assert_ne!(first.thumbprint(), second.thumbprint());
    let issued = emulator.issued();
    let listed: Vec<_> = issued.iter().map(|one| one.thumbprint).collect();
    assert_eq!(listed, [first.thumbprint(), second.thumbprint()]);
    let serial = |der: &[u8]| X509Certificate::from_der(der).unwrap().1.raw_serial().to_vec();
    assert_ne!(serial(&issued[0].der), serial(&issued[1].der));
}
