//! A frame whose directory and tables were checked; rows are checked as they are taken.

/// "None" in index and length fields.
pub(crate) const NONE: u32 = u32::MAX;

const VERSION: u8 = 1;
const HEADER: usize = 40;
const OPTIONAL: u32 = 1 << 31;

/// Reads the integer at `at`; 0 past the end, which callers have ruled out.
#[inline]
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..at + 4) {
        Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

fn read_i64(bytes: &[u8], at: usize) -> i64 {
    let low = u64::from(read_u32(bytes, at));
    (low | u64::from(read_u32(bytes, at + 4)) << 32) as i64
}

/// Byte strings behind a table of offsets: KEYS and NAMESPACES.
#[derive(Clone, Copy, Default)]
pub(crate) struct Strings<'f> {
    offsets: &'f [u8],
    bytes: &'f [u8],
}

impl<'f> Strings<'f> {
    fn parse(section: &'f [u8], count: u32, what: &str) -> Result<Self, String> {
        let table = (count as usize).checked_add(1).and_then(|n| n.checked_mul(4));
        match table.and_then(|table| section.split_at_checked(table)) {
            Some((offsets, bytes)) => Ok(Self { offsets, bytes }),
            None => Err(format!("{what} has {} bytes for {count} entries", section.len())),
        }
    }

    /// The string with that index; none where there is none or its offsets lie.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&'f [u8]> {
        let at = (index as usize).checked_mul(4)?;
        let offsets = self.offsets.get(at..at.checked_add(8)?)?;
        self.bytes
            .get(read_u32(offsets, 0) as usize..read_u32(offsets, 4) as usize)
    }

    fn len(&self) -> u32 {
        (self.offsets.len() / 4).saturating_sub(1) as u32
    }
}

/// What the host sent in one call.
pub(crate) struct Frame<'f> {
    /// All of it: offsets of prefetched values point here.
    pub(crate) bytes: &'f [u8],
    /// The operator's event-time clock, ms.
    pub(crate) watermark: i64,
    /// The operator's processing-time clock, ms.
    pub(crate) processing_time: i64,
    /// Number of rows.
    pub(crate) row_count: u32,
    /// The rows.
    pub(crate) rows: &'f [u8],
    /// Distinct keys.
    pub(crate) keys: Strings<'f>,
    /// Where the STATE section starts and ends in `bytes`.
    pub(crate) state: (usize, usize),
    /// All of NAMESPACES; only windows look into it.
    namespaces: &'f [u8],
    pairs: Option<&'f [u8]>,
}

impl<'f> Frame<'f> {
    /// Reads header, directory and the tables.
    pub(crate) fn parse(bytes: &'f [u8]) -> Result<Self, String> {
        if bytes.len() < HEADER {
            return Err(format!("a frame of {} bytes has no header", bytes.len()));
        }
        if bytes[0] != VERSION {
            return Err(format!(
                "frame version {} is unknown to this SDK, which reads {VERSION}",
                bytes[0]
            ));
        }
        let key_count = read_u32(bytes, 24);
        let mut frame = Self {
            bytes,
            watermark: read_i64(bytes, 8),
            processing_time: read_i64(bytes, 16),
            row_count: read_u32(bytes, 4),
            rows: &[],
            keys: Strings::default(),
            state: (0, 0),
            namespaces: &[],
            pairs: None,
        };
        let start = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
        let length = (read_u32(bytes, 28) as usize).checked_mul(12);
        let directory = length
            .and_then(|length| start.checked_add(length))
            .and_then(|end| bytes.get(start..end))
            .ok_or("the directory exceeds the frame")?;
        for entry in directory.as_chunks::<12>().0 {
            let (tag, offset, length) = (read_u32(entry, 0), read_u32(entry, 4), read_u32(entry, 8));
            let (offset, length) = (offset as usize, length as usize);
            let section = offset
                .checked_add(length)
                .and_then(|end| bytes.get(offset..end))
                .ok_or_else(|| format!("section {tag} exceeds the frame"))?;
            match tag & !OPTIONAL {
                1 => frame.rows = section,
                2 => frame.keys = Strings::parse(section, key_count, "KEYS")?,
                3 => frame.namespaces = section,
                4 => frame.state = (offset, offset + length),
                5 => frame.pairs = Some(section),
                _ if tag & OPTIONAL != 0 => {}
                _ => return Err(format!("section {tag} is unknown and not optional")),
            }
        }
        if frame.keys.len() != key_count {
            return Err(format!("{key_count} keys and no KEYS"));
        }
        Ok(frame)
    }

    /// The index of the state of a key in a namespace.
    #[inline]
    pub(crate) fn pair(&self, key: u32, namespace: u32) -> Option<u32> {
        match self.pairs {
            None => (namespace == NONE && key != NONE).then_some(key),
            Some(pairs) => {
                let pairs_at = |index: u32| {
                    let at = (index as usize).checked_mul(8)?;
                    let pair = pairs.get(at..at.checked_add(8)?)?;
                    (read_u32(pair, 0) == key && read_u32(pair, 4) == namespace).then_some(index)
                };
                // In frames about windows namespace i is that of pair i.
                pairs_at(namespace).or_else(|| {
                    pairs
                        .as_chunks::<8>()
                        .0
                        .iter()
                        .position(|pair| read_u32(pair, 0) == key && read_u32(pair, 4) == namespace)
                        .map(|index| index as u32)
                })
            }
        }
    }

    /// A namespace of a frame about windows: it has as many as pairs.
    pub(crate) fn namespace(&self, index: u32) -> Option<&'f [u8]> {
        let count = self.pairs?.len() / 8;
        let strings = Strings::parse(self.namespaces, count as u32, "NAMESPACES").ok()?;
        strings.get(index)
    }
}
