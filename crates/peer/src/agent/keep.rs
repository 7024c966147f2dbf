//! Which builds that are not listed any more leave the folder. Removes nothing itself.

/// A build that stands in the folder, of the list from the oldest to the newest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFolder {
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its key is listed, or a version of it is being fetched.
    pub(crate) is_wanted: bool,
}

/// How much of what is not listed any more stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// So many builds.
    pub(crate) builds: usize,
    /// So many bytes of them; no limit where absent.
    pub(crate) bytes: Option<u64>,
}

impl Keep {
    /// The indices of those that go, the oldest first. What is wanted stays, and so does the build that came last, which is what
    /// the host runs: it counts as one of those that are kept.
    pub(crate) fn over(self, folder: &[InFolder]) -> Vec<usize> {
        let idle: Vec<usize> = (0..folder.len()).filter(|&index| !folder[index].is_wanted).collect();
        let mut builds = idle.len();
        let mut bytes: u128 = idle.iter().map(|&index| u128::from(folder[index].size)).sum();
        let mut over = Vec::new();
        for index in idle {
            let fits = builds <= self.builds && self.bytes.is_none_or(|max| bytes <= u128::from(max));
            if fits || index + 1 == folder.len() {
                break;
            }
            builds -= 1;
            bytes -= u128::from(folder[index].size);
            over.push(index);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(builds: usize, bytes: Option<u64>, folder: &[(u64, bool)]) -> Vec<usize> {
        let folder: Vec<InFolder> = folder
            .iter()
            .map(|&(size, is_wanted)| InFolder { size, is_wanted })
            .collect();
        Keep { builds, bytes }.over(&folder)
    }

    #[test]
    fn the_oldest_go_first_and_what_is_wanted_or_came_last_stays() {
        let folder = [(1, false), (2, true), (4, false), (8, false), (16, false)];
        assert_eq!(over(4, None, &folder), [0; 0]);
        assert_eq!(over(3, None, &folder), [0]);
        assert_eq!(over(1, None, &folder), [0, 2, 3]);
        assert_eq!(over(0, None, &folder), [0, 2, 3], "the last is in use");
        assert_eq!(over(0, None, &[(1, false), (2, true)]), [0]);
        assert_eq!(over(0, None, &[]), [0; 0]);
    }

    #[test]
    fn bytes_are_a_limit_of_their_own() {
        let folder = [(1, false), (200, true), (4, false), (8, false), (16, false)];
        assert_eq!(over(9, Some(29), &folder), [0; 0]);
        assert_eq!(over(9, Some(28), &folder), [0]);
        assert_eq!(over(9, Some(0), &folder), [0, 2, 3]);
        assert_eq!(over(9, Some(u64::MAX), &[(u64::MAX, false), (u64::MAX, false)]), [0]);
    }
}
