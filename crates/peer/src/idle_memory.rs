//! What an agent gives back of its memory when it has nothing to do: what was freed, and the pages of its own program.

#[cfg(target_os = "linux")]
use std::ops::Range;

/// Gives the system back what a burst of work has left: what was freed and lies between what is still held, of which the C library by itself gives
/// back the end only, and the pages of the program's file.
///
/// Most of what an idle agent had resident were such pages, of code that it runs when a build comes and seldom else. The system has them still, and maps
/// those that are needed again without a read, sixteen at a time.
pub fn give_back_memory() {
    #[cfg(target_os = "linux")]
    give_back_program();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "a call of the allocator, which only C knows")]
        // SAFETY: it may be called at any time, by any thread.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

#[cfg(target_os = "linux")]
fn give_back_program() {
    // Where /proc is not there, all stays as it is.
    let Ok(program) = std::fs::read_link("/proc/self/exe") else {
        return;
    };
    let Ok(mappings) = std::fs::read_to_string("/proc/self/smaps") else {
        return;
    };
    for range in as_in_file(&mappings, &program.to_string_lossy()) {
        #[expect(unsafe_code, reason = "a call of the system about memory")]
        // SAFETY: the program's own file is mapped there until the process ends. Nobody can write to these pages, and none differs from the file, so
        // whoever reads them next reads the same.
        unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(range.start),
                range.len(),
                libc::MADV_DONTNEED,
            );
        }
    }
}

/// Where a file is mapped so that nobody can write to it, and no page was written to before: the linker has put addresses into some, and then had
/// them locked.
#[cfg(target_os = "linux")]
fn as_in_file(smaps: &str, file: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut of_file = None;
    for line in smaps.lines() {
        let mut fields = line.split_whitespace();
        let first = fields.next().unwrap_or_default();
        match first.strip_suffix(':') {
            None => {
                let is_read = fields
                    .next()
                    .is_some_and(|access| access.starts_with("r-") && access.ends_with('p'));
                let range = first.split_once('-').and_then(|(start, end)| {
                    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
                });
                // Behind offset, device and inode: a path may have spaces.
                let begins_as = file.split_whitespace().next();
                let is_of_file = begins_as.is_some() && fields.nth(3) == begins_as && line.ends_with(file);
                of_file = range.filter(|_| is_read && is_of_file);
                ranges.extend(of_file.clone());
            }
            Some("Anonymous" | "Swap" | "Locked") if of_file.is_some() && fields.next() != Some("0") => {
                ranges.pop();
                of_file = None;
            }
            Some(_) => {}
        }
    }
    ranges
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_the_file_is_given_back() {
        let mapping =
            |line: &str, own: &str| format!("{line}\nSize: 4 kB\nAnonymous: {own} kB\nSwap: 0 kB\nVmFlags: rd mr\n");
        let smaps = [
            mapping("1000-3000 r--p 00000000 fe:00 77 /usr/bin/peer", "0"),
            mapping("3000-5000 r-xp 00002000 fe:00 77 /usr/bin/peer", "0"),
            // Addresses of a program that may be anywhere.
            mapping("5000-6000 r--p 00004000 fe:00 77 /usr/bin/peer", "4"),
            mapping("6000-7000 rw-p 00005000 fe:00 77 /usr/bin/peer", "0"),
            mapping("7000-8000 r--s 00000000 fe:00 77 /usr/bin/peer", "0"),
            mapping("8000-9000 r--p 00000000 fe:00 78 /srv/usr/bin/peer", "0"),
            mapping("9000-a000 rw-p 00000000 00:00 0 [heap]", "4"),
            mapping("a000-b000 r--p 00000000 00:00 0", "0"),
            mapping("b000-c000 r-xp 00005000 fe:00 77 /usr/bin/peer", "0"),
        ]
        .concat();
        assert_eq!(
            as_in_file(&smaps, "/usr/bin/peer"),
            [0x1000..0x3000, 0x3000..0x5000, 0xb000..0xc000]
        );
        assert!(as_in_file("nothing of the kind\n: \n-\n", "").is_empty());
        let spaced = mapping("1000-3000 r--p 00000000 fe:00 77 /opt/our agent/peer (deleted)", "0");
        assert_eq!(as_in_file(&spaced, "/opt/our agent/peer (deleted)").len(), 1);
    }
}
