//! SQS: how a region's seeder hears of builds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};

use cloud::{Backoff, CloudError, fnv1a};

/// The queues of a cloud.
#[derive(Clone, Debug)]
pub struct Queues {
    client: Client,
}

/// One queue.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    name: String,
    url: String,
}

/// A message that was taken up. It comes back when its visibility ends, unless it is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueMessage {
    /// The queue's name for it, which stays when it is moved to a dead-letter queue.
    pub id: String,
    /// What it says.
    pub body: String,
    /// By which it is extended and deleted.
    pub receipt: String,
    /// How often it was taken up, this time included.
    pub taken_up: u32,
    /// When it was sent.
    pub sent_at: Option<SystemTime>,
    /// What Lambda says of an event that it gave up: a status and a message.
    pub error: Option<String>,
}

impl Queues {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The queue called `name`.
    pub async fn named(&self, name: &str) -> Result<Queue, CloudError> {
        let get = || async {
            let got = self.client.get_queue_url().queue_name(name).send().await;
            got.map_err(|error| CloudError::service(format!("find queue {name}"), &error))
        };
        let got = Backoff::READ.seeded(fnv1a(name).into()).run(get).await?;
        let url = got.queue_url.unwrap_or_default();
        Ok(self.at(name, &url))
    }

    /// The queue at `url`, which nobody has asked for.
    pub fn at(&self, name: &str, url: &str) -> Queue {
        Queue {
            client: self.client.clone(),
            name: name.to_owned(),
            url: url.to_owned(),
        }
    }
}

impl Queue {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts a message in.
    pub async fn send(&self, body: &str) -> Result<(), CloudError> {
        let send = || async {
            let sent = self
                .client
                .send_message()
                .queue_url(&self.url)
                .message_body(body)
                .send()
                .await;
            sent.map_err(|error| CloudError::service(format!("send to queue {}", self.name), &error))
        };
        Backoff::READ.seeded(fnv1a(body).into()).run(send).await.map(|_| ())
    }

    /// Takes up a message, waiting for one up to `wait` (20 s at most); it is nobody else's for `visible_after`. One attempt:
    /// whoever listens does so again and again.
    pub async fn take(&self, wait: Duration, visible_after: Duration) -> Result<Option<QueueMessage>, CloudError> {
        Ok(self.take_some(1, wait, visible_after).await?.into_iter().next())
    }

    /// Likewise up to `count` messages, ten at most.
    pub async fn take_some(
        &self,
        count: usize,
        wait: Duration,
        visible_after: Duration,
    ) -> Result<Vec<QueueMessage>, CloudError> {
        let seconds = |duration: Duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX);
        let taken = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(count.clamp(1, 10)).unwrap_or(1))
            .wait_time_seconds(seconds(wait).min(20))
            .visibility_timeout(seconds(visible_after))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_attribute_names("ErrorCode")
            .message_attribute_names("ErrorMessage")
            .send()
            .await
            .map_err(|error| CloudError::service(format!("listen to queue {}", self.name), &error))?;
        let messages = taken.messages.unwrap_or_default().into_iter();
        Ok(messages.filter_map(read).collect())
    }

    /// The message stays nobody else's for `more` from now on; with nothing it is there for others at once.
    pub async fn extend(&self, message: &QueueMessage, more: Duration) -> Result<(), CloudError> {
        let seconds = i32::try_from(more.as_secs()).unwrap_or(i32::MAX);
        let extend = || async {
            let request = self.client.change_message_visibility().queue_url(&self.url);
            let sent = request
                .receipt_handle(&message.receipt)
                .visibility_timeout(seconds)
                .send()
                .await;
            sent.map_err(|error| CloudError::service(format!("keep a message of queue {}", self.name), &error))
        };
        Backoff::READ.run(extend).await.map(|_| ())
    }

    /// The message is done with.
    pub async fn delete(&self, message: &QueueMessage) -> Result<(), CloudError> {
        let delete = || async {
            let request = self.client.delete_message().queue_url(&self.url);
            let sent = request.receipt_handle(&message.receipt).send().await;
            sent.map_err(|error| CloudError::service(format!("delete a message of queue {}", self.name), &error))
        };
        Backoff::READ.run(delete).await.map(|_| ())
    }

    /// Messages that wait and that somebody has taken up, about.
    pub async fn depth(&self) -> Result<(u64, u64), CloudError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let got = request.set_attribute_names(Some(names.to_vec())).send().await;
        let got = got.map_err(|error| CloudError::service(format!("look at queue {}", self.name), &error))?;
        let attributes = got.attributes.unwrap_or_default();
        let number = |name| attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok((number(&names[0]), number(&names[1])))
    }
}

/// `None` for a message that cannot be answered.
fn read(message: Message) -> Option<QueueMessage> {
    let number = |name| -> Option<u64> { message.attributes.as_ref()?.get(&name)?.parse().ok() };
    let taken_up = number(MessageSystemAttributeName::ApproximateReceiveCount);
    let sent_at = number(MessageSystemAttributeName::SentTimestamp).map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
    let text = |name: &str| message.message_attributes.as_ref()?.get(name)?.string_value.clone();
    let error = match (text("ErrorCode"), text("ErrorMessage")) {
        (Some(code), Some(message)) => Some(format!("{message} (status {code})")),
        (_, message) => message,
    };
    Some(QueueMessage {
        id: message.message_id.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
        receipt: message.receipt_handle?,
        taken_up: taken_up.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        sent_at,
        error,
    })
}
