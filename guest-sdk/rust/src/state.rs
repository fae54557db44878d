//! Keyed state: what a function keeps for each key.
//!
//! A state is a handle that `declare` gives; it holds no data, and every access names the [`Context`]
//! whose key is meant. Reads see the writes of earlier records of the same call.
//!
//! A value's bytes: `u64`, `i64` and `f64` are 8 bytes little-endian, `String` is UTF-8, `Vec<u8>`
//! itself, and any other serde type is [postcard](https://postcard.jamesmunns.com/wire-format).
//!
//! [`Context`]: crate::Context

mod aggregating;
pub(crate) mod broadcast;
pub(crate) mod codec;
mod folded;
mod list;
mod map;
mod map_key;
mod on_demand;
pub(crate) mod prefetched;
mod reducing;
mod scan;
mod ttl;
mod value;

pub use aggregating::AggregatingState;
pub use broadcast::BroadcastState;
pub use folded::{Fold, FoldedState};
pub use list::ListState;
pub use map::MapState;
pub use map_key::MapKey;
pub use reducing::ReducingState;
pub use scan::KeyedState;
pub use ttl::{StateTtl, StateVisibility, UpdateType};
pub use value::ValueState;

use crate::error::Error;
use crate::frame::NONE;

/// Which state a handle means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// Index in `describe`; [`NONE`] where the handle was never declared.
    pub(crate) index: u32,
    /// For errors.
    pub(crate) name: &'static str,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            index: NONE,
            name: "",
        }
    }
}

impl Slot {
    /// Why the state cannot be reached.
    #[cold]
    pub(crate) fn unreachable(self, has_key: bool) -> Error {
        if self.index == NONE {
            return Error::failed("a state was used that `declare` did not register");
        }
        let name = self.name;
        if has_key {
            Error::failed(format_args!(
                "state `{name}`: the frame does not hold this key's value"
            ))
        } else {
            Error::failed(format_args!(
                "state `{name}` needs a key: put a key-by in front of the function"
            ))
        }
    }

    /// What could not be done with bytes of the state.
    #[cold]
    pub(crate) fn codec_error(self, error: impl std::fmt::Display) -> Error {
        Error::failed(format_args!(
            "state `{}`: its bytes are not of the declared type: {error}; raise its schema version when the type changes",
            self.name
        ))
    }
}
