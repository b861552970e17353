//! What was found.

use std::fmt;

use crate::conformance::stack::{behaviour::StackBehaviour, world::Finding};

/// What [`check_stack`](super::super::check_stack) found. `Display` shows a line for each check.
#[derive(Clone, Debug, Default)]
pub struct StackReport(Vec<StackCheck>);

/// One check of a [`StackReport`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StackCheck {
    /// What was checked.
    pub behaviour: StackBehaviour,
    /// What came out.
    pub result: StackResult,
}

/// What came out of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StackResult {
    /// The stack behaves as it should.
    Passed,
    /// It does not. The sentence says what was seen and what to look at.
    Failed(String),
    /// The check makes no sense for this stack. The sentence says why.
    NotApplicable(String),
}

impl StackReport {
    pub(super) fn add(&mut self, behaviour: StackBehaviour, result: Result<(), Finding>) {
        let result = match result {
            Ok(()) => StackResult::Passed,
            Err(Finding::Failed(why)) => StackResult::Failed(why),
            Err(Finding::NotApplicable(why)) => StackResult::NotApplicable(why),
        };
        self.0.push(StackCheck { behaviour, result });
    }

    /// Returns all checks, in the order in which they ran.
    #[must_use]
    pub fn checks(&self) -> &[StackCheck] {
        &self.0
    }

    /// Returns the result of one check. `None` if it did not run: all others need [`TokenAttached`](StackBehaviour::TokenAttached), and
    /// those after a retry need [`RejectedRequestSentAgain`](StackBehaviour::RejectedRequestSentAgain) to be applicable.
    ///
    /// Some stacks break a rule on purpose. Look at their checks one by one, instead of
    /// [`assert_conforms`](Self::assert_conforms).
    #[must_use]
    pub fn result(&self, behaviour: StackBehaviour) -> Option<&StackResult> {
        self.0.iter().find(|check| check.behaviour == behaviour).map(|check| &check.result)
    }

    /// Returns the behaviours whose checks failed, in the order in which they ran. The first one is often the cause of the others.
    #[must_use]
    pub fn failed(&self) -> Vec<StackBehaviour> {
        let failed = |check: &&StackCheck| matches!(check.result, StackResult::Failed(_));
        self.0.iter().filter(failed).map(|check| check.behaviour).collect()
    }

    /// Asserts that no check failed.
    ///
    /// # Panics
    /// When one failed. The message is the whole report.
    #[track_caller]
    pub fn assert_conforms(&self) {
        assert!(self.failed().is_empty(), "the stack does not conform:\n{self}");
    }
}

impl fmt::Display for StackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut end = "";
        for StackCheck { behaviour, result } in &self.0 {
            match result {
                StackResult::Passed => write!(f, "{end}passed          {behaviour}")?,
                StackResult::Failed(why) => write!(f, "{end}FAILED          {behaviour}: {why}")?,
                StackResult::NotApplicable(why) => write!(f, "{end}not applicable  {behaviour}: {why}")?,
            }
            end = "\n";
        }
        if let [StackCheck { behaviour: StackBehaviour::TokenAttached, result: StackResult::Failed(_) }] = &self.0[..] {
            write!(f, "{end}The other checks did not run, because they need the token.")?;
        }
        Ok(())
    }
}
