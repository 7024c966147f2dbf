//! A table as a Parquet file, as far as rows of hosts need it: columns of plain values, one page for each column of a group of rows, packed by gzip.
//!
//! After the format's own description (github.com/apache/parquet-format, 2.10): pages, then what is where, in thrift's compact protocol.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// What a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    /// A number, or nothing.
    MaybeNumber,
}

/// A value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Text(&'a str),
    Integer(u64),
    MaybeNumber(Option<f64>),
}

/// A table that grows by rows.
pub(super) struct Table {
    columns: Vec<Column>,
    file: Vec<u8>,
    groups: Vec<Group>,
    rows: usize,
    group_rows: usize,
}

/// A column of the group of rows that is being filled.
struct Column {
    name: &'static str,
    kind: Kind,
    values: Vec<u8>,
    /// Of [`Kind::MaybeNumber`]: which rows have a value.
    present: Vec<bool>,
}

/// A group of rows that is in the file.
struct Group {
    rows: usize,
    chunks: Vec<Chunk>,
}

/// A column of it.
struct Chunk {
    at: usize,
    unpacked: usize,
    packed: usize,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Kind)]) -> Self {
        Self::in_groups_of(GROUP_ROWS, columns)
    }

    fn in_groups_of(group_rows: usize, columns: &[(&'static str, Kind)]) -> Self {
        let column = |(name, kind): &(&'static str, Kind)| Column {
            name,
            kind: *kind,
            values: Vec::new(),
            present: Vec::new(),
        };
        Self {
            columns: columns.iter().map(column).collect(),
            file: MAGIC.to_vec(),
            groups: Vec::new(),
            rows: 0,
            group_rows,
        }
    }

    /// One more row, a cell for each column, of its kind.
    pub(super) fn push(&mut self, row: &[Cell<'_>]) {
        debug_assert_eq!(row.len(), self.columns.len());
        for (column, cell) in self.columns.iter_mut().zip(row) {
            column.push(*cell);
        }
        self.rows += 1;
        if self.rows == self.group_rows {
            self.end_group();
        }
    }

    fn end_group(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let mut chunks = Vec::new();
        for column in &mut self.columns {
            let page = column.take_page();
            let packed = gzip(&page);
            let header = page_header(rows, page.len(), packed.len());
            chunks.push(Chunk {
                at: self.file.len(),
                unpacked: header.len() + page.len(),
                packed: header.len() + packed.len(),
            });
            self.file.extend(header);
            self.file.extend(packed);
        }
        self.groups.push(Group { rows, chunks });
    }

    /// The whole file.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.rows > 0 {
            self.end_group();
        }
        let footer = self.footer();
        let length = u32::try_from(footer.len()).expect("a footer has some bytes for each column of each group");
        self.file.extend(footer);
        self.file.extend(length.to_le_bytes());
        self.file.extend(MAGIC);
        self.file
    }

    /// FileMetaData.
    fn footer(&self) -> Vec<u8> {
        let mut to = Compact::default();
        to.number(1, I32, 1);
        to.list(2, STRUCT, self.columns.len() + 1);
        to.within(|root| {
            root.text(4, "hosts");
            root.number(5, I32, self.columns.len());
        });
        for column in &self.columns {
            to.within(|of| {
                of.number(1, I32, column.kind.physical());
                of.number(3, I32, usize::from(column.kind == Kind::MaybeNumber));
                of.text(4, column.name);
                if column.kind == Kind::Text {
                    of.number(6, I32, UTF8);
                }
            });
        }
        to.number(3, I64, self.groups.iter().map(|group| group.rows).sum());
        to.list(4, STRUCT, self.groups.len());
        for group in &self.groups {
            to.within(|of| self.group(of, group));
        }
        to.text(6, concat!("fleetcast ", env!("CARGO_PKG_VERSION")));
        to.end()
    }

    /// RowGroup, with a ColumnChunk and its ColumnMetaData for each column.
    fn group(&self, to: &mut Compact, group: &Group) {
        to.list(1, STRUCT, group.chunks.len());
        for (column, chunk) in self.columns.iter().zip(&group.chunks) {
            to.within(|of| {
                of.number(2, I64, chunk.at);
                of.field(3, STRUCT);
                of.within(|of| {
                    of.number(1, I32, column.kind.physical());
                    of.list(2, I32, 2);
                    of.varint(zigzag(PLAIN));
                    of.varint(zigzag(RLE));
                    of.list(3, BINARY, 1);
                    of.bytes(column.name);
                    of.number(4, I32, GZIP);
                    of.number(5, I64, group.rows);
                    of.number(6, I64, chunk.unpacked);
                    of.number(7, I64, chunk.packed);
                    of.number(9, I64, chunk.at);
                });
            });
        }
        to.number(2, I64, group.chunks.iter().map(|chunk| chunk.unpacked).sum());
        to.number(3, I64, group.rows);
    }
}

