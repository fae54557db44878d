//! What `wit/` says, as names and types: the host's side of the comparison.

use wasmill_model::function::FunctionKind;

/// Functions of the interfaces that the host offers, as in `wit/`.
pub(super) const IMPORTS: [(&str, &[&str]); 12] = [
    ("types", &[]),
    (
        "runtime",
        &[
            "context",
            "value-is-null",
            "header",
            "log",
            "counter-add",
            "gauge-set",
            "histogram-record",
        ],
    ),
    ("collector", &["emit", "emit-at", "emit-to"]),
    (
        "timers",
        &[
            "current-key",
            "current-watermark",
            "current-processing-time",
            "register-event-timer",
            "delete-event-timer",
            "register-processing-timer",
            "delete-processing-timer",
        ],
    ),
    (
        "keyed-state",
        &[
            "open-value",
            "value-get",
            "value-set",
            "value-clear",
            "open-list",
            "list-add",
            "list-add-all",
            "list-update",
            "list-page",
            "list-get",
            "list-clear",
            "open-map",
            "map-get",
            "map-put",
            "map-remove",
            "map-contains",
            "map-is-empty",
            "map-entries",
            "map-keys",
            "map-clear",
            "open-accumulator",
            "accumulator-get",
            "accumulator-set",
            "accumulator-add",
            "accumulator-clear",
        ],
    ),
    (
        "operator-state",
        &[
            "open-operator-list",
            "operator-list-page",
            "operator-list-add",
            "operator-list-clear",
        ],
    ),
    (
        "window-context",
        &[
            "window-start",
            "window-end",
            "next-elements",
            "merged-windows",
            "use-window",
        ],
    ),
    ("co-group-context", &["next-left", "next-right"]),
    (
        "requests",
        &[
            "http",
            "request-count",
            "continuation",
            "response-status",
            "response-header",
            "response-body",
        ],
    ),
    (
        "broadcast-state",
        &[
            "open-broadcast",
            "broadcast-get",
            "broadcast-entries",
            "broadcast-put",
            "broadcast-remove",
            "broadcast-clear",
            "next-key",
        ],
    ),
    (
        "watermark-output",
        &["emit-watermark", "mark-idle", "mark-active", "processing-time"],
    ),
    ("frame-host", &["host-call", "log"]),
];

/// Functions of an exported interface with their types.
pub(super) type Exports = (&'static str, &'static [(&'static str, &'static str)]);

pub(super) const FRAME: Exports = (
    "frame-function",
    &[
        ("describe", "func() -> string"),
        ("open", "func(string) -> result<_, string>"),
        ("call", "func(list<u8>) -> result<list<u8>, string>"),
        ("snapshot", "func() -> result<list<u8>, string>"),
        ("restore", "func(list<u8>) -> result<_, string>"),
        ("close", "func() -> result<_, string>"),
    ],
);

pub(super) const LIFECYCLE: Exports = (
    "lifecycle",
    &[
        ("describe", "func() -> string"),
        ("open", "func(string, string) -> result<_, ERROR>"),
        ("close", "func() -> result<_, ERROR>"),
    ],
);

pub(super) const CHECKPOINTED: Exports = (
    "checkpointed",
    &[
        ("restore-state", "func(bool, list<u8>) -> result<_, ERROR>"),
        ("snapshot-state", "func() -> result<list<u8>, ERROR>"),
    ],
);

pub(super) const MIGRATION: Exports = (
    "migration",
    &[(
        "migrate",
        "func(string, string, u32, u32, list<record{key: list<u8>, value: list<u8>}>) -> result<list<option<list<u8>>>, \
         string>",
    )],
);

pub(super) const BROADCAST: Exports = (
    "broadcast-process-function",
    &[
        ("process-element", "func(ELEMENT) -> result<_, ERROR>"),
        ("process-broadcast-element", "func(ELEMENT) -> result<_, ERROR>"),
        ("on-timer", "func(s64, bool) -> result<_, ERROR>"),
    ],
);

