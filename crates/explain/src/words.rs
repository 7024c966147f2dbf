//! What words mean that are printed, or stand in documents. One table: the program says it, and `docs/words.md` is made of it.

use crate::Cause;

/// A word and its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// As it is printed.
    pub word: &'static str,
    /// One or two sentences.
    pub meaning: &'static str,
}

impl Word {
    const fn new(word: &'static str, meaning: &'static str) -> Self {
        Self { word, meaning }
    }
}

/// The words, by the alphabet. What hosts wait for is in [`Cause`].
pub const WORDS: [Word; 41] = [
    Word::new(
        "bound",
        "The lower bound of a host or of a region: a time that no schedule of transfers beats, by its links, the seeder's, latency and late coming. \
         There is none where links are not limited.",
    ),
    Word::new(
        "build",
        "The file that every host is to have, by its id, which is the key of its S3 object.",
    ),
    Word::new(
        "builds sent by seeders",
        "What the seeders of a region have sent, divided by the size of the build. 1.00 is the least there is: everything else went from host to host.",
    ),
    Word::new(
        "chunk",
        "The unit in which a build is sent, verified and passed on: build.chunk_size.",
    ),
    Word::new(
        "class",
        "Hosts with other links than most: network.classes. A host is of one at most.",
    ),
    Word::new(
        "client",
        "A host that a seeder offers chunks to in its first pass: swarm.seeder_clients at a time.",
    ),
    Word::new("converged", "Every host of which it is expected has the build."),
    Word::new(
        "deadline",
        "When a run gives up, from when the build is complete in the regional buckets. Hosts that are not done are pending then.",
    ),
    Word::new(
        "degree",
        "With how many others a host is to be connected: swarm.degree.",
    ),
    Word::new(
        "end to end",
        "How long a host took from the beginning of the upload: copying to its region and fan-out together. A forecast has none.",
    ),
    Word::new(
        "excused",
        "A host of which nothing is expected, since the scenario makes it leave, send wrong bytes, or say that it has everything. It is not in any \
         percentile.",
    ),
    Word::new(
        "fan-out latency",
        "How long a host took to have the build verified, from when that was complete in its region's bucket; of a host that came later, from when it came.",
    ),
    Word::new(
        "fault",
        "What a scenario has go wrong, with which hosts, members or seeders, and when: faults.NAME.",
    ),
    Word::new(
        "fidelity",
        "What a forecast simulates. faithful: the core that real hosts run, message for message. kernel: only its policy, for fleets that are too large \
         for that; the report says how far one is from the other.",
    ),
    Word::new(
        "first pass",
        "A seeder sends each chunk once, before it sends any a second time.",
    ),
    Word::new(
        "hedge",
        "A second request for a chunk that is on its way and takes long, when nothing else is left to ask for. The first copy wins.",
    ),
    Word::new(
        "held back",
        "Hosts whose disks or processors are slower than their links, as the scenario has it.",
    ),
    Word::new(
        "injection",
        "What a seeder does in its first pass: it gives each chunk to one of its clients, who passes it on.",
    ),
    Word::new(
        "last host",
        "The one that had the build after all others of its region.",
    ),
    Word::new(
        "limited by",
        "What a live run's latencies measure. shaping: the links of the scenario. machine: this machine, which had no time for all hosts. model: it is a forecast.",
    ),
    Word::new("lower bound", "See bound."),
    Word::new(
        "makespan",
        "From when the build was complete in the bucket until the last host had it.",
    ),
    Word::new("member", "A host or a seeder of a region's swarm."),
    Word::new(
        "neighbour",
        "A host that another one is connected with, and may ask for chunks.",
    ),
    Word::new(
        "patience",
        "How long a host waits at least for a chunk that it has asked for before it counts the one that it asked as silent: swarm.patience. It waits longer \
         where chunks take longer, and doubles it for who was silent before.",
    ),
    Word::new(
        "payload",
        "Bytes of chunks. What is not payload is control: requests, news, and what announces members.",
    ),
    Word::new(
        "pending",
        "A host that was expected to have the build and did not when the run ended.",
    ),
    Word::new("policy", "Which chunk a host asks for first: swarm.policy."),
    Word::new(
        "records",
        "What a run keeps for harness explain: records.bin in its folder.",
    ),
    Word::new(
        "region",
        "Hosts with a bucket and seeders of their own. Nothing goes from one to another but the build's copy in the bucket.",
    ),
    Word::new(
        "replay",
        "The command that makes a report once more. A forecast comes out equal to the last digit, a live run similar.",
    ),
    Word::new("seed", "The number that everything random of a run is drawn from."),
    Word::new(
        "seeder",
        "A member that has the build from the region's bucket, before any host has it, and tells hosts of each other.",
    ),
    Word::new(
        "slot",
        "A chunk that a member sends at a time: swarm.upload_slots of hosts, swarm.seeder_slots of seeders. By default they are measured.",
    ),
    Word::new(
        "stretch",
        "How much later than it could have been a host had the build: its latency over its lower bound. 1 cannot be beaten.",
    ),
    Word::new(
        "threshold",
        "What is to hold at the end of a run: FIELD of the report, a comparison, and a value. A run that misses one ends with 1.",
    ),
    Word::new(
        "tie",
        "A second request for a chunk that nobody has begun to send. Whoever begins first sends it, and the other is told not to.",
    ),
    Word::new(
        "verified",
        "A host that holds all chunks, each with the right hash, in place.",
    ),
    Word::new(
        "wasted",
        "Payload that was received and thrown away: it was wrong, or came twice.",
    ),
    Word::new(
        "window",
        "How many chunks a host has asked for at a time: swarm.chunks_in_flight, or what it has measured.",
    ),
    Word::new(
        "zone",
        "A part of a region, such as an availability zone. Hosts fetch from their own where they can.",
    ),
];

