//! What windows of two streams compute: the pairs of a window join, the sides of a co-group.
//!
//! The window operator keeps the elements of both streams in one list, in the order of arrival; each knows its side.
//! Invariant: pairs come by their left element, then by their right one, each side in that order, as in Flink.

use std::ops::Range;

use wasmill_model::function::Format;

use super::pair::write_value;
use crate::error::TaskError;
use crate::window::element::Element;
use crate::window::function::{ElementsCall, ElementsFunction, ElementsStep};
use crate::window::native::begin;

/// The elements of each side of a firing, by number.
#[derive(Debug, Default)]
pub struct Sides {
    /// Of the first input.
    pub left: Vec<usize>,
    /// Of the second input.
    pub right: Vec<usize>,
}

impl Sides {
    /// Of a part of all elements.
    pub fn of(elements: &[Element<'_>], part: Range<usize>) -> Self {
        let is_second = |number: &usize| elements.get(*number).is_some_and(|element| element.is_second);
        let (right, left) = part.partition(is_second);
        Self { left, right }
    }
}

/// Emits each pair of a window as `{"left":…,"right":…}`; values that are no JSON as texts.
pub struct EmitWindowPairs {
    /// Of both sides.
    pub formats: [Format; 2],
}

impl ElementsFunction for EmitWindowPairs {
    fn run(&mut self, call: ElementsCall<'_, '_, '_>) -> Result<(), TaskError> {
        let mut result = Vec::new();
        for fired in call.steps {
            let ElementsStep::Fire {
                window,
                step,
                elements,
                ..
            } = fired
            else {
                continue;
            };
            let sides = Sides::of(call.elements, elements.clone());
            for left in &sides.left {
                result.clear();
                result.extend_from_slice(b"{\"left\":");
                write_element(&mut result, &call.elements[*left], self.formats[0]);
                result.extend_from_slice(b",\"right\":");
                let until_right = result.len();
                for right in &sides.right {
                    result.truncate(until_right);
                    write_element(&mut result, &call.elements[*right], self.formats[1]);
                    result.push(b'}');
                    call.out.emit(*step, 0, Some(window.max_timestamp()), &result);
                }
            }
        }
        Ok(())
    }
}

/// Emits the elements of a window as `{"key":…,"start":…,"end":…,"left":[…],"right":[…]}`; those that are no JSON as
/// texts.
pub struct EmitCoGroups {
    /// Of both sides.
    pub formats: [Format; 2],
}

impl ElementsFunction for EmitCoGroups {
    fn run(&mut self, call: ElementsCall<'_, '_, '_>) -> Result<(), TaskError> {
        let mut result = Vec::new();
        for fired in call.steps {
            let ElementsStep::Fire {
                pane,
                window,
                step,
                elements,
            } = fired
            else {
                continue;
            };
            let sides = Sides::of(call.elements, elements.clone());
            begin(&mut result, call.panes.key_bytes(*pane), *window)?;
            let named = [(&b"left"[..], &sides.left), (b"right", &sides.right)];
            for ((name, numbers), format) in named.into_iter().zip(self.formats) {
                result.extend_from_slice(b",\"");
                result.extend_from_slice(name);
                result.extend_from_slice(b"\":[");
                for (at, number) in numbers.iter().enumerate() {
                    if at > 0 {
                        result.push(b',');
                    }
                    write_element(&mut result, &call.elements[*number], format);
                }
                result.push(b']');
            }
            result.push(b'}');
            call.out.emit(*step, 0, Some(window.max_timestamp()), &result);
        }
        Ok(())
    }
}

fn write_element(out: &mut Vec<u8>, element: &Element<'_>, format: Format) {
    write_value(out, (!element.is_null).then_some(element.value), format);
}
