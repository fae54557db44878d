//! Writes frames as the host does. It shares nothing with the reader but the document.

use super::Element;

/// `kind` of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RowKind {
    Element = 1,
    EventTimer = 2,
    ProcessingTimer = 3,
    Completion = 32,
    Timeout = 33,
    Periodic = 41,
    Pair = 40,
}

/// One row to be sent.
#[derive(Clone)]
pub(super) struct FrameRow {
    pub(super) kind: RowKind,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) timestamp: Option<i64>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// Extension entries behind those of the headers.
    pub(super) answers: Vec<u8>,
    /// The input that it came in on.
    pub(super) port: u8,
}

impl FrameRow {
    pub(super) fn element(element: &Element<'_>) -> Self {
        Self {
            kind: RowKind::Element,
            key: element.key.map(<[u8]>::to_vec),
            value: element.value.map(<[u8]>::to_vec),
            timestamp: element.timestamp,
            headers: element
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
                .collect(),
            answers: Vec::new(),
            port: u8::from(element.second),
        }
    }

    /// A pair of an interval join: of each side the record and its timestamp.
    pub(super) fn pair(key: &str, left: (&str, i64), right: (&str, i64)) -> Self {
        let mut value = Vec::new();
        value.extend_from_slice(&left.1.to_le_bytes());
        value.extend_from_slice(&right.1.to_le_bytes());
        put(&mut value, left.0.len());
        put(&mut value, right.0.len());
        value.extend_from_slice(left.0.as_bytes());
        value.extend_from_slice(right.0.as_bytes());
        Self {
            kind: RowKind::Pair,
            key: Some(key.as_bytes().to_vec()),
            value: Some(value),
            timestamp: Some(left.1.max(right.1)),
            headers: Vec::new(),
            answers: Vec::new(),
            port: 0,
        }
    }

    pub(super) fn timer(kind: RowKind, key: &[u8], at: i64) -> Self {
        Self {
            kind,
            key: Some(key.to_vec()),
            value: Some(Vec::new()),
            timestamp: Some(at),
            headers: Vec::new(),
            answers: Vec::new(),
            port: 0,
        }
    }
}

/// Values of one prefetched state, by key index.
pub(super) struct StateBlock {
    pub(super) slot: u32,
    pub(super) values: Vec<Option<Vec<u8>>>,
}

/// All that a frame holds.
pub(super) struct FrameContent<'a> {
    pub(super) rows: &'a [FrameRow],
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) state: Vec<StateBlock>,
    pub(super) watermark: i64,
    pub(super) processing_time: i64,
}

/// The bytes of a frame.
pub(super) fn frame(content: &FrameContent<'_>) -> Vec<u8> {
    let sections = [
        (1_u32, rows(content)),
        (2, keys(&content.keys)),
        (4, state(&content.state)),
    ];
    let mut out = vec![1, 0, 40, 0];
    put(&mut out, content.rows.len());
    out.extend_from_slice(&content.watermark.to_le_bytes());
    out.extend_from_slice(&content.processing_time.to_le_bytes());
    put(&mut out, content.keys.len());
    put(&mut out, sections.len());
    out.extend_from_slice(&[0; 8]);
    let mut offset = out.len() + 12 * sections.len();
    for (tag, bytes) in &sections {
        out.extend_from_slice(&tag.to_le_bytes());
        put(&mut out, offset);
        put(&mut out, bytes.len());
        offset += bytes.len();
    }
    for (_, bytes) in &sections {
        out.extend_from_slice(bytes);
    }
    out
}

fn put(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&(number as u32).to_le_bytes());
}

fn rows(content: &FrameContent<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for row in content.rows {
        let extension = [extension(&row.headers), row.answers.clone()].concat();
        let value = row.value.as_deref().unwrap_or_default();
        let key = row
            .key
            .as_ref()
            .and_then(|key| content.keys.iter().position(|other| other == key));
        let flags = u8::from(row.timestamp.is_some())
            | u8::from(key.is_some()) << 1
            | u8::from(row.value.is_none()) << 2
            | u8::from(!extension.is_empty()) << 3;
        put(&mut out, 32 + value.len() + extension.len());
        out.extend_from_slice(&[row.kind as u8, flags, row.port, 0]);
        out.extend_from_slice(&key.map_or(u32::MAX, |key| key as u32).to_le_bytes());
        out.extend_from_slice(&u32::MAX.to_le_bytes());
        out.extend_from_slice(&row.timestamp.unwrap_or(0).to_le_bytes());
        put(&mut out, 0);
        put(&mut out, value.len());
        out.extend_from_slice(value);
        out.extend_from_slice(&extension);
    }
    out
}

fn extension(headers: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in headers {
        out.extend_from_slice(&1_u16.to_le_bytes());
        put(&mut out, 2 + name.len() + value.len());
        out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value);
    }
    out
}

fn keys(keys: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut offset = 0;
    put(&mut out, offset);
    for key in keys {
        offset += key.len();
        put(&mut out, offset);
    }
    out.extend(keys.iter().flatten());
    out
}

fn state(blocks: &[StateBlock]) -> Vec<u8> {
    let mut out = Vec::new();
    for block in blocks {
        out.extend_from_slice(&block.slot.to_le_bytes());
        put(&mut out, block.values.len());
        for value in &block.values {
            let length = value.as_ref().map_or(u32::MAX, |value| value.len() as u32);
            out.extend_from_slice(&length.to_le_bytes());
        }
        out.extend(block.values.iter().flatten().flatten());
    }
    out
}
