//! Which chunks a seeder injects first, where a region has several.

use crate::units::ChunkIndex;

/// One of the equal parts of a build that the seeders of a region begin with: every so many-th chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    index: u32,
    of: u32,
}

impl Part {
    /// All of it, for the only seeder of a region.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Part `index` of `of`, counted from 0; `None` where there is no such part.
    pub const fn new(index: u32, of: u32) -> Option<Self> {
        if index < of { Some(Self { index, of }) } else { None }
    }

    /// Whether there are no other parts.
    pub const fn is_whole(self) -> bool {
        self.of == 1
    }

    /// Whether `chunk` belongs to it.
    pub const fn includes(self, chunk: ChunkIndex) -> bool {
        chunk.get() % self.of == self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_disjoint_and_cover_a_build() {
        for of in 1..5 {
            let parts: Vec<Part> = (0..of).filter_map(|index| Part::new(index, of)).collect();
            for chunk in (0..20).map(ChunkIndex::new) {
                assert_eq!(parts.iter().filter(|part| part.includes(chunk)).count(), 1);
            }
            assert_eq!(Part::new(of, of), None);
            assert_eq!(parts.iter().all(|part| part.is_whole()), of == 1);
        }
        assert_eq!(Part::new(0, 0), None);
        assert!((0..20).all(|chunk| Part::WHOLE.includes(ChunkIndex::new(chunk))));
    }
}
