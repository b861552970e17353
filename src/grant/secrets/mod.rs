//! Where passwords, client secrets, keys and tokens are kept until they are needed.

pub(super) mod credentials;
pub(super) mod secret;
pub(super) mod secret_file; // a file or a pipe
mod secret_text; // what is in it
