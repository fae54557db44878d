//! Bytes of `tests/fixtures/frame-v1`, and frames that hold anything at all.
//!
//! A fixture is a frame, what it means as JSON, and the answer that the function below gives to it.
//! The host's tests read the same files. `WASMILL_BLESS=1` writes those that are missing; version 1 is
//! frozen, so what exists is never overwritten.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::instance::Instance;
use crate::prelude::*;

/// Uses every section of an answer but ERROR; fails on `bad`.
#[derive(Default)]
struct Everything {
    count: ValueState<u64>,
    text: ValueState<String>,
    list: ListState<String>,
    map: MapState<u32, String>,
    side: SideOutput<str>,
}

impl KeyedProcessFunction for Everything {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.count = d.value_state("count");
        self.text = d.value_state("text");
        self.list = d.list_state("list");
        self.map = d.map_state("map");
        self.side = d.side_output("side");
    }

    fn process_element(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        if value == "bad" {
            return Err(Error::bad_record("it is bad"));
        }
        let count = self.count.value(ctx)?.unwrap_or(0) + 1;
        self.count.update(ctx, &count)?;
        self.text.clear(ctx)?;
        self.list.add(ctx, &value.to_owned())?;
        self.map.put(ctx, &7, &value.to_owned())?;
        self.map.remove(ctx, &8)?;
        ctx.emit((ctx.key_str()?, ':', count));
        ctx.emit_to(
            self.side,
            ctx.header("source")
                .map_or("no header".into(), String::from_utf8_lossy)
                .as_ref(),
        );
        ctx.register_event_timer(ctx.current_watermark() + 10);
        ctx.delete_processing_timer(ctx.current_processing_time());
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        let text = self.text.value(ctx)?.unwrap_or_default();
        ctx.emit((timer.at, ' ', text));
        Ok(())
    }
}

fn instance() -> Instance {
    let mut instance = Instance::default();
    let request = json!({ "version": 1, "function": "everything", "config": {}, "context": {} });
    instance
        .open(
            &[Registration::process::<Everything>("everything")],
            &request.to_string(),
        )
        .unwrap();
    instance
}

/// What a frame means.
fn meaning(bytes: &[u8]) -> Result<Value, String> {
    let frame = Frame::parse(bytes)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut rest = frame.rows;
    let mut rows = Vec::new();
    for _ in 0..frame.row_count {
        let row = Row::split(&mut rest)?;
        rows.push(json!({
            "kind": row.kind,
            "key": (row.key != NONE).then_some(row.key),
            "value": (row.flags & FLAG_NULL == 0).then(|| text(row.value)),
            "timestamp": (row.flags & FLAG_TIMESTAMP != 0 || row.kind != KIND_ELEMENT).then_some(row.timestamp),
            "header-source": row.header("source").map(text),
        }));
    }
    let keys: Vec<Option<String>> = (0..read_u32(bytes, 24))
        .map(|key| frame.keys.get(key).map(text))
        .collect();
    let mut state = Vec::new();
    let (mut at, end) = frame.state;
    while at < end {
        let (slot, count) = (read_u32(bytes, at), read_u32(bytes, at + 4) as usize);
        let mut value_at = at + 8 + 4 * count;
        let mut values = Vec::new();
        for index in 0..count {
            let length = read_u32(bytes, at + 8 + 4 * index);
            values.push((length != NONE).then(|| {
                let value = bytes[value_at..value_at + length as usize].to_vec();
                value_at += length as usize;
                value
            }));
        }
        state.push(json!({ "slot": slot, "values": values }));
        at = value_at;
    }
    Ok(json!({
        "watermark": frame.watermark, "processing-time": frame.processing_time,
        "keys": keys, "rows": rows, "state": state,
    }))
}

