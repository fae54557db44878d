//! Migrations: how what an older schema version of a state has stored becomes what it holds now.
//!
//! Invariant: a migration is found by state and version alone, and sees nothing but the bytes of one entry.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::declare::{Declare, StateOptions};
use crate::error::{Error, Result};
use crate::function::AggregateFunction;
use crate::state::{
    AggregatingState, FoldedState, ListState, MapKey, MapState, ReducingState, ValueState, codec,
};

/// What is stored of a state: value, element, map value or accumulator; a handle that
/// [`Declare::migrate`] knows the type by.
pub trait StoredState {
    /// The type that the state holds now.
    type Stored: Serialize + 'static;

    #[doc(hidden)]
    fn place(&self) -> u32;
}

macro_rules! stored_state {
    ($($state:ty, [$($parameter:ident: $bound:path),*], $stored:ty;)*) => {$(
        impl<$($parameter: $bound),*> StoredState for $state
        where
            $stored: Serialize + 'static,
        {
            type Stored = $stored;

            fn place(&self) -> u32 {
                crate::state::KeyedState::slot(self).0
            }
        }
    )*};
}

stored_state! {
    ValueState<T>, [T: Sized], T;
    ListState<T>, [T: Sized], T;
    ReducingState<T>, [T: Sized], T;
    MapState<K, V>, [K: MapKey, V: Sized], V;
    AggregatingState<A>, [A: AggregateFunction], A::Accumulator;
    FoldedState, [], i64;
}

/// The accumulator of a reduce or aggregate function, which the SDK declares: [`Declare::accumulator`].
pub struct Accumulator<T> {
    stored: std::marker::PhantomData<fn() -> T>,
}

impl<T: Serialize + 'static> StoredState for Accumulator<T> {
    type Stored = T;

    fn place(&self) -> u32 {
        0
    }
}

/// Makes an entry's bytes of those of an older version, given its map key; none where it goes.
type Convert = Box<dyn Fn(&[u8], &[u8]) -> Result<Option<Vec<u8>>>>;

/// The migrations that a function declares.
#[derive(Default)]
pub(crate) struct Migrations(Vec<Declared>);

struct Declared {
    slot: u32,
    from: u32,
    convert: Convert,
}

impl Migrations {
    /// Converts a batch of one state.
    pub(crate) fn run<'e>(
        &self,
        slot: u32,
        from: u32,
        entries: impl Iterator<Item = (&'e [u8], &'e [u8])>,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        let mut of = self.0.iter().filter(|declared| declared.slot == slot);
        let declared = of.find(|declared| declared.from == from).ok_or_else(|| {
            Error::failed(format_args!(
                "`declare` gives no migration from schema version {from}"
            ))
        })?;
        let convert = &declared.convert;
        entries.map(|(map_key, value)| convert(map_key, value)).collect()
    }
}

impl Declare {
    /// Says what becomes of what `state` has stored in an older schema version: of each value, element, map value or
    /// accumulator, `None` where it goes. The host calls it when a job is restored, before the first record.
    ///
    /// The types of older versions stay in the source as long as a savepoint of theirs may come; the state's own version is
    /// [`StateOptions::schema_version`].
    ///
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// /// Once a bare count.
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Seen {
    ///     count: u64,
    ///     longest: u32,
    /// }
    ///
    /// #[derive(Default)]
    /// struct Count {
    ///     seen: ValueState<Seen>,
    /// }
    ///
    /// impl KeyedProcessFunction for Count {
    ///     type In = str;
    ///     type Out = str;
    ///
    ///     fn declare(&mut self, d: &mut Declare) {
    ///         self.seen = d.value_state_with("seen", StateOptions::new().schema_version(2));
    ///         d.migrate(&self.seen, 1, |count: u64| Ok(Some(Seen { count, longest: 0 })));
    ///     }
    /// #   fn process_element(&mut self, _: &str, _: &mut Context<str>) -> Result<()> { Ok(()) }
    /// }
    /// # let t = testing::Harness::process::<Count>();
    /// # assert_eq!(t.migrate("seen", 1, b"", &7_u64.to_le_bytes()).unwrap(), Some(vec![7, 0]));
    /// # assert!(t.migrate("seen", 1, b"", b"7").unwrap_err().message().contains("1 bytes"));
    /// ```
    pub fn migrate<S, Old>(
        &mut self,
        state: &S,
        from_version: u32,
        migrate: impl Fn(Old) -> Result<Option<S::Stored>> + 'static,
    ) where
        S: StoredState,
        Old: DeserializeOwned + 'static,
    {
        self.migrates(state.place(), from_version, move |_, value| {
            encoded(migrate(decoded(value)?)?)
        });
    }

    /// As [`Declare::migrate`], where what becomes of a map's value depends on its key. The key itself stays.
    pub fn migrate_map<K, V, Old>(
        &mut self,
        state: &MapState<K, V>,
        from_version: u32,
        migrate: impl Fn(K, Old) -> Result<Option<V>> + 'static,
    ) where
        K: MapKey,
        V: Serialize + 'static,
        Old: DeserializeOwned + 'static,
    {
        self.migrates(state.place(), from_version, move |map_key, value| {
            let key = K::decode(map_key);
            let key = key.ok_or_else(|| Error::failed("a map key is not of the declared type"))?;
            encoded(migrate(key, decoded(value)?)?)
        });
    }

    /// Of a reduce or aggregate function: the options of its accumulator, for [`Declare::migrate`]. That of an aggregate
    /// function `F` is `F::Accumulator`; that of a reduce function is a record: `Vec<u8>`, or `String` of text.
    ///
    /// # Panics
    /// In a function that has no accumulator of its own.
    pub fn accumulator<T>(&mut self, options: StateOptions) -> Accumulator<T> {
        assert!(
            self.set_accumulator(options),
            "`accumulator` belongs to a reduce or aggregate function: give the state's options where it is declared"
        );
        Accumulator {
            stored: std::marker::PhantomData,
        }
    }

    fn migrates(
        &mut self,
        slot: u32,
        from: u32,
        convert: impl Fn(&[u8], &[u8]) -> Result<Option<Vec<u8>>> + 'static,
    ) {
        self.note_migration(slot, from);
        let convert = Box::new(convert);
        self.migrations.0.push(Declared { slot, from, convert });
    }
}

fn decoded<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T> {
    codec::decode(bytes).map_err(|error| {
        Error::failed(format_args!(
            "the bytes are not of the type that the older version had: {error}"
        ))
    })
}

fn encoded<T: Serialize + 'static>(value: Option<T>) -> Result<Option<Vec<u8>>> {
    let encode = |value: T| {
        let mut bytes = Vec::new();
        codec::encode(&value, &mut bytes).map_err(Error::failed)?;
        Ok(bytes)
    };
    value.map(encode).transpose()
}