impl Kind {
    const fn physical(self) -> usize {
        match self {
            Self::Integer => 2,
            Self::MaybeNumber => 5,
            Self::Text => 6,
        }
    }
}

impl Column {
    fn push(&mut self, cell: Cell<'_>) {
        match (self.kind, cell) {
            (Kind::Text, Cell::Text(text)) => {
                let length = u32::try_from(text.len()).unwrap_or_default();
                self.values.extend(length.to_le_bytes());
                self.values.extend(text.as_bytes());
            }
            (Kind::Integer, Cell::Integer(number)) => self.values.extend(number.to_le_bytes()),
            (Kind::MaybeNumber, Cell::MaybeNumber(number)) => {
                self.present.push(number.is_some());
                self.values
                    .extend(number.iter().flat_map(|number| number.to_le_bytes()));
            }
            (kind, cell) => panic!("{cell:?} in {}, which is {kind:?}", self.name),
        }
    }

    /// What a page has before it is packed: where values are missing, which rows have one, as one bit each.
    fn take_page(&mut self) -> Vec<u8> {
        let values = std::mem::take(&mut self.values);
        if self.kind != Kind::MaybeNumber {
            return values;
        }
        let present = std::mem::take(&mut self.present);
        let bits = present.chunks(8).map(|eight| {
            let bit = |(place, is): (usize, &bool)| u8::from(*is) << place;
            eight.iter().enumerate().map(bit).sum::<u8>()
        });
        let mut levels = Vec::new();
        // A run of so many eights, each bit by itself.
        varint(&mut levels, (present.len().div_ceil(8) as u64) << 1 | 1);
        levels.extend(bits);
        let mut page = u32::try_from(levels.len()).unwrap_or_default().to_le_bytes().to_vec();
        page.extend(levels);
        page.extend(values);
        page
    }
}

/// PageHeader, with a DataPageHeader.
fn page_header(rows: usize, unpacked: usize, packed: usize) -> Vec<u8> {
    let mut to = Compact::default();
    to.number(1, I32, DATA_PAGE);
    to.number(2, I32, unpacked);
    to.number(3, I32, packed);
    to.field(5, STRUCT);
    to.within(|of| {
        of.number(1, I32, rows);
        of.number(2, I32, PLAIN);
        of.number(3, I32, RLE);
        of.number(4, I32, RLE);
    });
    to.end()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = GzEncoder::new(Vec::new(), Compression::fast());
    to.write_all(bytes)
        .and_then(|()| to.finish())
        .expect("memory takes what is written to it")
}

/// Structures in thrift's compact protocol.
#[derive(Default)]
struct Compact {
    bytes: Vec<u8>,
    /// The last field of the structure that is being written.
    last: u8,
}

impl Compact {
    fn field(&mut self, id: u8, kind: u8) {
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
    }

    fn number(&mut self, id: u8, kind: u8, value: usize) {
        self.field(id, kind);
        self.varint(zigzag(value));
    }

    fn text(&mut self, id: u8, text: &str) {
        self.field(id, BINARY);
        self.bytes(text);
    }

    /// The beginning of a list; its items follow.
    fn list(&mut self, id: u8, kind: u8, length: usize) {
        self.field(id, LIST);
        match u8::try_from(length) {
            Ok(length @ 0..15) => self.bytes.push(length << 4 | kind),
            _ => {
                self.bytes.push(0xf0 | kind);
                self.varint(length as u64);
            }
        }
    }

