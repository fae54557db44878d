//! Figures of the memory backend: `cargo run --release -p wasmill-state --example memory_bench [hot|large|timers|deltas]`.
//!
//! `hot` reads and writes 100,000 counters in batches; `large` holds 10 M values of 100 bytes and takes a
//! snapshot while it goes on; `timers` keeps 1 M timers; `deltas [entries]` changes one in a hundred of 1 M values between
//! incremental checkpoints, and says what noting changes costs. Run it alone on the machine.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use wasmill_model::element::StateFormat;
use wasmill_model::function::StateKind;
use wasmill_model::id::CheckpointId;
use wasmill_model::key;
use wasmill_state::backend::{
    KeyedStateBackend, StateError, StateId, StateKey, StateSnapshot, Values, Write,
};
use wasmill_state::keyed;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::native::FilesWanted;
use wasmill_state::testing::files::MemoryFiles;
use wasmill_state::testing::{MAX_PARALLELISM, declaration};
use wasmill_state::timers::{TimeDomain, Timer, TimerBytes, TimerQueue};

const BATCH: usize = 1024;
const WINDOW: usize = 32 * BATCH;
const ROWS: usize = 32 * WINDOW;

fn main() -> Result<(), StateError> {
    match std::env::args().nth(1).as_deref() {
        Some("hot") => hot(),
        Some("large") => large(),
        Some("timers") => timers(),
        Some("deltas") => deltas(),
        _ => {
            hot()?;
            large()?;
            timers()?;
            deltas()
        }
    }
}

/// Keys without an allocation each: 12 bytes and the tag.
struct Keys {
    bytes: Vec<u8>,
    hashes: Vec<u64>,
}

const KEY_BYTES: usize = 13;

impl Keys {
    fn new(count: usize) -> Self {
        let bytes: Vec<u8> = (0..count)
            .flat_map(|n| format!("bu{n:011}").into_bytes())
            .collect();
        let hashes = bytes.chunks_exact(KEY_BYTES).map(key::hash).collect();
        Self { bytes, hashes }
    }

    /// The keys of these numbers one after another.
    fn gather(&self, numbers: impl Iterator<Item = usize>) -> Self {
        let mut gathered = Self {
            bytes: Vec::new(),
            hashes: Vec::new(),
        };
        for number in numbers {
            gathered.bytes.extend_from_slice(self.get(number).key);
            gathered.hashes.push(self.hashes[number]);
        }
        gathered
    }

    fn get(&self, number: usize) -> StateKey<'_> {
        let hash = self.hashes[number];
        StateKey {
            group: MAX_PARALLELISM.group_of(hash),
            hash: hash as u32,
            key: &self.bytes[number * KEY_BYTES..(number + 1) * KEY_BYTES],
            namespace: b"",
            map_key: b"",
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32).wrapping_mul(bound as u64) >> 32) as usize
    }
}

fn backend(value: &[u8], keys: &Keys) -> Result<(MemoryBackend, StateId), StateError> {
    let mut backend = MemoryBackend::new(MAX_PARALLELISM.range_of(0, 1), MAX_PARALLELISM);
    let id = backend.register(&declaration("value", StateKind::Value, 1))?;
    let mut batch = Vec::with_capacity(BATCH);
    for number in 0..keys.hashes.len() {
        batch.push(Write {
            key: keys.get(number),
            locator: wasmill_state::backend::Locator::UNKNOWN,
            value: Some(value),
        });
        if batch.len() == BATCH || number + 1 == keys.hashes.len() {
            backend.write_batch(id, &batch)?;
            batch.clear();
        }
    }
    Ok((backend, id))
}

/// Reads a batch and writes it back, changed, with the locators that came.
fn step<'a>(
    backend: &mut MemoryBackend,
    id: StateId,
    keys: &[StateKey<'a>],
    values: &mut Values,
    writes: &mut Vec<Write<'a>>,
    value: &'a [u8],
) -> Result<(), StateError> {
    values.clear();
    backend.get_many(id, keys, values)?;
    writes.clear();
    writes.extend(keys.iter().zip(&values.locators).map(|(key, locator)| Write {
        key: *key,
        locator: *locator,
        value: Some(value),
    }));
    black_box(&values.bytes);
    backend.write_batch(id, writes)
}

