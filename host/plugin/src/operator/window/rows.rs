//! What happens to panes, as rows of a call.

use std::cell::Cell;
use std::ops::Range;

use wasmill_engine::window::element::Element;
use wasmill_engine::window::function::{ElementsStep, Step};
use wasmill_engine::window::panes::{PaneId, Panes};
use wasmill_model::key;
use wasmill_model::row::{
    KIND_ADD, KIND_CLEAR, KIND_CO_GROUP, KIND_FIRE, KIND_MERGE, KIND_PURGE, KIND_RESULT, KIND_WINDOW_PAIR,
};
use wasmill_model::time::Timestamp;

/// One row.
#[derive(Clone, Copy)]
pub(crate) struct PaneRow<'w> {
    /// `KIND_…`
    pub(crate) kind: u8,
    /// Whose.
    pub(crate) pane: PaneId,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) is_null: bool,
    pub(crate) value: PaneValue<'w>,
    pub(crate) extension: &'w [u8],
}

/// What a row holds.
#[derive(Clone, Copy)]
pub(crate) enum PaneValue<'w> {
    Bytes(&'w [u8]),
    /// Other panes of the key.
    Panes(&'w [PaneId]),
    /// Elements of the pane.
    Elements(&'w [Element<'w>]),
    /// Elements of the pane, which are of two sides.
    Sides(&'w [Element<'w>]),
    /// A left and a right element of the pane.
    Pair([Element<'w>; 2]),
}

impl<'w> PaneRow<'w> {
    /// A row that says nothing but its kind.
    pub(crate) fn bare(kind: u8, pane: PaneId) -> Self {
        Self {
            kind,
            pane,
            timestamp: None,
            is_null: false,
            value: PaneValue::Bytes(&[]),
            extension: &[],
        }
    }

    /// An element.
    pub(crate) fn element(kind: u8, pane: PaneId, element: Element<'w>) -> Self {
        Self {
            timestamp: element.timestamp,
            is_null: element.is_null,
            value: PaneValue::Bytes(element.value),
            extension: element.extension,
            ..Self::bare(kind, pane)
        }
    }
}

/// All rows that are to be called for.
pub(crate) trait PaneRows {
    fn panes(&self) -> &Panes;
    fn len(&self) -> u32;
    /// A row below [`PaneRows::len`].
    fn row(&self, index: u32) -> PaneRow<'_>;
    /// A call found state of a pane, or none.
    fn found(&self, pane: PaneId, is_there: bool) {
        let _ = (pane, is_there);
    }
}

/// A part of the rows.
#[derive(Clone, Copy)]
pub(crate) struct PaneWork<'w> {
    rows: &'w dyn PaneRows,
    from: u32,
    to: u32,
}

impl<'w> PaneWork<'w> {
    /// The rows from `from` on.
    pub(crate) fn of(rows: &'w dyn PaneRows, from: u32) -> Self {
        let to = rows.len();
        Self { rows, from, to }
    }

    pub(crate) fn only(self, index: u32) -> Self {
        let from = self.from + index;
        let to = (from + 1).min(self.to);
        Self { from, to, ..self }
    }

    pub(crate) fn len(self) -> u32 {
        self.to - self.from
    }

    pub(crate) fn panes(self) -> &'w Panes {
        self.rows.panes()
    }

    pub(crate) fn row(self, index: u32) -> PaneRow<'w> {
        self.rows.row(self.from + index)
    }

    pub(crate) fn found(self, pane: PaneId, is_there: bool) {
        self.rows.found(pane, is_there);
    }

    /// A row for an error.
    pub(crate) fn describe(self, index: u32) -> Vec<u8> {
        let row = self.row(index);
        match row.value {
            PaneValue::Bytes(value) if !value.is_empty() => return value.to_vec(),
            PaneValue::Pair(pair) => {
                let [left, right] = pair.map(|side| if side.is_null { b"null" } else { side.value });
                return [left, b" with ", right].concat();
            }
            _ => {}
        }
        let key = String::from_utf8_lossy(key::body(self.panes().key_bytes(row.pane))).into_owned();
        let (start, end) = self.panes().window(row.pane).bounds();
        format!("window from {start} to {end} of key {key}").into_bytes()
    }
}

/// The steps of an incremental function.
pub(crate) struct IncrementalRows<'c> {
    pub(crate) steps: &'c [Step<'c>],
    /// Those of them that concern the component.
    pub(crate) order: &'c [u32],
    pub(crate) sources: &'c [PaneId],
    pub(crate) panes: &'c Panes,
    /// By pane: whether it had an accumulator when it was first looked at.
    pub(crate) found: &'c [Cell<Option<bool>>],
}

