//! Making sure that topics exist.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;

use crate::cluster::{Cluster, EMBEDDED_PARTITIONS};
use crate::config::ConsumerConfig;
use crate::error::BusError;

const PATIENCE: Duration = Duration::from_secs(30);

impl Cluster {
    /// Makes the topics that are missing, with the cluster's own defaults for partitions and
    /// replication.
    ///
    /// # Errors
    /// When topics are missing and the cluster does not let this client make them; the
    /// error names them.
    pub async fn ensure_topics(
        &self,
        config: &ConsumerConfig,
        topics: &[String],
    ) -> Result<(), BusError> {
        if let Some(embedded) = &self.inner.embedded {
            for topic in topics {
                embedded.create_topic(topic)?;
            }
            return Ok(());
        }
        let missing = self.missing_topics(config, topics)?;
        if missing.is_empty() {
            return Ok(());
        }
        let admin: AdminClient<DefaultClientContext> =
            config.reader_client(&self.inner.servers, false)?.create()?;
        let new: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|topic| NewTopic::new(topic, -1, TopicReplication::Fixed(-1)))
            .collect();
        let options = AdminOptions::new()
            .operation_timeout(Some(PATIENCE))
            .request_timeout(Some(PATIENCE));
        let failed = |topics: Vec<String>, reason: String| BusError::Topics {
            topics: topics.join(", "),
            reason,
        };
        let results = admin
            .create_topics(&new, &options)
            .await
            .map_err(|error| failed(missing.clone(), error.to_string()))?;
        let refused: Vec<(String, RDKafkaErrorCode)> = results
            .into_iter()
            .filter_map(Result::err)
            .filter(|(_, code)| *code != RDKafkaErrorCode::TopicAlreadyExists)
            .collect();
        match refused.first() {
            None => {
                tracing::info!(topics = missing.join(", "), "created topics");
                Ok(())
            }
            Some((_, code)) => {
                let reason = code.to_string();
                Err(failed(
                    refused.into_iter().map(|(topic, _)| topic).collect(),
                    reason,
                ))
            }
        }
    }

    fn missing_topics(
        &self,
        config: &ConsumerConfig,
        topics: &[String],
    ) -> Result<Vec<String>, BusError> {
        let client: BaseConsumer = config.reader_client(&self.inner.servers, false)?.create()?;
        let metadata = self.answer(PATIENCE, || {
            client.fetch_metadata(None, Duration::from_secs(5))
        })?;
        let present: Vec<&str> = metadata
            .topics()
            .iter()
            .map(rdkafka::metadata::MetadataTopic::name)
            .collect();
        Ok(topics
            .iter()
            .filter(|topic| !present.contains(&topic.as_str()))
            .cloned()
            .collect())
    }

    /// How many partitions these topics have together; at least one.
    pub(crate) fn partitions(
        &self,
        config: &ConsumerConfig,
        topics: &[String],
    ) -> Result<usize, BusError> {
        if self.is_embedded() {
            return Ok(topics.len() * usize::try_from(EMBEDDED_PARTITIONS).unwrap_or(1));
        }
        let client: BaseConsumer = config.reader_client(&self.inner.servers, false)?.create()?;
        let metadata = self.answer(PATIENCE, || {
            client.fetch_metadata(None, Duration::from_secs(5))
        })?;
        let of_ours = metadata
            .topics()
            .iter()
            .filter(|topic| topics.iter().any(|name| name == topic.name()));
        Ok(of_ours
            .map(|topic| topic.partitions().len())
            .sum::<usize>()
            .max(1))
    }
}
