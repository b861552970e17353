//! How requests may end while something is wrong, and for how long after it.

use std::time::Duration;

use crate::{
    fault::{Fault, Link},
    gateway::BACKOFF,
    load::Outcome,
};

/// All requests that end so long after a fault get the API's answer.
const RECOVERY: Duration = Duration::from_secs(2);

/// The same, from the beginning of a fault that may be a refusal: the store holds back the next token request for 5 s.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// Returns how long after these faults a request may still fail.
pub fn recovery(faults: &[(Link, Fault)], lasted: Duration, reset: bool) -> Duration {
    let may_be_refused = faults.iter().any(|(link, fault)| *link == Link::Issuer && fault.may_be_a_refusal());
    if may_be_refused && !reset { RECOVERY.max((AFTER_REFUSAL + BACKOFF).saturating_sub(lasted)) } else { RECOVERY }
}

/// Returns whether a request may end like this during these faults. The store alone never fails one.
pub fn allows(outcome: Outcome, faults: &[(Link, Fault)]) -> bool {
    let has = |link| faults.iter().any(|(faulty, _)| *faulty == link);
    // All names are missing if one of them is.
    let dns = faults.iter().any(|(_, fault)| *fault == Fault::Dns);
    match outcome {
        Outcome::Answered => true,
        // A rejected token is used again if its renewal fails, so a token that expires on its way may get a 401.
        Outcome::Problem(503 | 504) | Outcome::Status(401) if has(Link::Issuer) || dns => true,
        Outcome::Problem(502 | 504) => has(Link::Upstream) || dns,
        Outcome::Cut => has(Link::Upstream),
        _ => false,
    }
}
