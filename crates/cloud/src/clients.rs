//! Connecting: from an endpoint or the standard AWS environment to the typed things of this crate.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use serde::{Deserialize, Serialize};

use crate::buckets::Buckets;
use crate::deployment_log_table::DeploymentLogTable;
use crate::error::CloudError;
use crate::http_client::http_client;
use crate::names::{GLOBAL_BUCKET, HOST_DEPLOYMENT_LOGS, TRACKING_TABLE, regional_bucket, seeder_queue, staged};
use crate::tracking_table::TrackingTable;

/// Where the cloud is and who we are there. Goes to worker processes as JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CloudConfig {
    /// URL of S3; the standard environment decides where absent.
    pub s3_endpoint: Option<String>,
    /// URL of DynamoDB; the standard environment decides where absent.
    pub dynamodb_endpoint: Option<String>,
    /// URL of everything else; the standard environment decides where absent.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The stage whose names are meant; empty where there are none.
    #[serde(default)]
    pub stage: String,
    /// The AWS region; the standard environment decides where absent.
    #[serde(default)]
    pub region: Option<String>,
    /// Fixed credentials; the standard chain where absent.
    pub credentials: Option<Credentials>,
}

/// An access key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Its id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// What says for whom and until when it is, where somebody was given it for a while.
    #[serde(default)]
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = &self.access_key_id;
        f.debug_struct("Credentials")
            .field("access_key_id", id)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    pub(crate) fn for_sdk(&self, provider: &'static str) -> aws_sdk_s3::config::Credentials {
        let token = self.session_token.clone();
        aws_sdk_s3::config::Credentials::new(&self.access_key_id, &self.secret_access_key, token, None, provider)
    }
}

impl CloudConfig {
    /// One endpoint for everything, as local stacks have it, with the credentials of the environment.
    pub fn at(endpoint: &str) -> Self {
        Self {
            s3_endpoint: Some(endpoint.to_owned()),
            dynamodb_endpoint: Some(endpoint.to_owned()),
            endpoint: Some(endpoint.to_owned()),
            stage: String::new(),
            region: None,
            credentials: None,
        }
    }

    /// The endpoint that is given, or that of the standard environment.
    pub fn at_or_environment(endpoint: Option<&str>) -> Self {
        endpoint.map(Self::at).unwrap_or_default()
    }

    /// The same in a stage.
    #[must_use]
    pub fn in_stage(self, stage: &str) -> Self {
        let stage = stage.to_owned();
        Self { stage, ..self }
    }
}

/// A cloud that can be spoken to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cloud {
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    shared: SdkConfig,
    stage: String,
}