/// A row as the host writes it.
fn row(kind: u8, key: u32, timestamp: Option<i64>, value: Option<&[u8]>, extension: &[u8]) -> Vec<u8> {
    let value_bytes = value.unwrap_or_default();
    let flags = u8::from(timestamp.is_some() && kind == 1)
        | (2 * u8::from(key != NONE))
        | (4 * u8::from(value.is_none()))
        | (8 * u8::from(!extension.is_empty()));
    let mut out = ((32 + value_bytes.len() + extension.len()) as u32)
        .to_le_bytes()
        .to_vec();
    out.extend_from_slice(&[kind, flags, 0, 0]);
    out.extend_from_slice(&key.to_le_bytes());
    out.extend_from_slice(&NONE.to_le_bytes());
    out.extend_from_slice(&timestamp.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&0_u32.to_le_bytes());
    out.extend_from_slice(&(value_bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(value_bytes);
    out.extend_from_slice(extension);
    out
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn frame(rows: &[Vec<u8>], keys: u32, sections: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut sections = sections.to_vec();
    sections.insert(0, (1, rows.concat()));
    let mut out = vec![1, 0, 40, 0];
    out.extend(words(&[rows.len() as u32]));
    out.extend_from_slice(&1_000_i64.to_le_bytes());
    out.extend_from_slice(&1_700_000_000_000_i64.to_le_bytes());
    out.extend(words(&[keys, sections.len() as u32, 0, 0]));
    let mut offset = 40 + 12 * sections.len();
    for (tag, bytes) in &sections {
        out.extend(words(&[*tag, offset as u32, bytes.len() as u32]));
        offset += bytes.len();
    }
    out.extend(sections.iter().flat_map(|(_, bytes)| bytes));
    out
}

/// Frames by the name of their fixture.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let header = [&[1, 0, 13, 0, 0, 0, 6, 0][..], b"source", b"kafka"].concat();
    let keys = (2, [words(&[0, 5, 6]), b"alphab".to_vec()].concat());
    let two = 2_u64.to_le_bytes();
    let state = [
        words(&[0, 2, 8, NONE]),
        two.to_vec(),
        words(&[1, 2, NONE, 4]),
        b"text".to_vec(),
    ]
    .concat();
    let state = (4, state);
    let optional = (1 << 31 | 77, b"for a later version".to_vec());
    let elements = [
        row(KIND_ELEMENT, 0, Some(5), Some(b"one"), &header),
        row(KIND_ELEMENT, 1, None, Some(b""), &[]),
        row(KIND_ELEMENT, 0, Some(-1), None, &[]),
    ];
    let timers = [
        row(KIND_EVENT_TIMER, 1, Some(900), Some(b""), &[]),
        row(KIND_PROCESSING_TIMER, 0, Some(1_000), Some(b""), &[]),
        row(KIND_ELEMENT, 1, Some(1_001), Some(b"two"), &[]),
    ];
    let error = [
        row(KIND_ELEMENT, 0, None, Some(b"one"), &[]),
        row(KIND_ELEMENT, 1, None, Some(b"bad"), &[]),
    ];
    vec![
        (
            "elements",
            frame(&elements, 2, &[keys.clone(), state.clone(), optional]),
        ),
        ("timers", frame(&timers, 2, &[keys.clone(), state.clone()])),
        ("error", frame(&error, 2, &[keys, state])),
    ]
}

fn fixture(name: &str, content: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/frame-v1")
        .join(name);
    if std::env::var_os("WASMILL_BLESS").is_some() && !path.exists() {
        fs::write(&path, content).unwrap();
    }
    let stored = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(stored == content, "{name} is not what this SDK reads or writes");
}

#[test]
fn frames_and_answers_of_version_1_are_read_and_written_as_ever() {
    for (name, bytes) in frames() {
        fixture(&format!("{name}.frame.bin"), &bytes);
        let meaning = serde_json::to_string_pretty(&meaning(&bytes).unwrap()).unwrap();
        fixture(&format!("{name}.frame.json"), (meaning + "\n").as_bytes());
        let mut instance = instance();
        fixture(&format!("{name}.answer.bin"), instance.call(&bytes).unwrap());
    }
}

#[test]
fn frames_that_the_host_wrote_are_read() {
    let read = |name: &str| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/frame-v1");
        fs::read(path.join(name)).unwrap()
    };
    let keyed = meaning(&read("host-keyed.frame.bin")).unwrap();
    assert_eq!(
        (&keyed["watermark"], &keyed["processing-time"]),
        (&json!(100), &json!(200))
    );
    assert_eq!(keyed["keys"], json!(["a", "bb"]));
    let keys: Vec<&Value> = keyed["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["key"])
        .collect();
    assert_eq!(keys, [&json!(0), &json!(1), &json!(0)]);
    assert_eq!(
        keyed["state"],
        json!([{ "slot": 0, "values": [b"stored", null] }])
    );

    // One key in two namespaces: each timer's value is that of its own pair.
    let timers = read("host-timers.frame.bin");
    let frame = Frame::parse(&timers).unwrap();
    let mut rest = frame.rows;
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let row = Row::split(&mut rest).unwrap();
        assert_eq!(row.kind, KIND_PROCESSING_TIMER);
        pairs.push(frame.pair(row.key, row.namespace));
    }
    pairs.sort_unstable();
    assert_eq!(pairs, [Some(0), Some(1)]);
    assert_eq!(frame.pair(0, 7), None);
}

#[test]
fn every_truncation_of_a_frame_is_an_error() {
    for (name, bytes) in frames() {
        let mut instance = instance();
        for end in 0..bytes.len() {
            let cut = instance.call(&bytes[..end]).map(<[u8]>::len);
            // What is cut off may lie in the section that this version does not know.
            let is_harmless = name == "elements" && end + b"for a later version".len() > bytes.len();
            assert!(cut.is_err() || is_harmless, "{name} cut at {end}");
        }
    }
}

#[test]
fn an_unknown_section_is_skipped_only_where_it_is_optional() {
    let rows = [row(KIND_ELEMENT, NONE, None, Some(b"bad"), &[])];
    let mut instance = instance();
    assert!(
        instance
            .call(&frame(&rows, 0, &[(2, words(&[0])), (1 << 31 | 9, Vec::new())]))
            .is_ok()
    );
    let error = instance
        .call(&frame(&rows, 0, &[(2, words(&[0])), (9, Vec::new())]))
        .unwrap_err();
    assert_eq!(error, "section 9 is unknown and not optional");
}

#[test]
fn a_kind_of_row_that_is_unknown_is_an_error_of_the_call() {
    let rows = [row(16, NONE, None, Some(b"x"), &[])];
    let error = instance()
        .call(&frame(&rows, 0, &[(2, words(&[0]))]))
        .unwrap_err();
    assert!(error.contains("kind 16"), "{error}");
}

#[test]
fn another_version_is_refused_by_name() {
    let mut bytes = frames().remove(0).1;
    bytes[0] = 2;
    assert_eq!(
        instance().call(&bytes).unwrap_err(),
        "frame version 2 is unknown to this SDK, which reads 1"
    );
}

proptest! {
    #[test]
    fn no_frame_makes_the_sdk_panic(changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6), which in 0..3_usize) {
        let mut bytes = frames().remove(which).1;
        for (at, byte) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        // An answer or an error: either will do, for the host has written neither.
        let _ = instance().call(&bytes);
    }

    #[test]
    fn no_bytes_make_the_sdk_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(instance().call(&bytes).is_err() || bytes[0] == 1);
    }
}