/// What a word means that is printed, in whatever case; none where it is no such word.
pub fn meaning(word: &str) -> Option<String> {
    let of_table = WORDS.iter().find(|of| of.word.eq_ignore_ascii_case(word));
    let cause = Cause::ALL
        .into_iter()
        .find(|cause| cause.word().eq_ignore_ascii_case(word));
    let cause = cause.map(|cause| {
        format!(
            "In harness explain, what a host or whom it waited for waited for: {}.",
            cause.meaning()
        )
    });
    let told: Vec<String> = of_table
        .map(|of| of.meaning.to_owned())
        .into_iter()
        .chain(cause)
        .collect();
    (!told.is_empty()).then(|| told.join(" "))
}

/// All words with their meanings, in Markdown.
pub fn markdown() -> String {
    let rows = |words: &mut dyn Iterator<Item = (&'static str, &'static str)>| {
        words
            .map(|(word, meaning)| format!("| {word} | {meaning} |\n"))
            .collect::<String>()
    };
    let words = rows(&mut WORDS.iter().map(|of| (of.word, of.meaning)));
    let causes = rows(&mut Cause::ALL.into_iter().map(|cause| (cause.word(), cause.meaning())));
    format!(
        "# Words\n\n`harness explain WORD` says what a word means: one of these, a field of a report, or a key of a scenario. This page is made by\n\
         `harness explain --words`.\n\n| word | meaning |\n|---|---|\n{words}\n## What hosts wait for\n\n\
         By [explain.md](explain.md), a host or whom it waited for waited for\n\n| cause | for what |\n|---|---|\n{causes}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_in_order_and_each_is_there_once() {
        assert!(WORDS.is_sorted_by(|a, b| a.word < b.word));
        assert!(
            Cause::ALL
                .iter()
                .all(|cause| WORDS.iter().all(|of| of.word != cause.word() || of.word == "window"))
        );
        assert!(
            WORDS
                .iter()
                .all(|of| of.meaning.ends_with('.') && !of.meaning.contains('|'))
        );
        assert_eq!((meaning("Excused").is_some(), meaning("no such word")), (true, None));
        assert!(meaning("window").unwrap().contains("harness explain"));
    }
}
