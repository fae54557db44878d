//! Batches of rows.

use bytes::Bytes;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::row::{FLAG_EXTENSION, FLAG_KEYED, RowHeader, cause};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "rows",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let mut builder = BatchBuilder::default();
    builder.push(RowHeader::element(Some(7)), b"", b"a value", b"");
    let keyed = RowHeader {
        flags: FLAG_KEYED,
        key: 9,
        group: 3,
        ..RowHeader::element(None)
    };
    builder.push(keyed, b"bkey", b"", b"");
    let extended = RowHeader {
        flags: FLAG_EXTENSION,
        ..RowHeader::element(None)
    };
    builder.push(extended, b"", b"x", &cause(5));
    vec![Vec::new(), builder.finish().bytes().to_vec()]
}

fn run(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(batch) = Batch::from_untrusted(bytes.clone()) else {
        return;
    };
    assert_eq!(batch.iter().count(), batch.rows() as usize);
    let mut length = 0;
    let mut builder = BatchBuilder::default();
    for row in &batch {
        length += row.len();
        let _ = (
            row.kind(),
            row.port(),
            row.timestamp(),
            row.is_null(),
            row.cause_line(),
            row.cause(),
        );
        builder.push(
            row.header(),
            row.key().unwrap_or_default(),
            row.value(),
            row.extension(),
        );
    }
    assert_eq!(length, bytes.len(), "rows are all that there is");
    let rebuilt =
        Batch::from_untrusted(builder.finish().bytes().clone()).expect("rows that were read can be written");
    let parts = |batch: &Batch| -> Vec<_> {
        let of = |row: wasmill_model::row::RowRef<'_>| {
            let part = |bytes: &[u8]| bytes.to_vec();
            (
                row.header(),
                row.key().map(part),
                part(row.value()),
                part(row.extension()),
            )
        };
        batch.iter().map(of).collect()
    };
    assert!(parts(&rebuilt) == parts(&batch));
    let half = batch.rows() / 2;
    let (head, tail) = batch.split_at(half);
    assert!([head.bytes().as_ref(), tail.bytes().as_ref()].concat() == data);
    assert!(batch.skip(half) == tail);
}
