//! Two keyed inputs and one state: input 0 adds to a total that input 1 reads; input 1 sets a timer 100 ms on
//! that reports and clears it.

use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::row::RowRef;
use wasmill_state::backend::{KeyedStateBackend, Locator, NONE, StateId, StateKey, Values, Write};

use super::*;

#[derive(Default)]
struct Shared {
    total: Option<StateId>,
}

pub(super) fn state_key<'a>(group: u32, key: &'a [u8]) -> StateKey<'a> {
    StateKey {
        group: KeyGroup(group as u16),
        hash: key::hash(key) as u32,
        key,
        namespace: &[],
        map_key: &[],
    }
}

pub(super) fn total(backend: &mut dyn KeyedStateBackend, state: StateId, key: StateKey<'_>) -> Option<i64> {
    let mut values = Values::default();
    backend.get_many(state, &[key], &mut values).unwrap();
    (values.lengths[0] != NONE).then(|| i64::from_le_bytes(values.bytes[..8].try_into().unwrap()))
}

pub(super) fn set_total(
    backend: &mut dyn KeyedStateBackend,
    state: StateId,
    key: StateKey<'_>,
    total: Option<i64>,
) {
    let bytes = total.map(i64::to_le_bytes);
    let write = Write {
        key,
        locator: Locator::UNKNOWN,
        value: bytes.as_ref().map(<[u8; 8]>::as_slice),
    };
    backend.write_batch(state, &[write]).unwrap();
}

pub(super) fn declaration() -> StateDeclaration {
    StateDeclaration {
        name: "total".to_owned(),
        kind: StateKind::Value,
        encoding: "i64-le".to_owned(),
        schema: Value::Null,
        schema_version: 1,
        migrates_from: None,
        prefetch: None,
        reduce: None,
        per_window: false,
        ttl: None,
    }
}

impl Shared {
    fn total(&self, key: StateKey<'_>, context: &mut OperatorContext) -> Option<i64> {
        total(&mut *context.state, self.total.unwrap(), key)
    }

    fn set(&self, key: StateKey<'_>, total: Option<i64>, context: &mut OperatorContext) {
        set_total(&mut *context.state, self.total.unwrap(), key, total);
    }

    fn report(
        &self,
        row: RowRef<'_>,
        context: &mut OperatorContext,
        timestamp: Timestamp,
        out: &mut BatchBuilder,
    ) {
        let encoded = row.key().unwrap();
        let timer = Timer {
            timestamp: timestamp + 100,
            group: KeyGroup(row.group_field() as u16),
            key: encoded.into(),
            namespace: TimerBytes::default(),
        };
        context.timers.register(TimeDomain::Event, &timer);
        let total = self.total(state_key(row.group_field(), encoded), context);
        let line = format!(
            "\"key\":\"{}\",\"total\":{},\"watermark\":{}",
            text(key::body(encoded)),
            total.map_or("null".to_owned(), |total| total.to_string()),
            context.watermark
        );
        out.push(RowHeader::element(Some(timestamp)), b"", line.as_bytes(), b"");
    }
}

impl Operator for Shared {
    fn open(&mut self, context: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        self.total = Some(context.state.register(&declaration())?);
        Ok(())
    }

    fn process(
        &mut self,
        port: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let mut results = BatchBuilder::default();
        for row in batch {
            if port == 1 {
                self.report(row, context, row.timestamp().unwrap(), &mut results);
                continue;
            }
            let key = state_key(row.group_field(), row.key().unwrap());
            let total = self.total(key, context).unwrap_or(0);
            let value = field(row.value(), "value").as_i64().unwrap();
            self.set(key, Some(total + value), context);
        }
        out.emit(0, results.finish());
        Ok(batch.rows())
    }

    fn on_timers(
        &mut self,
        _: TimeDomain,
        timers: &[Timer],
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let mut results = BatchBuilder::default();
        for timer in timers {
            let key = state_key(u32::from(timer.group.0), &timer.key);
            let total = self.total(key, context);
            let line = format!(
                "\"key\":\"{}\",\"timer\":{},\"total\":{},\"watermark\":{}",
                text(key::body(&timer.key)),
                timer.timestamp,
                total.map_or("null".to_owned(), |total| total.to_string()),
                context.watermark
            );
            let header = RowHeader::element(Some(timer.timestamp));
            results.push(header, b"", line.as_bytes(), b"");
            self.set(key, None, context);
        }
        out.emit(0, results.finish());
        Ok(timers.len() as u32)
    }
}

#[test]
fn two_keyed_inputs_share_state_and_the_smaller_watermark_as_in_flink() {
    for (name, seed) in ["co-process", "co-process-idle"]
        .iter()
        .flat_map(|name| [(name, 1), (name, 2)])
    {
        let case = Case::read(name, seed);
        let lines = Drive::new(&case, Box::<Shared>::default(), |input| input as u16).play(&case);
        case.compare(name, seed, lines);
    }
}
