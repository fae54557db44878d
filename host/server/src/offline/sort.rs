//! Sorts records of any number in bounded memory: what does not fit goes to files that nobody else sees.
//!
//! Invariant: records come out by their order and, where that is the same, as they were put in; memory is one run
//! and a buffer for each run on disk, of which there are at most [`RUNS_MAX`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use super::OfflineError;

/// Bytes of records that are sorted in memory.
const RUN_BYTES: usize = 64 * 1024 * 1024;

/// Runs on disk; when there are more they are merged into one.
const RUNS_MAX: usize = 128;

/// What a record costs beyond its bytes.
const RECORD_BYTES: usize = 64;

/// Something to be put in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    /// What it is: the order is that of these bytes.
    pub(super) order: Vec<u8>,
    /// Of records with one order, the first that was put in comes first.
    pub(super) number: u64,
    /// What it holds.
    pub(super) value: Vec<u8>,
}

/// Takes records in.
pub(super) struct Sorter {
    records: Vec<Record>,
    bytes: usize,
    run_bytes: usize,
    count: u64,
    runs: Vec<File>,
}

impl Sorter {
    pub(super) fn new() -> Self {
        Self::with_runs_of(RUN_BYTES)
    }

    fn with_runs_of(run_bytes: usize) -> Self {
        Self {
            records: Vec::new(),
            bytes: 0,
            run_bytes,
            count: 0,
            runs: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, order: Vec<u8>, value: Vec<u8>) -> Result<(), OfflineError> {
        self.bytes += order.len() + value.len() + RECORD_BYTES;
        let number = self.count;
        self.count += 1;
        self.records.push(Record { order, number, value });
        if self.bytes >= self.run_bytes {
            self.spill().map_err(spilling)?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.records.sort_unstable();
        let mut out = BufWriter::new(unnamed()?);
        for record in self.records.drain(..) {
            write_record(&mut out, &record)?;
        }
        self.runs.push(rewound(out)?);
        self.bytes = 0;
        if self.runs.len() > RUNS_MAX {
            let mut out = BufWriter::new(unnamed()?);
            let mut merged = Sorted::new(Vec::new(), std::mem::take(&mut self.runs))?;
            while let Some(record) = merged.next_record()? {
                write_record(&mut out, &record)?;
            }
            self.runs.push(rewound(out)?);
        }
        Ok(())
    }

    /// All that was put in, in order.
    pub(super) fn finish(mut self) -> Result<Sorted, OfflineError> {
        self.records.sort_unstable();
        Sorted::new(self.records, self.runs).map_err(spilling)
    }
}

/// Gives records out.
pub(super) struct Sorted {
    memory: std::vec::IntoIter<Record>,
    runs: Vec<BufReader<File>>,
    /// The next record of each source; that after the last run is memory.
    next: BinaryHeap<Reverse<(Record, usize)>>,
}

impl Sorted {
    fn new(records: Vec<Record>, runs: Vec<File>) -> io::Result<Self> {
        let runs: Vec<_> = runs.into_iter().map(BufReader::new).collect();
        let mut sorted = Self {
            memory: records.into_iter(),
            runs,
            next: BinaryHeap::new(),
        };
        for source in 0..=sorted.runs.len() {
            sorted.refill(source)?;
        }
        Ok(sorted)
    }

    fn refill(&mut self, source: usize) -> io::Result<()> {
        let record = match self.runs.get_mut(source) {
            Some(run) => read_record(run)?,
            None => self.memory.next(),
        };
        self.next.extend(record.map(|record| Reverse((record, source))));
        Ok(())
    }

    fn next_record(&mut self) -> io::Result<Option<Record>> {
        let Some(Reverse((record, source))) = self.next.pop() else {
            return Ok(None);
        };
        self.refill(source)?;
        Ok(Some(record))
    }

    /// The next record.
    pub(super) fn take(&mut self) -> Result<Option<Record>, OfflineError> {
        self.next_record().map_err(spilling)
    }

    /// Its order, without taking it.
    pub(super) fn peek(&self) -> Option<&[u8]> {
        self.next
            .peek()
            .map(|Reverse((record, _))| record.order.as_slice())
    }
}

fn spilling(error: io::Error) -> OfflineError {
    OfflineError(format!(
        "state is sorted in {}, which failed: {error}: free space there, or set TMPDIR to a larger directory",
        std::env::temp_dir().display()
    ))
}

/// A file that is gone when it is closed.
fn unnamed() -> io::Result<File> {
    let name = format!("wasmill-state-{:032x}", crate::host::random_u128());
    let path = std::env::temp_dir().join(name);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn rewound(out: BufWriter<File>) -> io::Result<File> {
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

fn write_record(out: &mut impl Write, record: &Record) -> io::Result<()> {
    for length in [
        record.order.len() as u64,
        record.value.len() as u64,
        record.number,
    ] {
        out.write_all(&length.to_le_bytes())?;
    }
    out.write_all(&record.order)?;
    out.write_all(&record.value)
}

fn read_record(run: &mut BufReader<File>) -> io::Result<Option<Record>> {
    let mut head = [0; 24];
    if !io::BufRead::fill_buf(run)?.is_empty() {
        run.read_exact(&mut head)?;
    } else {
        return Ok(None);
    }
    let part = |at: usize| {
        let bytes = head[at..].first_chunk::<8>();
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    let (mut order, mut value) = (vec![0; part(0) as usize], vec![0; part(8) as usize]);
    run.read_exact(&mut order)?;
    run.read_exact(&mut value)?;
    Ok(Some(Record {
        order,
        number: part(16),
        value,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_in_order_and_as_put_in_where_the_order_is_the_same() {
        for run_bytes in [usize::MAX, 1_000, 1] {
            let mut sorter = Sorter::with_runs_of(run_bytes);
            let mut expected = Vec::new();
            for number in 0..500u64 {
                let order = (number * 7_919 % 97).to_be_bytes().to_vec();
                let value = number.to_le_bytes().to_vec();
                sorter.push(order.clone(), value.clone()).unwrap();
                expected.push(Record { order, number, value });
            }
            expected.sort();
            let mut sorted = sorter.finish().unwrap();
            let mut got = Vec::new();
            while let Some(record) = sorted.take().unwrap() {
                got.push(record);
            }
            assert!(got == expected, "runs of {run_bytes} bytes");
        }
    }
}
