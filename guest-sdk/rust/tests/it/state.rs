//! Every kind of keyed state, within one call and across calls.

use wasmill_sdk::prelude::*;

/// Runs `OPERATION ARGUMENT` on one state of each kind and emits what it read.
#[derive(Default)]
struct States {
    value: ValueState<(u32, String)>,
    cold: ValueState<String>,
    list: ListState<String>,
    map: MapState<i64, String>,
    folded: FoldedState,
    undeclared: ValueState<u64>,
}

impl KeyedProcessFunction for States {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        let versioned = StateOptions::new().schema_version(3);
        self.value = d.value_state_with("value", versioned);
        self.cold = d.value_state_with("cold", StateOptions::new().on_demand());
        self.list = d.list_state("list");
        self.map = d.map_state("map");
        self.folded = d.folded_state("folded", Fold::Max);
    }

    fn process_element(&mut self, command: &str, ctx: &mut Context<str>) -> Result<()> {
        let (operation, argument) = command.split_once(' ').unwrap_or((command, ""));
        match operation {
            "value" => {
                let (count, _) = self.value.value(ctx)?.unwrap_or_default();
                self.value.update(ctx, &(count + 1, argument.to_owned()))?;
                ctx.emit(count + 1);
            }
            "value-clear" => self.value.clear(ctx)?,
            "cold" => {
                let former = self.cold.value(ctx)?.unwrap_or_default();
                self.cold.update(ctx, &(former + argument))?;
                let now = self.cold.value(ctx)?.unwrap_or_default();
                ctx.emit(now);
            }
            "cold-clear" => self.cold.clear(ctx)?,
            "list" => self.list.add(ctx, &argument.to_owned())?,
            "list-many" => {
                let many = vec!["x".repeat(1000); argument.parse()?];
                self.list.add_all(ctx, &many)?;
                let length = self.list.get(ctx)?.len();
                ctx.emit(length);
            }
            "list-get" => {
                let list = self.list.get(ctx)?.join("+");
                ctx.emit(list);
            }
            "list-update" => self.list.update(ctx, &["new".to_owned()])?,
            "map-put" => self.map.put(ctx, &argument.parse()?, &"v".repeat(1000))?,
            "map-remove" => self.map.remove(ctx, &argument.parse()?)?,
            "map-clear" => self.map.clear(ctx)?,
            "map-keys" => {
                let keys: Vec<String> = self.map.keys(ctx)?.iter().map(i64::to_string).collect();
                ctx.emit(keys.join(","));
            }
            "map-has" => {
                let key = argument.parse()?;
                let found = (self.map.contains(ctx, &key)?, self.map.get(ctx, &key)?.is_some());
                let is_empty = self.map.is_empty(ctx)?;
                ctx.emit(format_args!("{found:?} empty {is_empty}"));
            }
            "fold" => {
                self.folded.add(ctx, argument.parse()?)?;
                let folded = self.folded.get(ctx)?;
                ctx.emit(format_args!("{folded:?}"));
            }
            "undeclared" => drop(self.undeclared.value(ctx)?),
            _ => return Err(Error::bad_record("no such operation")),
        }
        Ok(())
    }
}

fn run(commands: &[&str]) -> (testing::Harness, Vec<String>) {
    // Once in one frame, once in a frame each: where batches are cut must not show.
    let mut together = testing::Harness::process::<States>();
    let elements: Vec<testing::Element<'_>> = commands
        .iter()
        .map(|command| testing::Element {
            key: Some(b"k"),
            value: Some(command.as_bytes()),
            ..Default::default()
        })
        .collect();
    together.elements(&elements).unwrap();
    let mut apart = testing::Harness::process::<States>();
    for command in commands {
        apart.element("k", command).unwrap();
    }
    let output = together.take_output();
    assert_eq!(output, apart.take_output());
    (together, output)
}

#[test]
fn a_value_is_read_set_and_cleared() {
    let (t, output) = run(&["value a", "value b", "value-clear", "value c"]);
    assert_eq!(output, ["1", "2", "1"]);
    assert_eq!(t.value("k", "value"), Some(vec![1, 1, b'c']));
    assert_eq!(t.value("other", "value"), None);
}

#[test]
fn a_value_on_demand_does_not_travel_and_means_the_same() {
    let (t, output) = run(&["cold a", "cold b", "cold-clear", "cold c"]);
    assert_eq!(output, ["a", "ab", "c"]);
    assert_eq!(t.value("k", "cold"), Some(b"c".to_vec()));
}

#[test]
fn a_list_is_read_with_its_own_writes() {
    let (_, output) = run(&[
        "list a",
        "list b",
        "list-get",
        "list-update",
        "list c",
        "list-get",
    ]);
    assert_eq!(output, ["a+b", "new+c"]);
}

#[test]
fn a_list_longer_than_a_page_is_read_whole() {
    let (t, output) = run(&["list-many 200", "list-many 200"]);
    assert_eq!(output, ["200", "400"]);
    assert_eq!(t.list("k", "list").len(), 400);
}

