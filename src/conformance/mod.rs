//! Checks of what you bring yourself: a token source, a token store, an HTTP stack. For your tests (feature `testing`).
//!
//! Each function runs every behaviour that the crate relies on, and panics with a sentence that says which one does not hold.
//!
//! | yours | check |
//! |---|---|
//! | a [`TokenSource`](crate::TokenSource) | [`check_source`] |
//! | a [`TokenStore`](crate::store::TokenStore) | [`check_store`], or [`check_store_without_news`] |

mod source; // what a cache and a store rely on in a source
mod store; // the contract of a store

pub use source::{SourceReport, check_source};
pub use store::{check_store, check_store_without_news};
