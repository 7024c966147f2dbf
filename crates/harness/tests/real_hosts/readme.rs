//! The commands of a document, as they stand in it.

use std::path::Path;

/// A document of the project.
pub(crate) struct Document {
    name: &'static str,
    text: String,
}

impl Document {
    pub(crate) fn read(name: &'static str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
        let text = std::fs::read_to_string(path).unwrap();
        Self { name, text }
    }

    /// The commands of the one block of a console that has this line, each in one line and without what is said of it.
    pub(crate) fn block(&self, line: &str) -> Vec<String> {
        let blocks = self.text.split("```console\n").skip(1);
        let blocks = blocks.filter_map(|rest| rest.split_once("```"));
        let mut found = blocks.map(|(block, _)| block).filter(|block| block.contains(line));
        let block = found
            .next()
            .unwrap_or_else(|| panic!("{} has no block with {line:?}", self.name));
        assert!(found.next().is_none(), "{} has {line:?} in two blocks", self.name);
        let block = block.replace("\\\n", " ");
        let commands = block.lines().filter_map(|line| line.trim().strip_prefix("$ "));
        let without_comment = |line: &str| line.split(" # ").next().unwrap_or_default().to_owned();
        let words = |line: String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        commands.map(without_comment).map(words).collect()
    }

    /// The one piece of code in its sentences that begins so.
    pub(crate) fn code(&self, begins: &str) -> String {
        let sentences: String = self.text.split("```").step_by(2).collect();
        let pieces = sentences.split('`').skip(1).step_by(2);
        let words = pieces.map(|piece| piece.split_whitespace().collect::<Vec<_>>().join(" "));
        let mut found: Vec<String> = words.filter(|piece| piece.starts_with(begins)).collect();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 1, "{}: what begins with {begins:?}: {found:?}", self.name);
        found.remove(0)
    }
}

/// A command in which a word that stands for something was replaced by what it stands for.
pub(crate) fn with(command: &str, replaced: &[(&str, &str)]) -> String {
    let mut command = command.to_owned();
    for (word, by) in replaced {
        assert!(command.contains(word), "{command:?} has no {word:?}");
        command = command.replace(word, by);
    }
    command
}
