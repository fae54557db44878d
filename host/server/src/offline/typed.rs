//! Bytes of state as JSON and back, by what the state declares of itself.
//!
//! Invariant: what is written reads back as the same bytes. Where the typed form would not, the bytes are written
//! as they are: `{"base64": "…"}`, which every place of bytes takes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use wasmill_engine::window::bounds::Window;
use wasmill_model::function::StateDeclaration;
use wasmill_model::key;

/// Bytes whatever they hold: text as text.
pub(super) fn bytes_to_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => opaque(bytes),
    }
}

/// See [`bytes_to_json`].
pub(super) fn bytes_from_json(value: &Value) -> Result<Vec<u8>, String> {
    match value {
        Value::String(text) => Ok(text.clone().into_bytes()),
        other => match opaque_bytes(other) {
            Some(bytes) => bytes,
            None => Err(format!("`{other}` is neither text nor {{\"base64\": …}}")),
        },
    }
}

/// Bytes as they are.
pub(super) fn opaque(bytes: &[u8]) -> Value {
    json!({ "base64": BASE64.encode(bytes) })
}

/// `None` where it is another form.
pub(super) fn opaque_bytes(value: &Value) -> Option<Result<Vec<u8>, String>> {
    let text = only(value, "base64")?.as_str()?;
    Some(
        BASE64
            .decode(text)
            .map_err(|error| format!("`{text}` is not base64: {error}")),
    )
}

/// The value of an object's one entry.
fn only<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let entries = value.as_object().filter(|entries| entries.len() == 1)?;
    entries.get(name)
}

/// A value in the encoding that a state declares.
pub(super) fn value_to_json(encoding: &str, bytes: &[u8]) -> Value {
    let typed = typed_to_json(encoding, bytes).filter(|value| only(value, "base64").is_none());
    let same = |value: &Value| value_from_json(encoding, value).is_ok_and(|back| back == bytes);
    typed.filter(same).unwrap_or_else(|| opaque(bytes))
}

fn typed_to_json(encoding: &str, bytes: &[u8]) -> Option<Value> {
    let eight = || <[u8; 8]>::try_from(bytes).ok();
    Some(match encoding {
        "u64-le" => Value::from(u64::from_le_bytes(eight()?)),
        "i64-le" => Value::from(i64::from_le_bytes(eight()?)),
        "f64-le" => Value::from(f64::from_le_bytes(eight()?)),
        "json" => serde_json::from_slice(bytes).ok()?,
        "utf8" | "raw" => Value::from(std::str::from_utf8(bytes).ok()?),
        _ => return None,
    })
}

/// See [`value_to_json`].
pub(super) fn value_from_json(encoding: &str, value: &Value) -> Result<Vec<u8>, String> {
    if let Some(bytes) = opaque_bytes(value) {
        return bytes;
    }
    let wrong =
        |what: &str| format!("`{value}` is not {what}, which the state's encoding `{encoding}` asks for");
    match encoding {
        "u64-le" => match value.as_u64() {
            Some(number) => Ok(number.to_le_bytes().to_vec()),
            None => Err(wrong("a whole number from 0 to 2^64-1")),
        },
        "i64-le" => match value.as_i64() {
            Some(number) => Ok(number.to_le_bytes().to_vec()),
            None => Err(wrong("a whole number from -2^63 to 2^63-1")),
        },
        "f64-le" => match value.as_f64() {
            Some(number) => Ok(number.to_le_bytes().to_vec()),
            None => Err(wrong("a number")),
        },
        "json" => serde_json::to_vec(value).map_err(|error| error.to_string()),
        "utf8" | "raw" => match value.as_str() {
            Some(text) => Ok(text.as_bytes().to_vec()),
            None => Err(wrong("text or {\"base64\": …}")),
        },
        _ => Err(wrong("{\"base64\": …}")),
    }
}

/// What the schema of a map says of its keys.
pub(super) fn map_key_encoding(state: &StateDeclaration) -> &str {
    state.schema.get("key").and_then(Value::as_str).unwrap_or("raw")
}

/// The key of a map's entry.
pub(super) fn map_key_to_json(state: &StateDeclaration, bytes: &[u8]) -> Value {
    let typed = integer_to_json(map_key_encoding(state), bytes);
    typed.unwrap_or_else(|| bytes_to_json(bytes))
}

fn integer_to_json(encoding: &str, bytes: &[u8]) -> Option<Value> {
    Some(match encoding {
        "bool" if bytes == [0] => Value::from(false),
        "bool" if bytes == [1] => Value::from(true),
        "u8" => Value::from(u8::from_be_bytes(bytes.try_into().ok()?)),
        "u16-be" => Value::from(u16::from_be_bytes(bytes.try_into().ok()?)),
        "u32-be" => Value::from(u32::from_be_bytes(bytes.try_into().ok()?)),
        "u64-be" => Value::from(u64::from_be_bytes(bytes.try_into().ok()?)),
        "i8-ordered" => Value::from(i8::from_be_bytes(bytes.try_into().ok()?) ^ i8::MIN),
        "i16-be-ordered" => Value::from(i16::from_be_bytes(bytes.try_into().ok()?) ^ i16::MIN),
        "i32-be-ordered" => Value::from(i32::from_be_bytes(bytes.try_into().ok()?) ^ i32::MIN),
        "i64-be-ordered" => Value::from(i64::from_be_bytes(bytes.try_into().ok()?) ^ i64::MIN),
        _ => return None,
    })
}

