//! Checks of what you bring yourself: a token source, a token store, an HTTP stack. For your tests (feature `testing`).
//!
//! Each function runs every behaviour that the crate relies on. A sentence says what does not hold: [`check_stack`] returns it in its
//! report, and the others panic with it.
//!
//! | yours | check |
//! |---|---|
//! | a [`TokenSource`](crate::TokenSource) | [`check_source`] |
//! | a [`TokenStore`](crate::store::TokenStore) | [`check_store`], or [`check_store_without_news`] |
//! | an HTTP client with its layers | [`check_stack`] |

mod source; // what a cache and a store rely on in a source
mod stack; // what callers rely on in an HTTP stack with the layer
mod store; // the contract of a store

pub use source::{SourceReport, check_source};
pub use stack::{StackBehaviour, StackCheck, StackReport, StackResult, TestBody, check_stack};
pub use store::{check_store, check_store_without_news};
