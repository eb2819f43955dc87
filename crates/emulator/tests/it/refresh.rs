//! Tests of refresh tokens.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use symbolon_emulator::{Emulator, Step};
use symbolon_types::{ManualClock, SharedClock};

use crate::delegated::{
    EVERYTHING, MIDDLE_TIER, OTHER, VAULT, builder, claims, grant, on_behalf_of, refresh, refusal, send,
    text, with, without,
};

#[tokio::test]
async fn replaced_refresh_token_stays_valid() {
    let emulator = builder().start().await.unwrap();
    let assertion = emulator.user_token(MIDDLE_TIER).await.unwrap();
    let first = send(&emulator, &on_behalf_of(&assertion, EVERYTHING)).await;
    let first_token = text(&first, "refresh_token");
    // Another resource and a new refresh token; the old one is used again.
    let scope = "api://other/read api://other/write offline_access";
    let second = send(&emulator, &refresh(first_token, scope)).await;
    let again = send(&emulator, &refresh(first_token, VAULT)).await;
    assert_eq!(claims(text(&second, "access_token"))["aud"], "api://other");
    assert_eq!(claims(text(&second, "access_token"))["scp"], "read write");
    assert_eq!(second["scope"], "api://other/read api://other/write");
    assert_ne!(text(&second, "refresh_token"), first_token);
    assert!(again["refresh_token"].is_null(), "no refresh token was requested");
    let user = &claims(&assertion)["oid"];
    assert_eq!(
        (&claims(text(&again, "access_token"))["oid"], &again["token_type"]),
        (user, &json!("Bearer"))
    );
    // Without a scope, the scope of the refresh token applies (RFC 6749 §6).
    let third = send(&emulator, &without(&refresh(text(&second, "refresh_token"), ""), "scope")).await;
    assert_eq!(claims(text(&third, "access_token"))["scp"], "read write");
    text(&third, "refresh_token");

    let of_other = with(&refresh(first_token, VAULT), "client_id", OTHER);
    assert_eq!(refusal(&send(&emulator, &of_other).await), grant(70_000));
    let reason =
        |emulator: &Emulator| emulator.journal().last(Step::Token).unwrap().reason.unwrap().to_owned();
    assert_eq!(reason(&emulator), "refresh_token_of_other_client");
    assert_eq!(refusal(&send(&emulator, &refresh("unknown", VAULT)).await), grant(70_000));
    assert_eq!(reason(&emulator), "refresh_token_unknown");
}

#[tokio::test]
async fn refresh_token_expires_after_90_days() {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let emulator = builder().clock(SharedClock::new(clock.clone())).start().await.unwrap();
    let assertion = emulator.user_token(MIDDLE_TIER).await.unwrap();
    let first = send(&emulator, &on_behalf_of(&assertion, EVERYTHING)).await;
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    clock.advance(days(90) - Duration::from_secs(1));
    let second = send(&emulator, &refresh(text(&first, "refresh_token"), EVERYTHING)).await;
    clock.advance(Duration::from_secs(1));
    let late = send(&emulator, &refresh(text(&first, "refresh_token"), EVERYTHING)).await;
    assert_eq!(refusal(&late), grant(70_008));
    clock.advance(days(89));
    text(&send(&emulator, &refresh(text(&second, "refresh_token"), EVERYTHING)).await, "access_token");
}
