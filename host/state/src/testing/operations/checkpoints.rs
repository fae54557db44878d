//! Checkpoints in files of a backend, some of which never complete, and restores of them to any backend.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wasmill_model::element::StateFormat;
use wasmill_model::function::StateDeclaration;
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_model::key::KeyGroupRange;

use super::{Contents, Fate, Run, register, write};
use crate::backend::{KeyedStateBackend, StateError, StateId, StateSnapshot};
use crate::backends::{Place, StateBackends};
use crate::keyed;
use crate::native::{FilesWanted, NativeSnapshot, NativeState};
use crate::testing::MAX_PARALLELISM;
use crate::testing::files::MemoryFiles;
use crate::timers::TimerQueue;

/// The checkpoints of one attempt.
#[derive(Default)]
pub(super) struct Checkpoints {
    frozen: VecDeque<Frozen>,
    /// The newest that is complete.
    base: Option<CheckpointId>,
    written: BTreeMap<CheckpointId, Written>,
}

struct Frozen {
    checkpoint: CheckpointId,
    base: Option<CheckpointId>,
    native: Option<NativeSnapshot>,
    canonical: Box<dyn StateSnapshot>,
    expected: Contents,
}

struct Written {
    native: Option<Native>,
    canonical: Vec<u8>,
    expected: Contents,
}

struct Native {
    format: &'static str,
    numbers: Vec<StateId>,
    states: Vec<StateDeclaration>,
    files: MemoryFiles,
}

impl Run<'_> {
    pub(super) fn take_checkpoint(&mut self) -> Result<(), StateError> {
        self.model.set_timers(&self.timers);
        self.checkpoint += 1;
        let (checkpoint, base) = (CheckpointId(self.checkpoint), self.checkpoints.base);
        let wanted = FilesWanted {
            checkpoint,
            format: StateFormat::Incremental { base },
            timers: &self.timers,
        };
        let (native, canonical) = match keyed::freeze_files(&mut *self.backend, wanted)? {
            Some((native, timers)) => (Some(native), timers),
            None => (None, keyed::freeze(&mut *self.backend, &self.timers, checkpoint)?),
        };
        self.checkpoints.frozen.push_back(Frozen {
            checkpoint,
            base,
            native,
            canonical,
            expected: self.model.clone(),
        });
        Ok(())
    }

    /// Decides what becomes of the oldest checkpoint that is under way.
    pub(super) fn end_checkpoint(&mut self, fate: Fate) -> Result<(), StateError> {
        let checkpoints = &mut self.checkpoints;
        let Some(frozen) = checkpoints.frozen.pop_front().filter(|_| fate != Fate::Lost) else {
            return Ok(());
        };
        let of_base = frozen.base.and_then(|base| checkpoints.written.get(&base));
        let of_base = of_base.and_then(|base| base.native.as_ref());
        let files = of_base.map(|native| &native.files.files);
        let native = match frozen.native {
            None => None,
            Some(native) => {
                let mut out = MemoryFiles::on(files.unwrap_or(&BTreeMap::new()));
                native.files.write(&mut out)?;
                let (numbers, states) = native.states.into_iter().unzip();
                Some(Native {
                    format: native.format,
                    numbers,
                    states,
                    files: out,
                })
            }
        };
        let written = Written {
            native,
            canonical: write(frozen.canonical)?,
            expected: frozen.expected,
        };
        checkpoints.written.insert(frozen.checkpoint, written);
        if fate == Fate::Completed {
            checkpoints.base = Some(frozen.checkpoint);
        }
        Ok(())
    }

    /// Restores each checkpoint that was written, at this parallelism, and goes on from the newest one in one subtask.
    pub(super) fn restore_checkpoints(&mut self, parallelism: u32, on_other: bool) -> Result<(), StateError> {
        let [own, other] = self.backends.clone();
        let backends = if on_other { other } else { own };
        let written = std::mem::take(&mut self.checkpoints).written;
        let Some((_, newest)) = written.last_key_value() else {
            return Ok(());
        };
        for one in written.values() {
            let mut merged = Contents::default();
            for index in 0..parallelism {
                let range = MAX_PARALLELISM.range_of(index, parallelism);
                let (mut share, timers) = one.restore(&*backends, range)?;
                let file = write(keyed::freeze(&mut *share, &timers, CheckpointId(1))?)?;
                merged.merge(Contents::read(&mut file.as_slice())?);
            }
            assert!(merged == one.expected, "a restore differs from what was frozen");
        }
        (self.backend, self.timers) = newest.restore(&*backends, MAX_PARALLELISM.range_of(0, 1))?;
        self.model = newest.expected.clone();
        self.ids = register(&mut *self.backend)?;
        self.frozen.clear();
        self.check()
    }
}

impl Written {
    fn restore(
        &self,
        backends: &dyn StateBackends,
        range: KeyGroupRange,
    ) -> Result<(Box<dyn KeyedStateBackend>, TimerQueue), StateError> {
        let operator = OperatorUid::new("operator");
        let place = Place {
            operator: &operator,
            subtask: 0,
            attempt: 1,
        };
        let whole = MAX_PARALLELISM.range_of(0, 1);
        let mut timers = TimerQueue::default();
        let mut files = self.native.as_ref().map(|native| native.files.clone());
        let mut native = self.native.as_ref().zip(files.as_mut());
        let mut native = native.as_mut().map(|(native, files)| NativeState {
            format: native.format,
            range: whole,
            states: &native.states,
            numbers: &native.numbers,
            files: *files,
        });
        let mut adopted = match &mut native {
            Some(native) if range == whole => backends.adopt(place, MAX_PARALLELISM, native, &mut timers)?,
            _ => None,
        };
        let is_adopted = adopted.is_some();
        let mut backend = adopted
            .take()
            .unwrap_or_else(|| backends.open(place, range, MAX_PARALLELISM));
        keyed::restore(&mut &self.canonical[..], range, &mut *backend, &mut timers)?;
        if let Some(native) = &mut native
            && !is_adopted
        {
            backends.read_native(place, native, &mut *backend, &mut timers)?;
        }
        Ok((backend, timers))
    }
}

/// Whose files a checkpoint's are, and who else is to read them.
pub type Pair = [Arc<dyn StateBackends>; 2];
