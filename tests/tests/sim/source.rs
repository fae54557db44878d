//! The source of the simulated job: records in shards, replayable, bounded. Timestamps ascend within a shard, each of
//! which is a split with watermarks of its own.

use std::sync::Arc;

use wasmill_engine::error::TaskError;
use wasmill_engine::operator::RuntimeContext;
use wasmill_engine::source::{Source, SourceReader, SourceStatus, SplitChange};
use wasmill_model::batch::BatchBuilder;
use wasmill_model::id::CheckpointId;
use wasmill_model::row::RowHeader;
use wasmill_model::time::Timestamp;

/// Records in shards; shard `s` belongs to subtask `s mod parallelism`.
pub(crate) struct SimSource {
    pub(crate) shards: Arc<Vec<Vec<String>>>,
}

struct Reader {
    shards: Arc<Vec<Vec<String>>>,
    /// (shard, next record)
    positions: Vec<(usize, usize)>,
    polls: u64,
    changes: Vec<SplitChange>,
}

impl Source for SimSource {
    fn reader(
        &self,
        runtime: &RuntimeContext,
        restored: Option<Vec<Vec<u8>>>,
    ) -> Result<Box<dyn SourceReader>, TaskError> {
        let own = |shard: &usize| *shard as u32 % runtime.parallelism == runtime.subtask_index;
        let mut positions: Vec<(usize, usize)> = (0..self.shards.len()).filter(own).map(|s| (s, 0)).collect();
        for element in restored.into_iter().flatten() {
            if let Some(position) = positions
                .iter_mut()
                .find(|(shard, _)| *shard == usize::from(element[0]))
            {
                position.1 = usize::from(element[1]);
            }
        }
        let left = positions
            .iter()
            .filter(|(shard, next)| *next < self.shards[*shard].len());
        let added = left.map(|(shard, _)| SplitChange::Added(*shard as u16));
        Ok(Box::new(Reader {
            changes: added.collect(),
            shards: self.shards.clone(),
            positions,
            polls: 0,
        }))
    }

    fn is_replayable(&self) -> bool {
        true
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

impl SourceReader for Reader {
    fn poll(
        &mut self,
        now: Timestamp,
        rows_max: u32,
        out: &mut BatchBuilder,
    ) -> Result<SourceStatus, TaskError> {
        self.polls += 1;
        if self.polls.is_multiple_of(5) {
            return Ok(SourceStatus::WaitUntil(now + 3));
        }
        let turn = self.polls as usize;
        let count = self.positions.len().max(1);
        for offset in 0..count {
            let Some((shard, next)) = self.positions.get_mut((turn + offset) % count) else {
                break;
            };
            let records = &self.shards[*shard];
            if *next < records.len() {
                for record in records[*next..].iter().take(rows_max as usize) {
                    let header = RowHeader {
                        port: *shard as u16,
                        ..RowHeader::element(Some(*next as Timestamp))
                    };
                    out.push(header, b"", record.as_bytes(), b"");
                    *next += 1;
                }
                if *next == records.len() {
                    self.changes.push(SplitChange::Finished(*shard as u16));
                }
                return Ok(SourceStatus::More);
            }
        }
        Ok(SourceStatus::Finished)
    }

    fn split_changes(&mut self, out: &mut Vec<SplitChange>) {
        out.append(&mut self.changes);
    }

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Vec<u8>>, TaskError> {
        Ok(self
            .positions
            .iter()
            .map(|(shard, next)| vec![*shard as u8, *next as u8])
            .collect())
    }
}