#[test]
fn a_map_is_iterated_in_the_order_of_its_keys_page_by_page() {
    let mut commands: Vec<String> = (-100..100).rev().map(|key| format!("map-put {key}")).collect();
    commands.push("map-remove 0".to_owned());
    commands.push("map-keys".to_owned());
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let (t, output) = run(&commands);
    let expected: Vec<String> = (-100..100)
        .filter(|key| *key != 0)
        .map(|key| key.to_string())
        .collect();
    assert_eq!(output, [expected.join(",")]);
    assert_eq!(t.map("k", "map").len(), 199);
}

#[test]
fn a_map_knows_what_it_holds_after_every_write() {
    let (_, output) = run(&[
        "map-has 1",
        "map-put 1",
        "map-has 1",
        "map-remove 1",
        "map-has 1",
        "map-put 1",
        "map-put 2",
        "map-clear",
        "map-has 1",
        "map-has 2",
    ]);
    let absent = "(false, false) empty true";
    assert_eq!(
        output,
        [absent, "(true, true) empty false", absent, absent, absent]
    );
}

#[test]
fn the_host_folds_and_the_function_reads_the_result() {
    let (_, output) = run(&["fold 3", "fold 9", "fold 4"]);
    assert_eq!(output, ["Some(3)", "Some(9)", "Some(9)"]);
}

#[test]
fn keys_share_a_frame_and_no_state() {
    let mut t = testing::Harness::process::<States>();
    let element = |key: &'static str, value: &'static str| testing::Element {
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        ..Default::default()
    };
    t.elements(&[
        element("a", "value x"),
        element("b", "value x"),
        element("a", "value x"),
    ])
    .unwrap();
    assert_eq!(t.take_output(), ["1", "1", "2"]);
}

#[test]
fn a_handle_that_was_not_declared_is_an_error() {
    let mut t = testing::Harness::process::<States>();
    let error = t.element("k", "undeclared").unwrap_err();
    assert_eq!(
        error,
        Error::failed("a state was used that `declare` did not register")
    );
}

#[test]
fn state_without_a_key_is_an_error_that_says_what_to_do() {
    let mut t = testing::Harness::process::<States>();
    for command in ["value a", "cold a", "list a"] {
        let error = t.elements(&[testing::Element {
            value: Some(command.as_bytes()),
            ..Default::default()
        }]);
        let message = error.unwrap_err().to_string();
        assert!(message.contains("put a key-by in front"), "{message}");
    }
}

#[test]
fn describe_tells_kind_encoding_version_and_prefetch() {
    let t = testing::Harness::process::<States>();
    let state = &t.description()["state"];
    assert_eq!(state[0]["encoding"], "postcard");
    assert_eq!(state[0]["schema-version"], 3);
    assert_eq!(state[1]["prefetch"], "on-demand");
    assert_eq!(
        (&state[2]["kind"], &state[2]["encoding"]),
        (&"list".into(), &"utf8".into())
    );
    assert_eq!(state[3]["schema"]["key"], "i64-be-ordered");
    assert_eq!(state[4]["reduce"], "max");
}

/// Has migrated from two versions, each in its own way.
#[derive(Default)]
struct Evolved {
    size: ValueState<(u64, bool)>,
    names: MapState<u32, String>,
}

impl KeyedProcessFunction for Evolved {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.size = d.value_state_with("size", StateOptions::new().schema_version(4));
        self.names = d.map_state_with("names", StateOptions::new().schema_version(2));
        d.migrate(&self.size, 3, |size: u64| Ok((size > 0).then_some((size, true))));
        d.migrate(&self.size, 1, |size: String| Ok(Some((size.parse()?, false))));
        d.migrate_map(&self.names, 1, |key: u32, name: String| {
            Ok(Some(format!("{key}{name}")))
        });
    }

    fn process_element(&mut self, _: &str, ctx: &mut Context<str>) -> Result<()> {
        let size = self.size.value(ctx)?.unwrap_or_default();
        self.names.clear(ctx)?;
        self.size.update(ctx, &size)
    }
}

#[test]
fn a_migration_is_found_by_state_and_version_and_says_what_is_wrong() {
    let t = testing::Harness::process::<Evolved>();
    assert_eq!(t.description()["state"][0]["migrates-from"], 1);
    let migrate = |state: &str, from: u32, value: &[u8]| t.migrate(state, from, &[0, 0, 0, 7], value);
    assert_eq!(migrate("size", 3, &9_u64.to_le_bytes()), Ok(Some(vec![9, 1])));
    assert_eq!(migrate("size", 3, &0_u64.to_le_bytes()), Ok(None));
    assert_eq!(migrate("size", 1, b"9"), Ok(Some(vec![9, 0])));
    assert_eq!(migrate("names", 1, b"x"), Ok(Some(b"7x".to_vec())));
    for (state, from, value, words) in [
        ("size", 2, &b"9"[..], "no migration from schema version 2"),
        ("size", 1, b"nine", "invalid digit"),
        ("size", 3, b"9", "not of the type that the older version had"),
        ("other", 1, b"9", "declares no state `other`"),
    ] {
        let error = migrate(state, from, value).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
