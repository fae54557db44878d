//! What the component says of itself.

pub(crate) const DESCRIPTION: &str = r#"{
  "version": 1,
  "functions": [
    {"name": "timers", "kind": "process", "input": "json", "output": "json",
     "state": [{"name": "fired", "kind": "value", "encoding": "i64-le"}]},
    {"name": "state", "kind": "process", "input": "json", "output": "json",
     "state": [
       {"name": "value", "kind": "value", "encoding": "i64-le"},
       {"name": "list", "kind": "list", "encoding": "i64-le"},
       {"name": "map", "kind": "map", "encoding": "raw"},
       {"name": "reducing", "kind": "reducing", "encoding": "i64-le", "reduce": "sum"},
       {"name": "aggregating", "kind": "aggregating", "encoding": "utf8"}
     ]},
    {"name": "split", "kind": "flat-map", "input": "json", "output": "json",
     "side-outputs": [{"name": "side", "format": "lines"}]},
    {"name": "pass", "kind": "map", "input": "json", "output": "json"},
    {"name": "shifted-time", "kind": "timestamp-assigner", "input": "json"},
    {"name": "shared", "kind": "process", "input": "json", "second-input": "json", "output": "json",
     "state": [{"name": "total", "kind": "value", "encoding": "i64-le"}]},
    {"name": "keyed-rules", "kind": "process", "input": "json", "second-input": "json", "output": "json",
     "broadcast-state": [{"name": "rules"}],
     "state": [{"name": "total", "kind": "value", "encoding": "i64-le"}]},
    {"name": "plus", "kind": "reduce", "input": "json", "output": "json"},
    {"name": "stats", "kind": "aggregate", "input": "json", "output": "json"},
    {"name": "bounds", "kind": "window", "input": "raw", "output": "json"},
    {"name": "elements", "kind": "window", "input": "json", "output": "json"},
    {"name": "context", "kind": "window", "input": "json", "output": "json",
     "state": [
       {"name": "of-window", "kind": "value", "encoding": "i64-le", "per-window": true},
       {"name": "of-key", "kind": "value", "encoding": "i64-le"}
     ],
     "side-outputs": [{"name": "big", "format": "lines"}, {"name": "cleared", "format": "lines"}]},
    {"name": "own", "kind": "trigger", "input": "json", "merges": true,
     "state": [{"name": "count", "kind": "value", "encoding": "i64-le"}],
     "side-outputs": [{"name": "calls", "format": "lines"}]},
    {"name": "session-dynamic", "kind": "window-assigner", "input": "json", "merges": true},
    {"name": "pair-times", "kind": "process-join", "input": "json", "second-input": "json", "output": "json"},
    {"name": "pair", "kind": "join", "input": "json", "second-input": "json", "output": "json"},
    {"name": "group", "kind": "co-group", "input": "json", "second-input": "json", "output": "json"}
  ]
}"#;