    /// A structure.
    fn within(&mut self, write: impl FnOnce(&mut Self)) {
        let outer = std::mem::take(&mut self.last);
        write(self);
        self.bytes.push(STOP);
        self.last = outer;
    }

    fn bytes(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.bytes.extend(text.as_bytes());
    }

    fn varint(&mut self, value: u64) {
        varint(&mut self.bytes, value);
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(STOP);
        self.bytes
    }
}

/// Numbers here are never below 0.
const fn zigzag(value: usize) -> u64 {
    (value as u64) << 1
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

const MAGIC: [u8; 4] = *b"PAR1";
/// Rows of a group: what a reader has in memory at a time.
const GROUP_ROWS: usize = 1 << 17;
/// Kinds of fields in thrift's compact protocol.
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;
const STOP: u8 = 0;
/// The format's own numbers: ConvertedType, Encoding, CompressionCodec, PageType.
const UTF8: usize = 0;
const PLAIN: usize = 0;
const RLE: usize = 3;
const GZIP: usize = 2;
const DATA_PAGE: usize = 0;

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn table(group_rows: usize, rows: u64) -> Vec<u8> {
        let columns = [
            ("host", Kind::Text),
            ("bytes", Kind::Integer),
            ("after_ms", Kind::MaybeNumber),
        ];
        let mut table = Table::in_groups_of(group_rows, &columns);
        for row in 0..rows {
            let name = format!("h-{row}");
            let after = (row % 3 != 0).then_some(row as f64 / 2.0);
            table.push(&[Cell::Text(&name), Cell::Integer(row << 40), Cell::MaybeNumber(after)]);
        }
        table.finish()
    }

    /// The page at a place: what follows its header, unpacked. The header ends where gzip begins.
    fn page(file: &[u8], at: usize) -> Vec<u8> {
        let begins = file[at..]
            .windows(3)
            .position(|three| three == [0x1f, 0x8b, 0x08])
            .unwrap();
        let mut page = Vec::new();
        GzDecoder::new(&file[at + begins..]).read_to_end(&mut page).unwrap();
        page
    }

    #[test]
    fn a_file_has_its_marks_its_footer_and_its_values() {
        let file = table(100, 10);
        assert_eq!((&file[..4], &file[file.len() - 4..]), (&b"PAR1"[..], &b"PAR1"[..]));
        let length = u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().unwrap()) as usize;
        let footer = &file[file.len() - 8 - length..file.len() - 8];
        // version = 1, then a list of four schema elements.
        assert_eq!(&footer[..4], [0x15, 0x02, 0x19, 0x4c]);
        assert_eq!(footer.last(), Some(&STOP));
        for name in ["host", "bytes", "after_ms", "fleetcast"] {
            assert!(footer.windows(name.len()).any(|part| part == name.as_bytes()), "{name}");
        }
        assert_eq!(&page(&file, 4)[..7], b"\x03\0\0\0h-0");
    }

    #[test]
    fn rows_without_a_value_are_told_by_their_bits() {
        let mut column = Column {
            name: "x",
            kind: Kind::MaybeNumber,
            values: Vec::new(),
            present: Vec::new(),
        };
        for value in [Some(1.0), None, Some(2.0), None, None, None, None, None, Some(3.0)] {
            column.push(Cell::MaybeNumber(value));
        }
        let page = column.take_page();
        // Three bytes of levels: two eights, bits 0 and 2, bit 0; then three numbers.
        assert_eq!(&page[..7], [3, 0, 0, 0, 0b101, 0b101, 0b1]);
        assert_eq!(page.len(), 7 + 3 * 8);
        assert!(column.take_page().len() < page.len(), "the next group begins empty");
    }

    #[test]
    fn many_rows_are_groups_and_a_list_of_them_is_longer_than_fourteen() {
        let (few, many) = (table(1000, 40), table(2, 40));
        let begins = |file: &[u8]| file.windows(3).filter(|three| *three == [0x1f, 0x8b, 0x08]).count();
        assert_eq!((begins(&few), begins(&many)), (3, 60));
    }
}
