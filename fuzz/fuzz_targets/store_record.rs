//! What a store gives back for a record. The first byte chooses whether the sealing is real, or none, so that the record
//! itself is read.
#![no_main]

use std::{
    collections::BTreeSet,
    convert::Infallible,
    hash::{DefaultHasher, Hasher},
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};

use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tower_bearer::{
    PasswordGrant, Reason, TokenSource,
    grant::ClientAuth,
    store::{
        Lease, LeaseAnswer, LeaseOwner, Loaded, Sealing, SealingKey, SealingKeys, SharedStore, StoreError, StoreKey,
        Stored, TokenStore,
    },
};
use tower_bearer_fuzz::{answer, assert_hidden, debugged, run, shown};

/// The time of day in the records of the corpus.
const NOW: Duration = Duration::from_secs(1_795_800_000);

/// A store with one record, and a lease for everybody.
#[derive(Clone)]
struct OneRecord(Arc<Mutex<Option<Vec<u8>>>>);

impl TokenStore for OneRecord {
    async fn load(&self, _: StoreKey) -> Result<Loaded, StoreError> {
        Ok(Loaded::new(self.0.lock().unwrap().clone(), None))
    }

    async fn lease(&self, _: StoreKey, owner: LeaseOwner, _: Duration) -> Result<LeaseAnswer, StoreError> {
        Ok(LeaseAnswer::Given(Lease { owner, fence: 1 << 40 }))
    }

    async fn commit(&self, _: StoreKey, _: Lease, record: Vec<u8>, keep: Duration) -> Result<bool, StoreError> {
        assert!(!keep.is_zero());
        *self.0.lock().unwrap() = Some(record);
        Ok(true)
    }

    async fn release(&self, _: StoreKey, _: Lease) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Seals nothing. Its hashes are always the same, so that the corpus knows them.
struct Unsealed;

impl Sealing for Unsealed {
    fn seal(&self, record: &[u8], _: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(record.to_vec())
    }

    fn open(&self, sealed: &[u8], _: &[u8]) -> Option<Vec<u8>> {
        Some(sealed.to_vec())
    }

    fn hash(&self, data: &[u8]) -> [u8; 32] {
        let mut hash = DefaultHasher::new();
        hash.write(data);
        let hash = hash.finish().to_be_bytes();
        std::array::from_fn(|at| hash[at % 8])
    }
}

/// What the issuer has sent, and what it was sent.
#[derive(Default)]
struct Issued {
    tokens: u32,
    refresh_tokens_used: Vec<String>,
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, record)) = bytes.split_first() else { return };
    if *kind == b's' {
        sealed(record);
    } else {
        run(unsealed(record));
    }
});

/// What was not sealed with the key is not opened, and what was sealed is.
fn sealed(bytes: &[u8]) {
    let keys = || SealingKeys::new(SealingKey::new(&[1; 32]));
    assert_eq!(keys().open(bytes, b"name"), None);
    let mut sealed = keys().seal(bytes, b"name").unwrap();
    assert_eq!(keys().open(&sealed, b"name").as_deref(), Some(bytes));
    assert_eq!(keys().open(&sealed, b"other name"), None);
    assert_eq!(SealingKeys::new(SealingKey::new(&[2; 32])).open(&sealed, b"name"), None);
    assert!(sealed.len() < bytes.len() + 256);
    let at = bytes.first().map_or(0, |byte| usize::from(*byte)) % sealed.len();
    sealed[at] ^= 1;
    assert_eq!(keys().open(&sealed, b"name"), None);
}

