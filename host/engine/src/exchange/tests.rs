//! Who gets which record, in which order, and when.

use super::*;
use crate::channel::{Receiver, channel};
use crate::executor::Waker;
use wasmill_model::batch::BatchBuilder;
use wasmill_model::key::hash;
use wasmill_model::row::{FLAG_KEYED, RowHeader};

const MAX: MaxParallelism = MaxParallelism(128);

fn edge(partitioner: Partitioner, targets: usize, credits: u32) -> (Edge, Vec<Receiver>) {
    let (senders, receivers) = (0..targets)
        .map(|_| channel(credits, Waker::new(), Waker::new()))
        .unzip();
    let buffering = Buffering {
        bytes: 256,
        timeout_ms: 10,
    };
    (Edge::new(partitioner, senders, 0, MAX, buffering), receivers)
}

fn keyed(values: std::ops::Range<u32>) -> Batch {
    let mut builder = BatchBuilder::default();
    for value in values {
        let key = format!("b{value}");
        let hash = hash(key.as_bytes());
        let header = RowHeader {
            flags: FLAG_KEYED,
            key: hash as u32,
            group: u32::from(MAX.group_of(hash).0),
            ..RowHeader::element(None)
        };
        builder.push(header, key.as_bytes(), &value.to_le_bytes(), b"");
    }
    builder.finish()
}

/// The values in a channel, and where its control items stand among them.
fn read(receiver: &Receiver) -> Vec<Result<u32, StreamElement>> {
    let mut out = Vec::new();
    while let Some(item) = receiver.receive() {
        match item {
            StreamElement::Batch(batch) => {
                assert!(batch.bytes().len() <= BATCH_BYTES_MAX);
                out.extend(
                    batch
                        .iter()
                        .map(|row| Ok(u32::from_le_bytes(row.value().try_into().unwrap()))),
                );
            }
            control => out.push(Err(control)),
        }
    }
    out
}

#[test]
fn hash_sends_a_key_to_the_owner_of_its_group_and_keeps_the_order() {
    let (mut edge, receivers) = edge(Partitioner::Hash, 3, 1_000);
    edge.push(keyed(0..500), 0).unwrap();
    edge.control(&StreamElement::Watermark(7));
    let mut seen = 0;
    for (index, receiver) in receivers.iter().enumerate() {
        let mut items = read(receiver);
        assert_eq!(
            items.pop(),
            Some(Err(StreamElement::Watermark(7))),
            "the watermark is last"
        );
        let values: Vec<u32> = items.into_iter().map(Result::unwrap).collect();
        assert!(values.is_sorted());
        for value in &values {
            let group = MAX.group_of(hash(format!("b{value}").as_bytes()));
            assert_eq!(MAX.subtask_of(group, 3) as usize, index);
        }
        seen += values.len();
    }
    assert_eq!(seen, 500);
}

#[test]
fn rebalance_deals_records_one_by_one_wherever_batches_are_cut() {
    let (mut edge, receivers) = edge(Partitioner::Rebalance, 2, 1_000);
    for cut in [0..3, 3..4, 4..10] {
        edge.push(keyed(cut), 0).unwrap();
    }
    edge.flush();
    assert_eq!(read(&receivers[0]), [Ok(0), Ok(2), Ok(4), Ok(6), Ok(8)]);
    assert_eq!(read(&receivers[1]), [Ok(1), Ok(3), Ok(5), Ok(7), Ok(9)]);
}

#[test]
fn forward_hands_a_large_batch_over_without_copying_it() {
    let (mut edge, receivers) = edge(Partitioner::Forward, 1, 1_000);
    let batch = keyed(0..100);
    edge.push(batch.clone(), 0).unwrap();
    let Some(StreamElement::Batch(received)) = receivers[0].receive() else {
        panic!("the batch was not sent at once");
    };
    assert_eq!(received.bytes().as_ptr(), batch.bytes().as_ptr());
}

#[test]
fn small_batches_wait_for_the_timeout_and_keep_their_order_before_a_large_one() {
    let (mut edge, receivers) = edge(Partitioner::Forward, 1, 1_000);
    edge.push(keyed(0..1), 100).unwrap();
    edge.push(keyed(1..2), 105).unwrap();
    assert_eq!(edge.flush_at(), Some(110));
    assert!(!receivers[0].is_readable());
    edge.push(keyed(2..100), 106).unwrap();
    let values: Vec<u32> = read(&receivers[0]).into_iter().map(Result::unwrap).collect();
    assert_eq!(values, (0..100).collect::<Vec<_>>());
}

#[test]
fn broadcast_gives_every_target_everything() {
    let (mut edge, receivers) = edge(Partitioner::Broadcast, 3, 1_000);
    edge.push(keyed(0..40), 0).unwrap();
    edge.flush();
    for receiver in &receivers {
        assert_eq!(read(receiver).len(), 40);
    }
}

#[test]
fn without_credit_items_wait_in_order_and_other_lanes_go_on() {
    let (mut edge, receivers) = edge(Partitioner::Broadcast, 2, 1);
    let first = edge.push(keyed(0..20), 0);
    assert!(first.is_ok());
    edge.push(keyed(20..40), 0).unwrap();
    edge.control(&StreamElement::Watermark(1));
    assert!(!edge.drain());
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.extend(read(&receivers[0]));
        edge.drain();
    }
    assert_eq!(
        slow.len(),
        41,
        "lane 0 has everything although lane 1 was never read"
    );
    assert_eq!(slow[40], Err(StreamElement::Watermark(1)));
}

