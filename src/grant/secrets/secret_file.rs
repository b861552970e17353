//! A secret in a file that may change at any time.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
    str,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use zeroize::Zeroizing;

use crate::{error::Error, secret_string::SecretString};

/// The largest file that is read, in bytes. No key and no token is larger.
const MAX_SIZE: u64 = 1 << 16;

/// A file that holds a secret.
pub(crate) struct SecretFile {
    path: PathBuf,
    last_version: AtomicU64,
}

impl SecretFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, last_version: AtomicU64::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the text of the file, without one line end at its end.
    pub(crate) async fn read(self: Arc<Self>) -> Result<SecretString, Error> {
        let file = Arc::clone(&self);
        let reading = tokio::task::spawn_blocking(move || read_file(&file.path)).await;
        let read = reading.map_err(|_| Error::no_runtime())?;
        read.map_err(|error| {
            Error::unreadable(format!(
                "the file {} cannot be read ({error}); check the path and its permissions",
                self.path.display()
            ))
        })
    }

    /// Returns a number that changes when the file changes. It costs one `stat`, which follows symbolic links.
    ///
    /// A missing file counts as unchanged. It is being replaced, or it will come back as it was: neither is a reason to try
    /// a refused password again, or to forget the refresh token that replaced the one in the file.
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

fn read_file(path: &Path) -> io::Result<SecretString> {
    let file = File::open(path)?;
    // The buffer has its full size at once: a buffer that grows leaves copies of its content behind.
    let length = file.metadata()?.len().min(MAX_SIZE);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(io::Error::other("it is larger than 64 KiB"));
    }
    let text = str::from_utf8(&bytes).map_err(|_| io::Error::other("it is not UTF-8"))?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(io::Error::other("it is empty"));
    }
    Ok(text.into())
}

fn file_version(path: &Path) -> io::Result<u64> {
    let found = fs::metadata(path)?;
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
    fn one_line_end_is_not_part_of_the_secret() {
        for (text, secret) in [
            ("s3cret", Some("s3cret")),
            ("s3cret\n", Some("s3cret")),
            ("s3cret\r\n", Some("s3cret")),
            ("s3cret\n\n", Some("s3cret\n")),
            (" s3cret ", Some(" s3cret ")),
            ("s3cret\r", Some("s3cret\r")),
            ("", None),
            ("\n", None),
        ] {
            assert_eq!(trimmed(text.as_bytes()).as_deref(), secret, "{text:?}");
        }
        assert_eq!(trimmed(b"\xff"), None);
        assert_eq!(trimmed(&vec![b'a'; 1 << 16]).map(|secret| secret.len()), Some(1 << 16));
        assert_eq!(trimmed(&vec![b'a'; (1 << 16) + 1]), None);
    }
}
