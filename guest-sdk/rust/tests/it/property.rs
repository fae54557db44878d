//! Random operations on random keys, in batches cut at random, against plain collections.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmill_sdk::prelude::*;

#[derive(Clone, Debug)]
enum Operation {
    Count,
    CountClear,
    Append(u8),
    Replace(Vec<u8>),
    ListClear,
    List,
    Put(u8, u8),
    Remove(u8),
    Get(u8),
    MapClear,
    Map,
    Fail,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    prop_oneof![
        4 => Just(Count),
        1 => Just(CountClear),
        2 => any::<u8>().prop_map(Append),
        1 => prop::collection::vec(any::<u8>(), 0..4).prop_map(Replace),
        1 => Just(ListClear),
        2 => Just(List),
        3 => (0..6_u8, any::<u8>()).prop_map(|(key, value)| Put(key, value)),
        2 => (0..6_u8).prop_map(Remove),
        3 => (0..6_u8).prop_map(Get),
        1 => Just(MapClear),
        2 => Just(Map),
        1 => Just(Fail),
    ]
}

impl Operation {
    fn to_text(&self) -> String {
        format!("{self:?}")
    }

    fn parse(text: &str) -> Self {
        let (name, rest) = text.split_once(['(']).unwrap_or((text, ""));
        let numbers: Vec<u8> = rest
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect();
        match name {
            "Count" => Self::Count,
            "CountClear" => Self::CountClear,
            "Append" => Self::Append(numbers[0]),
            "Replace" => Self::Replace(numbers),
            "ListClear" => Self::ListClear,
            "List" => Self::List,
            "Put" => Self::Put(numbers[0], numbers[1]),
            "Remove" => Self::Remove(numbers[0]),
            "Get" => Self::Get(numbers[0]),
            "MapClear" => Self::MapClear,
            "Map" => Self::Map,
            _ => Self::Fail,
        }
    }
}

/// Does the operations with the SDK.
#[derive(Default)]
struct Subject {
    count: ValueState<u64>,
    list: ListState<u8>,
    map: MapState<u8, u8>,
}

impl KeyedProcessFunction for Subject {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.count = d.value_state("count");
        self.list = d.list_state("list");
        self.map = d.map_state("map");
    }

    fn process_element(&mut self, text: &str, ctx: &mut Context<str>) -> Result<()> {
        match Operation::parse(text) {
            Operation::Count => {
                let count = self.count.value(ctx)?.unwrap_or(0) + 1;
                self.count.update(ctx, &count)?;
                ctx.emit(count);
            }
            Operation::CountClear => self.count.clear(ctx)?,
            Operation::Append(element) => self.list.add(ctx, &element)?,
            Operation::Replace(elements) => self.list.update(ctx, &elements)?,
            Operation::ListClear => self.list.clear(ctx)?,
            Operation::List => {
                let list = self.list.get(ctx)?;
                ctx.emit(format_args!("{list:?}"));
            }
            Operation::Put(key, value) => self.map.put(ctx, &key, &value)?,
            Operation::Remove(key) => self.map.remove(ctx, &key)?,
            Operation::Get(key) => {
                let value = self.map.get(ctx, &key)?;
                assert_eq!(self.map.contains(ctx, &key)?, value.is_some());
                ctx.emit(format_args!("{value:?}"));
            }
            Operation::MapClear => self.map.clear(ctx)?,
            Operation::Map => {
                let entries = self.map.entries(ctx)?;
                assert_eq!(self.map.is_empty(ctx)?, entries.is_empty());
                ctx.emit(format_args!("{entries:?}"));
            }
            Operation::Fail => {
                self.count.clear(ctx)?;
                self.list.add(ctx, &0)?;
                self.list.get(ctx)?;
                self.map.clear(ctx)?;
                ctx.emit("never seen");
                return Err(Error::bad_record("on purpose"));
            }
        }
        Ok(())
    }
}

/// Does them on plain collections.
#[derive(Clone, Default)]
struct Model {
    count: BTreeMap<u8, u64>,
    list: BTreeMap<u8, Vec<u8>>,
    map: BTreeMap<u8, BTreeMap<u8, u8>>,
    output: Vec<String>,
}

impl Model {
    /// False where it fails.
    fn run(&mut self, key: u8, operation: &Operation) -> bool {
        match operation {
            Operation::Count => {
                let count = self.count.entry(key).or_default();
                *count += 1;
                self.output.push(count.to_string());
            }
            Operation::CountClear => drop(self.count.remove(&key)),
            Operation::Append(element) => self.list.entry(key).or_default().push(*element),
            Operation::Replace(elements) => drop(self.list.insert(key, elements.clone())),
            Operation::ListClear => drop(self.list.remove(&key)),
            Operation::List => {
                let list = self.list.get(&key).cloned().unwrap_or_default();
                self.output.push(format!("{list:?}"));
            }
            Operation::Put(map_key, value) => drop(self.map.entry(key).or_default().insert(*map_key, *value)),
            Operation::Remove(map_key) => drop(self.map.entry(key).or_default().remove(map_key)),
            Operation::Get(map_key) => {
                let value = self.map.get(&key).and_then(|map| map.get(map_key));
                self.output.push(format!("{value:?}"));
            }
            Operation::MapClear => drop(self.map.remove(&key)),
            Operation::Map => {
                let map = self.map.get(&key).cloned().unwrap_or_default();
                let entries: Vec<(u8, u8)> = map.into_iter().collect();
                self.output.push(format!("{entries:?}"));
            }
            Operation::Fail => return false,
        }
        true
    }
}

proptest! {
    #[test]
    fn functions_do_what_plain_collections_do(
        batches in prop::collection::vec(prop::collection::vec((0..3_u8, operation()), 1..12), 1..12)
    ) {
        let mut t = testing::Harness::process::<Subject>();
        let mut model = Model::default();
        for batch in &batches {
            let texts: Vec<([u8; 1], String)> =
                batch.iter().map(|(key, operation)| ([*key], operation.to_text())).collect();
            let elements: Vec<testing::Element<'_>> = texts
                .iter()
                .map(|(key, text)| testing::Element { key: Some(key), value: Some(text.as_bytes()), ..Default::default() })
                .collect();
            let mut after = model.clone();
            let succeeds = batch.iter().all(|(key, operation)| after.run(*key, operation));
            prop_assert_eq!(t.elements(&elements).is_ok(), succeeds);
            if succeeds {
                model = after;
            }
        }
        prop_assert_eq!(t.take_output(), model.output);
    }
}
