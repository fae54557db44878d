//! `co-group-context` of `wit/`: the elements of both sides of the window at hand.

use super::generated::wasmill::function::co_group_context::Host;
use super::generated::wasmill::function::types::Element;
use super::imports::{window, window_page};
use super::{Data, trap};

type Result<T> = wasmtime::Result<T>;

impl Host for Data {
    fn next_left(&mut self, max_bytes: u32) -> Result<Vec<Element>> {
        let left = left(self)?;
        Ok(window_page(self, 0, left, max_bytes))
    }

    fn next_right(&mut self, max_bytes: u32) -> Result<Vec<Element>> {
        left(self)?;
        let end = self.host.window.elements.len();
        Ok(window_page(self, 1, end, max_bytes))
    }
}

/// How many elements are of the left side.
fn left(data: &mut Data) -> Result<usize> {
    window(data)?;
    let left = data.host.window.left;
    left.ok_or_else(|| trap("co-group-context belongs to co-group functions: this one is none".to_owned()))
}
