//! Components as text: the least that the families' worlds ask for, with one part of it replaced.

/// What a well-behaved component says of itself.
pub(super) const COUNT: &str = r#"{"version":1,"functions":[{"name":"count","kind":"process","state":[{"name":"count","kind":"value"}]}]}"#;

/// A component of the frame family that does nothing well.
pub(super) struct Frame<'a> {
    /// What `describe` returns.
    pub(super) json: &'a str,
    /// Body of the core function `describe` (returns the address of pointer and length), where it is not to
    /// return `json`.
    pub(super) describe: Option<&'a str>,
    /// Further fields of the core module.
    pub(super) core: &'a str,
    /// Imports of the core module; they come first.
    pub(super) core_imports: &'a str,
    /// Imports of the component.
    pub(super) imports: &'a str,
    /// What the core module is instantiated with.
    pub(super) with: &'a str,
    /// Size of its memory, in pages.
    pub(super) memory: &'a str,
}

impl Default for Frame<'_> {
    fn default() -> Self {
        Self {
            json: COUNT,
            describe: None,
            core: "",
            core_imports: "",
            imports: "",
            with: "",
            memory: "1",
        }
    }
}

impl Frame<'_> {
    /// As text.
    pub(super) fn text(&self) -> String {
        let Self {
            json,
            core,
            core_imports,
            imports,
            with,
            memory,
            ..
        } = self;
        let describe = self.describe.unwrap_or("(i32.const 16)");
        let (data, length) = (escaped(json), json.len());
        let pages = 1 + length / 65_536;
        let memory = if *memory == "1" {
            (1 + pages).to_string()
        } else {
            (*memory).to_owned()
        };
        format!(
            r#"(component
  {imports}
  (core module $m
    {core_imports}
    (memory (export "memory") {memory})
    (global $free (mut i32) (i32.const {free}))
    (data (i32.const 16) "{pointer}{size}")
    (data (i32.const 1024) "{data}")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $free (i32.add (global.get $free) (local.get 3)))
      (i32.sub (global.get $free) (local.get 3)))
    {core}
    (func $describe (export "describe") (result i32) {describe})
    (func $ok (export "ok") (result i32) (i32.const 32))
    (func $ok2 (export "ok2") (param i32 i32) (result i32) (i32.const 32)))
  (core instance $i (instantiate $m {with}))
  (func $describe (result string)
    (canon lift (core func $i "describe") (memory (core memory $i "memory"))))
  (func $open (param "request" string) (result (result (error string)))
    (canon lift (core func $i "ok2") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func $call (param "frame" (list u8)) (result (result (list u8) (error string)))
    (canon lift (core func $i "ok2") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func $snapshot (result (result (list u8) (error string)))
    (canon lift (core func $i "ok") (memory (core memory $i "memory"))))
  (func $restore (param "snapshot" (list u8)) (result (result (error string)))
    (canon lift (core func $i "ok2") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func $close (result (result (error string)))
    (canon lift (core func $i "ok") (memory (core memory $i "memory"))))
  (instance $api
    (export "describe" (func $describe))
    (export "open" (func $open))
    (export "call" (func $call))
    (export "snapshot" (func $snapshot))
    (export "restore" (func $restore))
    (export "close" (func $close)))
  (export "wasmill:function/frame-function@1.0.0" (instance $api)))"#,
            free = 2048 + length,
            pointer = word(1024),
            size = word(length as u32),
        )
    }

    /// As bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        wat::parse_str(self.text()).unwrap()
    }
}

/// A good component, which differs by `number` in nothing but its digest.
pub(super) fn good(number: u32) -> Vec<u8> {
    let core = format!("(global i32 (i32.const {number}))");
    Frame {
        core: &core,
        ..Frame::default()
    }
    .bytes()
}

/// A component of the typed family that exports `lifecycle` and `map-function`, whatever it says.
pub(super) fn typed_map(json: &str) -> Vec<u8> {
    let (data, length) = (escaped(json), json.len());
    let text = format!(
        r#"(component
  (import "wasmill:function/types@1.0.0" (instance $types
    (type $error (variant (case "bad-record" string) (case "retry" string) (case "failed" string)))
    (export "error" (type (eq $error)))
    (type $element (record (field "key" (list u8)) (field "value" (list u8)) (field "timestamp" (option s64))))
    (export "element" (type (eq $element)))))
  (alias export $types "error" (type $error))
  (alias export $types "element" (type $element))
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 16) "{pointer}{size}")
    (data (i32.const 1024) "{data}")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
    (func (export "describe") (result i32) (i32.const 16))
    (func (export "open") (param i32 i32 i32 i32) (result i32) (i32.const 32))
    (func (export "close") (result i32) (i32.const 32))
    (func (export "map") (param i32 i32 i32 i32 i32 i64) (result i32) (i32.const 32)))
  (core instance $i (instantiate $m))
  (func $describe (result string) (canon lift (core func $i "describe") (memory (core memory $i "memory"))))
  (func $open (param "function" string) (param "config" string) (result (result (error $error)))
    (canon lift (core func $i "open") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func $close (result (result (error $error)))
    (canon lift (core func $i "close") (memory (core memory $i "memory"))))
  (func $map (param "e" $element) (result (result (list u8) (error $error)))
    (canon lift (core func $i "map") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (instance $lifecycle
    (export "describe" (func $describe)) (export "open" (func $open)) (export "close" (func $close)))
  (instance $map (export "map" (func $map)))
  (export "wasmill:function/lifecycle@1.0.0" (instance $lifecycle))
  (export "wasmill:function/map-function@1.0.0" (instance $map)))"#,
        pointer = word(1024),
        size = word(length as u32),
    );
    wat::parse_str(text).unwrap()
}

/// A component whose only export is the function `run`, with the given core module fields.
pub(super) fn run(core: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
  (core module $m (memory (export "memory") 1) {core})
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))"#
    );
    wat::parse_str(text).unwrap()
}

/// Little-endian, as text has it.
fn word(number: u32) -> String {
    number
        .to_le_bytes()
        .iter()
        .map(|byte| format!("\\{byte:02x}"))
        .collect()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("\\{byte:02x}")).collect()
}
