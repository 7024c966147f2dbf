//! A host's record as bytes: numbers of as few bytes as they need, times as differences. About 11 bytes a chunk.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::records::{Asked, ChunkRecord, HostRecord, State};

/// The bytes end before the record does, or are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl HostRecord {
    /// As a line of text, for whoever passes it on as such.
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::new();
        put_host(&mut bytes, self);
        BASE64_STANDARD.encode(&bytes)
    }

    /// From what [`HostRecord::to_text`] made; none where it is something else.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        let mut reader = Reader(&bytes);
        let host = reader.host().ok()?;
        reader.0.is_empty().then_some(host)
    }
}

pub(crate) fn put_host(bytes: &mut Vec<u8>, host: &HostRecord) {
    bytes.push(host.state as u8);
    for at in [host.started, host.learned, host.opened, host.complete, host.done] {
        put(bytes, at.into());
    }
    put(bytes, host.chunks.len() as u64);
    let mut before = i64::from(host.opened);
    for chunk in &host.chunks {
        put_chunk(bytes, chunk, before);
        if chunk.stored != 0 {
            before = chunk.stored.into();
        }
    }
}

fn put_chunk(bytes: &mut Vec<u8>, chunk: &ChunkRecord, before: i64) {
    let [first, last] = chunk.asked;
    let is_plain = chunk.asks == u8::from(first.at != 0) + u8::from(last.at != 0) && chunk.refused + chunk.failed == 0;
    let flags = [
        chunk.stored != 0,
        chunk.from & 1 != 0,
        chunk.from & 2 != 0,
        first != Asked::default(),
        last != Asked::default(),
        !is_plain,
    ];
    bytes.push(flags.into_iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(flag)));
    let mut at = before;
    if chunk.stored != 0 {
        at = chunk.stored.into();
        put_difference(bytes, at - before);
    }
    for asked in chunk.asked.into_iter().filter(|asked| *asked != Asked::default()) {
        put_difference(bytes, at - i64::from(asked.at));
        put(bytes, asked.of.into());
        match asked.began {
            0 => put(bytes, 0),
            began => put(bytes, zigzag(i64::from(began) - i64::from(asked.at)) + 1),
        }
    }
    if !is_plain {
        bytes.extend([chunk.asks, chunk.refused, chunk.failed]);
    }
}

fn put_difference(bytes: &mut Vec<u8>, difference: i64) {
    put(bytes, zigzag(difference));
}

const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 1 << 7 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// What is left to be read.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn host(&mut self) -> Result<HostRecord, Broken> {
        let state = match self.byte()? {
            0 => State::Pending,
            1 => State::Verified,
            2 => State::Failed,
            3 => State::Excused,
            _ => return Err(Broken),
        };
        let mut host = HostRecord {
            state,
            started: self.time()?,
            learned: self.time()?,
            opened: self.time()?,
            complete: self.time()?,
            done: self.time()?,
            chunks: Vec::new(),
        };
        let count = self.number()?;
        let mut before = i64::from(host.opened);
        for _ in 0..count {
            let chunk = self.chunk(before)?;
            if chunk.stored != 0 {
                before = chunk.stored.into();
            }
            host.chunks.push(chunk);
        }
        Ok(host)
    }

    fn chunk(&mut self, before: i64) -> Result<ChunkRecord, Broken> {
        let flags = self.byte()?;
        let is = |bit: u8| flags >> bit & 1 == 1;
        let mut chunk = ChunkRecord {
            from: flags >> 1 & 3,
            ..ChunkRecord::default()
        };
        let mut at = before;
        if is(0) {
            at = before.checked_add(self.difference()?).ok_or(Broken)?;
            chunk.stored = u32::try_from(at).map_err(|_too_large| Broken)?;
        }
        for (slot, bit) in [(0, 3), (1, 4)] {
            if is(bit) {
                chunk.asked[slot] = self.asked(at)?;
            }
        }
        chunk.asks = u8::from(chunk.asked[0].at != 0) + u8::from(chunk.asked[1].at != 0);
        if is(5) {
            (chunk.asks, chunk.refused, chunk.failed) = (self.byte()?, self.byte()?, self.byte()?);
        }
        Ok(chunk)
    }

    fn asked(&mut self, after: i64) -> Result<Asked, Broken> {
        let at = after.checked_sub(self.difference()?).ok_or(Broken)?;
        let of = u32::try_from(self.number()?).map_err(|_too_large| Broken)?;
        let began = match self.number()? {
            0 => 0,
            difference => at.checked_add(unzigzag(difference - 1)).ok_or(Broken)?,
        };
        Ok(Asked {
            at: u32::try_from(at).map_err(|_too_large| Broken)?,
            of,
            began: u32::try_from(began).map_err(|_too_large| Broken)?,
        })
    }

    fn time(&mut self) -> Result<u32, Broken> {
        u32::try_from(self.number()?).map_err(|_too_large| Broken)
    }

    fn difference(&mut self) -> Result<i64, Broken> {
        self.number().map(unzigzag)
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        let (first, rest) = self.0.split_first().ok_or(Broken)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, Broken> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Broken)
    }
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked() -> impl Strategy<Value = Asked> {
        (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(at, of, began)| Asked { at, of, began })
    }

    fn chunk() -> impl Strategy<Value = ChunkRecord> {
        let counts = (0u8..3, any::<u8>(), 0u8..9, 0u8..9);
        let asks = (asked(), prop::option::of(asked()));
        (any::<u32>(), asks, counts).prop_map(|(stored, (first, last), (from, asks, refused, failed))| ChunkRecord {
            asked: [first, last.unwrap_or_default()],
            stored,
            from,
            asks,
            refused,
            failed,
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_is_what_is_read(
            times in any::<[u32; 5]>(),
            chunks in prop::collection::vec(chunk(), 0..40),
        ) {
            let [started, learned, opened, complete, done] = times;
            let host = HostRecord { state: State::Excused, started, learned, opened, complete, done, chunks };
            prop_assert_eq!(HostRecord::from_text(&host.to_text()), Some(host));
        }

        #[test]
        fn bytes_that_are_no_record_are_refused_and_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reader(&bytes).host();
            let _ = HostRecord::from_text(&String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn a_usual_chunk_takes_a_dozen_bytes() {
        let chunk = |number: u32| ChunkRecord {
            asked: [
                Asked {
                    at: 200_000 + number * 40,
                    of: 3_000,
                    began: 200_020 + number * 40,
                },
                Asked::default(),
            ],
            stored: 200_060 + number * 40,
            asks: 1,
            ..ChunkRecord::default()
        };
        let host = HostRecord {
            chunks: (0..1_000).map(chunk).collect(),
            opened: 200_000,
            ..HostRecord::default()
        };
        let mut bytes = Vec::new();
        put_host(&mut bytes, &host);
        assert!(bytes.len() < 12 * 1_000, "{}", bytes.len());
    }
}
