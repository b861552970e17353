//! Checks of an HTTP stack that contains the layer.

mod behaviour; // what is checked, by name
mod body; // the request body of a check
mod check; // `check_stack`: erases the types of the stack, and runs each check
mod failures; // checks: no token, other errors, dropped requests
mod log; // records log lines, to look for the token in them
mod rejections; // checks: what follows a 401
mod report; // what was found
mod tokens; // checks: where the token goes, and how often one is requested
mod world; // a stack, its issuer and its API

pub use behaviour::StackBehaviour;
pub use body::TestBody;
pub use check::check_stack;
pub use report::{StackCheck, StackReport, StackResult};
