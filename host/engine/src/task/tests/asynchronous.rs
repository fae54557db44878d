//! A task with an operator that waits for answers: when it reads, when it stands still, and what a barrier finds.

use bytes::Bytes;
use wasmill_model::graph::asynchronous::{AsyncSpec, OutputMode};
use wasmill_model::row::KIND_ELEMENT;

use super::*;
use crate::asynchronous::operator::AsyncWaitOperator;
use crate::asynchronous::operator::tests::Client;
use crate::asynchronous::{AsyncFunction, Called, Outcome, Request};

/// Gives back the record itself, once there was an answer.
struct Echo;

impl AsyncFunction for Echo {
    fn open(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn call(&mut self, row: &Batch, _: &mut OperatorContext) -> Result<Called, TaskError> {
        let row = row.iter().next().unwrap();
        let value = Bytes::copy_from_slice(row.value());
        let mut rows = BatchBuilder::default();
        let mut requests = Vec::new();
        match row.kind() {
            KIND_ELEMENT => requests.push(Request {
                request: value,
                continuation: Bytes::new(),
            }),
            _ => rows.push(RowHeader::element(None), b"", &value, b""),
        }
        Ok(Called::Answered {
            emitted: vec![(0, rows.finish())],
            requests,
        })
    }

    fn close(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }
}

/// `ask` with a capacity of 2, behind `a` where `is_chained`, before `b`.
fn asking(is_chained: bool, order: OutputMode) -> (Bench, Client) {
    let mut bench = bench(TimeDomain::Processing, 64);
    let (client, trace) = (Client::default(), bench.trace.clone());
    let spec = AsyncSpec {
        capacity: 2,
        order,
        ..AsyncSpec::default()
    };
    let operator = AsyncWaitOperator::new(spec, Box::new(Echo), Some(Arc::new(client.clone())), Waker::new());
    let mut nodes = Vec::new();
    if is_chained {
        let to = Route::Chained { node: 1, port: 0 };
        nodes.push(node(0, "a", to, TimeDomain::Event, &trace));
    }
    let (place, next) = (nodes.len(), nodes.len() + 1);
    let to = Route::Chained { node: next, port: 0 };
    nodes.push(Node::new(
        place,
        Box::new(operator),
        context("ask"),
        vec![vec![to]],
        None,
    ));
    nodes.push(node(next, "b", Route::Edge(0), TimeDomain::Event, &trace));
    bench.task.parts.chain.nodes = nodes;
    (bench, client)
}

fn answer(client: &Client, index: usize) {
    client.answer_with(index, b"", Outcome::Status(200));
}

#[test]
fn a_full_operator_stops_the_task_from_reading_until_an_answer_comes() {
    for is_chained in [false, true] {
        let (mut bench, client) = asking(is_chained, OutputMode::Ordered);
        bench.send(0, records([1, 2, 3]));
        bench.send(0, records([4]));
        assert_eq!(
            bench.run(0),
            Some(60_000),
            "it waits for the end of the first one's time"
        );
        assert_eq!(client.open(), 2);
        answer(&client, 1);
        bench.run(0);
        assert_eq!(bench.output(), Vec::<String>::new(), "2 waits for 1");
        for _ in 0..3 {
            answer(&client, 0);
            bench.run(0);
        }
        bench.run(20);
        assert_eq!(
            (bench.output(), client.open()),
            (["1", "2", "3", "4"].map(str::to_owned).to_vec(), 0)
        );
    }
}

#[test]
fn a_barrier_passes_a_full_operator_and_the_snapshot_holds_what_is_in_flight() {
    let (mut bench, client) = asking(false, OutputMode::Ordered);
    bench.send(0, records([1, 2]));
    bench.send_both(&barrier(1));
    bench.send(0, records([3]));
    bench.run(20);
    let (_, state) = bench.acknowledged().expect("it is acknowledged");
    assert_eq!(
        state.operators[&OperatorUid::new("ask")].lists[0].elements.len(),
        2
    );
    assert_eq!(bench.output(), ["barrier 1"]);
    answer(&client, 0);
    answer(&client, 0);
    bench.run(40);
    assert_eq!(bench.output(), ["1", "2"]);
    assert_eq!(client.open(), 1);
}

#[test]
fn a_watermark_waits_for_what_came_before_it_and_the_end_for_everything() {
    for is_chained in [false, true] {
        let (mut bench, client) = asking(is_chained, OutputMode::Unordered);
        bench.send(0, records([1]));
        bench.run(0);
        bench.send_both(&StreamElement::Watermark(5));
        bench.send(0, records([2]));
        bench.run(0);
        answer(&client, 1);
        bench.run(20);
        assert_eq!(
            bench.output(),
            Vec::<String>::new(),
            "2 must not cross the watermark"
        );
        answer(&client, 0);
        bench.run(40);
        assert_eq!(bench.output(), ["1", "watermark 5", "2"]);
        bench.send(0, records([3]));
        bench.send_both(&StreamElement::Watermark(WATERMARK_END));
        bench.send_both(&StreamElement::End);
        bench.send_both(&barrier(9));
        bench.run(60);
        assert_eq!(bench.output(), Vec::<String>::new());
        answer(&client, 0);
        bench.run(80);
        let end = format!("watermark {}", i64::MAX);
        assert_eq!(bench.output(), ["3", &end, "End", "barrier 9"]);
    }
}
