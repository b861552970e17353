//! Tokens for users, each in exchange for the token of a request.

pub(super) mod subject; // the tokens that a request gives
mod subject_end; // when a user's token ends
pub(super) mod subject_key; // by what the tokens of users are kept apart
pub(super) mod user_flow; // what a flow needs to be used for many users
mod user_grant; // a grant for many users, whatever its type
mod user_source; // the token source of one user
pub(super) mod users; // `OnBehalfOf`: one grant, many users
