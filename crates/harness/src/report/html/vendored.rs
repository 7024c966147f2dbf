//! uPlot, which draws the plots of a page where scripts run: a copy in this tree, so that a page needs no network. `uplot/README.md` says
//! where it is from. Its license travels with every page, as it asks for.

use std::fmt::Write;

const LIBRARY: &str = include_str!("uplot/uPlot.iife.min.js");
const LICENSE: &str = include_str!("uplot/LICENSE");
/// The library wants numbers as the browser's language writes them, and breaks where the browser names none that there is: "en-US@posix" under
/// `LC_ALL=POSIX`.
const BEFORE: &str = "try { new Intl.NumberFormat(navigator.language) } catch { Object.defineProperty(navigator, \"language\", { value: \"en\" }) }";
const OWN: &str = include_str!("page.js");

/// How the library's plots look, for the head of a page.
pub(super) const STYLE: &str = include_str!("uplot/uPlot.min.css");

/// What goes to the end of a page, where all that it changes is there.
pub(super) fn scripts(page: &mut String) {
    let _ = writeln!(
        page,
        "<script>{BEFORE}</script>\n<script>\n/* uPlot, which follows:\n{LICENSE}*/\n{LIBRARY}\n</script>\n<script>\n{OWN}</script>"
    );
}

#[cfg(test)]
mod tests {
    use swarm::Hash;

    use super::*;

    #[test]
    fn the_library_is_the_one_that_was_looked_at() {
        let pinned = [
            (
                LIBRARY,
                "ea2d16ff65797375a846049c0f0a17f68b47a2850b9c73f2816ecf040ec9f2ce",
            ),
            (
                STYLE,
                "70ead7542eab83ef6ff4269c1f139e3c40f5f59f98302552320b9f79188abba1",
            ),
            (
                LICENSE,
                "80723da02446eaf6792b975295c3447a1492e3ca814b7645e8fbd366156b025a",
            ),
        ];
        for (text, checksum) in pinned {
            // As `b3sum` says it.
            assert_eq!(Hash::of(text.as_bytes()).to_string(), checksum, "see uplot/README.md");
        }
    }

    #[test]
    fn nothing_of_it_ends_a_script_or_a_comment_too_early() {
        for text in [LIBRARY, OWN] {
            assert!(!text.contains("</script") && !text.contains("<!--"));
        }
        assert!(!LICENSE.contains("*/") && LICENSE.contains("Copyright") && !STYLE.contains("</style"));
    }

    #[test]
    fn a_page_has_the_license_of_what_it_carries() {
        let mut page = String::new();
        scripts(&mut page);
        assert!(page.find(LICENSE).unwrap() < page.find(LIBRARY).unwrap());
    }
}