fn hot() -> Result<(), StateError> {
    let keys = Keys::new(100_000);
    for batch in [512, 1024] {
        let (mut backend, id) = backend(&[7; 8], &keys)?;
        let mut random = Random(1);
        // Keys lie in the order of the records, as in a batch; their addresses are put together batch by batch.
        let rows = keys.gather((0..ROWS).map(|_| random.below(100_000)));
        let (mut values, mut writes, mut chunk) = (Values::default(), Vec::new(), Vec::new());
        let (mut pairs, mut reads) = (f64::MAX, f64::MAX);
        // The best of many short windows: other work on the machine spoils a long one.
        for _ in 0..20 {
            for window in (0..ROWS).step_by(WINDOW) {
                let start = cpu_seconds();
                for first in (window..window + WINDOW).step_by(batch) {
                    chunk.clear();
                    chunk.extend((first..first + batch).map(|row| rows.get(row)));
                    step(&mut backend, id, &chunk, &mut values, &mut writes, &[9; 8])?;
                }
                pairs = pairs.min((cpu_seconds() - start) / WINDOW as f64);
                let start = cpu_seconds();
                for first in (window..window + WINDOW).step_by(batch) {
                    chunk.clear();
                    chunk.extend((first..first + batch).map(|row| rows.get(row)));
                    values.clear();
                    backend.get_many(id, &chunk, &mut values)?;
                    black_box(&values.bytes);
                }
                reads = reads.min((cpu_seconds() - start) / WINDOW as f64);
            }
        }
        println!(
            "hot, batches of {batch}: {:.1} M get+write pairs/s ({:.1} ns), gets alone {:.1} ns; {} bytes an entry",
            1e-6 / pairs,
            pairs * 1e9,
            reads * 1e9,
            backend.size().bytes / 100_000
        );
    }
    Ok(())
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn large() -> Result<(), StateError> {
    const ENTRIES: usize = 10_000_000;
    let keys = Keys::new(ENTRIES);
    let before = resident_bytes();
    let start = Instant::now();
    let (mut backend, id) = backend(&[7; 100], &keys)?;
    let entries = ENTRIES as u64;
    let bar = KEY_BYTES as u64 + 100 + 16;
    println!(
        "large: filled in {:.1} s; {} bytes an entry by size(), {} resident (bar {})",
        start.elapsed().as_secs_f64(),
        backend.size().bytes / entries,
        (resident_bytes() - before) / entries,
        2 * bar
    );
    let (alone, longest, _) = run(&mut backend, id, &keys, |elapsed| elapsed.as_secs() >= 3)?;
    println!(
        "  without a snapshot: {:.2} M pairs/s, longest batch {:.2} ms",
        alone * 1e-6,
        longest * 1e3
    );
    for round in 1..=2 {
        let start = Instant::now();
        let snapshot = keyed::freeze(&mut backend, &TimerQueue::default(), CheckpointId(round))?;
        let freeze = start.elapsed();
        let writer = std::thread::spawn(move || write(snapshot));
        let (during, longest, resident) = run(&mut backend, id, &keys, |_| writer.is_finished())?;
        let (seconds, bytes) = writer
            .join()
            .map_err(|_| io::Error::other("the writer panicked"))??;
        println!(
            "  snapshot {round}: frozen in {:.2} ms, written in {seconds:.2} s ({} MB); meanwhile {:.2} M pairs/s, \
             longest batch of {BATCH} {:.2} ms, at most {} bytes an entry resident (bar {})",
            freeze.as_secs_f64() * 1e3,
            bytes >> 20,
            during * 1e-6,
            longest * 1e3,
            (resident - before) / entries,
            3 * bar
        );
    }
    let start = cpu_seconds();
    let mut file = Vec::new();
    keyed::freeze(&mut backend, &TimerQueue::default(), CheckpointId(3))?.write(&mut file)?;
    let written = cpu_seconds() - start;
    drop(backend);
    let start = cpu_seconds();
    let mut restored = MemoryBackend::new(MAX_PARALLELISM.range_of(0, 1), MAX_PARALLELISM);
    let range = restored.range();
    keyed::restore(
        &mut file.as_slice(),
        range,
        &mut restored,
        &mut TimerQueue::default(),
    )?;
    println!(
        "  written to memory in {:.2} s, restored in {:.2} s ({} MB, {} entries)",
        written,
        cpu_seconds() - start,
        file.len() >> 20,
        restored.size().entries
    );
    Ok(())
}

/// Time of this thread on its core: other work on the machine is not counted.
fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// Runs batches until `done`; pairs a second, the longest batch in seconds (both in time on the core), the
/// highest resident memory.
fn run(
    backend: &mut MemoryBackend,
    id: StateId,
    keys: &Keys,
    done: impl Fn(Duration) -> bool,
) -> Result<(f64, f64, u64), StateError> {
    let (mut values, mut writes) = (Values::default(), Vec::new());
    let mut random = Random(3);
    let value = [9; 100];
    let (start, mut longest, mut pairs, mut busy, mut resident) = (Instant::now(), 0.0f64, 0, 0.0, 0);
    while pairs == 0 || !done(start.elapsed()) {
        let batch: Vec<StateKey<'_>> = (0..BATCH)
            .map(|_| keys.get(random.below(keys.hashes.len())))
            .collect();
        let begun = cpu_seconds();
        step(backend, id, &batch, &mut values, &mut writes, &value)?;
        let took = cpu_seconds() - begun;
        longest = longest.max(took);
        busy += took;
        pairs += BATCH;
        writes.clear();
        if pairs % (BATCH * 64) == 0 {
            resident = resident_bytes().max(resident);
        }
    }
    Ok((pairs as f64 / busy, longest, resident))
}

struct Counter(u64);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(snapshot: Box<dyn StateSnapshot>) -> Result<(f64, u64), StateError> {
    let start = Instant::now();
    let mut counter = Counter(0);
    snapshot.write(&mut counter)?;
    Ok((start.elapsed().as_secs_f64(), counter.0))
}

fn timers() -> Result<(), StateError> {
    const TIMERS: usize = 1_000_000;
    let keys = Keys::new(TIMERS);
    let mut random = Random(5);
    let timers: Vec<Timer> = (0..TIMERS)
        .map(|number| Timer {
            timestamp: random.below(3_600_000) as i64,
            group: keys.get(number).group,
            key: keys.get(number).key.into(),
            namespace: TimerBytes::default(),
        })
        .collect();
    let before = resident_bytes();
    let mut queue = TimerQueue::default();
    let start = cpu_seconds();
    for timer in timers.clone() {
        queue.register(TimeDomain::Event, &timer);
    }
    let registered = (cpu_seconds() - start) * 1e9 / TIMERS as f64;
    let resident = (resident_bytes() - before) / TIMERS as u64;
    let frozen = queue.clone();
    let start = cpu_seconds();
    for timer in timers.iter().step_by(10) {
        queue.delete(TimeDomain::Event, timer);
    }
    let deleted = (cpu_seconds() - start) * 1e9 / (TIMERS / 10) as f64;
    let start = cpu_seconds();
    let mut fired = 0;
    for now in (0..3_600_000).step_by(100) {
        fired += queue.take_due(TimeDomain::Event, now, usize::MAX).len();
    }
    let taken = (cpu_seconds() - start) * 1e9 / fired as f64;
    println!(
        "timers: registering {registered:.0} ns, deleting from one that is shared {deleted:.0} ns, firing {taken:.0} ns \
         each; {resident} bytes each; {} frozen, {fired} fired",
        frozen.len(TimeDomain::Event)
    );
    Ok(())
}

/// One in a hundred.
const CHANGED_ONE_IN: usize = 100;

fn deltas() -> Result<(), StateError> {
    let entries = std::env::args().nth(2).and_then(|count| count.parse().ok());
    let entries: usize = entries.unwrap_or(1_000_000);
    let keys = Keys::new(entries);
    let (mut plain, id) = backend(&[7; 100], &keys)?;
    let (mut noted, _) = backend(&[7; 100], &keys)?;
    let mut files = MemoryFiles::default();
    let (whole, _, _) = checkpoint(&mut noted, 1, &mut files)?;
    let mut random = Random(7);
    let mut deltas = Vec::new();
    for number in 2..12 {
        let rows = keys.gather((0..entries / CHANGED_ONE_IN).map(|_| random.below(entries)));
        write_rows(&mut noted, id, &rows)?;
        deltas.push(checkpoint(&mut noted, number, &mut files)?);
    }
    deltas.sort_by_key(|(bytes, ..)| *bytes);
    let (bytes, freeze, written) = deltas[deltas.len() / 2];
    println!(
        "deltas: {entries} values of 100 bytes, whole {} MB; one in {CHANGED_ONE_IN} changed: {:.2} MB ({:.2} %) in the median, \
         frozen in {:.2} ms and written in {:.2} ms",
        whole >> 20,
        bytes as f64 * 1e-6,
        bytes as f64 * 100.0 / whole as f64,
        freeze * 1e3,
        written * 1e3
    );
    // Pairs of random keys: where nothing is noted, where most are the first since a freeze, and where none is.
    let rows = keys.gather((0..entries.min(ROWS)).map(|_| random.below(entries)));
    let (mut without, mut first, mut again) = (f64::MAX, f64::MAX, f64::MAX);
    for number in 12..22 {
        without = without.min(write_rows(&mut plain, id, &rows)?);
        first = first.min(write_rows(&mut noted, id, &rows)?);
        again = again.min(write_rows(&mut noted, id, &rows)?);
        checkpoint(&mut noted, number, &mut files)?;
    }
    let nanoseconds = |seconds: f64| seconds * 1e9 / rows.hashes.len() as f64;
    println!(
        "  get+write pairs of random keys: {:.1} ns where nothing is noted, {:.1} ns after a checkpoint, {:.1} ns once more",
        nanoseconds(without),
        nanoseconds(first),
        nanoseconds(again)
    );
    Ok(())
}

/// Reads and writes the values of these keys; time on the core, in seconds.
fn write_rows(backend: &mut MemoryBackend, id: StateId, rows: &Keys) -> Result<f64, StateError> {
    let (mut values, mut writes, mut chunk) = (Values::default(), Vec::new(), Vec::new());
    let start = cpu_seconds();
    for first in (0..rows.hashes.len()).step_by(BATCH) {
        chunk.clear();
        chunk.extend((first..rows.hashes.len().min(first + BATCH)).map(|row| rows.get(row)));
        step(backend, id, &chunk, &mut values, &mut writes, &[9; 100])?;
    }
    Ok(cpu_seconds() - start)
}

/// Takes a checkpoint on the one before: bytes written, and seconds on the core to freeze and to write it.
fn checkpoint(
    backend: &mut MemoryBackend,
    number: u64,
    files: &mut MemoryFiles,
) -> Result<(usize, f64, f64), StateError> {
    let timers = TimerQueue::default();
    let wanted = FilesWanted {
        checkpoint: CheckpointId(number),
        format: StateFormat::Incremental {
            base: (number > 1).then(|| CheckpointId(number - 1)),
        },
        timers: &timers,
    };
    let start = cpu_seconds();
    let frozen = keyed::freeze_files(backend, wanted)?;
    let freeze = cpu_seconds() - start;
    let (native, _) = frozen.ok_or_else(|| io::Error::other("the state is too small for files"))?;
    let start = cpu_seconds();
    let mut out = MemoryFiles::on(&files.files);
    native.files.write(&mut out)?;
    let bytes = out.bytes_written;
    *files = out;
    Ok((bytes, freeze, cpu_seconds() - start))
}
