//! An artifact of CodePipeline: a zip of files, one of which is the input of the workflow.
//!
//! Whoever may write to the source of a pipeline makes it, so nothing of it is believed: one file is unpacked in memory, up to a limit, and
//! held against its checksum. Read is what PKWARE's APPNOTE.TXT (6.3.10, sections 4.3.7 to 4.3.16) has without encryption, ZIP64 and
//! archives in several parts, which CodePipeline does not make; those are refused.

use std::borrow::Cow;
use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;

/// Whether these bytes are a zip.
pub(crate) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK")
}

/// The file `name` of a zip or, where nobody has said which, `deploy.json`, or else the only one of JSON in its topmost folder. At most
/// `bytes_max` of it.
///
/// # Errors
/// What was expected, and what there is.
pub(crate) fn file(zip: &[u8], name: Option<&str>, bytes_max: u64) -> Result<Vec<u8>, String> {
    let entries =
        entries(zip).ok_or("it is a zip that cannot be read: it is cut off, or of a kind that is not known here")?;
    let entry = chosen(&entries, name)?;
    let told = |why: &str| format!("{} in it cannot be unpacked: {why}", entry.told());
    if entry.is_encrypted {
        return Err(told("it is encrypted"));
    }
    let packed = entry.packed(zip).ok_or_else(|| told("it is not where it should be"))?;
    // What it says of its length may be wrong.
    let limit = bytes_max + 1;
    let mut bytes = Vec::new();
    let read = match entry.method {
        STORED => packed.take(limit).read_to_end(&mut bytes),
        DEFLATED => DeflateDecoder::new(packed).take(limit).read_to_end(&mut bytes),
        other => return Err(told(&format!("it is packed by method {other}; expected deflate"))),
    };
    read.map_err(|error| told(&error.to_string()))?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("{} in it is longer than {bytes_max} bytes", entry.told()));
    }
    let mut sum = Crc::new();
    sum.update(&bytes);
    if sum.sum() != entry.checksum {
        return Err(told("its checksum is wrong"));
    }
    Ok(bytes)
}

/// What the central directory says of a file.
struct Entry<'a> {
    /// Some say UTF-8 of it, and nobody holds to it.
    name: &'a [u8],
    is_encrypted: bool,
    method: u16,
    checksum: u32,
    length_packed: u32,
    /// Where its own header is.
    at: u32,
}

impl Entry<'_> {
    fn told(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.name)
    }

    fn packed<'a>(&self, zip: &'a [u8]) -> Option<&'a [u8]> {
        let header = zip.get(self.at as usize..)?;
        if !header.starts_with(b"PK\x03\x04") {
            return None;
        }
        let begins = 30 + usize::from(short(header, 26)?) + usize::from(short(header, 28)?);
        header.get(begins..)?.get(..self.length_packed as usize)
    }
}

/// The files of a zip, without its folders. None where it is not what was expected.
fn entries(zip: &[u8]) -> Option<Vec<Entry<'_>>> {
    // The end has a comment of up to 64 KiB behind it, in which its signature may stand too; the last one counts.
    let first = zip.len().saturating_sub(END_LENGTH + usize::from(u16::MAX));
    let last = zip.len().checked_sub(END_LENGTH)?;
    let end = (first..=last).rev().find(|at| zip[*at..].starts_with(b"PK\x05\x06"))?;
    let end = &zip[end..];
    let (count, at) = (short(end, 10)?, long(end, 16)?);
    let mut rest = zip.get(at as usize..)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        if !rest.starts_with(b"PK\x01\x02") {
            return None;
        }
        let lengths = [28, 30, 32].map(|at| short(rest, at).map(usize::from));
        let [Some(name), Some(extra), Some(comment)] = lengths else {
            return None;
        };
        let entry = Entry {
            name: rest.get(46..46 + name)?,
            is_encrypted: short(rest, 8)? & 1 != 0,
            method: short(rest, 10)?,
            checksum: long(rest, 16)?,
            length_packed: long(rest, 20)?,
            at: long(rest, 42)?,
        };
        rest = rest.get(46 + name + extra + comment..)?;
        if !entry.name.ends_with(b"/") {
            entries.push(entry);
        }
    }
    Some(entries)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn chosen<'a>(entries: &'a [Entry<'_>], name: Option<&str>) -> Result<&'a Entry<'a>, String> {
    let wanted = name.unwrap_or(DEFAULT);
    if let Some(found) = entries.iter().find(|entry| entry.name == wanted.as_bytes()) {
        return Ok(found);
    }
    let of_json = |entry: &&Entry<'_>| entry.name.ends_with(b".json") && !entry.name.contains(&b'/');
    let mut of_json = entries.iter().filter(of_json);
    if let (None, Some(only), None) = (name, of_json.next(), of_json.next()) {
        return Ok(only);
    }
    let names: Vec<_> = entries.iter().take(NAMES_TOLD).map(Entry::told).collect();
    let there = match names.len() {
        0 => "no file".to_owned(),
        _ if entries.len() > NAMES_TOLD => format!("{}, …", names.join(", ")),
        _ => names.join(", "),
    };
    Err(format!(
        "it is a zip without {wanted}: it has {there}; expected the workflow's input in {wanted}, or its name as \"file\" in UserParameters"
    ))
}

