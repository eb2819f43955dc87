//! Responses that repeat secrets of the request.

use symbolon_token::{
    AuthorizationCode, ClientAssertion, ClientSecret, Error, FederatedUser, SignedAssertion, TokenClient,
    assertion_fn,
};
use symbolon_transport::{Request, RetryPolicy, transport_fn};
use symbolon_types::Secret;

use crate::env::{answer, at_endpoint};

/// A server may repeat the secrets of a request in its error, in the code and in any text, whatever
/// their length and encoding.
#[tokio::test]
async fn repeated_secrets_are_not_shown() {
    const SECRETS: [&str; 9] = [
        "s3cr3t",
        "a b&c\"d",
        "assert1",
        "user.1",
        "the.code",
        "verif1er",
        "refresh+1",
        "7000215",
        "cred3ntial",
    ];
    // The text of the response, made of the body of the request and the value of a parameter.
    type Repeat = fn(&str, &str) -> serde_json::Value;
    let repeats: [Repeat; 5] = [
        |_, value| serde_json::json!({"error": value, "error_description": format!("<{value}> is wrong")}),
        |_, value| serde_json::json!({"error": format!("bad_{}", value.to_ascii_uppercase())}),
        |body, _| serde_json::json!({"error": "invalid_grant", "error_description": body}),
        |_, value| serde_json::json!({"error": "x", "error_codes": [value], "suberror": value}),
        |body, value| serde_json::json!({"message": format!("{body} <{value}>")}),
    ];
    for repeat in repeats {
        for of in 0..12 {
            let transport = transport_fn(move |request: Request| async move {
                let body = String::from_utf8(request.body().to_vec()).unwrap();
                let parameters: Vec<_> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
                let (_, value) = &parameters[of % parameters.len()];
                answer(400, repeat(&body, value))
            });
            let client = |credential: ClientSecret| {
                TokenClient::builder(credential, transport.clone()).retry(RetryPolicy::once()).build()
            };
            let mut errors = Vec::new();
            for secret in ["s3cr3t", "a b&c\"d", "7000215"] {
                let client = client(ClientSecret::new(at_endpoint(), Secret::new(secret)).unwrap());
                errors.push(client.token("api").await.unwrap_err());
                errors.push(client.on_behalf_of(&Secret::new("user.1"), "api").await.unwrap_err());
                let (user, credential) = (FederatedUser::Name("user".to_owned()), Secret::new("cred3ntial"));
                let request = client.token_for_federated_user(&user, &credential, "api");
                errors.push(request.await.unwrap_err());
                let refresh_token = Secret::new("refresh+1");
                errors.push(client.redeem_refresh_token(&refresh_token, "api").await.unwrap_err());
                let code = AuthorizationCode::new(Secret::new("the.code"), "https://app.example/".to_owned());
                let code = code.with_verifier(Secret::new("verif1er"));
                errors.push(client.redeem_code(&code, "api").await.unwrap_err());
            }
            let source =
                assertion_fn(|_| async { Ok::<_, Error>(SignedAssertion::new(Secret::new("assert1"))) });
            let asserting =
                TokenClient::builder(ClientAssertion::new(at_endpoint(), source), transport.clone());
            errors.push(asserting.retry(RetryPolicy::once()).build().token("api").await.unwrap_err());
            for error in errors {
                let facts = (error.code(), error.suberror(), error.excerpt());
                let shown = format!("{error} {error:?} {error:#?} {facts:?}");
                let shown = shown.to_lowercase();
                for secret in SECRETS.map(str::to_owned).into_iter().chain(SECRETS.map(encoded)) {
                    assert!(!shown.contains(&secret.to_lowercase()), "{secret}: {shown}");
                }
            }
        }
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