/// A record that anybody may have written costs a token request at most, and shows nothing.
async fn unsealed(record: &[u8]) {
    let issued: Arc<Mutex<Issued>> = Arc::default();
    let one = OneRecord(Arc::new(Mutex::new(Some(record.to_vec()))));
    let process = || {
        let issued = Arc::clone(&issued);
        let http = tower::service_fn(move |request: http::Request<http_body_util::Full<bytes::Bytes>>| {
            let issued = Arc::clone(&issued);
            async move {
                let form = request.into_body().collect().await?.to_bytes();
                let mut issued = issued.lock().unwrap();
                issued.tokens += 1;
                let used = form_urlencoded::parse(&form).find(|(name, _)| name == "refresh_token");
                issued.refresh_tokens_used.extend(used.map(|(_, token)| token.into_owned()));
                // Other numbers than those in the corpus.
                let number = 100 + issued.tokens;
                let text = format!(
                    "200\n\n{{\"access_token\":\"fresh-{number}\",\"refresh_token\":\"renew-{number}\",\"expires_in\":3600,\"scope\":\"a b\",\"patient\":\"p\"}}"
                );
                Ok::<_, Infallible>(answer(text.as_bytes()))
            }
        });
        let grant = PasswordGrant::builder("https://auth.test/token")
            .client_auth(ClientAuth::none("client-1"))
            .credentials("ada", "pa55word")
            .build_with(http);
        let store = SharedStore::builder(one.clone(), Unsealed).wall_clock(|| UNIX_EPOCH + NOW);
        Stored::new(grant.unwrap(), &store.build())
    };
    let (a, b) = (process(), process());
    let began = Instant::now();
    let texts = texts(record);
    let secrets: Vec<&str> = texts.iter().map(String::as_str).collect();
    let first = a.obtain(Reason::First).await;
    match &first {
        Ok(token) => assert!(token.secret().starts_with("fresh-") || says(record, token.secret())),
        Err(error) => {
            assert!(error.is_elsewhere(), "{error}");
            assert_hidden(&shown(error), &secrets);
        }
    }
    assert_hidden(&debugged(&(&a, a.status(), first.as_ref().ok())), &secrets);

    // A token that was rejected does not come back, in this process or in another one.
    if let Ok(rejected) = first {
        let second = a.obtain(Reason::rejected(rejected.clone())).await;
        // Whoever has the key may write a record that has a token under the hash of another one.
        let is_known = !says(record, rejected.secret());
        if let Ok(second) = &second {
            assert!(!is_known || second.secret() != rejected.secret());
        }
        sleep(Duration::from_secs(1)).await;
        if let (Ok(second), Ok(other)) = (second, b.obtain(Reason::First).await) {
            assert!(!is_known || other.secret() != rejected.secret());
            if second.secret().starts_with("fresh-") {
                assert_eq!(other.secret(), second.secret());
                assert_eq!((other.scope(), other.lifetime()), (second.scope(), second.lifetime()));
                assert_eq!(other.response::<Value>().unwrap(), second.response::<Value>().unwrap());
            }
        }
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let issued = issued.lock().unwrap();
    assert!(issued.tokens <= 6, "{}", issued.tokens);
    for used in &issued.refresh_tokens_used {
        assert!(used.starts_with("renew-") || says(record, used), "{used}");
    }
    let kept = one.0.lock().unwrap().as_ref().map_or(0, Vec::len);
    assert!(kept < 6 * record.len() + 4096, "{kept} bytes after {}", record.len());
}

/// Returns whether a record has this text.
fn says(record: &[u8], text: &str) -> bool {
    fn has(json: &Value, text: &str) -> bool {
        match json {
            Value::String(other) => other == text,
            Value::Array(items) => items.iter().any(|item| has(item, text)),
            Value::Object(members) => members.values().any(|item| has(item, text)),
            _ => false,
        }
    }
    // Of a member that comes twice, the reference keeps one.
    let json = record.get(1..).and_then(|json| serde_json::from_slice(json).ok());
    json.is_some_and(|json| has(&json, text)) || String::from_utf8_lossy(record).contains(text)
}

/// Returns the marked texts that must not be shown: those that are tokens and nothing else.
fn texts(record: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(record);
    let is_token_alone = text.matches("S3cr3t").count() == text.matches("\"text\":\"S3cr3t").count();
    if is_token_alone && text.contains("S3cr3t") { BTreeSet::from(["S3cr3t".to_owned()]) } else { BTreeSet::new() }
}
