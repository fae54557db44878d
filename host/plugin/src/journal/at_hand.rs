//! What a call of the typed family is about: imports are asked about it.

use wasmill_engine::window::element::Element;
use wasmill_model::time::Timestamp;

use super::answers::AnsweredRequest;
use super::keys::NONE;
use super::scope::CallScope;

/// The record at hand, of the typed family.
#[derive(Default)]
pub struct RecordAtHand {
    /// Its event time; what its emissions carry.
    pub timestamp: Option<Timestamp>,
    /// Its key among those of the call: 0, or one that a scan found.
    pub key: u32,
    /// Of a partitioner: how many channels there are, whatever the record.
    pub channels: u32,
    /// Whether its value is null.
    pub is_null: bool,
    /// Its extension.
    pub extension: Vec<u8>,
    /// Requests of an element and their answers, for imports.
    pub answers: Vec<AnsweredRequest>,
}

/// The window at hand, of the typed family.
#[derive(Default)]
pub struct WindowAtHand {
    /// Start and end; `None` where the call is about none.
    pub bounds: Option<(Timestamp, Timestamp)>,
    /// Its elements: timestamp and length; their values lie in `values`.
    pub elements: Vec<(Option<Timestamp>, usize)>,
    /// Values of the elements.
    pub values: Vec<u8>,
    /// Of a co-group: how many of them are of the left side; those of the right one follow.
    pub left: Option<usize>,
    /// How many elements, and bytes of values, lie before the next one that the guest takes. Of a co-group those of the
    /// right side have a place of their own, the second.
    pub taken: [(usize, usize); 2],
    /// How many windows were merged into it: their namespaces follow its own.
    pub merged: u32,
    /// The namespace that state is reached in.
    pub namespace: u32,
}

impl WindowAtHand {
    /// Adds an element.
    pub fn push(&mut self, element: &Element<'_>) {
        self.elements.push((element.timestamp, element.value.len()));
        self.values.extend_from_slice(element.value);
    }
}

impl CallScope {
    /// The namespace that a state is reached in, of the typed family.
    pub fn namespace_of(&self, slot: u32) -> u32 {
        match self.states().get(slot as usize) {
            Some(state) if self.window.bounds.is_some() && !state.of_key => self.window.namespace,
            _ => NONE,
        }
    }

    /// Whether the function may have timers.
    pub fn check_timers(&self) -> Result<(), String> {
        match self.description().kind.has_timers() {
            true => Ok(()),
            false => Err(format!(
                "a function of kind {:?} has no timers",
                self.description().kind
            )),
        }
    }
}
