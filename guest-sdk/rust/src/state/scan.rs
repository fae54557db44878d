//! Keyed state for the broadcast side: every key of the subtask in turn.

use super::on_demand::{PAGE_BYTES, page_head, take, take_u32};
use super::{AggregatingState, FoldedState, ListState, MapState, ReducingState, Slot, ValueState};
use crate::Context;
use crate::call::Call;
use crate::error::{Error, Result};
use crate::frame::{KIND_ELEMENT, NONE};
use crate::host::{self, op};

/// A keyed state whose keys [`Context::apply_to_keyed_state`] goes through.
pub trait KeyedState {
    #[doc(hidden)]
    fn slot(&self) -> (u32, &'static str);
}

macro_rules! keyed_state {
    ($($state:ident < $($parameter:ident),* >),*) => {$(
        impl<$($parameter),*> KeyedState for $state<$($parameter),*> {
            fn slot(&self) -> (u32, &'static str) {
                (self.slot.index, self.slot.name)
            }
        }
    )*};
}

keyed_state!(ValueState<T>, ListState<T>, MapState<K, V>, ReducingState<T>, AggregatingState<A>, FoldedState<>);

impl<'f, O: ?Sized> Context<'f, O> {
    /// For a record of the broadcast input of a keyed function: calls `each` with every key of this subtask that has
    /// something in `state`; within it, keyed states are those of that key. No order between keys is promised, and
    /// [`Context::key`] stays empty: the key is what `each` is given.
    pub fn apply_to_keyed_state(
        &mut self,
        state: &impl KeyedState,
        mut each: impl FnMut(&[u8], &mut Context<'f, O>) -> Result<()>,
    ) -> Result<()> {
        let (index, name) = state.slot();
        let slot = Slot { index, name };
        if self.call.row.kind != KIND_ELEMENT || self.call.row.port == 0 {
            return Err(Error::failed(format_args!(
                "state `{name}`: its keys can be gone through in `process_broadcast_element` alone"
            )));
        }
        if index == NONE {
            return Err(slot.unreachable(true));
        }
        if self.call.scanned_key.is_some() {
            return Err(Error::failed(format_args!(
                "state `{name}`: its keys cannot be gone through while those of another scan are"
            )));
        }
        let mut restart = true;
        loop {
            let page = self.call.keys_page(slot, restart)?;
            restart = false;
            let (count, done) = page_head(&page);
            let mut rest = page.get(8..).unwrap_or_default();
            for _ in 0..count {
                let (key, length) = (take_u32(&mut rest)?, take_u32(&mut rest)?);
                let body = take(&mut rest, length)?;
                self.call.enter_key(key as u32);
                let called = each(body, self);
                self.call.leave_key();
                called?;
            }
            if done || count == 0 {
                return Ok(());
            }
        }
    }
}

impl Call<'_> {
    fn keys_page(&mut self, slot: Slot, restart: bool) -> Result<Vec<u8>> {
        // What this call has cleared so far is not to be among the keys.
        self.flush()?;
        let request = &mut self.buffers.request;
        host::start_request(request, op::KEYS_PAGE);
        for field in [slot.index, u32::from(restart), PAGE_BYTES] {
            request.extend_from_slice(&field.to_le_bytes());
        }
        host::call(request).map_err(Error::failed)
    }
}
