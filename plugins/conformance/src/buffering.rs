//! `buffering`: a flat-map with operator state of all three modes and raw state.

use wasmill_sdk::prelude::*;

/// See `README.md`.
#[derive(Default)]
pub struct Buffering {
    buffer_state: OperatorListState<String>,
    seen_state: OperatorListState<u64>,
    setting_state: OperatorListState<String>,
    subtask: u32,
    buffer: Vec<String>,
    seen: u64,
    setting: String,
    raw: String,
    is_restored: bool,
}

impl FlatMapFunction for Buffering {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.buffer_state = d.operator_list_state("buffer");
        self.seen_state = d.operator_union_state("seen");
        self.setting_state = d.operator_broadcast_state("setting");
        d.raw_state();
    }

    fn open(&mut self, ctx: &mut OpenContext) -> Result<()> {
        self.subtask = ctx.runtime().subtask_index;
        Ok(())
    }

    fn restore_state(&mut self, ctx: &mut RestoreContext) -> Result<()> {
        self.is_restored = ctx.is_restored();
        self.buffer = self.buffer_state.get(ctx)?;
        if self.subtask == 0 {
            self.seen = self.seen_state.get(ctx)?.iter().sum();
        }
        self.setting = self
            .setting_state
            .get(ctx)?
            .into_iter()
            .next()
            .unwrap_or_default();
        self.raw = String::from_utf8_lossy(ctx.raw()).into_owned();
        Ok(())
    }

    fn snapshot_state(&mut self, ctx: &mut SnapshotContext) -> Result<()> {
        for element in &self.buffer {
            self.buffer_state.add(ctx, element)?;
        }
        self.seen_state.add(ctx, &self.seen)?;
        if !self.setting.is_empty() {
            self.setting_state.add(ctx, &self.setting)?;
        }
        ctx.set_raw(self.raw.clone().into_bytes());
        Ok(())
    }

    fn flat_map(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        super::check(value)?;
        if value == "?" {
            let (buffer, seen, setting) = (self.buffer.join(","), self.seen, &self.setting);
            let (raw, restored) = (&self.raw, self.is_restored);
            ctx.emit(format_args!(
                "buffer=[{buffer}] seen={seen} setting={setting} raw={raw} restored={restored}"
            ));
        } else if let Some(setting) = value.strip_prefix('=') {
            setting.clone_into(&mut self.setting);
        } else {
            self.seen += 1;
            value.clone_into(&mut self.raw);
            self.buffer.push(value.to_owned());
            if self.buffer.len() == 3 {
                ctx.emit(self.buffer.join("+"));
                self.buffer.clear();
            }
        }
        Ok(())
    }
}