pub(super) fn exports_of(kind: FunctionKind) -> Exports {
    match kind {
        FunctionKind::Map => (
            "map-function",
            &[("map", "func(ELEMENT) -> result<list<u8>, ERROR>")],
        ),
        FunctionKind::Filter => (
            "filter-function",
            &[("filter", "func(ELEMENT) -> result<bool, ERROR>")],
        ),
        FunctionKind::FlatMap => (
            "flat-map-function",
            &[("flat-map", "func(ELEMENT) -> result<_, ERROR>")],
        ),
        FunctionKind::KeySelector => (
            "key-selector",
            &[("get-key", "func(ELEMENT) -> result<list<u8>, ERROR>")],
        ),
        FunctionKind::Reduce => (
            "reduce-function",
            &[("reduce", "func(list<u8>, list<u8>) -> result<list<u8>, ERROR>")],
        ),
        FunctionKind::Aggregate => (
            "aggregate-function",
            &[
                ("create-accumulator", "func() -> result<list<u8>, ERROR>"),
                ("add", "func(list<u8>, ELEMENT) -> result<list<u8>, ERROR>"),
                ("get-result", "func(list<u8>) -> result<list<u8>, ERROR>"),
                ("merge", "func(list<u8>, list<u8>) -> result<list<u8>, ERROR>"),
            ],
        ),
        FunctionKind::Async => (
            "async-function",
            &[
                ("invoke", "func(ELEMENT) -> result<_, ERROR>"),
                ("complete", "func(ELEMENT) -> result<_, ERROR>"),
                ("timeout", "func(ELEMENT) -> result<_, ERROR>"),
            ],
        ),
        FunctionKind::Process => (
            "process-function",
            &[
                ("process-element", "func(ELEMENT) -> result<_, ERROR>"),
                ("on-timer", "func(s64, bool) -> result<_, ERROR>"),
            ],
        ),
        FunctionKind::ProcessJoin => (
            "process-join-function",
            &[("process-pair", "func(ELEMENT, ELEMENT) -> result<_, ERROR>")],
        ),
        FunctionKind::Join => (
            "join-function",
            &[("join", "func(ELEMENT, ELEMENT) -> result<_, ERROR>")],
        ),
        FunctionKind::CoGroup => ("co-group-function", &[("co-group", "func() -> result<_, ERROR>")]),
        FunctionKind::Window
        | FunctionKind::Trigger
        | FunctionKind::Evictor
        | FunctionKind::WindowAssigner => exports_of_windows(kind),
        FunctionKind::TimestampAssigner | FunctionKind::WatermarkGenerator | FunctionKind::Partitioner => {
            exports_about_records(kind)
        }
    }
}

/// The interface of a function with two inputs, where it is of a kind that may have them.
pub(super) fn exports_of_two_inputs(kind: FunctionKind) -> Exports {
    match kind {
        FunctionKind::Map => (
            "co-map-function",
            &[
                ("map1", "func(ELEMENT) -> result<list<u8>, ERROR>"),
                ("map2", "func(ELEMENT) -> result<list<u8>, ERROR>"),
            ],
        ),
        FunctionKind::FlatMap => (
            "co-flat-map-function",
            &[
                ("flat-map1", "func(ELEMENT) -> result<_, ERROR>"),
                ("flat-map2", "func(ELEMENT) -> result<_, ERROR>"),
            ],
        ),
        FunctionKind::Process => (
            "co-process-function",
            &[
                ("process-element1", "func(ELEMENT) -> result<_, ERROR>"),
                ("process-element2", "func(ELEMENT) -> result<_, ERROR>"),
                ("on-timer", "func(s64, bool) -> result<_, ERROR>"),
            ],
        ),
        other => exports_of(other),
    }
}

fn exports_about_records(kind: FunctionKind) -> Exports {
    match kind {
        FunctionKind::TimestampAssigner => (
            "timestamp-assigner",
            &[("extract-timestamp", "func(ELEMENT) -> result<s64, ERROR>")],
        ),
        FunctionKind::WatermarkGenerator => (
            "watermark-generator",
            &[
                ("on-event", "func(ELEMENT) -> result<_, ERROR>"),
                ("on-periodic-emit", "func() -> result<_, ERROR>"),
            ],
        ),
        _ => (
            "partitioner",
            &[("partition", "func(ELEMENT, u32) -> result<u32, ERROR>")],
        ),
    }
}

fn exports_of_windows(kind: FunctionKind) -> Exports {
    match kind {
        FunctionKind::Window => (
            "window-function",
            &[
                ("process", "func() -> result<_, ERROR>"),
                ("clear", "func() -> result<_, ERROR>"),
            ],
        ),
        FunctionKind::Trigger => (
            "trigger",
            &[
                ("on-element", "func(ELEMENT) -> result<TRIGGER-RESULT, ERROR>"),
                ("on-event-time", "func(s64) -> result<TRIGGER-RESULT, ERROR>"),
                ("on-processing-time", "func(s64) -> result<TRIGGER-RESULT, ERROR>"),
                ("on-merge", "func() -> result<_, ERROR>"),
                ("clear", "func() -> result<_, ERROR>"),
            ],
        ),
        FunctionKind::Evictor => (
            "evictor",
            &[
                ("evict-before", "func() -> result<list<u32>, ERROR>"),
                ("evict-after", "func() -> result<list<u32>, ERROR>"),
            ],
        ),
        _ => (
            "window-assigner",
            &[(
                "assign-windows",
                "func(ELEMENT) -> result<list<tuple<s64, s64>>, ERROR>",
            )],
        ),
    }
}

pub(super) const ELEMENT: &str = "record{key: list<u8>, value: list<u8>, timestamp: option<s64>}";
pub(super) const ERROR: &str = "variant{bad-record(string), retry(string), failed(string)}";
pub(super) const TRIGGER_RESULT: &str = "enum{proceed, fire, purge, fire-and-purge}";
