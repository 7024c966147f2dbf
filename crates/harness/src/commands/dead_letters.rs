//! `harness dead-letters`: what nobody could take up, why, and back with it or away.

use std::collections::BTreeSet;
use std::fmt::Write;

use cloud::CloudError;
use pipeline::{DeadLetter, DeadLetterQueue, NamedDeadLetters, Pipeline};
use serde_json::{Value, json};

use super::{print, reach};
use crate::cli::{DeadLettersArguments, Format, OfDeadLetters};
use crate::exit::{Exit, print_error};

pub(crate) async fn dead_letters(arguments: &DeadLettersArguments) -> Exit {
    if let OfDeadLetters::Drop { ids, yes: false } = &arguments.what
        && ids.is_empty()
    {
        say!(
            "harness: drop takes messages away for good; expected their ids, as `harness dead-letters show` has them, or --yes for \
             all that are there"
        );
        return Exit::Usage;
    }
    let wanted = match Wanted::of(&arguments.what) {
        Ok(wanted) => wanted,
        Err(exit) => return exit,
    };
    let cloud = match reach::connect(&arguments.place).await {
        Ok(cloud) => cloud,
        Err(exit) => return exit,
    };
    let queues = Pipeline::new(&cloud, &arguments.regions).dead_letter_queues().await;
    let queues = match chosen(queues, arguments.queue.as_deref()) {
        Ok(queues) => queues,
        Err(exit) => return exit,
    };
    let count_max = usize::from(arguments.count);
    match &arguments.what {
        OfDeadLetters::List => list(&queues, arguments.format).await,
        OfDeadLetters::Show { .. } => go_through(&queues, wanted, What::Show, count_max, arguments.format).await,
        OfDeadLetters::Retry { .. } => go_through(&queues, wanted, What::Retry, count_max, arguments.format).await,
        OfDeadLetters::Drop { .. } => go_through(&queues, wanted, What::Drop, count_max, arguments.format).await,
    }
}

/// Only the queue of this name, where one is given.
fn chosen(queues: Vec<NamedDeadLetters>, name: Option<&str>) -> Result<Vec<NamedDeadLetters>, Exit> {
    let Some(name) = name else {
        return Ok(queues);
    };
    let names: Vec<String> = queues.iter().map(|queue| queue.name.clone()).collect();
    let chosen: Vec<_> = queues.into_iter().filter(|queue| queue.name == name).collect();
    if chosen.is_empty() {
        say!(
            "harness: there is no queue {name} of dead letters; expected {}",
            names.join(", ")
        );
        return Err(Exit::Usage);
    }
    Ok(chosen)
}

/// What cannot be looked at is said, and the others are gone through all the same.
fn seen(named: &NamedDeadLetters) -> Option<&DeadLetterQueue> {
    match &named.queue {
        Ok(queue) => Some(queue),
        Err(error) => {
            unseen(&named.name, error);
            None
        }
    }
}

fn unseen(name: &str, error: &CloudError) {
    print_error(&format!("queue {name} cannot be looked at"), error);
}

async fn list(queues: &[NamedDeadLetters], format: Format) -> Exit {
    let (mut text, mut all, mut exit) = (String::new(), Vec::new(), Exit::Success);
    for named in queues {
        let name = &named.name;
        let counted = match &named.queue {
            Ok(queue) => queue.count().await.map(|count| (queue, count)),
            Err(_) => {
                seen(named);
                exit = Exit::Failed;
                all.push(json!({"queue": name, "messages": null}));
                continue;
            }
        };
        match counted {
            Ok((queue, count)) => {
                let _ = writeln!(text, "{count:>7}  {name}: {}", queue.whose());
                all.push(json!({
                    "queue": queue.name(), "aws_region": queue.aws_region(), "region": queue.region(), "messages": count,
                }));
            }
            Err(error) => {
                unseen(name, &error);
                exit = Exit::Failed;
                all.push(json!({"queue": name, "messages": null}));
            }
        }
    }
    match format {
        Format::Text => print(&text),
        Format::Json => print(&format!("{:#}\n", Value::from(all))),
    }
    exit
}

/// What is done with the messages that are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Show,
    Retry,
    Drop,
}

/// Which messages are meant.
struct Wanted {
    /// Ids or their beginnings; all where there are none.
    ids: Vec<String>,
    found: BTreeSet<String>,
}

impl Wanted {
    fn of(what: &OfDeadLetters) -> Result<Self, Exit> {
        let ids = match what {
            OfDeadLetters::List => &Vec::new(),
            OfDeadLetters::Show { ids } | OfDeadLetters::Retry { ids } | OfDeadLetters::Drop { ids, .. } => ids,
        };
        if let Some(short) = ids.iter().find(|id| id.len() < ID_LENGTH_MIN) {
            say!(
                "harness: {short:?} may be the id of many messages; expected {ID_LENGTH_MIN} characters or more of one"
            );
            return Err(Exit::Usage);
        }
        let (ids, found) = (ids.clone(), BTreeSet::new());
        Ok(Self { ids, found })
    }

    fn has(&mut self, letter: &DeadLetter) -> bool {
        let own: Vec<&String> = self
            .ids
            .iter()
            .filter(|id| letter.message.id.starts_with(*id))
            .collect();
        self.found.extend(own.iter().map(|id| (*id).clone()));
        self.ids.is_empty() || !own.is_empty()
    }

