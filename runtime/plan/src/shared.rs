//! Which relations of a plan are shared, which means that they have several readers.

use crate::logical::{Plan, Rewritten};
use std::collections::HashMap;

/// Replaces shared relations that have only one reader by the relations themselves.
pub fn with_several_readers(plan: Plan) -> Plan {
    let mut readers = HashMap::new();
    plan.each(&mut |p| {
        for input in p.inputs() {
            if let Plan::Shared(shared) = input {
                *readers.entry(shared.id).or_default() += 1;
            }
        }
    });
    spread(plan, &mut Rewritten::default(), &readers)
}

fn spread(plan: Plan, done: &mut Rewritten, readers: &HashMap<usize, usize>) -> Plan {
    match plan {
        // The relation at the top has no other reader.
        Plan::Shared(shared) if readers.get(&shared.id).is_none_or(|n| *n < 2) => {
            spread(shared.plan.clone(), done, readers)
        }
        plan => plan.map_inputs(done, &mut |input, done| spread(input, done, readers)),
    }
}