/// Where the input of the workflow is expected.
const DEFAULT: &str = "deploy.json";
/// Names that a message tells at most.
const NAMES_TOLD: usize = 8;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Bytes of the end of the central directory, without its comment.
const END_LENGTH: usize = 22;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    /// A zip of these files.
    fn zip(files: &[(&str, &[u8])], method: u16) -> Vec<u8> {
        let (mut zip, mut directory) = (Vec::new(), Vec::new());
        for (name, bytes) in files {
            let mut deflating = DeflateEncoder::new(Vec::new(), Compression::default());
            deflating.write_all(bytes).unwrap();
            let packed = if method == DEFLATED {
                deflating.finish().unwrap()
            } else {
                bytes.to_vec()
            };
            let mut sum = Crc::new();
            sum.update(bytes);
            let mut common = vec![20, 0, 0, 0];
            common.extend(method.to_le_bytes());
            common.extend([0; 4]);
            for number in [sum.sum(), packed.len() as u32, bytes.len() as u32, name.len() as u32] {
                common.extend(number.to_le_bytes());
            }
            directory.extend([&b"PK\x01\x02\x14\0"[..], &common, &[0; 10]].concat());
            directory.extend((zip.len() as u32).to_le_bytes());
            directory.extend(name.as_bytes());
            zip.extend([&b"PK\x03\x04"[..], &common, name.as_bytes(), &packed].concat());
        }
        let (at, count) = (zip.len() as u32, files.len() as u16);
        let length = directory.len() as u32;
        zip.extend(directory);
        zip.extend(b"PK\x05\x06\0\0\0\0");
        zip.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
        zip.extend([length.to_le_bytes(), at.to_le_bytes()].concat());
        zip.extend([0; 2]);
        zip
    }

    #[test]
    fn the_file_of_a_zip_is_the_one_that_is_named_or_the_one_that_it_can_be() {
        for method in [STORED, DEFLATED] {
            let several = zip(&[("a.json", b"a"), ("deploy.json", b"d"), ("x/b.json", b"b")], method);
            assert!(is_zip(&several) && !is_zip(b"{}"));
            assert_eq!(file(&several, None, 9).unwrap(), b"d");
            assert_eq!(file(&several, Some("x/b.json"), 9).unwrap(), b"b");
            let one = zip(
                &[
                    ("input.json", b"i"),
                    ("x/", b""),
                    ("build.zip", b"PK"),
                    ("x/b.json", b"b"),
                ],
                method,
            );
            assert_eq!(file(&one, None, 9).unwrap(), b"i");
        }
    }

    /// Of Python's zipfile, with a comment.
    #[test]
    fn a_zip_that_another_program_made_is_read() {
        let made = include_bytes!("../tests/events/artifact.zip");
        let input = file(made, None, 1000).unwrap();
        assert!(
            input.starts_with(b"{\"sourceBucket\""),
            "{}",
            String::from_utf8_lossy(&input)
        );
    }

    #[test]
    fn what_is_not_there_too_long_or_no_zip_is_told() {
        let told = |zip: &[u8], name: Option<&str>| file(zip, name, 100).unwrap_err();
        let two = zip(&[("a.json", b"aaaa"), ("b.json", b"b")], DEFLATED);
        assert!(told(&two, None).contains("without deploy.json: it has a.json, b.json"));
        assert!(told(&two, Some("c.json")).contains("without c.json"));
        assert!(told(&zip(&[], STORED), None).contains("it has no file"));
        // A million bytes in a thousand.
        let bomb = zip(&[("deploy.json", &[b' '; 1_000_000])], DEFLATED);
        assert!(bomb.len() < 10_000 && told(&bomb, None).contains("longer than 100 bytes"));
        assert!(told(&zip(&[("a.json", b"a")], 14), None).contains("method 14"));
        let mut encrypted = two.clone();
        let directory = encrypted.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
        encrypted[directory + 8] = 1;
        assert!(told(&encrypted, Some("a.json")).contains("encrypted"));
    }

    /// Each byte wrong once, and each length: an error or the right file, and no panic.
    #[test]
    fn a_broken_zip_is_an_error_and_never_another_file() {
        let whole = zip(&[("a.json", b"one and one"), ("b.json", b"two")], DEFLATED);
        for length in 0..whole.len() {
            assert!(file(&whole[..length], Some("a.json"), 100).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            for bits in [1, 0x80, 0xff] {
                let mut broken = whole.clone();
                broken[at] ^= bits;
                if let Ok(bytes) = file(&broken, Some("a.json"), 100) {
                    assert_eq!(bytes, b"one and one", "byte {at}");
                }
            }
        }
    }
}
