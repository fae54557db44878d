//! Frames about windows: rows that name a pane each.
//!
//! Namespace i of such a frame is that of pair i, so that a row names both by one index.

use wasmill_engine::window::element::Element;
use wasmill_engine::window::panes::{PaneId, Panes};
use wasmill_model::row::{
    self, FLAG_EXTENSION, FLAG_KEYED, FLAG_NULL, FLAG_TIMESTAMP, HEADER_LEN, RowHeader,
};

use super::{FrameBound, FrameEncoder};
use crate::frame::SECTION_ROWS;
use crate::frame::cursor::put_u32;
use crate::journal::keys::{CallKeys, NONE};
use crate::operator::window::rows::{PaneRow, PaneValue, PaneWork};

/// The numbers of keys and panes within one frame.
#[derive(Default)]
pub(super) struct LocalPanes {
    keys: Vec<u32>,
    pairs: Vec<u32>,
    value: Vec<u8>,
}

impl LocalPanes {
    fn begin(&mut self, panes: &Panes) {
        self.keys.clear();
        self.keys.resize(panes.key_count(), NONE);
        self.pairs.clear();
        self.pairs.resize(panes.len(), NONE);
    }

    /// The numbers of a pane's key and of the pane itself.
    fn number(&mut self, pane: PaneId, panes: &Panes, keys: &mut CallKeys) -> (u32, u32) {
        let state = panes.state_key(pane);
        let key = &mut self.keys[panes.key_id(pane).0 as usize];
        if *key == NONE {
            *key = keys.add_key(state.hash, state.group, state.key);
        }
        let pair = &mut self.pairs[pane.index()];
        if *pair == NONE {
            *pair = keys.add_namespace(state.namespace);
            keys.add_pair(*key, *pair);
        }
        (*key, *pair)
    }
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

/// Their number, then each.
fn put_elements<'w>(out: &mut Vec<u8>, elements: impl Iterator<Item = &'w Element<'w>>) {
    let start = out.len();
    put_u32(out, 0);
    let mut count = 0u32;
    for element in elements {
        put_element(out, element);
        count += 1;
    }
    out[start..start + 4].copy_from_slice(&count.to_le_bytes());
}

fn put_element(out: &mut Vec<u8>, element: &Element<'_>) {
    put_u32(out, element.value.len() as u32);
    out.push(flag(element.timestamp.is_some(), FLAG_TIMESTAMP) | flag(element.is_null, FLAG_NULL));
    out.extend_from_slice(&element.timestamp.unwrap_or_default().to_le_bytes());
    out.extend_from_slice(element.value);
}

impl FrameEncoder {
    /// Starts a frame with rows from the front of `work` and returns how many.
    pub(crate) fn panes(&mut self, work: PaneWork<'_>, bound: FrameBound, keys: &mut CallKeys) -> u32 {
        let rows_max = bound.rows_max.min(work.len()).max(1);
        keys.begin(0);
        self.start(rows_max as usize * (HEADER_LEN + 32));
        let start = self.buffer.len();
        let mut panes = std::mem::take(&mut self.panes);
        panes.begin(work.panes());
        let mut rows = 0;
        while rows < rows_max && (rows == 0 || self.buffer.len() - start < bound.bytes_max) {
            self.pane_row(&work.row(rows), work.panes(), &mut panes, keys);
            rows += 1;
        }
        self.panes = panes;
        self.end_section(SECTION_ROWS, start);
        rows
    }

    /// Tells which panes of the frame have what travels first, for a function that folds its accumulator.
    pub(crate) fn tell_found(&self, work: PaneWork<'_>) {
        let Some(values) = self.values(0) else { return };
        for (pane, pair) in (0..).map(PaneId).zip(&self.panes.pairs) {
            if let Some(length) = values.lengths.get(*pair as usize) {
                work.found(pane, *length != NONE);
            }
        }
    }

    fn pane_row(&mut self, row: &PaneRow<'_>, panes: &Panes, local: &mut LocalPanes, keys: &mut CallKeys) {
        let (key, namespace) = local.number(row.pane, panes, keys);
        keys.row(key);
        let header = RowHeader {
            kind: row.kind,
            flags: FLAG_KEYED
                | flag(row.timestamp.is_some(), FLAG_TIMESTAMP)
                | flag(row.is_null, FLAG_NULL)
                | flag(!row.extension.is_empty(), FLAG_EXTENSION),
            port: 0,
            key,
            group: namespace,
            timestamp: row.timestamp.unwrap_or_default(),
        };
        let mut value = std::mem::take(&mut local.value);
        value.clear();
        let bytes = match row.value {
            PaneValue::Bytes(bytes) => bytes,
            PaneValue::Panes(parts) => {
                for part in parts {
                    let (_, namespace) = local.number(*part, panes, keys);
                    put_u32(&mut value, namespace);
                }
                &value
            }
            PaneValue::Elements(elements) => {
                put_elements(&mut value, elements.iter());
                &value
            }
            PaneValue::Sides(elements) => {
                put_u32(&mut value, 0);
                put_elements(&mut value, elements.iter().filter(|element| !element.is_second));
                let left = value.len() as u32 - 4;
                value[..4].copy_from_slice(&left.to_le_bytes());
                put_elements(&mut value, elements.iter().filter(|element| element.is_second));
                &value
            }
            PaneValue::Pair(pair) => {
                pair.iter().for_each(|element| put_element(&mut value, element));
                &value
            }
        };
        row::write(&mut self.buffer, header, b"", bytes, row.extension);
        local.value = value;
    }
}
