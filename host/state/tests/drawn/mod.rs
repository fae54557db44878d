//! Operations on a backend as a property test draws them.

use proptest::prelude::*;
use wasmill_state::testing::operations::{Operation, Target};

fn target() -> impl Strategy<Value = Target> {
    (any::<u8>(), 0u8..30, 0u8..5, any::<u8>()).prop_map(|(state, key, namespace, map_key)| Target {
        state,
        key,
        namespace,
        map_key,
    })
}

fn length() -> impl Strategy<Value = u16> {
    prop_oneof![4 => Just(8u16), 4 => 0u16..200, 1 => 0u16..20_000]
}

/// Any of them.
pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => prop::collection::vec((target(), length()), 1..40).prop_map(Operation::ReadAndPut),
        8 => (target(), length()).prop_map(|(target, length)| Operation::Put(target, length)),
        8 => target().prop_map(Operation::Remove),
        6 => (target(), length()).prop_map(|(target, length)| Operation::Append(target, length)),
        3 => target().prop_map(Operation::Clear),
        3 => (any::<bool>(), target(), -5i8..5).prop_map(|(on, target, at)| Operation::Timer(on, target, at)),
        2 => Just(Operation::Freeze),
        2 => Just(Operation::WriteOldest),
        1 => Just(Operation::Check),
        1 => (1u8..6).prop_map(Operation::Rescale),
    ]
}
