//! What a backend's own files hold: keys and values of a store, in any disorder, read into another backend.
//!
//! Input: `column u8, key length u8, value length u8, key, value`, one after another.

use wasmill_model::element::StateFormat;
use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::id::CheckpointId;
use wasmill_state::backend::{Locator, StateId, Write};
use wasmill_state::keyed;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::native::FilesWanted;
use wasmill_state::store::{Changes, Column, OrderedStore as _};
use wasmill_state::stored::read_store;
use wasmill_state::testing::contents::Contents;
use wasmill_state::testing::files::MemoryFiles;
use wasmill_state::testing::operations::write;
use wasmill_state::testing::plain_store::{PlainBackends, PlainStore};
use wasmill_state::testing::{MAX_PARALLELISM, declaration, state_key};
use wasmill_state::timers::TimerQueue;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "stored",
    run,
    seeds,
};

fn states() -> [StateDeclaration; 3] {
    [StateKind::Value, StateKind::Map, StateKind::List].map(|kind| declaration(&format!("{kind:?}"), kind, 1))
}

/// What a backend over a store writes of some entries of each state.
fn seeds() -> Vec<Vec<u8>> {
    use wasmill_model::id::OperatorUid;
    use wasmill_state::backends::{Place, StateBackends as _};
    let place = Place {
        attempt: 0,
        operator: &OperatorUid::new("op"),
        subtask: 0,
    };
    let backends = PlainBackends { cache_bytes: 0 };
    let mut backend = backends.open(place, MAX_PARALLELISM.range_of(0, 1), MAX_PARALLELISM);
    let [value, map, list] = states().map(|state| backend.register(&state).unwrap());
    for name in [&b"bkey"[..], b"n1"] {
        for (id, rest) in [(value, &b""[..]), (map, b"map key")] {
            let write = Write {
                key: state_key(name, b"window", rest),
                locator: Locator::UNKNOWN,
                value: Some(b"a value"),
            };
            backend.write_batch(id, &[write]).unwrap();
        }
        for element in [&b"one"[..], b"", b"three"] {
            backend.append(list, state_key(name, b"", b""), element).unwrap();
        }
    }
    let timers = TimerQueue::default();
    let wanted = FilesWanted {
        checkpoint: CheckpointId(1),
        format: StateFormat::Native,
        timers: &timers,
    };
    let frozen = keyed::freeze_files(&mut *backend, wanted).unwrap();
    let (snapshot, _) = frozen.expect("a store has files");
    let mut files = MemoryFiles::default();
    snapshot.files.write(&mut files).unwrap();
    let mut input = Vec::new();
    for (name, content) in &files.files {
        add_seed(name, content, &mut input);
    }
    vec![Vec::new(), input]
}

/// A file of a plain store, in the form of the input.
fn add_seed(name: &str, content: &[u8], input: &mut Vec<u8>) {
    let column = name.split('-').next().and_then(|column| column.parse().ok());
    let mut rest = content;
    let mut part = || {
        let length = rest
            .split_off(..4)?
            .first_chunk()
            .map(|length| u32::from_le_bytes(*length))?;
        rest.split_off(..length as usize)
    };
    while let (Some(key), Some(value)) = (part(), part()) {
        input.extend_from_slice(&[column.unwrap_or(0u8), key.len() as u8, value.len() as u8]);
        input.extend_from_slice(key);
        input.extend_from_slice(value);
    }
}

fn run(data: &[u8]) {
    let store = PlainStore::default();
    for column in 0..3 {
        store.add_column(Column(column), "", None).unwrap();
    }
    let mut changes = Changes::default();
    let mut rest = data;
    while let Some((head, after)) = rest.split_first_chunk::<3>() {
        let [column, key, value] = *head;
        let key = usize::from(key).min(after.len());
        let value = usize::from(value).min(after.len() - key);
        let (key, after) = after.split_at(key);
        let (value, after) = after.split_at(value);
        changes.push_with(
            Column(u16::from(column % 3)),
            |out| out.extend_from_slice(key),
            Some(value),
        );
        rest = after;
    }
    store.write(&changes).unwrap();
    let range = MAX_PARALLELISM.range_of(0, 1);
    let mut backend = MemoryBackend::new(range, MAX_PARALLELISM);
    let numbers = [0, 1, 2].map(StateId);
    match read_store(&store, &states(), &numbers, range, &mut backend) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(()) => {
            let frozen = keyed::freeze(&mut backend, &TimerQueue::default(), CheckpointId(1)).unwrap();
            let file = write(frozen).unwrap();
            let contents = Contents::read(&mut &file[..]).unwrap();
            let mut again = MemoryBackend::new(range, MAX_PARALLELISM);
            let mut timers = TimerQueue::default();
            keyed::restore(&mut &file[..], range, &mut again, &mut timers).unwrap();
            let file = write(keyed::freeze(&mut again, &timers, CheckpointId(1)).unwrap()).unwrap();
            assert!(contents == Contents::read(&mut &file[..]).unwrap());
        }
    }
}