#[test]
fn a_batch_larger_than_a_buffer_may_be_is_cut() {
    let (mut edge, receivers) = edge(Partitioner::Forward, 1, 1_000);
    edge.push(keyed(0..10_000), 0).unwrap();
    edge.flush();
    assert_eq!(read(&receivers[0]).len(), 10_000);
}

#[test]
fn shuffle_spreads_records_evenly_keeps_their_order_and_repeats_by_its_seed() {
    let deal = |seed: u64, batches: &[std::ops::Range<u32>]| -> Vec<Vec<u32>> {
        let (edge, receivers) = edge(Partitioner::Shuffle, 4, 10_000);
        let mut edge = edge.with_seed(seed);
        for batch in batches {
            edge.push(keyed(batch.clone()), 0).unwrap();
        }
        edge.flush();
        let values = |receiver| read(receiver).into_iter().map(Result::unwrap).collect();
        receivers.iter().map(values).collect()
    };
    let dealt = deal(1, &[0..2_000, 2_000..4_000]);
    assert!(dealt.iter().all(|values| values.is_sorted()));
    let mut all = dealt.concat();
    all.sort_unstable();
    assert_eq!(all, (0..4_000).collect::<Vec<_>>(), "each once");
    // Five standard deviations of a binomial of 4,000 and a quarter.
    assert!(dealt.iter().all(|values| values.len().abs_diff(1_000) < 137));
    // A record goes anywhere whatever the one before: all 16 pairs are equally likely.
    let lane_of = |value: u32| dealt.iter().position(|values| values.contains(&value)).unwrap();
    let mut pairs = [0usize; 16];
    (0..1_000).for_each(|value| pairs[lane_of(value) * 4 + lane_of(value + 1)] += 1);
    assert!(pairs.iter().all(|pairs| pairs.abs_diff(62) < 40), "{pairs:?}");
    assert_eq!(
        dealt,
        deal(1, &[0..1, 1..700, 700..4_000]),
        "wherever batches are cut"
    );
    assert_ne!(dealt, deal(2, &[0..2_000, 2_000..4_000]));
}

#[test]
fn rescale_takes_turns_over_the_senders_own_targets_from_the_first() {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..3).map(|_| channel(1_000, Waker::new(), Waker::new())).unzip();
    let buffering = Buffering {
        bytes: 256,
        timeout_ms: 10,
    };
    // Sender 5 begins with its own first target like any other.
    let mut edge = Edge::new(Partitioner::Rescale, senders, 5, MAX, buffering);
    edge.push(keyed(0..4), 0).unwrap();
    edge.push(keyed(4..7), 0).unwrap();
    edge.flush();
    let dealt = receivers.iter().map(|receiver| {
        read(receiver)
            .into_iter()
            .map(Result::unwrap)
            .collect::<Vec<u32>>()
    });
    assert_eq!(dealt.collect::<Vec<_>>(), [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
}

#[test]
fn global_sends_records_to_the_first_target_and_watermarks_to_all() {
    let (mut edge, receivers) = edge(Partitioner::Global, 3, 1_000);
    edge.push(keyed(0..50), 0).unwrap();
    edge.control(&StreamElement::Watermark(7));
    let lengths: Vec<_> = receivers.iter().map(|receiver| read(receiver).len()).collect();
    assert_eq!(lengths, [51, 1, 1]);
}

struct ByValue(Vec<u32>);

impl CustomPartitioner for ByValue {
    fn partition(&mut self, rows: &Batch, targets: u32, out: &mut Vec<u32>) -> Result<(), TaskError> {
        assert_eq!(targets, 3);
        let value = |row: wasmill_model::row::RowRef<'_>| u32::from_le_bytes(row.value().try_into().unwrap());
        out.extend(rows.iter().filter_map(|row| self.0.get(value(row) as usize)));
        Ok(())
    }
}

#[test]
fn a_custom_partitioner_chooses_for_each_record_and_must_choose_a_target_that_is_there() {
    let push = |choices: &[u32], rows: u32| {
        let (edge, receivers) = edge(Partitioner::Custom, 3, 1_000);
        let mut edge = edge.with_custom(Some(Box::new(ByValue(choices.to_vec()))));
        edge.push(keyed(0..rows), 0).map_err(|error| error.to_string())?;
        edge.flush();
        let values = |receiver| {
            read(receiver)
                .into_iter()
                .map(Result::unwrap)
                .collect::<Vec<u32>>()
        };
        Ok::<_, String>(receivers.iter().map(values).collect::<Vec<_>>())
    };
    assert_eq!(push(&[2, 0, 2, 2], 4), Ok(vec![vec![1], vec![], vec![0, 2, 3]]));
    let error = push(&[0, 3], 2).unwrap_err();
    assert!(error.contains("target 3 of 3"), "{error}");
    let error = push(&[0], 2).unwrap_err();
    assert!(error.contains("1 targets for 2 records"), "{error}");
}