/// See [`map_key_to_json`].
pub(super) fn map_key_from_json(state: &StateDeclaration, value: &Value) -> Result<Vec<u8>, String> {
    let encoding = map_key_encoding(state);
    let is_number = encoding.starts_with(['u', 'i']) && encoding != "utf8";
    if encoding != "bool" && !is_number || !(value.is_number() || value.is_boolean()) {
        return bytes_from_json(value);
    }
    let wrong = || format!("`{value}` is no map key of the encoding `{encoding}`");
    let unsigned = |bytes: usize| -> Result<Vec<u8>, String> {
        let number = value.as_u64().ok_or_else(wrong)?.to_be_bytes();
        let (high, low) = number.split_at(8 - bytes);
        let fits = high.iter().all(|byte| *byte == 0);
        fits.then(|| low.to_vec()).ok_or_else(wrong)
    };
    let signed = |bits: u32| -> Result<Vec<u8>, String> {
        let number = value.as_i64().ok_or_else(wrong)?;
        let half = 1i128 << (bits - 1);
        let shifted = i128::from(number) + half;
        let fits = (0..2 * half).contains(&shifted);
        let bytes = (shifted as u64).to_be_bytes();
        fits.then(|| bytes[8 - (bits / 8) as usize..].to_vec())
            .ok_or_else(wrong)
    };
    match encoding {
        "bool" => value.as_bool().map(|flag| vec![u8::from(flag)]).ok_or_else(wrong),
        "u8" => unsigned(1),
        "u16-be" => unsigned(2),
        "u32-be" => unsigned(4),
        "u64-be" => unsigned(8),
        "i8-ordered" => signed(8),
        "i16-be-ordered" => signed(16),
        "i32-be-ordered" => signed(32),
        "i64-be-ordered" => signed(64),
        _ => Err(wrong()),
    }
}

/// An encoded key: text, number, boolean or null as itself, of several fields as `{"fields": […]}`.
pub(super) fn key_to_json(encoded: &[u8]) -> Value {
    let typed = typed_key(encoded);
    let same = |value: &Value| key_from_json(value).is_ok_and(|back| back == encoded);
    let whole = || json!({ "encoded": BASE64.encode(encoded) });
    typed.filter(same).unwrap_or_else(whole)
}

fn typed_key(encoded: &[u8]) -> Option<Value> {
    let body = key::body(encoded);
    Some(match *encoded.first()? {
        key::TAG_BYTES => bytes_to_json(body),
        key::TAG_NUMBER | key::TAG_BOOL => serde_json::from_slice(body).ok()?,
        key::TAG_NULL => Value::Null,
        key::TAG_COMPOSITE => {
            let mut fields = Vec::new();
            let mut rest = body;
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let (field, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                if field.first() == Some(&key::TAG_COMPOSITE) {
                    // No field is one, and whoever writes thousands into one another gets no stack for it.
                    return None;
                }
                fields.push(key_to_json(field));
                rest = after;
            }
            json!({ "fields": fields })
        }
        _ => return None,
    })
}

/// See [`key_to_json`].
pub(super) fn key_from_json(value: &Value) -> Result<Vec<u8>, String> {
    let mut encoded = Vec::new();
    if let Some(fields) = only(value, "fields").and_then(Value::as_array) {
        let fields: Vec<Vec<u8>> = fields.iter().map(key_from_json).collect::<Result<_, _>>()?;
        key::encode_composite(&mut encoded, fields.iter().map(Vec::as_slice));
    } else if let Some(whole) = only(value, "encoded").and_then(Value::as_str) {
        return BASE64
            .decode(whole)
            .map_err(|error| format!("the key `{whole}` is not base64: {error}"));
    } else if let Some(bytes) = opaque_bytes(value) {
        key::encode_bytes(&mut encoded, &bytes?);
    } else if value.is_object() || value.is_array() {
        return Err(format!(
            "the key `{value}` is neither text, a number, true, false, null, {{\"fields\": […]}}, {{\"base64\": …}} nor \
             {{\"encoded\": …}}"
        ));
    } else {
        key::encode_json(&mut encoded, value);
    }
    Ok(encoded)
}

/// Adds what says to which window an entry belongs; nothing where it belongs to none.
pub(super) fn put_namespace(line: &mut Map<String, Value>, namespace: &[u8]) {
    let entry = match Window::from_namespace(namespace) {
        _ if namespace.is_empty() => return,
        Some(Window::Global) => ("window", Value::from("global")),
        Some(Window::Time { start, end }) => ("window", json!({ "start": start, "end": end })),
        None => ("namespace", opaque(namespace)),
    };
    line.insert(entry.0.to_owned(), entry.1);
}

