//! Connection tokens: whom they let in, and what a bad one gets.

use std::io::Write;

use chassis::testing::{Issuer, jwks};
use serde_json::{Value, json};

use crate::harness::{Client, SECRET, Stage, claims, token, unix};

/// The reply to `connect` with this token.
async fn connect(stage: &Stage, token: &str) -> Value {
    stage.socket().await.ask("connect", json!({ "token": token })).await
}

async fn assert_ends(stage: &Stage, what: &str, token: &str) {
    let mut client: Client = stage.socket().await;
    client.send("connect", json!({ "token": token })).await;
    assert_eq!(client.closed().await, 3500, "{what}");
}

/// A key set as a file.
fn key_file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

#[tokio::test]
async fn a_good_token_says_who_it_is_and_how_long() {
    let stage = Stage::start().await;
    let token = claims(json!({ "sub": "ann", "name": "Ann", "exp": unix() + 3600 }));
    let reply = connect(&stage, &token).await["connect"].clone();
    let ttl = reply["ttl"].as_u64().unwrap();
    assert!((3590..=3600).contains(&ttl), "{ttl}");
    assert_eq!(reply["expires"], true);
    assert!(reply["subs"]["user:ann"]["positioned"].as_bool().unwrap());
    let mut bob = stage.connect("bob").await;
    bob.subscribe("lobby").await;
    let mut ann = stage.socket().await;
    ann.ask("connect", json!({ "token": token })).await;
    ann.publish("lobby", json!(1)).await;
    let info = bob.publication().await["info"].clone();
    assert_eq!((&info["user"], &info["conn_info"]), (&json!("ann"), &json!({ "name": "Ann" })));
}

#[tokio::test]
async fn without_a_token_one_is_anonymous_where_that_is_allowed() {
    let stage = Stage::start().await;
    for connect in [json!({}), json!({ "token": "" }), json!({ "token": null })] {
        let reply = stage.socket().await.ask("connect", connect).await["connect"].clone();
        assert!(reply["client"].is_string(), "{reply}");
        assert_eq!((&reply["subs"], &reply["expires"]), (&Value::Null, &Value::Null));
    }
    let token = claims(json!({ "exp": unix() + 60 }));
    assert_eq!(connect(&stage, &token).await["connect"]["subs"], Value::Null);
}

#[tokio::test]
async fn without_a_token_one_is_refused_where_a_token_is_needed() {
    let stage = Stage::with(&[("ALLOW_ANONYMOUS", "false")]).await;
    for token in [String::new(), claims(json!({ "exp": unix() + 60 })), claims(json!({}))] {
        let reply = connect(&stage, &token).await;
        assert_eq!(reply["error"]["code"], 101, "{reply}");
        assert_eq!(reply["error"]["reason"], "token_required");
    }
    assert!(connect(&stage, &token("ann")).await["connect"].is_object());
}

#[tokio::test]
async fn a_malformed_token_ends_the_connection() {
    let stage = Stage::start().await;
    let good = token("ann");
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = head.split_once('.').unwrap();
    for (what, bad) in [
        ("a word", "nonsense".to_owned()),
        ("points", "..".to_owned()),
        ("no signature", format!("{head}.")),
        ("a part too many", format!("{good}.AAAA")),
        ("a changed payload", format!("{header}.{payload}e30.{signature}")),
        ("parts of another order", format!("{payload}.{header}.{signature}")),
        ("white space", format!(" {good}")),
        ("too long", format!("{good}{}", "A".repeat(8192))),
        ("a number for a user", claims(json!({ "sub": 7 }))),
        ("a user nobody can see", claims(json!({ "sub": "a\u{202e}b" }))),
        ("a date that is none", claims(json!({ "sub": "ann", "exp": "soon" }))),
    ] {
        assert_ends(&stage, what, &bad).await;
    }
}

#[tokio::test]
async fn an_expired_token_is_to_be_refreshed() {
    let stage = Stage::start().await;
    // Clocks may differ by 30 seconds.
    let reply = connect(&stage, &claims(json!({ "sub": "ann", "exp": unix() - 31 }))).await;
    assert_eq!(reply["error"]["code"], 109, "{reply}");
    let reply = connect(&stage, &claims(json!({ "sub": "ann", "exp": unix() - 10 }))).await;
    assert_eq!(reply["connect"]["ttl"], 1, "a ttl of 0 would mean that it never ends");
}

#[tokio::test]
async fn a_token_that_is_not_valid_yet_ends_the_connection() {
    let stage = Stage::start().await;
    for claim in ["nbf", "iat"] {
        assert_ends(&stage, claim, &claims(json!({ "sub": "ann", claim: unix() + 60 }))).await;
        let soon = claims(json!({ "sub": "ann", claim: unix() + 20 }));
        assert!(connect(&stage, &soon).await["connect"].is_object(), "{claim} within the skew");
    }
}

