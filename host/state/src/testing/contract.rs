//! The contract of a backend, clause by clause.
//!
//! Each clause is a function over fresh backends; a failure names the clause.

use wasmill_model::key::KeyGroupRange;

use super::contract_cases::{self as cases, collections, declarations};
use super::operations::{Make, Operation, Run, Target};
use super::{migration, ttl};
use crate::backend::{KeyedStateBackend, StateError};

type Clause = fn(Make<'_>) -> Result<(), StateError>;

/// What every backend keeps, by name.
const CLAUSES: [(&str, Clause); 24] = [
    (
        "a value reads as it was written, and an empty one is not none",
        cases::values_read_as_written,
    ),
    (
        "a batch answers for every key in its order, also for one that is asked twice",
        cases::batches_keep_order,
    ),
    (
        "a locator that is stale or of another entry does no harm",
        cases::locators_are_checked,
    ),
    (
        "namespaces, keys and states keep their entries apart",
        cases::entries_are_apart,
    ),
    (
        "values grow and shrink from nothing to megabytes",
        cases::values_change_size,
    ),
    (
        "a map is paged in byte order after any key",
        collections::maps_are_paged,
    ),
    (
        "a list is paged from any index in the order of its appends",
        collections::lists_are_paged,
    ),
    (
        "clearing removes one (key, namespace) and nothing else",
        collections::clearing_is_exact,
    ),
    (
        "a snapshot is what was there when it was frozen",
        cases::snapshots_are_frozen,
    ),
    (
        "a restore takes the groups of its range only",
        cases::restores_take_their_range,
    ),
    (
        "registering twice gives one id, and another declaration is refused",
        declarations::registering_is_checked,
    ),
    (
        "an incompatible state is refused in either order",
        declarations::incompatible_states_are_refused,
    ),
    (
        "a state of another encoding is refused in either order, with both encodings",
        declarations::another_encoding_is_refused,
    ),
    (
        "a state that nobody claims is kept until it is dropped",
        declarations::unclaimed_states_are_kept,
    ),
    (
        "a snapshot keeps a state that is dropped after it was frozen",
        declarations::snapshots_keep_what_is_dropped_after_them,
    ),
    (
        "the keys of a state are gone through, whatever states were dropped",
        declarations::keys_are_gone_through_beside_dropped_states,
    ),
    (
        "lists of one key in several key groups are apart",
        collections::lists_of_one_key_in_several_groups_are_apart,
    ),
    (
        "a call that does not fit is an error that names the state",
        cases::misuse_is_an_error,
    ),
    ("random operations agree with plain maps", random_operations_agree),
    (
        "a state that gains or loses time to live is refused in either order",
        ttl::gaining_or_losing_it_is_refused,
    ),
    (
        "a state of an older version reads, once it was migrated, as the model converts it",
        migration::agrees_with_the_model,
    ),
    (
        "a state that does not migrate from a version is refused, and says how it could",
        migration::what_does_not_migrate_is_refused,
    ),
    (
        "a migration that fails names the state, both versions, the key and the reason",
        migration::failures_name_their_place,
    ),
    (
        "states with time to live agree with a model of it",
        ttl::agrees_with_the_model,
    ),
];

/// Runs all clauses on backends of [`super::MAX_PARALLELISM`] that `make` builds for a range of groups.
///
/// # Panics
/// Where the backend breaks a clause.
pub fn run(make: impl Fn(KeyGroupRange) -> Box<dyn KeyedStateBackend>) {
    for (name, clause) in CLAUSES {
        eprintln!("contract: {name}");
        if let Err(error) = clause(&make) {
            panic!("contract: {name}: {error}");
        }
    }
}

fn random_operations_agree(make: Make<'_>) -> Result<(), StateError> {
    (0..6).try_for_each(|seed| Run::new(make)?.all(&sequence(seed, 600)))
}

/// A sequence drawn by a fixed generator, so that a failure repeats.
fn sequence(seed: u64, length: usize) -> Vec<Operation> {
    let mut random = Random(seed);
    (0..length).map(|_| operation(&mut random)).collect()
}

fn operation(random: &mut Random) -> Operation {
    let lengths = [8, 8, 8, 100, 1000, 5000, 20_000];
    let length = |random: &mut Random| lengths[random.below(lengths.len() as u64) as usize];
    match random.below(100) {
        0..30 => Operation::ReadAndPut(
            (0..random.below(20))
                .map(|_| (target(random), length(random)))
                .collect(),
        ),
        30..50 => Operation::Put(target(random), length(random)),
        50..65 => Operation::Remove(target(random)),
        65..80 => Operation::Append(target(random), length(random) / 8),
        80..84 => Operation::Clear(target(random)),
        84..92 => Operation::Timer(random.below(3) > 0, target(random), random.below(20) as i8 - 10),
        92..95 => Operation::Freeze,
        95..98 => Operation::WriteOldest,
        98 => Operation::Check,
        _ => Operation::Rescale(random.below(6) as u8),
    }
}

fn target(random: &mut Random) -> Target {
    let bits = random.below(1 << 32);
    Target {
        state: bits as u8,
        key: (bits >> 8) as u8 % 48,
        namespace: (bits >> 16) as u8 % 6,
        map_key: (bits >> 24) as u8,
    }
}

/// SplitMix64: small, and the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }
}
