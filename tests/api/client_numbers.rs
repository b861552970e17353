//! Which sources authenticate as the same client.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

#[cfg(feature = "on-behalf-of")]
use tower_bearer::grant::{JwtBearer, OnBehalfOf, Subject, TokenExchange};
use tower_bearer::{
    AccessToken, Error, PasswordGrant, Reason, TokenSource,
    grant::{AuthorizationServer, ClientAuth, ClientCredentials, Secret},
    source::{Narrowing, from_fn},
    store::{MemoryStore, SealingKey, SealingKeys, SharedStore, Stored},
};

use crate::support::{issuer, token};

fn number(server: impl Into<AuthorizationServer>, auth: ClientAuth, user: &str) -> u64 {
    let grant = PasswordGrant::builder(server).client_auth(auth).credentials(user, "user-password");
    grant.build_with(issuer().service()).unwrap().client().unwrap()
}

fn of(auth: ClientAuth) -> u64 {
    number("https://issuer.test/token", auth, "user1")
}

#[test]
fn the_users_and_the_scopes_of_one_client_have_its_number() {
    let basic = || ClientAuth::basic("client1", "s3cret");
    let one = of(basic());
    assert_eq!(number("https://issuer.test/token", basic(), "user2"), one);
    let scoped = ClientCredentials::builder("https://issuer.test/token").client_auth(basic()).scope("a");
    let scoped = scoped.build_with(issuer().service()).unwrap();
    assert_eq!(scoped.client(), Some(one));
    let narrowed = scoped.narrowed(&Narrowing::new().with_scope("b").unwrap()).unwrap();
    assert_eq!(narrowed.client(), Some(one));
    assert_eq!(Arc::new(Box::new(narrowed)).boxed().client(), Some(one), "it is passed through");
    assert_eq!(from_fn(|_| async { Ok(token(1)) }).client(), None);
}

#[test]
fn another_server_id_method_or_secret_is_another_client() {
    let all = [
        of(ClientAuth::basic("client1", "s3cret")),
        of(ClientAuth::basic("client2", "s3cret")),
        of(ClientAuth::basic("client1", "other")),
        of(ClientAuth::basic("client1", Secret::env("s3cret"))),
        of(ClientAuth::basic("client1", Secret::file("s3cret"))),
        of(ClientAuth::post("client1", "s3cret")),
        of(ClientAuth::none("client1")),
        of(ClientAuth::tls_client_auth("client1")),
        of(ClientAuth::assertion_from("client1", "s3cret")),
        number("https://issuer.test/other", ClientAuth::basic("client1", "s3cret"), "user1"),
        number(AuthorizationServer::issuer("https://issuer.test"), ClientAuth::basic("client1", "s3cret"), "user1"),
    ];
    for (n, number) in all.iter().enumerate() {
        assert!(!all[..n].contains(number), "{n}");
    }
}

/// Of two grants in a chain, each can be refused.
#[cfg(feature = "on-behalf-of")]
#[test]
fn the_users_of_a_grant_have_the_number_of_its_client_and_of_the_one_before() {
    let number = |users: &OnBehalfOf, user: &str| users.source(Subject::new(user)).client().unwrap();
    let exchange = |client| {
        let builder =
            TokenExchange::builder("https://issuer.test/token").client_auth(ClientAuth::basic(client, "s3cret"));
        // What `assertion_from` requires.
        let builder = builder.audience("https://api.test");
        builder.for_users_with(issuer().service()).unwrap()
    };
    let chain = |provider| {
        let builder = JwtBearer::builder("https://api.test/token").client_auth(ClientAuth::basic("client1", "s3cret"));
        builder.assertion_from(exchange(provider)).for_users_with(issuer().service()).unwrap()
    };
    for (one, same, other) in [
        (exchange("client1"), exchange("client1"), exchange("client2")),
        (chain("client1"), chain("client1"), chain("client2")),
    ] {
        assert_eq!(number(&one, "ada"), number(&same, "bob"));
        assert_ne!(number(&one, "ada"), number(&other, "ada"));
    }
}

#[test]
fn a_new_secret_has_a_new_number() {
    let version = Arc::new(AtomicU64::new(1));
    let current = Arc::clone(&version);
    let secret = Secret::from_fn(async || Ok("s3cret".into())).with_version(move || current.load(SeqCst));
    let grant = PasswordGrant::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", secret))
        .credentials("user1", "user-password")
        .build_with(issuer().service())
        .unwrap();
    let before = grant.client();
    assert_eq!(grant.client(), before);
    version.store(2, SeqCst);
    assert_ne!(grant.client(), before);
}

#[test]
fn what_is_stored_has_the_client_and_the_issuer_of_its_source() {
    let store = SharedStore::builder(MemoryStore::new(), SealingKeys::new(SealingKey::new(&[7; 32]))).build();
    let grant = PasswordGrant::builder(AuthorizationServer::issuer("https://issuer.test"))
        .client_auth(ClientAuth::basic("client1", "s3cret"))
        .credentials("user1", "user-password")
        .build_with(issuer().service())
        .unwrap();
    let (client, issuer) = (grant.client(), grant.issuer());
    assert!(client.is_some() && issuer.is_some());
    let stored = Stored::new(grant, &store);
    assert_eq!((stored.client(), stored.issuer()), (client, issuer));
}

#[test]
fn what_is_stored_has_the_version_and_the_faults_of_its_source() {
    struct Versioned;

    impl TokenSource for Versioned {
        async fn obtain(&self, _: Reason) -> Result<AccessToken, Error> {
            Ok(token(1))
        }

        fn credentials_version(&self) -> u64 {
            7
        }

        fn check(&self) -> Result<(), Error> {
            Err(Error::terminal("incomplete"))
        }
    }

    let store = SharedStore::builder(MemoryStore::new(), SealingKeys::new(SealingKey::new(&[7; 32]))).build();
    let stored = Stored::new(Versioned, &store);
    assert_eq!(stored.credentials_version(), 7);
    assert!(stored.check().is_err());
}
