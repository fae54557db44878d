//! `apply`: a window's elements in one line. `evictor`: leaves elements out by how they end.

use crate::bindings::exports::wasmill::function::{evictor, window_function};
use crate::bindings::wasmill::function::types::{Element, Error};
use crate::bindings::wasmill::function::{collector, timers, window_context};
use crate::{Component, text};

/// Bytes of elements that are asked for at a time: few, so that there is more than one page.
const PAGE_BYTES: u32 = 16;

fn elements() -> Vec<Element> {
    let mut all = Vec::new();
    loop {
        let page = window_context::next_elements(PAGE_BYTES);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

impl window_function::Guest for Component {
    fn process() -> Result<(), Error> {
        let mut line = String::from_utf8_lossy(&timers::current_key()).into_owned();
        for element in elements() {
            line.push(' ');
            line.push_str(text(&element)?);
        }
        collector::emit(line.as_bytes());
        Ok(())
    }

    fn clear() -> Result<(), Error> {
        Ok(())
    }
}

fn ending(ending: u8) -> Vec<u32> {
    let numbers = (0..).zip(elements());
    let ends = numbers.filter(|(_, element)| element.value.last() == Some(&ending));
    ends.map(|(number, _)| number).collect()
}

impl evictor::Guest for Component {
    fn evict_before() -> Result<Vec<u32>, Error> {
        Ok(ending(b'-'))
    }

    fn evict_after() -> Result<Vec<u32>, Error> {
        Ok(ending(b'+'))
    }
}