impl Cloud {
    /// Connects to what `config` names; what it leaves out comes from the standard AWS environment. Sends nothing yet.
    pub async fn connect(config: &CloudConfig) -> Self {
        let shared = shared_config(config).await;
        let mut s3 = aws_sdk_s3::config::Builder::from(&shared);
        if let Some(endpoint) = &config.s3_endpoint {
            s3 = s3.endpoint_url(endpoint);
        }
        // A local stack has no host name per bucket, whether we are told of it or the environment names it.
        let is_named = std::env::var_os("AWS_ENDPOINT_URL_S3").is_some() || shared.endpoint_url().is_some();
        s3 = s3.force_path_style(config.s3_endpoint.is_some() || is_named);
        let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(&shared);
        if let Some(endpoint) = &config.dynamodb_endpoint {
            dynamodb = dynamodb.endpoint_url(endpoint);
        }
        let mut rest = shared.to_builder();
        rest.set_endpoint_url(
            config
                .endpoint
                .clone()
                .or_else(|| shared.endpoint_url().map(str::to_owned)),
        );
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            shared: rest.build(),
            stage: config.stage.clone(),
        }
    }

    /// Connects to what the standard AWS environment names. Sends nothing yet.
    pub async fn from_environment() -> Self {
        Self::connect(&CloudConfig::default()).await
    }

    /// The buckets.
    pub fn buckets(&self) -> Buckets {
        Buckets::new(self.s3.clone())
    }

    /// The table of deployment logs.
    pub fn deployment_logs(&self) -> DeploymentLogTable {
        DeploymentLogTable::new(self.dynamodb.clone(), self.name(HOST_DEPLOYMENT_LOGS))
    }

    /// The table of replications.
    pub fn tracking(&self) -> TrackingTable {
        TrackingTable::new(self.dynamodb.clone(), self.name(TRACKING_TABLE))
    }

    /// The stage whose names these are; empty where there are none.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// The same cloud asked in another AWS region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        let region = Region::new(region.to_owned());
        let s3 = self.s3.config().to_builder().region(region.clone());
        let dynamodb = self.dynamodb.config().to_builder().region(region.clone());
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            shared: self.shared.to_builder().region(region).build(),
            stage: self.stage.clone(),
        }
    }

    /// A name of `crate::names` as it is in this stage.
    pub fn name(&self, name: &str) -> String {
        staged(name, &self.stage)
    }

    /// The bucket that builds are uploaded to.
    pub fn global_bucket(&self) -> String {
        self.name(GLOBAL_BUCKET)
    }

    /// The bucket that a region's seeder pulls from.
    pub fn regional_bucket(&self, region: &str) -> String {
        self.name(&regional_bucket(region))
    }

    /// The queue by which a region's first seeder hears of builds.
    pub fn region_queue(&self, region: &str) -> String {
        self.seeder_queue(region, 1)
    }

    /// The queue by which the seeder of this number of a region, from 1, hears of builds.
    pub fn seeder_queue(&self, region: &str, seeder: u32) -> String {
        self.name(&seeder_queue(region, seeder))
    }

    /// For `pipeline`, which makes its clients of it.
    pub fn shared(&self) -> &SdkConfig {
        &self.shared
    }

    /// For `pipeline`, which sets notifications of buckets.
    pub fn s3(&self) -> &aws_sdk_s3::Client {
        &self.s3
    }

    /// Makes the buckets of these regions and the tables, as far as they are not there.
    pub async fn bootstrap(&self, regions: &[String]) -> Result<(), CloudError> {
        let buckets = self.buckets();
        buckets.create_if_missing(&self.global_bucket()).await?;
        for region in regions {
            buckets.create_if_missing(&self.regional_bucket(region)).await?;
        }
        self.tracking().create_if_missing().await?;
        self.deployment_logs().create_if_missing().await
    }
}

async fn shared_config(config: &CloudConfig) -> SdkConfig {
    let variable = |name: &str| std::env::var(name).ok();
    let endpoint = config.endpoint.clone().or_else(|| config.s3_endpoint.clone());
    let endpoint = endpoint.or_else(|| variable("AWS_ENDPOINT_URL"));
    let http = http_client(endpoint.as_deref(), variable);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled());
    if let Some(credentials) = &config.credentials {
        loader = loader
            .credentials_provider(credentials.for_sdk("fleetcast"))
            .region(Region::new("us-east-1"));
    }
    if endpoint.is_some() {
        // Which of AWS's own endpoints are asked means nothing where another one is named, and the SDK refuses both together.
        loader = loader.use_fips(false).use_dual_stack(false);
    }
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let loaded = loader.load().await;
    // Asked of the loader, whose sources have its HTTP client; a chain of our own would not.
    match loaded.region() {
        Some(_) => loaded,
        None => {
            if endpoint.is_none() {
                tracing::warn!(
                    "no AWS region is set, and us-east-1 is asked; AWS_REGION or a profile names another one"
                );
            }
            loaded.into_builder().region(Region::new("us-east-1")).build()
        }
    }
}

/// A connection that cannot be made fails soon, and is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the whole of a request to be sent and its answer to begin. Bodies of answers may take as long as they keep moving:
/// the SDK's protection against stalled streams watches them. The longest requests are the parts of an upload, 16 MiB and
/// four at a time where builds are below 160 GB: they fit a link of 4.5 Mbit/s.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// For a copy within S3, which says nothing until it is done: 5 GB at 10 MB/s.
pub(crate) const COPY_TIMEOUT: Duration = Duration::from_secs(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_end_in_a_log_have_no_secret_in_it() {
        let credentials = Credentials {
            access_key_id: "ASIA1".to_owned(),
            secret_access_key: "hush".to_owned(),
            session_token: Some("hush, too".to_owned()),
        };
        assert_eq!(
            format!("{credentials:?}"),
            "Credentials { access_key_id: \"ASIA1\", .. }"
        );
        assert_eq!(credentials.for_sdk("test").session_token(), Some("hush, too"));
    }
}
