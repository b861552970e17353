//! A secret in a file that may change at any time, or in a pipe that can be read only once.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::{error::Error, grant::secrets::secret_text::secret_text, secret_string::SecretString};

/// The largest file that is read, in bytes. No key and no token is larger.
const MAX_SIZE: u64 = 1 << 16;

/// A file that holds a secret.
pub(crate) struct SecretFile {
    path: PathBuf,
    last_version: AtomicU64,
    /// What was in a pipe. It is locked while the pipe is read: nothing may be lost between two readers.
    kept: Arc<Mutex<Option<SecretString>>>,
}

impl SecretFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, last_version: AtomicU64::default(), kept: Arc::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the secret in the file. A pipe is read once, and its secret is kept.
    ///
    /// # Cancel safety
    /// A reading that began goes on. What it finds in a pipe is kept for the next call.
    pub(crate) async fn read(self: Arc<Self>) -> Result<SecretString, Error> {
        let mut kept = Arc::clone(&self.kept).lock_owned().await;
        let file = Arc::clone(&self);
        let reading = tokio::task::spawn_blocking(move || {
            // A pipe may be closed after it was read, so only a file is looked at again.
            let is_file = fs::metadata(&file.path).is_ok_and(|found| found.is_file());
            if let Some(secret) = kept.as_ref().filter(|_| !is_file) {
                return Ok(secret.clone());
            }
            let read = read_file(&file.path);
            *kept = read.as_ref().ok().filter(|_| !is_file).cloned();
            read
        });
        reading.await.map_err(|_| Error::no_runtime())?
    }

    /// Returns a number that changes when the file changes. It costs one `stat`, which follows symbolic links.
    ///
    /// A missing file counts as unchanged. It is being replaced, or it will come back as it was: neither is a reason to try
    /// a refused password again, or to forget the refresh token that replaced the one in the file. What was in a pipe does
    /// not change.
    pub(crate) fn version(&self) -> u64 {
        match file_version(&self.path) {
            Ok(version) => {
                self.last_version.store(version, Relaxed);
                version
            }
            Err(_) => self.last_version.load(Relaxed),
        }
    }
}

/// Reads the secret in a file now, also in a pipe.
pub(crate) fn read_file(path: &Path) -> Result<SecretString, Error> {
    text_in(path).map_err(|error| {
        let path = path.display();
        Error::unreadable(format!("the file {path} cannot be read ({error}); check the path and its permissions"))
    })
}

fn text_in(path: &Path) -> io::Result<SecretString> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    // The buffer has its full size at once: a buffer that grows leaves copies of its content behind.
    let length = file.metadata()?.len().min(MAX_SIZE);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(io::Error::other("it is larger than 64 KiB"));
    }
    secret_text(&bytes).map_err(|found| io::Error::other(format!("it {found}")))
}

fn file_version(path: &Path) -> io::Result<u64> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut hash = DefaultHasher::new();
    (found.modified().ok(), found.len()).hash(&mut hash);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (found.dev(), found.ino()).hash(&mut hash);
    }
    Ok(hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trimmed(text: &[u8]) -> Option<String> {
        let path = std::env::temp_dir().join(format!("tower-bearer-{}-{}", std::process::id(), fastrand::u64(..)));
        fs::write(&path, text).unwrap();
        let read = read_file(&path);
        fs::remove_file(&path).unwrap();
        read.ok().map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn a_file_of_64_kib_is_read_and_a_larger_one_is_not() {
        assert_eq!(trimmed(b"s3cret\n").as_deref(), Some("s3cret"));
        assert_eq!(trimmed(b"\xff"), None);
        assert_eq!(trimmed(&vec![b'a'; 1 << 16]).map(|secret| secret.len()), Some(1 << 16));
        assert_eq!(trimmed(&vec![b'a'; (1 << 16) + 1]), None);
    }
}
