//! What a call is about: rows of a batch, or fired timers.

use wasmill_engine::join::pair::Pair;
use wasmill_model::batch::Batch;
use wasmill_model::key;
use wasmill_model::row::KIND_PAIR;
use wasmill_state::timers::{TimeDomain, Timer};

use super::window::rows::PaneWork;

/// Rows or timers, from the front.
#[derive(Clone)]
pub(crate) enum Work<'a> {
    /// Rows that came in on a port.
    Rows { port: u16, batch: Batch },
    /// Timers that a clock fired.
    Timers { domain: TimeDomain, timers: &'a [Timer] },
    /// What happens to panes of windows.
    Panes(PaneWork<'a>),
    /// A tick of a watermark generator's emit interval.
    Periodic,
}

impl Work<'_> {
    /// The rows, where they know what caused them: all of a batch do, or none.
    pub(crate) fn causes(&self) -> Option<&Batch> {
        match self {
            Self::Rows { batch, .. } => {
                let first = batch.iter().next()?;
                (!first.cause().is_empty()).then_some(batch)
            }
            Self::Timers { .. } | Self::Panes(_) | Self::Periodic => None,
        }
    }

    /// How many rows or timers there are.
    pub(crate) fn rows(&self) -> u32 {
        match self {
            Self::Rows { batch, .. } => batch.rows(),
            Self::Timers { timers, .. } => timers.len() as u32,
            Self::Panes(work) => work.len(),
            Self::Periodic => 1,
        }
    }

    /// The input that it is about; 0 for timers.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Rows { port, .. } => *port,
            Self::Timers { .. } | Self::Panes(_) | Self::Periodic => 0,
        }
    }

    /// Number `index` alone.
    pub(crate) fn only(&self, index: u32) -> Self {
        match self {
            Self::Rows { port, batch } => Self::Rows {
                port: *port,
                batch: batch.skip(index).split_at(1).0,
            },
            Self::Timers { domain, timers } => Self::Timers {
                domain: *domain,
                timers: timers.get(index as usize..=index as usize).unwrap_or_default(),
            },
            Self::Panes(work) => Self::Panes(work.only(index)),
            Self::Periodic => Self::Periodic,
        }
    }

    /// The value of a row for an error, and what it is where it is no record.
    pub(crate) fn record(&self, index: u32) -> Option<Vec<u8>> {
        match self {
            Self::Rows { batch, .. } => {
                batch
                    .iter()
                    .nth(index as usize)
                    .map(|row| match Pair::of(row.value()) {
                        Some(pair) if row.kind() == KIND_PAIR => {
                            let [left, right] =
                                [pair.left, pair.right].map(|side| side.value.unwrap_or(b"null"));
                            [left, b" with ", right].concat()
                        }
                        _ => row.value().to_vec(),
                    })
            }
            Self::Timers { domain, timers } => timers.get(index as usize).map(|timer| {
                let key = String::from_utf8_lossy(key::body(&timer.key)).into_owned();
                format!("timer ({domain:?} time) at {} of key {key}", timer.timestamp).into_bytes()
            }),
            Self::Panes(work) => (index < work.len()).then(|| work.describe(index)),
            Self::Periodic => Some(b"periodic emit".to_vec()),
        }
    }
}
