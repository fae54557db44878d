//! Records in flight.

use bytes::Bytes;
use wasmill_checkpoint::in_flight::{EdgeName, InFlight, InFlightPlace, decode, encode};
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::id::OperatorUid;
use wasmill_model::row::RowHeader;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "in-flight",
    run,
    seeds,
};

fn batch(values: &[&[u8]]) -> Batch {
    let mut builder = BatchBuilder::default();
    for value in values {
        builder.push(RowHeader::element(Some(7)), b"", value, b"");
    }
    builder.finish()
}

fn seeds() -> Vec<Vec<u8>> {
    let edge = EdgeName {
        target: OperatorUid::new("count"),
        port: 1,
        number: 2,
    };
    let all = [
        InFlight {
            place: InFlightPlace::Input { port: 3 },
            batch: batch(&[b"a", b"", b"a longer one"]),
        },
        InFlight {
            place: InFlightPlace::Output(edge),
            batch: batch(&[b"b"]),
        },
    ];
    vec![encode(&[]), encode(&all[..1]), encode(&all)]
}

fn run(data: &[u8]) {
    match decode(&Bytes::copy_from_slice(data)) {
        Ok(all) => {
            let again = decode(&encode(&all).into()).expect("what was read can be written");
            assert!(again == all);
        }
        Err(error) => assert!(error.to_string().starts_with("records in flight: ")),
    }
}
