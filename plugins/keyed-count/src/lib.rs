//! Counts records by key, keeps them in state of each kind, and counts those of windows: the functions that benches
//! measure the boundary and the state backends by.

use wasmill_sdk::prelude::*;

/// Any record in, `key:count` out.
#[derive(Default)]
pub struct KeyedCount {
    count: ValueState<u64>,
}

impl KeyedProcessFunction for KeyedCount {
    type In = [u8];
    type Out = [u8];

    fn declare(&mut self, d: &mut Declare) {
        self.count = d.value_state("count");
    }

    fn process_element(&mut self, _record: &[u8], ctx: &mut Context<[u8]>) -> Result<()> {
        let count = self.count.value(ctx)?.unwrap_or(0) + 1;
        self.count.update(ctx, &count)?;
        let key = ctx.key();
        ctx.emit_with(|out| {
            out.bytes(key).text(":").u64(count);
        });
        Ok(())
    }
}

/// Appends the number at a record's end to the key's list; the key out.
#[derive(Default)]
pub struct KeyedList {
    numbers: ListState<i64>,
}

impl KeyedProcessFunction for KeyedList {
    type In = [u8];
    type Out = [u8];

    fn declare(&mut self, d: &mut Declare) {
        self.numbers = d.list_state("numbers");
    }

    fn process_element(&mut self, record: &[u8], ctx: &mut Context<[u8]>) -> Result<()> {
        let number = record.rsplit(|byte| *byte == b',').next().unwrap_or_default();
        let number = std::str::from_utf8(number)?.parse()?;
        self.numbers.add(ctx, &number)?;
        let key = ctx.key();
        ctx.emit_with(|out| {
            out.bytes(key);
        });
        Ok(())
    }
}

/// Counts by the last digit of the item in the key's map: `key:count`.
#[derive(Default)]
pub struct KeyedMap {
    counts: MapState<u32, u64>,
}

impl KeyedProcessFunction for KeyedMap {
    type In = [u8];
    type Out = [u8];

    fn declare(&mut self, d: &mut Declare) {
        self.counts = d.map_state("counts");
    }

    fn process_element(&mut self, record: &[u8], ctx: &mut Context<[u8]>) -> Result<()> {
        let before_number = record.iter().rposition(|byte| *byte == b',').unwrap_or(0);
        let digit = record[..before_number].last().copied().unwrap_or(b'0');
        let item = u32::from(digit.wrapping_sub(b'0'));
        let count = self.counts.get(ctx, &item)?.unwrap_or(0) + 1;
        self.counts.put(ctx, &item, &count)?;
        let key = ctx.key();
        ctx.emit_with(|out| {
            out.bytes(key).text(":").u64(count);
        });
        Ok(())
    }
}

/// Words of a [`KeyedBlob`]'s value: with a key of `user-9999999` they come to 100 bytes.
const BLOB_WORDS: usize = 11;

/// Counts by key in a value whose bytes do not compress: `key:count`.
#[derive(Default)]
pub struct KeyedBlob {
    blob: ValueState<Vec<u8>>,
}

impl KeyedProcessFunction for KeyedBlob {
    type In = [u8];
    type Out = [u8];

    fn declare(&mut self, d: &mut Declare) {
        self.blob = d.value_state("blob");
    }

    fn process_element(&mut self, _record: &[u8], ctx: &mut Context<[u8]>) -> Result<()> {
        let mut blob = self.blob.value(ctx)?.unwrap_or_default();
        blob.resize(BLOB_WORDS * 8, 0);
        let (words, _) = blob.as_chunks_mut::<8>();
        let count = words.first().map_or(0, |word| u64::from_le_bytes(*word)) + 1;
        let key = ctx.key();
        let seed = key.iter().fold(count, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(*byte))
        });
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for word in words.iter_mut() {
            // xorshift: each word of its own.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            *word = random.to_le_bytes();
        }
        if let Some(first) = words.first_mut() {
            *first = count.to_le_bytes();
        }
        self.blob.update(ctx, &blob)?;
        ctx.emit_with(|out| {
            out.bytes(key).text(":").u64(count);
        });
        Ok(())
    }
}

/// How many records a window has, as they are looked at one after another: `key:count`.
#[derive(Default)]
pub struct WindowCount;

impl ProcessWindowFunction for WindowCount {
    type In = [u8];
    type Out = [u8];

    fn process(&mut self, _: Window, records: Elements<[u8]>, ctx: &mut Context<[u8]>) -> Result<()> {
        let mut count = 0;
        records.try_for_each(|_| {
            count += 1;
            Ok(())
        })?;
        let key = ctx.key();
        ctx.emit_with(|out| {
            out.bytes(key).text(":").u64(count);
        });
        Ok(())
    }
}

/// How many records a window has, counted as they come.
#[derive(Default)]
pub struct IncrementalCount;

impl AggregateFunction for IncrementalCount {
    type In = [u8];
    type Accumulator = u64;
    type Out = u64;

    fn create_accumulator(&self) -> u64 {
        0
    }

    fn add(&self, _record: &[u8], count: &mut u64) -> Result<()> {
        *count += 1;
        Ok(())
    }

    fn get_result(&self, count: &u64) -> Result<u64> {
        Ok(*count)
    }

    fn merge(&self, a: u64, b: u64) -> Result<u64> {
        Ok(a + b)
    }
}

wasmill_sdk::export! {
    "keyed-count" => process KeyedCount,
    "keyed-list" => process KeyedList,
    "keyed-map" => process KeyedMap,
    "keyed-blob" => process KeyedBlob,
    "window-count" => window WindowCount,
    "incremental-count" => aggregate IncrementalCount,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_count() {
        let mut t = testing::Harness::process::<KeyedCount>();
        for key in ["a", "b", "a"] {
            t.element(key, "record").unwrap();
        }
        assert_eq!(t.take_output(), ["a:1", "b:1", "a:2"]);
    }

    #[test]
    fn each_kind_of_state_takes_what_a_record_says() {
        let mut t = testing::Harness::process::<KeyedList>();
        for number in ["1", "2"] {
            t.element("a", &format!("a,item-7,{number}")).unwrap();
        }
        assert_eq!(t.take_output(), ["a", "a"]);
        let mut t = testing::Harness::process::<KeyedMap>();
        for (key, item) in [
            ("a", "item-7"),
            ("a", "item-17"),
            ("a", "item-8"),
            ("b", "item-7"),
        ] {
            t.element(key, &format!("{key},{item},1")).unwrap();
        }
        assert_eq!(t.take_output(), ["a:1", "a:2", "a:1", "b:1"]);
        let mut t = testing::Harness::process::<KeyedBlob>();
        for key in ["a", "b", "a"] {
            t.element(key, "record").unwrap();
        }
        assert_eq!(t.take_output(), ["a:1", "b:1", "a:2"]);
    }
}
