//! What the next token requests meet.

use std::collections::VecDeque;

use serde_json::Value;

use super::Failure;

/// Steps in the order in which they were scripted; when they are used up, the standing failure, if any.
#[derive(Default)]
pub(super) struct Script {
    steps: VecDeque<(u64, Step)>,
    standing: Option<Failure>,
}

#[derive(Clone)]
pub(super) enum Step {
    /// By the rules.
    Honest,
    /// By the rules, and then changed by a merge patch.
    Amend(Value),
    /// This JSON, whatever was asked.
    Answer(Value),
    Fail(Failure),
}

impl Script {
    pub(super) fn push(&mut self, times: u64, step: Step) {
        if times > 0 {
            self.steps.push_back((times, step));
        }
    }

    pub(super) fn stand(&mut self, failure: Failure) {
        self.standing = Some(failure);
    }

    pub(super) fn clear_failures(&mut self) {
        self.standing = None;
        self.steps.retain(|(_, step)| !matches!(step, Step::Fail(_)));
    }

    pub(super) fn next(&mut self) -> Step {
        match self.steps.front_mut() {
            Some((times, step)) if *times > 1 => {
                *times -= 1;
                step.clone()
            }
            Some(_) => self.steps.pop_front().map_or(Step::Honest, |(_, step)| step),
            None => self.standing.clone().map_or(Step::Honest, Step::Fail),
        }
    }
}

/// Members of the patch replace those of the answer, `null` removes (the flat part of RFC 7396).
pub(super) fn amend(answer: &mut Value, patch: Value) {
    let (Some(answer), Value::Object(patch)) = (answer.as_object_mut(), patch) else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            answer.remove(&name);
        } else {
            answer.insert(name, value);
        }
    }
}
