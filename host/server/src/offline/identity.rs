//! Which entry of a savepoint it is, and the order in which entries are written.
//!
//! Invariant: the bytes of two identities are the same exactly where the identities are; their order is that of the
//! snapshot format: by operator, key group, state, key, namespace and map key, then timers in firing order.

use wasmill_model::key::KeyGroup;
use wasmill_state::timers::TimeDomain;

/// An entry, whatever it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) operator: String,
    pub(super) place: Place,
}

/// Where in its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A value, an entry of a map, or an element of a list.
    Entry {
        group: KeyGroup,
        state: String,
        key: Vec<u8>,
        namespace: Vec<u8>,
        map_key: Option<Vec<u8>>,
    },
    Timer {
        group: KeyGroup,
        domain: TimeDomain,
        timestamp: i64,
        key: Vec<u8>,
        namespace: Vec<u8>,
    },
    /// An element of operator state.
    Element {
        name: String,
        subtask: u32,
    },
    Raw {
        subtask: u32,
    },
    Committable {
        subtask: u32,
    },
}

const KEYED: u8 = b'k';
const ELEMENT: u8 = b'l';
const RAW: u8 = b'r';
const COMMITTABLE: u8 = b's';
const ENTRY: u8 = 0;
const TIMER: u8 = 1;

impl Identity {
    /// Its bytes.
    pub(super) fn order(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_part(&mut out, self.operator.as_bytes());
        match &self.place {
            Place::Entry {
                group,
                state,
                key,
                namespace,
                map_key,
            } => {
                out.push(KEYED);
                out.extend_from_slice(&group.0.to_be_bytes());
                out.push(ENTRY);
                let parts = [state.as_bytes(), key, namespace];
                let parts = parts.into_iter().chain(map_key.as_deref());
                parts.for_each(|part| put_part(&mut out, part));
            }
            Place::Timer {
                group,
                domain,
                timestamp,
                key,
                namespace,
            } => {
                out.push(KEYED);
                out.extend_from_slice(&group.0.to_be_bytes());
                out.extend_from_slice(&[TIMER, u8::from(*domain == TimeDomain::Processing)]);
                out.extend_from_slice(&((*timestamp as u64) ^ (1 << 63)).to_be_bytes());
                put_part(&mut out, key);
                put_part(&mut out, namespace);
            }
            Place::Element { name, subtask } => {
                out.push(ELEMENT);
                put_part(&mut out, name.as_bytes());
                out.extend_from_slice(&subtask.to_be_bytes());
            }
            Place::Raw { subtask } => {
                out.push(RAW);
                out.extend_from_slice(&subtask.to_be_bytes());
            }
            Place::Committable { subtask } => {
                out.push(COMMITTABLE);
                out.extend_from_slice(&subtask.to_be_bytes());
            }
        }
        out
    }

    /// `None` where the bytes are of none.
    pub(super) fn of_order(order: &[u8]) -> Option<Self> {
        let mut rest = order;
        let operator = text(take_part(&mut rest)?)?;
        let (tag, mut rest) = rest.split_first()?;
        let place = match *tag {
            KEYED => {
                let (group, after) = rest.split_first_chunk::<2>()?;
                let (kind, after) = after.split_first()?;
                rest = after;
                keyed(KeyGroup(u16::from_be_bytes(*group)), *kind, &mut rest)?
            }
            ELEMENT => Place::Element {
                name: text(take_part(&mut rest)?)?,
                subtask: u32::from_be_bytes(rest.try_into().ok()?),
            },
            tag => {
                let subtask = u32::from_be_bytes(rest.try_into().ok()?);
                match tag {
                    RAW => Place::Raw { subtask },
                    COMMITTABLE => Place::Committable { subtask },
                    _ => return None,
                }
            }
        };
        Some(Self { operator, place })
    }

    /// What the bytes of all keyed state and timers of an operator begin with.
    pub(super) fn keyed_prefix(operator: &str) -> Vec<u8> {
        let mut out = Self::operator_prefix(operator);
        out.push(KEYED);
        out
    }

    /// What the bytes of all that an operator has begin with.
    pub(super) fn operator_prefix(operator: &str) -> Vec<u8> {
        let mut out = Vec::new();
        put_part(&mut out, operator.as_bytes());
        out
    }
}

fn keyed(group: KeyGroup, kind: u8, rest: &mut &[u8]) -> Option<Place> {
    if kind == ENTRY {
        return Some(Place::Entry {
            group,
            state: text(take_part(rest)?)?,
            key: take_part(rest)?,
            namespace: take_part(rest)?,
            map_key: (!rest.is_empty()).then(|| take_part(rest)).flatten(),
        });
    }
    let (domain, after) = rest.split_first()?;
    let (timestamp, after) = after.split_first_chunk::<8>()?;
    *rest = after;
    Some(Place::Timer {
        group,
        domain: match domain {
            0 => TimeDomain::Event,
            _ => TimeDomain::Processing,
        },
        timestamp: (u64::from_be_bytes(*timestamp) ^ (1 << 63)) as i64,
        key: take_part(rest)?,
        namespace: take_part(rest)?,
    })
}

fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}

/// Each 0 becomes `0 255`, and `0 0` ends the part: so the order of parts is that of their bytes.
fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    for byte in part {
        out.push(*byte);
        if *byte == 0 {
            out.push(255);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn take_part(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut part = Vec::new();
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        if *byte == 0 {
            let (mark, after) = rest.split_first()?;
            *rest = after;
            if *mark == 0 {
                return Some(part);
            }
        }
        part.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(state: &str, key: &[u8], map_key: Option<&[u8]>) -> Identity {
        Identity {
            operator: "count".to_owned(),
            place: Place::Entry {
                group: KeyGroup(7),
                state: state.to_owned(),
                key: key.to_vec(),
                namespace: vec![0, 255],
                map_key: map_key.map(<[u8]>::to_vec),
            },
        }
    }

    fn timer(timestamp: i64) -> Identity {
        Identity {
            operator: "count".to_owned(),
            place: Place::Timer {
                group: KeyGroup(7),
                domain: TimeDomain::Event,
                timestamp,
                key: vec![1],
                namespace: Vec::new(),
            },
        }
    }

    #[test]
    fn identities_are_in_the_order_of_the_format_and_read_back() {
        let of = |operator: &str, place| Identity {
            operator: operator.to_owned(),
            place,
        };
        let ordered = [
            of("a", Place::Raw { subtask: 3 }),
            entry("s", b"a", None),
            entry("s", b"a\0", None),
            entry("s", b"a\x01", None),
            entry("t", b"a", Some(b"")),
            entry("t", b"a", Some(b"\0")),
            entry("t", b"a", Some(b"b")),
            timer(i64::MIN),
            timer(-1),
            timer(0),
            of(
                "count",
                Place::Element {
                    name: "l".to_owned(),
                    subtask: 300,
                },
            ),
            of("count", Place::Raw { subtask: 0 }),
            of("count", Place::Committable { subtask: 1 }),
            of("count2", Place::Raw { subtask: 0 }),
        ];
        let orders: Vec<_> = ordered.iter().map(Identity::order).collect();
        assert!(orders.is_sorted());
        for (identity, order) in ordered.iter().zip(&orders) {
            assert_eq!(Identity::of_order(order).as_ref(), Some(identity));
            assert!(order.starts_with(&Identity::operator_prefix(&identity.operator)));
        }
    }
}
