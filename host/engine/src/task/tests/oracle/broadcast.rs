//! Rules on input 1, keyed elements on input 0. A rule is named by its key and gives its value; a negative value
//! removes it, one divisible by 10 also reports the total of each key: how many rules its elements have reached.

use wasmill_state::backend::StateId;
use wasmill_state::keyed;

use super::co_process::{declaration, set_total, state_key, total};
use super::*;
use crate::broadcast::{BROADCAST_PORT, BroadcastState};

const RULES: &str = "rules";

#[derive(Default)]
struct Rules {
    rules: BroadcastState,
    total: Option<StateId>,
}

impl Rules {
    /// The names of the rules that a value reaches, in order.
    fn matching(&mut self, value: i64) -> Vec<String> {
        let rules = self.rules.on(0);
        let number = |value: &[u8]| i64::from_le_bytes(value.try_into().unwrap());
        let matching = rules.entries(RULES).filter(|(_, rule)| value >= number(rule));
        matching.map(|(name, _)| format!("\"{}\"", text(name))).collect()
    }

    fn report_all(
        &mut self,
        timestamp: Timestamp,
        context: &mut OperatorContext,
        results: &mut BatchBuilder,
    ) -> Result<(), TaskError> {
        let state = self.total.unwrap();
        keyed::for_each_key(&mut *context.state, state, &mut |backend, group, key| {
            let total = total(backend, state, state_key(u32::from(group.0), key)).unwrap();
            let line = format!("\"key\":\"{}\",\"total\":{total}", text(key::body(key)));
            results.push(RowHeader::element(Some(timestamp)), b"", line.as_bytes(), b"");
            Ok(())
        })?;
        Ok(())
    }
}

impl Operator for Rules {
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
            let (timestamp, value) = (
                row.timestamp().unwrap(),
                field(row.value(), "value").as_i64().unwrap(),
            );
            let encoded = row.key().unwrap();
            if port == BROADCAST_PORT {
                let mut rules = self.rules.on(port);
                match value < 0 {
                    true => rules.remove(RULES, key::body(encoded))?,
                    false => rules.put(RULES, key::body(encoded), &value.to_le_bytes())?,
                }
                if value % 10 == 0 {
                    self.report_all(timestamp, context, &mut results)?;
                }
                continue;
            }
            let rules = self.matching(value);
            let (state, key) = (self.total.unwrap(), state_key(row.group_field(), encoded));
            let reached = total(&mut *context.state, state, key).unwrap_or(0) + rules.len() as i64;
            set_total(&mut *context.state, state, key, Some(reached));
            let line = format!(
                "{},\"rules\":[{}],\"watermark\":{},\"total\":{reached}",
                text(row.value()),
                rules.join(","),
                context.watermark
            );
            results.push(RowHeader::element(Some(timestamp)), b"", line.as_bytes(), b"");
        }
        out.emit(0, results.finish());
        Ok(batch.rows())
    }
}

#[test]
fn rules_that_are_broadcast_meet_keyed_elements_as_in_flink() {
    for seed in [1, 2] {
        let case = Case::read("broadcast-keyed", seed);
        let lines = Drive::new(&case, Box::<Rules>::default(), |input| input as u16).play(&case);
        case.compare("broadcast-keyed", seed, lines);
    }
}
