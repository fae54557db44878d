//! Freezes an operator's state at a barrier, and checks what it was restored with.
//!
//! Invariant: freezing takes no time that grows with the state: keyed state and timers are shared with the
//! running operator, copy on write.

use std::sync::Arc;

use wasmill_model::element::{Barrier, StateFormat};
use wasmill_state::backend::StateSize;
use wasmill_state::keyed;
use wasmill_state::native::FilesWanted;
use wasmill_state::timers::{TimeDomain, TimerQueue};

use super::chain::Node;
use super::snapshot::{FrozenKeyed, FrozenNative, Part};
use crate::error::TaskError;
use crate::executor::PlantedBug;

/// After `open`: refuses or drops restored state that the function does not declare any more (G4).
pub(super) fn check_claimed(node: &mut Node, allow: bool) -> Result<(), TaskError> {
    let unclaimed = node.context.state.unclaimed();
    if unclaimed.is_empty() {
        return Ok(());
    }
    if !allow {
        return Err(TaskError::user(format!(
            "the checkpoint holds its state {}, which it does not declare any more: declare it again, or drop it with \
             `allowNonRestoredState`",
            unclaimed.join(", ")
        ))
        .for_good());
    }
    node.context.state.drop_unclaimed();
    Ok(())
}

/// What an operator adds to a snapshot: its own part, and keyed state and timers where it has any.
pub(super) fn freeze(
    node: &mut Node,
    barrier: &Arc<Barrier>,
    planted: PlantedBug,
) -> Result<Part, TaskError> {
    let taken = node.operator.snapshot(barrier, &mut node.context)?;
    let context = &mut node.context;
    // Where nothing is processed, the backend hears of the time here.
    context.state.clean_up(context.processing_time, 0)?;
    let size = context.state.size();
    let states = context.state.declarations();
    let is_keyed = !states.is_empty() || !context.timers.is_empty() || size.entries > 0;
    let timers = match planted {
        PlantedBug::TimersNotSnapshotted => TimerQueue::default(),
        _ => context.timers.clone(),
    };
    let mut native = None;
    let snapshot = match taken.keyed {
        Some(own) => Some(own),
        None if is_keyed => {
            let state = &mut *context.state;
            let files = match barrier.format {
                StateFormat::Canonical => None,
                format => {
                    let wanted = FilesWanted {
                        checkpoint: barrier.checkpoint,
                        format,
                        timers: &timers,
                    };
                    keyed::freeze_files(state, wanted)?
                }
            };
            Some(match files {
                Some((files, timers)) => {
                    let format = barrier.format;
                    native = Some(FrozenNative { files, format });
                    timers
                }
                None => keyed::freeze_cleaned(state, &timers, barrier.checkpoint, context.processing_time)?,
            })
        }
        None => None,
    };
    Ok(Part {
        uid: node.uid.clone(),
        place: node.place,
        in_flight: Vec::new(),
        state: taken.state,
        keyed: snapshot.map(|snapshot| FrozenKeyed {
            range: context.runtime.key_groups,
            states,
            snapshot,
            bytes_estimate: match &native {
                Some(native) if native.files.hold_timers => 0,
                Some(_) => estimate(StateSize::default(), &timers),
                None => estimate(size, &timers),
            },
            native,
        }),
    })
}

fn estimate(size: StateSize, timers: &TimerQueue) -> u64 {
    let timers = timers.len(TimeDomain::Event) + timers.len(TimeDomain::Processing);
    size.bytes.saturating_add(timers as u64 * 64)
}