    /// Says which were not there.
    fn told(&self) -> Exit {
        let missing: Vec<&str> = self
            .ids
            .iter()
            .filter(|id| !self.found.contains(*id))
            .map(String::as_str)
            .collect();
        if missing.is_empty() {
            return Exit::Success;
        }
        say!(
            "harness: no dead letter is called {}; `harness dead-letters show` has those that are there, up to --count of a queue, and \
             what somebody else is looking at comes back within two minutes",
            missing.join(", ")
        );
        Exit::No
    }
}

async fn go_through(
    queues: &[NamedDeadLetters],
    mut wanted: Wanted,
    what: What,
    count_max: usize,
    format: Format,
) -> Exit {
    let (mut text, mut all, mut exits) = (String::new(), Vec::new(), Vec::new());
    for named in queues {
        let taken = match seen(named) {
            Some(queue) => queue.take_up(count_max).await.map(|letters| (queue, letters)),
            None => {
                exits.push(Exit::Failed);
                continue;
            }
        };
        let (queue, letters) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                unseen(&named.name, &error);
                exits.push(Exit::Failed);
                continue;
            }
        };
        let mut stay = Vec::new();
        for letter in &letters {
            if !wanted.has(letter) {
                stay.push(letter);
                continue;
            }
            let done = done(queue, letter, what).await;
            if !matches!(done, Ok(Done::Retried(_) | Done::Dropped)) {
                stay.push(letter);
            }
            if done.is_err() {
                exits.push(Exit::Failed);
            }
            match format {
                Format::Text => text.push_str(&told(queue, letter, &done)),
                Format::Json => all.push(value(queue, letter, &done)),
            }
        }
        if let Err(error) = queue.let_go(stay).await {
            // It comes back by itself.
            tracing::warn!(queue = queue.name(), %error, "messages that were looked at come back only after two minutes");
        }
    }
    match format {
        Format::Text if text.is_empty() && wanted.ids.is_empty() => print("no dead letters\n"),
        Format::Text => print(&text),
        Format::Json => print(&format!("{:#}\n", Value::from(all))),
    }
    exits.push(wanted.told());
    Exit::worst(exits)
}

/// What has become of a message.
enum Done {
    Shown,
    /// It went back to this.
    Retried(String),
    Dropped,
}

async fn done(queue: &DeadLetterQueue, letter: &DeadLetter, what: What) -> Result<Done, CloudError> {
    match what {
        What::Show => Ok(Done::Shown),
        What::Retry => queue.retry(letter).await.map(Done::Retried),
        What::Drop => queue.drop(letter).await.map(|()| Done::Dropped),
    }
}

fn told(queue: &DeadLetterQueue, letter: &DeadLetter, done: &Result<Done, CloudError>) -> String {
    let id = &letter.message.id;
    let mut text = String::new();
    let _ = match done {
        Ok(Done::Retried(to)) => return format!("{id}  sent back to {to}\n"),
        Ok(Done::Dropped) => return format!("{id}  dropped\n"),
        Ok(Done::Shown) => writeln!(text, "{id}  in {}", queue.name()),
        Err(error) => writeln!(text, "{id}  STAYS in {}: {}", queue.name(), program::chain(error)),
    };
    for build in &letter.builds {
        let version = match &*build.version {
            "" => String::new(),
            version => format!(", version {version}"),
        };
        let _ = writeln!(
            text,
            "    {}{version}, in bucket {}",
            printable(&build.key),
            build.bucket
        );
    }
    if letter.builds.is_empty() {
        let _ = writeln!(text, "    {}", printable(&start_of(&letter.message.body)));
    }
    let sent = letter
        .message
        .sent_at
        .map(|at| format!(", sent {}", cloud::timestamp(at)));
    let _ = writeln!(
        text,
        "    taken up {} times{}",
        letter.message.taken_up,
        sent.unwrap_or_default()
    );
    let _ = writeln!(text, "    {}", printable(&letter.reason));
    text
}

fn value(queue: &DeadLetterQueue, letter: &DeadLetter, done: &Result<Done, CloudError>) -> Value {
    let (outcome, to, error) = match done {
        Ok(Done::Shown) => ("shown", None, None),
        Ok(Done::Retried(to)) => ("retried", Some(to.clone()), None),
        Ok(Done::Dropped) => ("dropped", None, None),
        Err(error) => ("stays", None, Some(program::chain(error))),
    };
    let builds: Vec<Value> = letter
        .builds
        .iter()
        .map(|build| json!({"bucket": build.bucket, "key": build.key, "version": build.version}))
        .collect();
    json!({
        "id": letter.message.id,
        "queue": queue.name(),
        "aws_region": queue.aws_region(),
        "region": queue.region(),
        "builds": builds,
        "function": letter.function,
        "reason": letter.reason,
        "taken_up": letter.message.taken_up,
        "sent_at": letter.message.sent_at.map(cloud::timestamp),
        "body": letter.message.body,
        "outcome": outcome,
        "sent_back_to": to,
        "error": error,
    })
}

/// As much of a message as fits a line.
fn start_of(body: &str) -> String {
    let mut start: String = body.chars().take(BODY_SHOWN).collect();
    if start.len() < body.len() {
        start.push('…');
    }
    start
}

/// What strangers wrote, on one line and without what moves a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The beginning of an id that is taken for one: SQS makes ids of 36 characters by chance.
const ID_LENGTH_MIN: usize = 8;
const BODY_SHOWN: usize = 120;
