//! Making an input small that breaks a target, so that a person sees why.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::target::Target;

/// The input without the pieces that it breaks the target without. Tries longer pieces first, then shorter ones.
#[must_use]
pub fn smaller(target: Target, input: &[u8]) -> Vec<u8> {
    let breaks = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| (target.read)(input))).is_err();
    let mut input = input.to_vec();
    let mut length = input.len().div_ceil(2);
    while length > 0 {
        let mut at = 0;
        while at < input.len() {
            let end = input.len().min(at + length);
            let without = [&input[..at], &input[end..]].concat();
            if breaks(&without) {
                input = without;
            } else {
                at = end;
            }
        }
        length /= 2;
    }
    input
}
