//! Records that an unaligned barrier has overtaken (C3), as a file of a checkpoint.
//!
//! ```text
//! WMFLIGHT version u32 (1)
//! for each batch, in the order in which it is to be sent or processed:
//!   kind u8 (1 input, 2 output), 0 u8, port u16, number u16, target length u16, length u32, target, rows
//! ```
//!
//! Integers are little-endian; rows are those of a batch (`wasmill_model::row`). Invariant: whatever bytes are read,
//! the result is what was written or an error.

use bytes::Bytes;
use wasmill_model::batch::Batch;
use wasmill_model::id::OperatorUid;

const MAGIC: &[u8; 8] = b"WMFLIGHT";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 12;
const INPUT: u8 = 1;
const OUTPUT: u8 = 2;

/// One batch and where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// Where.
    pub place: InFlightPlace,
    /// The records.
    pub batch: Batch,
}

/// Where a batch was when the barrier overtook it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InFlightPlace {
    /// Read for the operator, the first of its chain, and not processed yet.
    Input {
        /// Of the operator.
        port: u16,
    },
    /// On its way from the operator along an edge.
    Output(EdgeName),
}

/// What an edge from an operator is called in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EdgeName {
    /// The first operator behind it.
    pub target: OperatorUid,
    /// Its port.
    pub port: u16,
    /// Among the edges of the operator to that port, from 0.
    pub number: u16,
}

/// Why bytes are no such file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("records in flight: {0}")]
pub struct InFlightError(String);

/// The file's content.
pub fn encode(all: &[InFlight]) -> Vec<u8> {
    let bytes: usize = all.iter().map(|one| one.batch.bytes().len() + 64).sum();
    let mut out = Vec::with_capacity(bytes + HEAD_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    for InFlight { place, batch } in all {
        let (kind, port, number, target) = match place {
            InFlightPlace::Input { port } => (INPUT, *port, 0, &[][..]),
            InFlightPlace::Output(edge) => (OUTPUT, edge.port, edge.number, edge.target.as_str().as_bytes()),
        };
        out.extend_from_slice(&[kind, 0]);
        for field in [port, number, target.len() as u16] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&(batch.bytes().len() as u32).to_le_bytes());
        out.extend_from_slice(target);
        out.extend_from_slice(batch.bytes());
    }
    out
}

/// Reads a file's content.
pub fn decode(content: &Bytes) -> Result<Vec<InFlight>, InFlightError> {
    let mut reader = Reader {
        content: content.clone(),
    };
    if reader.take(MAGIC.len())?[..] != MAGIC[..] {
        return Err(InFlightError("this is no such file".to_owned()));
    }
    let version = reader.u32()?;
    if version != VERSION {
        return Err(InFlightError(format!(
            "format version {version}, this host reads {VERSION}: restore it with a newer host"
        )));
    }
    let mut all = Vec::new();
    while !reader.content.is_empty() {
        all.push(reader.one()?);
    }
    Ok(all)
}

struct Reader {
    content: Bytes,
}

impl Reader {
    fn take(&mut self, length: usize) -> Result<Bytes, InFlightError> {
        if self.content.len() < length {
            return Err(InFlightError("it is cut off".to_owned()));
        }
        Ok(self.content.split_to(length))
    }

    fn u16(&mut self) -> Result<u16, InFlightError> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, InFlightError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn one(&mut self) -> Result<InFlight, InFlightError> {
        let kind = self.take(2)?[0];
        let (port, number, target) = (self.u16()?, self.u16()?, self.u16()?);
        let length = self.u32()?;
        let target = self.take(usize::from(target))?;
        let rows = self.take(length as usize)?;
        let batch = Batch::from_untrusted(rows).map_err(|error| InFlightError(error.to_string()))?;
        let place = match kind {
            INPUT => InFlightPlace::Input { port },
            OUTPUT => {
                let target = std::str::from_utf8(&target)
                    .map_err(|_| InFlightError("an operator's uid is not UTF-8".to_owned()))?;
                InFlightPlace::Output(EdgeName {
                    target: OperatorUid::new(target),
                    port,
                    number,
                })
            }
            other => return Err(InFlightError(format!("a batch of kind {other} is not known"))),
        };
        Ok(InFlight { place, batch })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasmill_model::batch::BatchBuilder;
    use wasmill_model::row::RowHeader;

    use super::*;

    fn batch(values: &[Vec<u8>]) -> Batch {
        let mut builder = BatchBuilder::default();
        for value in values {
            builder.push(RowHeader::element(Some(7)), b"", value, b"");
        }
        builder.finish()
    }

    #[test]
    fn the_format_is_frozen() {
        let edge = EdgeName {
            target: OperatorUid::new("count"),
            port: 1,
            number: 2,
        };
        let all = [
            InFlight {
                place: InFlightPlace::Input { port: 3 },
                batch: Batch::default(),
            },
            InFlight {
                place: InFlightPlace::Output(edge),
                batch: Batch::default(),
            },
        ];
        // IMPORTANT: these bytes are part of the checkpoint format.
        let bytes = b"WMFLIGHT\x01\0\0\0\x01\0\x03\0\0\0\0\0\0\0\0\0\x02\0\x01\0\x02\0\x05\0\0\0\0\0count";
        assert_eq!(encode(&all), bytes);
        assert_eq!(decode(&Bytes::from_static(bytes)).unwrap(), all);
    }

    #[test]
    fn another_file_and_a_newer_version_are_told() {
        let error = decode(&Bytes::from_static(b"WMSTATE\n\x01\0\0\0")).unwrap_err();
        assert!(error.to_string().contains("no such file"), "{error}");
        let error = decode(&Bytes::from_static(b"WMFLIGHT\x02\0\0\0")).unwrap_err();
        assert!(error.to_string().contains("newer host"), "{error}");
    }

    fn in_flight() -> impl Strategy<Value = InFlight> {
        let values = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5);
        (any::<bool>(), any::<u16>(), any::<u16>(), "[a-z]{1,9}", values).prop_map(
            |(is_input, port, number, target, values)| InFlight {
                place: match is_input {
                    true => InFlightPlace::Input { port },
                    false => InFlightPlace::Output(EdgeName {
                        target: OperatorUid::new(target),
                        port,
                        number,
                    }),
                },
                batch: batch(&values),
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_in_flight_is_read_back(all in prop::collection::vec(in_flight(), 0..6)) {
            prop_assert_eq!(decode(&encode(&all).into()).unwrap(), all);
        }

        #[test]
        fn damaged_bytes_are_refused_or_read_and_nothing_else(
            all in prop::collection::vec(in_flight(), 0..4), at: prop::sample::Index, to: u8, cut: prop::sample::Index,
        ) {
            let mut bytes = encode(&all);
            let place = at.index(bytes.len());
            bytes[place] = to;
            bytes.truncate(cut.index(bytes.len() + 1));
            let _ = decode(&bytes.into());
        }
    }
}
