//! Secrets in files, environment variables and other places.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tower_bearer::{
    PasswordGrant, Reason, TokenCache, TokenSource,
    grant::{ClientAuth, ClientCredentials, JwtBearer, PasswordGrantBuilder, Secret},
    testing::{Issuer, IssuerService},
};

use crate::support::scratch;

const URL: &str = "https://issuer.test/token";

fn builder(password: Secret) -> PasswordGrantBuilder {
    PasswordGrant::builder(URL)
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", password)
}

fn grant(issuer: &Issuer, password: Secret) -> PasswordGrant<IssuerService> {
    builder(password).build_with(issuer.service()).unwrap()
}

/// Mounts a secret as Kubernetes does: the file is a link into a folder, which is a link too and is replaced by
/// renaming.
#[cfg(unix)]
fn mount(file: &Path, version: &str, text: &str) {
    use std::os::unix::fs::symlink;
    let (folder, name) = (file.parent().unwrap(), file.file_name().unwrap());
    fs::create_dir_all(folder.join(version)).unwrap();
    fs::write(folder.join(version).join(name), text).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    if !file.exists() {
        symlink(Path::new("..data").join(name), file).unwrap();
    }
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_mounted_secret_that_is_swapped_ends_the_wait_after_a_refusal() {
    let file = scratch("password");
    mount(&file, "..v1", "user-wassword\n");
    let issuer = Issuer::new();
    let cache = TokenCache::new(grant(&issuer, Secret::file(&file)));
    assert_eq!(cache.token().await.unwrap_err().oauth_code(), Some("invalid_grant"));
    for _ in 0..100 {
        assert!(cache.token().await.unwrap_err().is_backing_off());
    }
    // The new file has the same length, and nearly the same modification time.
    mount(&file, "..v2", "user-password\n");
    cache.token().await.unwrap();
    assert_eq!(issuer.counts().password, 2);
}

/// A projected service-account token authenticates the client, and the kubelet replaces it before it expires.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_projected_service_account_token_that_rotates_authenticates_the_client() {
    let file = scratch("token");
    mount(&file, "..v1", "first.account.token");
    let issuer = Issuer::new();
    let auth = ClientAuth::assertion_from("client1", Secret::file(&file));
    let source = ClientCredentials::builder(URL).client_auth(auth).build_with(issuer.service()).unwrap();
    let cache = TokenCache::new(source);
    cache.token().await.unwrap_err();
    let sent = || issuer.last_request().unwrap().param("client_assertion").unwrap().to_owned();
    assert_eq!(sent(), "first.account.token");
    mount(&file, "..v2", "other.account.token");
    assert!(!cache.token().await.unwrap_err().is_backing_off(), "the new token is tried at once");
    assert_eq!((sent().as_str(), issuer.counts().token_requests), ("other.account.token", 2));
    let request = issuer.last_request().unwrap();
    assert_eq!(request.param("client_id"), Some("client1"));
    assert_eq!(request.param("client_assertion_type"), Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
}

/// The API of the cluster accepts the service-account token itself. The file is old when the program starts.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_projected_service_account_token_that_rotates_is_used_as_it_is() {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
    use tower_bearer::{AccessToken, source::from_fn};

    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let account = |issued: u64| {
        let claims = format!(r#"{{"iat":{issued},"exp":{}}}"#, issued + 3600);
        format!("{}.{}.c2ln", B64.encode(r#"{"alg":"RS256"}"#), B64.encode(claims))
    };
    let file = scratch("token");
    let (old, new) = (account(now - 3000), account(now));
    mount(&file, "..v1", &old);
    let path = file.clone();
    let cache = TokenCache::new(from_fn(move |_| {
        let read = fs::read_to_string(&path);
        async move { AccessToken::stored(read.map_err(tower_bearer::Error::transient)?) }
    }));
    assert_eq!(cache.token().await.unwrap().secret(), old);
    let left = cache.status().expires_in.unwrap().as_secs();
    assert!((538..=540).contains(&left), "{left}");
    mount(&file, "..v2", &new);
    tokio::time::advance(std::time::Duration::from_secs(560)).await;
    assert_eq!(cache.token().await.unwrap().secret(), new);
}

#[tokio::test]
async fn a_file_that_is_rewritten_ends_the_wait_too() {
    let file = scratch("secret");
    fs::write(&file, "wrong").unwrap();
    let issuer = Issuer::new();
    let auth = ClientAuth::basic("client1", Secret::file(&file));
    let source = ClientCredentials::builder(URL).client_auth(auth).build_with(issuer.service()).unwrap();
    let cache = TokenCache::new(source);
    assert_eq!(cache.token().await.unwrap_err().oauth_code(), Some("invalid_client"));
    fs::write(&file, "client-secret\r\n").unwrap();
    cache.token().await.unwrap();
}

/// Each end of the wait can cause one more attempt with a wrong password.
#[tokio::test(start_paused = true)]
async fn a_file_that_is_missing_for_a_moment_does_not_end_the_wait() {
    let file = scratch("password");
    fs::write(&file, "wrong").unwrap();
    let issuer = Issuer::new();
    let cache = TokenCache::new(grant(&issuer, Secret::file(&file)));
    assert_eq!(cache.token().await.unwrap_err().oauth_code(), Some("invalid_grant"));
    for (from, to) in [("password", "password.bak"), ("password.bak", "password")] {
        fs::rename(file.with_file_name(from), file.with_file_name(to)).unwrap();
        assert!(cache.token().await.unwrap_err().is_backing_off());
    }
    assert_eq!(issuer.counts().password, 1);
}

#[tokio::test]
async fn a_file_is_read_for_each_token_request_and_never_kept() {
    let file = scratch("assertion");
    let issuer = Issuer::new();
    let source = JwtBearer::builder(URL).client_auth(ClientAuth::basic("client1", "client-secret"));
    let source = source.assertion(Secret::file(&file)).build_with(issuer.service()).unwrap();
    for assertion in ["first", "second"] {
        fs::write(&file, format!("{assertion}\n")).unwrap();
        source.obtain(Reason::First).await.unwrap_err();
        assert_eq!(issuer.last_request().unwrap().param("assertion"), Some(assertion));
    }
}

#[tokio::test]
async fn name_and_password_may_both_be_files() {
    let (name, password) = (scratch("username"), scratch("password"));
    fs::write(&name, "user1\n").unwrap();
    fs::write(&password, "user-password\n").unwrap();
    let issuer = Issuer::new();
    let grant = builder("".into()).credentials(Secret::file(&name), Secret::file(&password));
    let grant = grant.build_with(issuer.service()).unwrap();
    grant.obtain(Reason::First).await.unwrap();
    let before = grant.credentials_version();
    fs::write(&name, "user10\n").unwrap();
    assert_ne!(grant.credentials_version(), before);
}

#[tokio::test]
async fn what_is_missing_is_named_and_what_is_there_is_not_shown() {
    let issuer = Issuer::new();
    let missing = scratch("no-such-file");
    let error = grant(&issuer, Secret::file(&missing)).obtain(Reason::First).await.unwrap_err();
    assert!(error.is_transient() && error.is_config() && error.to_string().contains("no-such-file"), "{error}");
    assert!(error.to_string().contains("No such file"), "{error}");

    let error = grant(&issuer, Secret::env("TOWER_BEARER_NOT_SET")).obtain(Reason::First).await.unwrap_err();
    assert!(error.is_transient() && error.is_config(), "{error:?}");
    assert!(error.to_string().contains("TOWER_BEARER_NOT_SET is not set"), "{error}");

    let empty = scratch("empty");
    fs::write(&empty, "\n").unwrap();
    let error = grant(&issuer, Secret::file(&empty)).obtain(Reason::First).await.unwrap_err();
    assert!(error.to_string().contains("it is empty"), "{error}");

    let bytes = scratch("bytes");
    fs::write(&bytes, b"hidden\xff").unwrap();
    let error = grant(&issuer, Secret::file(&bytes)).obtain(Reason::First).await.unwrap_err();
    assert!(error.to_string().contains("not UTF-8") && !error.to_string().contains("hidden"), "{error}");
    assert_eq!(issuer.counts().token_requests, 0);
}

/// Text that a Windows editor has saved, and text with and without a line end.
#[tokio::test]
async fn a_file_may_have_a_byte_order_mark_and_any_line_end_and_be_utf_16() {
    let issuer = Issuer::new();
    let file = scratch("password");
    let utf16 = |order: fn(u16) -> [u8; 2]| "\u{feff}user-password\r\n".encode_utf16().flat_map(order).collect();
    for bytes in [
        b"user-password".to_vec(),
        b"user-password\r\n".to_vec(),
        b"\xef\xbb\xbfuser-password\n".to_vec(),
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
    ] {
        fs::write(&file, &bytes).unwrap();
        grant(&issuer, Secret::file(&file)).obtain(Reason::First).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_not_text_says_what_was_found() {
    let issuer = Issuer::new();
    let file = scratch("password");
    for (bytes, found) in [
        (&b"hidden\0"[..], "it has a NUL character (U+0000) at position 7"),
        (b"h\0i\0d\0d\0e\0n\0", "it is UTF-16 without a byte order mark"),
        (b"\xff\xfeh\0i", "it begins as UTF-16 and is not valid UTF-16"),
        (b"\xef\xbb\xbf", "it is empty"),
    ] {
        fs::write(&file, bytes).unwrap();
        let error = grant(&issuer, Secret::file(&file)).obtain(Reason::First).await.unwrap_err();
        assert!(error.to_string().contains(found) && !error.to_string().contains("hidden"), "{error}");
    }
    let folder = Secret::file(file.parent().unwrap());
    let error = grant(&issuer, folder).obtain(Reason::First).await.unwrap_err();
    assert!(error.to_string().contains("it is a folder"), "{error}");
    assert_eq!(issuer.counts().token_requests, 0);
}

/// A shell gives a program `<(pass show api)` as such a path.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_pipe_is_read_once_and_its_secret_is_kept() {
    use std::{io::Write, os::fd::AsRawFd};

    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"user-password\n").unwrap();
    drop(writer);
    let issuer = Issuer::new();
    let source = grant(&issuer, Secret::file(format!("/dev/fd/{}", reader.as_raw_fd())));
    let before = source.credentials_version();
    for _ in 0..2 {
        source.obtain(Reason::First).await.unwrap();
    }
    drop(reader);
    source.obtain(Reason::First).await.unwrap();
    assert_eq!((source.credentials_version(), issuer.counts().password), (before, 3));
}

/// The variables of this process cannot be changed, so another one reads them.
#[tokio::test]
async fn an_environment_variable_is_read_as_a_file_is() {
    const NAME: &str = "TOWER_BEARER_TEST_PASSWORD";
    if std::env::var_os(NAME).is_some() {
        let read = grant(&Issuer::new(), Secret::env(NAME)).obtain(Reason::First).await;
        return assert!(read.is_ok(), "{}", read.unwrap_err());
    }
    let child = |value: &str| {
        let this = ["--exact", "secret_places::an_environment_variable_is_read_as_a_file_is"];
        let program = std::env::current_exe().unwrap();
        std::process::Command::new(program).args(this).env(NAME, value).output().unwrap()
    };
    for value in ["user-password", "user-password\n", "user-password\r\n", "\u{feff}user-password"] {
        assert!(child(value).status.success(), "{value:?}");
    }
    let empty = child("\n");
    let said = String::from_utf8_lossy(&[empty.stdout, empty.stderr].concat()).into_owned();
    assert!(said.contains("TOWER_BEARER_TEST_PASSWORD is empty: set it to the secret"), "{said}");
}

#[tokio::test]
async fn an_environment_variable_is_read() {
    // Cargo sets it for every test.
    let name = env!("CARGO_PKG_NAME");
    let issuer = Issuer::builder().user("user1", name).build();
    grant(&issuer, Secret::env("CARGO_PKG_NAME")).obtain(Reason::First).await.unwrap();
}

/// The cache asks for the version before the grant reads the file. Here the file changes in between, to another wrong password.
#[tokio::test(start_paused = true)]
async fn a_wrong_secret_that_changes_before_it_is_read_is_tried_once() {
    let issuer = Issuer::new();
    let (file, changing) = (scratch("password"), Arc::new(AtomicUsize::new(0)));
    fs::write(&file, "wrong").unwrap();
    let (path, count) = (file.clone(), Arc::clone(&changing));
    // The name is read before the password.
    let name = Secret::from_fn(move || {
        if count.fetch_add(1, SeqCst) == 0 {
            fs::write(path.with_extension("new"), "another wrong one").unwrap();
            fs::rename(path.with_extension("new"), &path).unwrap();
        }
        async { Ok("user1".into()) }
    });
    let source = builder("".into()).credentials(name, Secret::file(&file)).build_with(issuer.service()).unwrap();
    let cache = TokenCache::new(source);
    assert_eq!(cache.token().await.unwrap_err().oauth_code(), Some("invalid_grant"));
    assert_eq!(issuer.last_request().unwrap().param("password"), Some("another wrong one"));
    for _ in 0..10 {
        assert!(cache.token().await.unwrap_err().is_backing_off());
    }
    assert_eq!(issuer.counts().password, 1);
    fs::write(&file, "user-password").unwrap();
    cache.token().await.unwrap();
}

/// A right password that replaces the wrong one while that is refused does not wait.
#[tokio::test(start_paused = true)]
async fn a_secret_that_changes_after_it_was_sent_ends_the_wait() {
    let issuer = Issuer::new();
    let file = scratch("password");
    fs::write(&file, "wrong").unwrap();
    let cache = TokenCache::new(grant(&issuer, Secret::file(&file)));
    let gate = issuer.hold();
    let (refused, ()) = futures::join!(cache.token(), async {
        gate.waiting(1).await;
        fs::write(&file, "user-password").unwrap();
        gate.release();
    });
    assert_eq!(refused.unwrap_err().oauth_code(), Some("invalid_grant"));
    cache.token().await.unwrap();
}

#[tokio::test]
async fn a_function_is_asked_for_each_token_request() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let vault = Secret::from_fn(move || {
        let first = count.fetch_add(1, SeqCst) == 0;
        async move { if first { Err("the vault is sealed".into()) } else { Ok("client-secret".into()) } }
    });
    let issuer = Issuer::new();
    let source = ClientCredentials::builder(URL).client_auth(ClientAuth::basic("client1", vault));
    let source = source.build_with(issuer.service()).unwrap();
    assert_eq!(asked.load(SeqCst), 0);
    assert!(source.obtain(Reason::First).await.unwrap_err().is_transient());
    source.obtain(Reason::First).await.unwrap();
    assert_eq!((asked.load(SeqCst), issuer.counts().token_requests), (2, 1));
}
