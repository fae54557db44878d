//! The component's description, and as much JSON as reading two fields takes.

/// What `describe` answers.
pub const DESCRIPTION: &str = r#"{"version":1,"functions":[
{"name":"map","kind":"map","input":"lines","output":"lines"},
{"name":"filter","kind":"filter","input":"lines","output":"lines"},
{"name":"flat-map","kind":"flat-map","input":"lines","output":"lines","side-outputs":[{"name":"rejected","format":"lines"}]},
{"name":"key-selector","kind":"key-selector","input":"lines","output":"raw"},
{"name":"reduce","kind":"reduce","input":"lines","output":"lines",
 "state":[{"name":"accumulator","kind":"reducing","encoding":"utf8"}]},
{"name":"aggregate","kind":"aggregate","input":"lines","output":"lines",
 "state":[{"name":"accumulator","kind":"aggregating","encoding":"utf8"}]},
{"name":"process","kind":"process","input":"lines","output":"lines",
 "side-outputs":[{"name":"side","format":"lines"},{"name":"other","format":"lines"}],
 "state":[
 {"name":"value","kind":"value","encoding":"utf8"},
 {"name":"cold","kind":"value","encoding":"utf8","prefetch":"on-demand"},
 {"name":"list","kind":"list","encoding":"utf8"},
 {"name":"map","kind":"map","encoding":"utf8","schema":{"key":"utf8"}},
 {"name":"reducing","kind":"reducing","encoding":"i64-le"},
 {"name":"folded","kind":"reducing","encoding":"i64-le","reduce":"sum"},
 {"name":"aggregating","kind":"aggregating","encoding":"utf8"},
 {"name":"script","kind":"value","encoding":"utf8"},
 {"name":"event-chain","kind":"value","encoding":"utf8"},
 {"name":"processing-chain","kind":"value","encoding":"utf8"}]},
{"name":"buffering","kind":"flat-map","input":"lines","output":"lines","raw-state":true,
 "operator-state":[{"name":"buffer","mode":"list"},{"name":"seen","mode":"union"},{"name":"setting","mode":"broadcast"}]},
{"name":"lifecycle","kind":"flat-map","input":"lines","output":"lines"},
{"name":"async","kind":"async","input":"lines","output":"lines","grants":["http"]},
{"name":"timestamps","kind":"timestamp-assigner","input":"lines"},
{"name":"watermarks","kind":"watermark-generator","input":"lines"},
{"name":"watermarks-kept","kind":"watermark-generator","input":"lines","raw-state":true},
{"name":"partition","kind":"partitioner","input":"lines"},
{"name":"co-map","kind":"map","input":"lines","second-input":"lines","output":"lines"},
{"name":"co-flat-map","kind":"flat-map","input":"lines","second-input":"lines","output":"lines"},
{"name":"co-process","kind":"process","input":"lines","second-input":"lines","output":"lines",
 "state":[{"name":"seen","kind":"value","encoding":"utf8"}]},
{"name":"broadcast","kind":"process","input":"lines","second-input":"lines","output":"lines",
 "broadcast-state":[{"name":"rules"}],
 "state":[{"name":"count","kind":"value","encoding":"u64-le"},
 {"name":"last","kind":"map","encoding":"utf8","schema":{"key":"utf8"}}]},
{"name":"broadcast-plain","kind":"flat-map","input":"lines","second-input":"lines","output":"lines",
 "broadcast-state":[{"name":"rules"}]},
{"name":"process-join","kind":"process-join","input":"lines","second-input":"lines","output":"lines",
 "state":[{"name":"pairs","kind":"value","encoding":"u64-le"}],
 "side-outputs":[{"name":"same","format":"lines"}]},
{"name":"join","kind":"join","input":"lines","second-input":"lines","output":"lines",
 "state":[{"name":"pairs","kind":"value","encoding":"u64-le"}],
 "side-outputs":[{"name":"same","format":"lines"}]},
{"name":"co-group","kind":"co-group","input":"lines","second-input":"lines","output":"lines",
 "state":[{"name":"groups","kind":"value","encoding":"u64-le"}],
 "side-outputs":[{"name":"alone","format":"lines"}]},
{"name":"apply","kind":"window","input":"lines","output":"lines"},
{"name":"evictor","kind":"evictor","input":"lines"}
]}"#;

/// What follows `"name":` in an object without nested objects.
fn field<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let quoted = format!("\"{name}\"");
    let start = json.find(&quoted)? + quoted.len();
    json.get(start..)?
        .trim_start()
        .strip_prefix(':')
        .map(str::trim_start)
}

/// A field that is a number.
pub fn json_number(json: &str, name: &str) -> Option<u32> {
    let text = field(json, name)?;
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// A field that is a text without escapes.
pub fn json_text<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    field(json, name)?.strip_prefix('"')?.split('"').next()
}