/// See [`put_namespace`].
pub(super) fn take_namespace(window: Option<Value>, namespace: Option<Value>) -> Result<Vec<u8>, String> {
    match (window, namespace) {
        (None, None) => Ok(Vec::new()),
        (None, Some(namespace)) => bytes_from_json(&namespace),
        (Some(Value::String(text)), None) if text == "global" => Ok(Window::Global.namespace().to_vec()),
        (Some(window), None) => {
            let time = |name: &str| window.get(name).and_then(Value::as_i64);
            match (time("start"), time("end")) {
                (Some(start), Some(end)) if start < end => {
                    Ok(Window::Time { start, end }.namespace().to_vec())
                }
                _ => Err(format!(
                    "`{window}` is no window: write {{\"start\": ms, \"end\": ms}} with start before end, or \"global\""
                )),
            }
        }
        (Some(_), Some(_)) => Err("an entry has a `window` or a `namespace`, not both".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_their_encoding_says_and_read_back_as_the_same_bytes() {
        let cases: [(&str, &[u8], &str); 9] = [
            ("u64-le", &[5, 0, 0, 0, 0, 0, 0, 0], "5"),
            ("i64-le", &[255; 8], "-1"),
            ("f64-le", &1.5f64.to_le_bytes(), "1.5"),
            ("f64-le", &f64::NAN.to_le_bytes(), r#"{"base64":"AAAAAAAA+H8="}"#),
            ("u64-le", &[5], r#"{"base64":"BQ=="}"#),
            ("json", br#"{"a":[1,2]}"#, r#"{"a":[1,2]}"#),
            ("json", br#"{ "a": 1 }"#, r#"{"base64":"eyAiYSI6IDEgfQ=="}"#),
            ("utf8", "é".as_bytes(), r#""é""#),
            ("postcard", &[7], r#"{"base64":"Bw=="}"#),
        ];
        for (encoding, bytes, text) in cases {
            let value = value_to_json(encoding, bytes);
            assert_eq!(value.to_string(), text, "{encoding}");
            assert_eq!(value_from_json(encoding, &value).unwrap(), bytes, "{encoding}");
        }
        let error = value_from_json("u64-le", &json!(-1)).unwrap_err();
        assert!(error.contains("`-1`") && error.contains("`u64-le`"), "{error}");
    }

    #[test]
    fn numbers_with_a_point_come_back_from_text_to_their_last_bit() {
        let mut bits = 1u64;
        for _ in 0..20_000 {
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let near = (bits >> 11) as f64 / 90_071_992_547_409.92;
            for number in [f64::from_bits(bits), near] {
                let text = value_to_json("f64-le", &number.to_le_bytes()).to_string();
                let read = serde_json::from_str(&text).unwrap();
                let back = value_from_json("f64-le", &read).unwrap();
                assert_eq!(back, number.to_le_bytes(), "{text}");
            }
        }
    }

    #[test]
    fn keys_keep_their_type_and_composites_their_fields() {
        let mut composite = Vec::new();
        key::encode_composite(&mut composite, [&b"ba"[..], b"n1"]);
        let cases: [(&[u8], &str); 8] = [
            (b"bword", r#""word""#),
            (b"b\xff", r#"{"base64":"/w=="}"#),
            (b"n12", "12"),
            (b"n1.5", "1.5"),
            (b"ftrue", "true"),
            (b"0", "null"),
            (&composite, r#"{"fields":["a",1]}"#),
            (b"?x", r#"{"encoded":"P3g="}"#),
        ];
        for (encoded, text) in cases {
            let value = key_to_json(encoded);
            assert_eq!(value.to_string(), text);
            assert_eq!(key_from_json(&value).unwrap(), encoded, "{text}");
        }
    }

    #[test]
    fn map_keys_are_numbers_where_the_schema_says_so() {
        let state = |encoding: &str| -> StateDeclaration {
            let declared = json!({"name": "m", "kind": "map", "schema": {"key": encoding}});
            serde_json::from_value(declared).unwrap()
        };
        let cases: [(&str, &[u8], &str); 7] = [
            ("u16-be", &[1, 0], "256"),
            ("u64-be", &[255; 8], "18446744073709551615"),
            ("i32-be-ordered", &[0x7f, 0xff, 0xff, 0xff], "-1"),
            ("i64-be-ordered", &[0x80, 0, 0, 0, 0, 0, 0, 3], "3"),
            ("i8-ordered", &[0], "-128"),
            ("bool", &[1], "true"),
            ("utf8", b"a", r#""a""#),
        ];
        for (encoding, bytes, text) in cases {
            let value = map_key_to_json(&state(encoding), bytes);
            assert_eq!(value.to_string(), text, "{encoding}");
            assert_eq!(
                map_key_from_json(&state(encoding), &value).unwrap(),
                bytes,
                "{encoding}"
            );
        }
        assert!(map_key_from_json(&state("u8"), &json!(256)).is_err());
        assert!(map_key_from_json(&state("i8-ordered"), &json!(128)).is_err());
    }
}
