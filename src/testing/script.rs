//! The script: how the next token requests are answered.

use std::collections::VecDeque;

use serde_json::Value;

use crate::testing::failure::Failure;

/// The steps in the order in which they were scripted. When they are used up, the failure until cleared applies, if any.
#[derive(Default)]
pub(super) struct Script {
    steps: VecDeque<(u64, Step)>,
    until_cleared: Option<Failure>,
}

#[derive(Clone)]
pub(super) enum Step {
    /// Answers by the rules.
    Unchanged,
    /// Answers by the rules, then changes the response by a merge patch.
    Amend(Value),
    /// Answers with this JSON, whatever the request is.
    Answer(Value),
    Fail(Failure),
}

impl Script {
    pub(super) fn push(&mut self, times: u64, step: Step) {
        if times > 0 {
            self.steps.push_back((times, step));
        }
    }

    pub(super) fn fail_until_cleared(&mut self, failure: Failure) {
        self.until_cleared = Some(failure);
    }

    pub(super) fn clear_failures(&mut self) {
        self.until_cleared = None;
        self.steps.retain(|(_, step)| !matches!(step, Step::Fail(_)));
    }

    pub(super) fn next(&mut self) -> Step {
        match self.steps.front_mut() {
            Some((times, step)) if *times > 1 => {
                *times -= 1;
                step.clone()
            }
            Some(_) => self.steps.pop_front().map_or(Step::Unchanged, |(_, step)| step),
            None => self.until_cleared.clone().map_or(Step::Unchanged, Step::Fail),
        }
    }
}

/// Replaces members of the response by those of the patch. `null` removes a member (RFC 7396, without nesting).
pub(super) fn amend(response: &mut Value, patch: Value) {
    let (Some(response), Value::Object(patch)) = (response.as_object_mut(), patch) else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            response.remove(&name);
        } else {
            response.insert(name, value);
        }
    }
}