impl PaneRows for IncrementalRows<'_> {
    fn panes(&self) -> &Panes {
        self.panes
    }

    fn len(&self) -> u32 {
        self.order.len() as u32
    }

    fn found(&self, pane: PaneId, is_there: bool) {
        let found = &self.found[pane.index()];
        found.set(found.get().or(Some(is_there)));
    }

    fn row(&self, index: u32) -> PaneRow<'_> {
        match &self.steps[self.order[index as usize] as usize] {
            Step::Add { pane, element } => PaneRow::element(KIND_ADD, *pane, *element),
            Step::Merge { target, sources } => PaneRow {
                value: PaneValue::Panes(&self.sources[sources.clone()]),
                ..PaneRow::bare(KIND_MERGE, *target)
            },
            Step::Fire {
                pane,
                window,
                even_empty,
                ..
            } => PaneRow {
                timestamp: Some(window.max_timestamp()),
                value: PaneValue::Bytes(if *even_empty { &[1] } else { &[] }),
                ..PaneRow::bare(KIND_RESULT, *pane)
            },
            Step::Purge { pane } => PaneRow::bare(KIND_PURGE, *pane),
            Step::Clear { pane, .. } => PaneRow::bare(KIND_CLEAR, *pane),
        }
    }
}

/// The steps of a function over elements.
pub(crate) struct ElementsRows<'c> {
    pub(crate) steps: &'c [ElementsStep],
    pub(crate) elements: &'c [Element<'c>],
    pub(crate) panes: &'c Panes,
    /// Whether the elements are of two sides, which the function is to tell apart.
    pub(crate) has_sides: bool,
}

impl ElementsRows<'_> {
    fn fire(&self, range: &Range<usize>) -> (u8, PaneValue<'_>) {
        let elements = &self.elements[range.clone()];
        match self.has_sides {
            true => (KIND_CO_GROUP, PaneValue::Sides(elements)),
            false => (KIND_FIRE, PaneValue::Elements(elements)),
        }
    }
}

impl PaneRows for ElementsRows<'_> {
    fn panes(&self) -> &Panes {
        self.panes
    }

    fn len(&self) -> u32 {
        self.steps.len() as u32
    }

    fn row(&self, index: u32) -> PaneRow<'_> {
        let ((kind, value), pane, window) = match &self.steps[index as usize] {
            ElementsStep::Fire {
                pane,
                window,
                elements,
                ..
            } => (self.fire(elements), *pane, window),
            ElementsStep::Clear { pane, window, .. } => ((KIND_CLEAR, PaneValue::Bytes(&[])), *pane, window),
        };
        PaneRow {
            timestamp: Some(window.max_timestamp()),
            value,
            ..PaneRow::bare(kind, pane)
        }
    }
}

/// A left element of a firing, with all right ones.
pub(crate) struct Partners<'c> {
    /// The number of its first pair.
    pub(crate) first: u32,
    pub(crate) pane: PaneId,
    pub(crate) timestamp: Timestamp,
    pub(crate) left: Element<'c>,
    /// By number.
    pub(crate) right: &'c [usize],
}

/// The pairs of window joins.
pub(crate) struct PairRows<'c> {
    /// At least one.
    pub(crate) partners: &'c [Partners<'c>],
    pub(crate) len: u32,
    pub(crate) elements: &'c [Element<'c>],
    pub(crate) panes: &'c Panes,
}

impl PairRows<'_> {
    /// Which left element a pair is of.
    pub(crate) fn place(&self, index: u32) -> usize {
        let behind = self.partners.partition_point(|partners| partners.first <= index);
        behind.saturating_sub(1)
    }
}

impl PaneRows for PairRows<'_> {
    fn panes(&self) -> &Panes {
        self.panes
    }

    fn len(&self) -> u32 {
        self.len
    }

    fn row(&self, index: u32) -> PaneRow<'_> {
        let partners = &self.partners[self.place(index)];
        let right = partners.right[(index - partners.first) as usize];
        PaneRow {
            timestamp: Some(partners.timestamp),
            value: PaneValue::Pair([partners.left, self.elements[right]]),
            ..PaneRow::bare(KIND_WINDOW_PAIR, partners.pane)
        }
    }
}

/// A single row, for parts that are asked one thing at a time.
pub(crate) struct OneRow<'c> {
    pub(crate) row: PaneRow<'c>,
    pub(crate) panes: &'c Panes,
}

impl PaneRows for OneRow<'_> {
    fn panes(&self) -> &Panes {
        self.panes
    }

    fn len(&self) -> u32 {
        1
    }

    fn row(&self, _: u32) -> PaneRow<'_> {
        self.row
    }
}