#[tokio::test]
async fn a_token_for_another_audience_or_from_another_issuer_ends_the_connection() {
    let stage = Stage::with(&[("JWT_AUDIENCE", "chat"), ("JWT_ISSUER", "veza")]).await;
    let token = |aud: Value, iss: &str| claims(json!({ "sub": "ann", "aud": aud, "iss": iss }));
    for (what, bad) in [
        ("another audience", token(json!("shop"), "veza")),
        ("other audiences", token(json!(["shop", "mail"]), "veza")),
        ("no audience", claims(json!({ "sub": "ann", "iss": "veza" }))),
        ("another issuer", token(json!("chat"), "evil")),
        ("no issuer", claims(json!({ "sub": "ann", "aud": "chat" }))),
    ] {
        assert_ends(&stage, what, &bad).await;
    }
    for aud in [json!("chat"), json!(["shop", "chat"])] {
        assert!(connect(&stage, &token(aud, "veza")).await["connect"].is_object());
    }
}

#[tokio::test]
async fn a_token_signed_by_another_key_ends_the_connection() {
    let known = Issuer::ed_dsa("one");
    let file = key_file(&known.jwks());
    let previous = "the secret before the last rotation, long enough";
    let stage = Stage::with(&[
        ("JWKS_FILE", file.path().to_str().unwrap()),
        ("JWT_SECRET_PREVIOUS", previous),
    ])
    .await;
    let body = json!({ "sub": "ann", "exp": unix() + 60 });
    for (what, bad) in [
        ("another secret", Issuer::hs256(b"another secret").token(&body)),
        ("no secret", Issuer::hs256(b"").token(&body)),
        ("another key of the same id", Issuer::ed_dsa("one").token(&body)),
        ("a key of an unknown id", Issuer::ed_dsa("two").token(&body)),
        ("a key of an unknown kind", Issuer::es256("one").token(&body)),
    ] {
        assert_ends(&stage, what, &bad).await;
    }
    for good in [
        known.token(&body),
        Issuer::hs256(SECRET.as_bytes()).token(&body),
        Issuer::hs256(previous.as_bytes()).token(&body),
    ] {
        assert!(connect(&stage, &good).await["connect"].is_object());
    }
}

#[tokio::test]
async fn every_kind_of_public_key_lets_its_own_tokens_in() {
    let issuers = [Issuer::ed_dsa("ed"), Issuer::es256("es"), Issuer::rs256("rs")];
    let file = key_file(&jwks(&issuers));
    let stage = Stage::with(&[("JWKS_FILE", file.path().to_str().unwrap())]).await;
    for issuer in &issuers {
        let token = issuer.token(&json!({ "sub": "ann", "exp": unix() + 60 }));
        assert!(connect(&stage, &token).await["connect"].is_object(), "{issuer:?}");
    }
}

#[tokio::test]
async fn a_token_without_a_signature_ends_the_connection() {
    let stage = Stage::start().await;
    let secret = Issuer::hs256(SECRET.as_bytes());
    let body = json!({ "sub": "ann", "exp": unix() + 60 });
    for alg in ["none", "None", "NONE", "nOnE", "", "HS512", "hs256"] {
        let signed = secret.token_with_header(&json!({ "alg": alg, "typ": "JWT" }), &body);
        assert_ends(&stage, alg, &signed).await;
        let (unsigned, _) = signed.rsplit_once('.').unwrap();
        assert_ends(&stage, alg, &format!("{unsigned}.")).await;
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret_to_sign_with() {
    let issuer = Issuer::rs256("rs");
    let set = issuer.jwks();
    let file = key_file(&set);
    let stage = Stage::with(&[("JWKS_FILE", file.path().to_str().unwrap())]).await;
    let jwk = issuer.jwk();
    let modulus = jwk["n"].as_str().unwrap();
    let body = json!({ "sub": "ann", "exp": unix() + 60 });
    for public in [&set, &jwk.to_string(), modulus, &format!("{modulus}AQAB")] {
        for header in [
            json!({ "alg": "HS256", "kid": "rs" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "RS256", "kid": "rs" }),
        ] {
            let forged = Issuer::hs256(public.as_bytes()).token_with_header(&header, &body);
            assert_ends(&stage, &header.to_string(), &forged).await;
        }
    }
    assert!(connect(&stage, &issuer.token(&body)).await["connect"].is_object());
}

#[tokio::test]
async fn a_subscription_token_opens_no_connection() {
    let stage = Stage::start().await;
    let token = claims(json!({ "sub": "ann", "channel": "lobby", "exp": unix() + 60 }));
    assert_ends(&stage, "a token for one channel", &token).await;
}

#[tokio::test]
async fn the_feed_of_a_user_with_a_long_and_spaced_name_works_like_any_other() {
    let stage = Stage::start().await;
    let user = format!("Ann {}", "ü".repeat(120));
    let mut ann = stage.connect(&user).await;
    let feed = format!("user:{user}");
    stage.control.publish(&feed, chat_server::protocol::Json::parse(b"1").unwrap()).await.unwrap();
    assert_eq!(ann.push("pub").await["channel"], feed);
    let history = ann.ask("history", json!({ "channel": feed, "limit": -1 })).await;
    assert_eq!(history["history"]["publications"][0]["data"], 1);
}
